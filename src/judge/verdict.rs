//! What the judge says, and the record of why.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::RevertReason;
use crate::stats::Latencies;

use super::deciding::DecidingOutcome;
use super::guards::{Guard, GuardRecord};
use super::metrics::MetricRecord;
use super::thresholds::QUANTILES;

/// What the judge says about the candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// The candidate has been shown to be as good as agreed, in this stage.
    Advance,
    /// Neither good nor bad has been shown.
    Hold {
        /// Why not.
        because: HoldReason,
    },
    /// The candidate is worse than agreed.
    Revert {
        /// In what.
        reason: RevertReason,
    },
}

/// Why the judge holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// Fewer candidate calls in this stage than `min_requests`.
    NoData,
    /// The stage's time is not over and the evidence is not conclusive yet.
    Gathering,
    /// The stage's time is over and the evidence is not conclusive.
    Inconclusive,
    /// The candidate fails, but the failures come from fewer than three callers.
    FewCallers,
}

impl HoldReason {
    /// The reason's name in API, log and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoData => "no_data",
            Self::Gathering => "gathering",
            Self::Inconclusive => "inconclusive",
            Self::FewCallers => "few_callers",
        }
    }
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Advance => f.write_str("advance"),
            Self::Hold { because } => write!(f, "hold: {because}"),
            Self::Revert { reason } => write!(f, "revert: {reason}"),
        }
    }
}

/// Whether the time that a stage lasts at least is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageTime {
    /// Not yet.
    Running,
    /// It is.
    Over,
}

/// A verdict with the numbers it came from: the same in history, API, log and notices.
///
/// E-values start at 1; the larger, the worse for the candidate (for passing: the better).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Record {
    /// The verdict.
    pub verdict: Verdict,
    /// Evidence that the candidate is worse, over the whole rollout.
    pub e_value: f64,
    /// The e-value that reverts: 1 / alpha.
    pub revert_at: f64,
    /// The e-value that shows one half of a pass: 1 / beta.
    pub pass_at: f64,
    /// The candidate's share of the traffic in the latest batch.
    pub share: f64,
    /// The error check.
    pub errors: ErrorsRecord,
    /// The latency check.
    pub latency: LatencyRecord,
    /// The checks of metrics that applications push.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricRecord>,
    /// Stable's calls.
    pub stable: ArmRecord,
    /// The candidate's calls.
    pub candidate: ArmRecord,
    /// The candidate's calls in this stage.
    pub stage_calls: u64,
    /// Calls in a stage below which nothing is concluded.
    pub min_requests: u64,
    /// About how many more candidate calls the stage needs to pass, if they go like the ones so
    /// far; absent when there is no telling.
    pub needed_calls: Option<u64>,
    /// How long that takes at the rate of this stage so far, in seconds; absent when there is no telling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed_seconds: Option<u64>,
    /// Bad calls of callers that had just failed, which are not counted as evidence.
    pub repeated: u64,
    /// Bad calls that could not be told one by one, which are not counted as evidence.
    pub untold: u64,
    /// Candidate calls in a row that found no connection.
    pub connect_failures: u32,
    /// How each guard that has a limit stands.
    #[serde(default)]
    pub guards: Vec<GuardRecord>,
    /// The guard that decided; absent where the comparison with stable did, or nothing has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<Guard>,
    /// What calls took since they are judged, or since the process started where that is later; a
    /// second old at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<TookRecord>,
    /// The latest calls that went wrong before a revert, 8 of each arm at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deciding: Vec<DecidingOutcome>,
}

/// The numbers of the error check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ErrorsRecord {
    /// The lesser of the next two: both must be refuted.
    pub e_value: f64,
    /// Evidence against "fails at most `margin` times as often as stable".
    pub ratio_e_value: f64,
    /// Evidence against "fails in at most the share `floor` of its calls".
    pub floor_e_value: f64,
    /// Tolerated ratio.
    pub margin: f64,
    /// Error rate that never matters.
    pub floor: f64,
    /// Callers whose calls the candidate failed; counted up to 3, which a revert for errors needs.
    pub callers: u32,
    /// Evidence in this stage that the candidate is good enough to pass.
    pub pass_e_value: f64,
}

/// The numbers of the latency check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LatencyRecord {
    /// The mean of the e-values of the quantiles.
    pub e_value: f64,
    /// Tolerated slowdown.
    pub margin: f64,
    /// The check at each quantile of stable's latency.
    pub quantiles: [QuantileRecord; QUANTILES.len()],
    /// Evidence in this stage that the candidate is good enough to pass.
    pub pass_e_value: f64,
}

/// The latency check at one quantile of stable's latency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QuantileRecord {
    /// Which quantile, 0 to 1.
    pub quantile: f64,
    /// Evidence against "at most `margin` times as slow".
    pub e_value: f64,
    /// Stable's quantile as of late, in seconds; absent while too few calls are known.
    pub stable_limit_seconds: Option<f64>,
    /// What a call of the candidate may take: `margin` times stable's quantile, in seconds.
    pub candidate_limit_seconds: Option<f64>,
    /// Stable's calls that took longer than stable's limit at their time.
    pub stable_slow: u64,
    /// The candidate's calls that took longer than the candidate's limit at their time.
    pub candidate_slow: u64,
}

/// What the calls of both arms took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TookRecord {
    /// Stable's.
    pub stable: ArmTook,
    /// The candidate's.
    pub candidate: ArmTook,
}

/// Quantiles of what the calls of one arm took; absent without calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ArmTook {
    /// The median, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_seconds: Option<f64>,
    /// The 95th percentile, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_seconds: Option<f64>,
    /// The 99th percentile, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_seconds: Option<f64>,
}

impl ArmTook {
    /// The quantiles of these durations.
    pub fn of(latencies: &Latencies) -> Self {
        let at = |quantile| latencies.quantile(quantile).map(|it| it.as_secs_f64());
        Self {
            p50_seconds: at(0.5),
            p95_seconds: at(0.95),
            p99_seconds: at(0.99),
        }
    }
}

/// The calls of one arm in the whole rollout, warm-up apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ArmRecord {
    /// Finished calls.
    pub calls: u64,
    /// Bad ones, all of them.
    pub bad: u64,
    /// Bad ones that count as evidence: one a caller and minute.
    pub bad_counted: u64,
}
