//! How things are: one immutable picture, renewed with every change and several times a second.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, Diagnostics};
use crate::judge::Record;
use crate::model::{
    BackendName, Generation, Outcome, Percent, PlanName, RevertReason, Role, RolloutId, RouteName,
    Weight,
};
use crate::rollout::{Plan, RollingReport, ShadowReport};
use crate::stats::CallSummary;
use crate::tls::SectionFacts;

use super::author::Author;
use super::calendar::Closed;
use super::checklist::ItemRecord;
use super::contract::ContractReport;
use super::estimate::Mark;
use super::fitness::FitnessStatus;
use super::keys::KeysStatus;
use super::timestamp::Timestamp;

/// Everything there is to show.
#[derive(Clone, Debug)]
pub struct Status {
    /// The state in force.
    pub generation: Generation,
    /// When control started.
    pub started_at: Timestamp,
    /// How long ago that was, at the time of this picture.
    pub uptime: Duration,
    /// The config file.
    pub config: ConfigStatus,
    /// The state store.
    pub store: StoreHealth,
    /// Every `tls` section of the file: listeners, the admin API, backends.
    pub tls: Vec<SectionFacts>,
    /// What had been counted some minutes ago, for telling how traffic is today.
    pub lately: Option<Arc<Mark>>,
    /// Every route, in the order of the file.
    pub routes: Vec<RouteStatus>,
    /// Every backend of the file, by name.
    pub backends: Vec<BackendStatus>,
}

/// The config file.
#[derive(Clone, Debug)]
pub struct ConfigStatus {
    /// Its path.
    pub path: PathBuf,
    /// The config in force.
    pub in_force: Arc<Config>,
    /// When that was loaded.
    pub loaded_at: Timestamp,
    /// The latest attempt to load it, when that one was refused.
    pub refusal: Option<Arc<Diagnostics>>,
    /// The latest attempt to load it, when the state could not be written for it.
    pub pending: Option<PendingFile>,
}

/// A config file without errors that is not in force, since the state cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingFile {
    /// Since when.
    pub since: Timestamp,
    /// Why the state cannot be written.
    pub error: String,
}

/// The state store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreHealth {
    /// The last write is on disk.
    Healthy,
    /// The last write failed, or has not come back; traffic goes on.
    Unhealthy {
        /// Since when.
        since: Timestamp,
        /// What went wrong.
        error: String,
    },
}

/// One route.
#[derive(Clone, Debug)]
pub struct RouteStatus {
    /// Its name.
    pub name: RouteName,
    /// What it takes, in words: `any host /mcp`.
    pub matches: String,
    /// What its callers speak: `http` or `mcp`.
    pub protocol: &'static str,
    /// Every backend of its split, by name.
    pub arms: Vec<ArmStatus>,
    /// What its callers show to be let in.
    pub auth: Option<AuthStatus>,
    /// Where a share of its calls is mirrored to.
    pub shadow: Option<ShadowStatus>,
    /// The version that the file asks for, while no rollout to it has started.
    pub wish: Option<WishStatus>,
    /// The rollout that runs, else the latest one.
    pub rollout: Option<RolloutStatus>,
}

/// A version that the file asks for and that is to get the traffic by a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WishStatus {
    /// The backend.
    pub backend: BackendName,
    /// Why its rollout could not start when that was tried last.
    pub why: Option<String>,
}

/// What the callers of a route show to be let in.
#[derive(Clone, Debug)]
pub struct AuthStatus {
    /// Who issues their tokens.
    pub issuer: String,
    /// Whom the tokens are for.
    pub audiences: Vec<String>,
    /// Scopes that every token must have.
    pub scopes: Vec<String>,
    /// The keys that tokens are checked with.
    pub keys: KeysStatus,
}

/// One backend of a route's split.
#[derive(Clone, Debug)]
pub struct ArmStatus {
    /// The backend.
    pub backend: BackendName,
    /// Its relative share of new traffic.
    pub weight: Weight,
    /// The same of a hundred.
    pub percent: f64,
    /// Its role in the rollout that runs.
    pub role: Option<Role>,
    /// What its open sessions may expect.
    pub standing: ArmStanding,
    /// Its MCP sessions; `None` on a route that has none.
    pub sessions: Option<SessionNumbers>,
    /// Its callers without sessions; `None` on a route that has none.
    pub callers: Option<CallerNumbers>,
    /// Calls since the start of the process.
    pub calls: CallNumbers,
    /// Calls that ended in about the last ten seconds.
    pub recent: CallNumbers,
}

/// What the open sessions of a backend may expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArmStanding {
    /// They stay, whatever the weight.
    Open,
    /// The backend gets no new ones: they stay until the route's limit.
    Draining,
    /// That limit is over: they leave at their next call.
    Drained,
    /// The backend was reverted: they leave at their next call.
    Reverted,
}

/// Callers of MCP without sessions, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallerNumbers {
    /// Those who are held here and stay.
    pub held: u64,
    /// Those who are held here until the route's limit.
    pub draining: u64,
    /// Open streams by which callers listen.
    pub listening: u64,
}

/// MCP sessions, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionNumbers {
    /// Recorded ones that live here and stay.
    pub open: u64,
    /// Recorded ones that live here and have to leave.
    pub draining: u64,
    /// Those that came here from other backends since the process started.
    pub rehomed: u64,
    /// Those that lived here and are gone for their clients since then.
    pub lost: u64,
}

impl SessionNumbers {
    /// The sum of two.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            open: self.open + other.open,
            draining: self.draining + other.draining,
            rehomed: self.rehomed + other.rehomed,
            lost: self.lost + other.lost,
        }
    }
}

