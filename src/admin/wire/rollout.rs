//! Rollouts and what the judge says of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ContractBody;
use crate::judge::{DecidingOutcome, Guard, GuardRecord, TookRecord};
use crate::model::{BackendName, PlanName, RevertReason, RolloutId, RouteName};
use crate::rollout::{RollingReport, ShadowReport};

/// Rollouts, latest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutsBody {
    /// The rollouts.
    pub rollouts: Vec<RolloutBody>,
    /// Why rollouts may be missing, such as a disk that cannot be read; absent when none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<String>,
}

/// One attempt at shipping a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutBody {
    /// Its id.
    pub id: RolloutId,
    /// The route that it is on.
    #[schema(value_type = String)]
    pub route: RouteName,
    /// The version that is trusted.
    #[schema(value_type = String)]
    pub stable: BackendName,
    /// The version on trial.
    #[schema(value_type = String)]
    pub candidate: BackendName,
    /// The plan that it follows; absent when its start named the stages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub plan: Option<PlanName>,
    /// How it stands.
    pub state: RolloutState,
    /// The gate that it waits before; absent where it waits for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateBody>,
    /// The candidate's share of new traffic now.
    pub percent: f64,
    /// Number of the present stage, from 1; absent in the warm-up and after the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<u32>,
    /// The stages of its plan; empty for one of the past whose history does not say.
    pub stages: Vec<StageBody>,
    /// Time spent in the present stage, or warm-up, pauses left out.
    pub stage_elapsed_seconds: f64,
    /// Least time until the stage or the warm-up ends, or the cooldown after a revert; absent
    /// when that is not a matter of time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_left_seconds: Option<f64>,
    /// When it was started.
    pub started_at: String,
    /// When it ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Who started it.
    pub who: String,
    /// Why it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it was reverted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revert_reason: Option<RevertReason>,
    /// One sentence on how it stands.
    pub message: String,
    /// What the judge last said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VerdictBody>,
    /// Its checklist, the items of `during` for the present stage; empty for one of the past, whose
    /// history has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checklist: Vec<ItemBody>,
    /// What the candidate promised when it started, compared with what stable did; only on MCP
    /// routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<ContractBody>,
    /// What copies of calls came to before it had any traffic; only of a plan with `shadow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowReportBody>,
    /// How the candidate's endpoints do that have taken over or are waited for; only of a rolling
    /// plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling: Option<RollingReport>,
}

/// What copies of calls came to, before the candidate had any traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ShadowReportBody {
    /// What it says of the candidate: `too_few`, `alike`, `different` or `slow`.
    pub finding: String,
    /// One sentence with the numbers.
    pub summary: String,
    /// Copies that were compared.
    pub compared: u64,
    /// The percent of them that differ.
    pub difference: f64,
    /// How many times as long as the calls the copies take, at the 95th percentile; absent while
    /// too few are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowdown: Option<f64>,
    /// The counts and the limits, as they are kept in the history.
    #[serde(flatten)]
    pub report: ShadowReport,
}

/// A gate that a rollout waits before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GateBody {
    /// `confirm_start`, `pre_stage`, `confirm_advance` or `pre_promote`.
    pub gate: String,
    /// Number of a stage, from 1: of the one to enter before `confirm_start` and `pre_stage`, of the
    /// one to leave before the others.
    pub stage: u32,
    /// How the plan's schedule holds it up; absent where that does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ClosedBody>,
}

/// An item of a rollout's checklist.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ItemBody {
    /// `pre`, `during` or `post`.
    pub part: String,
    /// Its name.
    pub item: String,
    /// What a person has to see to; absent where it is a budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<String>,
    /// What has to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<String>,
    /// `open`, `done` (ticked by a person), `met`, `broken`, or `unmeasured`, where a person is asked.
    pub state: String,
    /// Number of the stage that it is about, from 1; of `during` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<u32>,
    /// What was measured of the candidate: a part of one, seconds, a count, or a mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<f64>,
    /// The same of stable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<f64>,
    /// Who ticked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// What they noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When that was said or measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// How a plan's schedule holds a rollout up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClosedBody {
    /// When it may go on, as the windows are now; absent when that is not in sight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opens_at: Option<String>,
    /// The freeze window that it is in; absent where no start window is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze: Option<String>,
}

/// How a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RolloutState {
    /// In its first stage; the candidate warms up and is not judged.
    Warmup,
    /// In a stage whose time is not over.
    Running,
    /// In a stage whose time is over and whose evidence is not conclusive.
    Extended,
    /// Paused by a person.
    Paused,
    /// In a stage whose time is over, until a person approves what the evidence says of it.
    AwaitingApproval,
    /// Before a gate, until whoever keeps it has answered.
    AwaitingGate,
    /// Before a stage, until the endpoints that begin with it are healthy.
    AwaitingHealth,
    /// In the last stage before the promotion, with a hold-back left on stable.
    Baking,
    /// Without traffic: the candidate has to be healthy and to answer smoke requests.
    Standby,
    /// Without traffic: the candidate has to answer copies of calls like stable.
    Shadowing,
    /// Ended: the candidate has all of the traffic.
    Promoted,
    /// Ended: switched back to stable, with a reason.
    Reverted,
    /// Ended by a person without blame.
    Aborted,
}

