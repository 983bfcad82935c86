//! Whether a rollout has passed, for programs that steer something by it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CheckBody, DecisionBody, RolloutState, VerdictBody};
use crate::judge::{DecidingOutcome, Guard, GuardRecord, TookRecord};
use crate::model::{BackendName, RolloutId, RouteName};

/// Whether a rollout has passed, and why.
///
/// What the judge said stands in it as in [`VerdictBody`]; absent while it has not looked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutVerdictBody {
    /// The one word.
    pub verdict: PassBody,
    /// Whether that is `pass`.
    pub pass: bool,
    /// Whether that is `fail`.
    pub fail: bool,
    /// One sentence on how it stands.
    pub message: String,
    /// The route.
    #[schema(value_type = String)]
    pub route: RouteName,
    /// The rollout; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutId>,
    /// The version on trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub candidate_backend: Option<BackendName>,
    /// How the rollout stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<RolloutState>,
    /// What the judge last said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionBody>,
    /// Why: the reason to switch back, or what it holds for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// One sentence with the numbers that matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The strength of everything so far against the candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<f64>,
    /// The evidence that switches back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revert_at: Option<f64>,
    /// The evidence that passes a check in a stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass_at: Option<f64>,
    /// Each metric's test.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckBody>,
    /// Stable's calls in the whole rollout, warm-up apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<super::ArmEvidenceBody>,
    /// The candidate's calls in the whole rollout, warm-up apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<super::ArmEvidenceBody>,
    /// The candidate's calls in this stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_calls: Option<u64>,
    /// Calls in a stage below which nothing is concluded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_calls: Option<u64>,
    /// About how many more calls of the candidate's the stage needs to pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_calls_needed: Option<u64>,
    /// How long that takes at the rate of this stage so far, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_seconds_needed: Option<u64>,
    /// What calls of both arms took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<TookRecord>,
    /// How each guard that has a limit stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<GuardRecord>,
    /// The guard that decided; absent where the comparison with stable did, or nothing has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_guard: Option<Guard>,
    /// The latest calls that went wrong before a revert, 8 of each arm at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deciding: Vec<DecidingOutcome>,
    /// The judge's whole record, as it is kept in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub record: Option<serde_json::Value>,
}

impl RolloutVerdictBody {
    /// The same with what the judge said.
    #[must_use]
    pub fn judged(self, said: VerdictBody) -> Self {
        Self {
            decision: Some(said.decision),
            because: said.because,
            summary: Some(said.summary),
            evidence: Some(said.evidence),
            revert_at: Some(said.revert_at),
            pass_at: Some(said.pass_at),
            checks: said.checks,
            stable: Some(said.stable),
            candidate: Some(said.candidate),
            stage_calls: Some(said.stage_calls),
            min_calls: Some(said.min_calls),
            more_calls_needed: said.more_calls_needed,
            more_seconds_needed: said.more_seconds_needed,
            took: said.took,
            guards: said.guards,
            broken_guard: said.broken_guard,
            deciding: said.deciding,
            record: Some(said.record),
            ..self
        }
    }
}

/// Whether a rollout has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PassBody {
    /// Promoted, or its present stage has shown that the candidate is as good as agreed.
    Pass,
    /// Switched back or aborted, or about to be.
    Fail,
    /// It is too early to say.
    Early,
}

impl PassBody {
    /// The verdict's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Early => "early",
        }
    }
}

/// What a program tells that asks by a webhook, such as Flagger's. Nothing in it is needed, and
/// fields that are not listed are passed over: it is not made for this API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(example = json!({"name": "search", "namespace": "shop", "phase": "Progressing", "metadata": {}}))]
pub struct WebhookBody {
    /// What is being shipped.
    pub name: String,
    /// Where.
    pub namespace: String,
    /// How that stands.
    pub phase: String,
}