/// Where a share of a route's calls is mirrored to.
#[derive(Clone, Debug)]
pub struct ShadowStatus {
    /// The backend that gets the copies.
    pub backend: BackendName,
    /// Share of the eligible calls.
    pub percent: Percent,
    /// Mirrored calls since the start of the process.
    pub calls: CallNumbers,
    /// Mirrored calls that ended in about the last ten seconds.
    pub recent: CallNumbers,
}

/// Calls, counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallNumbers {
    /// Finished calls.
    pub total: u64,
    /// Finished calls by outcome; outcomes that did not happen are left out.
    pub outcomes: Vec<(Outcome, u64)>,
    /// Calls under way.
    pub in_flight: u64,
    /// Open streams that carry no call.
    pub streams: u64,
    /// Mean, median and tails of the latency; `None` without any call.
    pub latency: Option<LatencyNumbers>,
}

/// Mean, median and tails of a latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyNumbers {
    /// Mean.
    pub mean: Duration,
    /// Half of the calls took at most this.
    pub p50: Duration,
    /// 95 of 100 calls took at most this.
    pub p95: Duration,
    /// 99 of 100 calls took at most this.
    pub p99: Duration,
}

impl From<&CallSummary> for CallNumbers {
    fn from(calls: &CallSummary) -> Self {
        let outcomes = Outcome::ALL
            .into_iter()
            .map(|outcome| (outcome, calls.count(outcome)));
        Self {
            total: calls.total(),
            outcomes: outcomes.filter(|(_, count)| *count > 0).collect(),
            in_flight: calls.in_flight,
            streams: calls.streams,
            latency: latency(calls),
        }
    }
}

fn latency(calls: &CallSummary) -> Option<LatencyNumbers> {
    let count = u32::try_from(calls.latency.count()).unwrap_or(u32::MAX);
    Some(LatencyNumbers {
        mean: calls.latency.sum().checked_div(count)?,
        p50: calls.latency.quantile(0.5)?,
        p95: calls.latency.quantile(0.95)?,
        p99: calls.latency.quantile(0.99)?,
    })
}

/// One attempt at shipping a version.
#[derive(Clone, Debug)]
pub struct RolloutStatus {
    /// Its id.
    pub id: RolloutId,
    /// The route.
    pub route: RouteName,
    /// The version that is trusted.
    pub stable: BackendName,
    /// The version on trial.
    pub candidate: BackendName,
    /// Name of its plan; `None` when its start named the stages.
    pub plan_name: Option<PlanName>,
    /// Its recipe; `None` for one of the past whose history does not say.
    pub plan: Option<Arc<Plan>>,
    /// How it stands.
    pub phase: RolloutPhase,
    /// The gate that it waits before.
    pub gate: Option<GateStatus>,
    /// Number of the present stage, from 1; `None` in the warm-up and after the end.
    pub stage: Option<u32>,
    /// The candidate's share of new traffic.
    pub percent: Percent,
    /// Time in the present phase or stage, pauses left out.
    pub stage_elapsed: Duration,
    /// Least time until the warm-up, the stage, or after a revert the cooldown ends; `None`
    /// when that is not a matter of time.
    pub stage_left: Option<Duration>,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended; `None` while it runs.
    pub ended_at: Option<Timestamp>,
    /// Who started it, and why.
    pub author: Author,
    /// Why it was reverted.
    pub revert_reason: Option<RevertReason>,
    /// Whether a person has gone back from the candidate since it was promoted; only known of a
    /// route's latest rollout, and until the candidate has traffic again.
    pub was_left: bool,
    /// What the judge last said, with its numbers.
    pub verdict: Option<Arc<Record>>,
    /// Its checklist; of a rollout of the past the history alone has it.
    pub checklist: Vec<ItemRecord>,
    /// What the candidate promised when it started, compared with what stable did.
    pub contract: Option<Arc<ContractReport>>,
    /// What copies of calls came to before it had any traffic.
    pub shadow: Option<ShadowReport>,
    /// How the endpoints do that take over in batches.
    pub rolling: Option<RollingReport>,
}

/// A gate that a rollout waits before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateStatus {
    /// The gate's name.
    pub gate: &'static str,
    /// Number of a stage, from 1: of the one to enter before `confirm_start` and `pre_stage`, of the
    /// one to leave before the others.
    pub stage: u32,
    /// Why its schedule holds it up, if that does.
    pub closed: Option<Closed>,
}

/// How a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutPhase {
    /// At its first stage's share, and not judged yet.
    Warmup,
    /// In a stage whose time is not over.
    Running,
    /// In a stage whose time is over, gathering more evidence.
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
    /// Ended: switched back.
    Reverted,
    /// Ended without blame.
    Aborted,
}

impl RolloutPhase {
    /// Whether the rollout has ended.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Promoted | Self::Reverted | Self::Aborted)
    }

    /// The phase's name in API, log and metrics.
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

/// One backend of the file.
#[derive(Clone, Debug)]
pub struct BackendStatus {
    /// Its name.
    pub name: BackendName,
    /// Its addresses, as `http://host:port`.
    pub endpoints: Vec<String>,
    /// The routes that split to it or mirror to it.
    pub routes: Vec<RouteName>,
    /// Its real calls on all routes since the start of the process.
    pub calls: CallNumbers,
    /// Its MCP sessions on all routes; `None` when no such route has it.
    pub sessions: Option<SessionNumbers>,
    /// How fit it is; `None` until its conditions are known.
    pub fitness: Option<FitnessStatus>,
}