impl RolloutState {
    /// Every state.
    pub const ALL: [Self; 13] = [
        Self::Warmup,
        Self::Running,
        Self::Extended,
        Self::Paused,
        Self::AwaitingApproval,
        Self::AwaitingGate,
        Self::AwaitingHealth,
        Self::Baking,
        Self::Standby,
        Self::Shadowing,
        Self::Promoted,
        Self::Reverted,
        Self::Aborted,
    ];

    /// Whether the rollout has ended.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Promoted | Self::Reverted | Self::Aborted)
    }

    /// The state's name in API and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warmup => "warmup",
            Self::Running => "running",
            Self::Extended => "extended",
            Self::Paused => "paused",
            Self::AwaitingApproval => "awaiting_approval",
            Self::AwaitingGate => "awaiting_gate",
            Self::AwaitingHealth => "awaiting_health",
            Self::Baking => "baking",
            Self::Standby => "standby",
            Self::Shadowing => "shadowing",
            Self::Promoted => "promoted",
            Self::Reverted => "reverted",
            Self::Aborted => "aborted",
        }
    }
}

/// One stage of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StageBody {
    /// The candidate's share of new traffic.
    pub percent: f64,
    /// Shortest time in the stage.
    pub for_seconds: f64,
    /// Whether a person must approve the next stage.
    pub approve: bool,
    /// What it is for: `climb`, `bake` before the promotion, or without traffic `standby` and
    /// `shadow`.
    #[serde(default)]
    pub role: String,
    /// How many of the candidate's endpoints take traffic then; only of a rolling plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<usize>,
}

/// What the judge says, with its numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VerdictBody {
    /// What it would do.
    pub decision: DecisionBody,
    /// Why: the reason to switch back, or what it holds for (`no_data`, `gathering`,
    /// `inconclusive`, `few_callers`); absent when it would go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// One sentence with the numbers that matter.
    pub summary: String,
    /// How strongly everything so far speaks against the candidate: 1 says nothing, at
    /// `revert_at` it is switched back.
    pub evidence: f64,
    /// The evidence that switches back: 1 / alpha.
    pub revert_at: f64,
    /// The evidence that passes a check in a stage: 1 / beta.
    pub pass_at: f64,
    /// Each metric's test.
    pub checks: Vec<CheckBody>,
    /// Stable's calls in the whole rollout, warm-up apart.
    pub stable: ArmEvidenceBody,
    /// The candidate's calls in the whole rollout, warm-up apart.
    pub candidate: ArmEvidenceBody,
    /// The candidate's calls in this stage.
    pub stage_calls: u64,
    /// Calls in a stage below which nothing is concluded.
    pub min_calls: u64,
    /// About how many more calls of the candidate's the stage needs to pass, if they go like the
    /// ones so far; absent when there is no telling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_calls_needed: Option<u64>,
    /// How long that takes at the rate of this stage so far, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_seconds_needed: Option<u64>,
    /// What calls of both arms took since they are judged, or since the process started where that is
    /// later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<TookRecord>,
    /// How each guard that has a limit stands.
    #[serde(default)]
    pub guards: Vec<GuardRecord>,
    /// The guard that decided; absent where the comparison with stable did, or nothing has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_guard: Option<Guard>,
    /// The latest calls that went wrong before a revert, 8 of each arm at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deciding: Vec<DecidingOutcome>,
    /// The judge's whole record, as it is kept in the history.
    #[schema(value_type = Object)]
    pub record: serde_json::Value,
}

/// What the judge would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecisionBody {
    /// Go on: the candidate was shown to be no worse than agreed.
    Advance,
    /// Stay: not enough is known, or the stage's time is not over.
    Hold,
    /// Switch back.
    Revert,
}

/// One metric's test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CheckBody {
    /// The metric: `errors`, `latency`, or `metric:` and the name of one that is pushed.
    pub name: String,
    /// How strongly it speaks against the candidate, over the whole rollout.
    pub evidence: f64,
    /// How strongly it speaks for the candidate, in this stage; at `pass_at` it has passed. Pushed
    /// metrics hold no stage up, and always have 1.
    pub pass_evidence: f64,
    /// The candidate may be this many times as bad as stable.
    pub margin: f64,
    /// One sentence with its numbers.
    pub message: String,
}

/// What was counted of one arm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArmEvidenceBody {
    /// Finished calls whose caller stayed.
    pub calls: u64,
    /// Bad calls.
    pub bad: u64,
    /// Bad calls that count as evidence: one a caller and minute.
    pub bad_counted: u64,
}
