//! What a rollout could find out, before it starts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::{BackendName, PlanName, RouteName};

/// What a rollout could find out at today's traffic. Nothing of it is promised: it supposes that
/// calls go on as in the last minutes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EstimateBody {
    /// The route.
    #[schema(value_type = String)]
    pub route: RouteName,
    /// The version that is trusted.
    #[schema(value_type = String)]
    pub stable: BackendName,
    /// The version on trial.
    #[schema(value_type = String)]
    pub candidate: BackendName,
    /// The plan; absent when the stages were named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub plan: Option<PlanName>,
    /// How long today was looked at: the last five to seven minutes, or since the process started.
    pub measured_seconds: f64,
    /// Calls on the route, of all versions.
    pub calls_per_second: f64,
    /// Which part of stable's calls went badly, 0 to 1.
    pub error_rate: f64,
    /// Half of stable's calls took at most this; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// 99 of 100 of stable's calls took at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    /// Each stage.
    pub stages: Vec<StageEstimateBody>,
    /// What to know before the start, a sentence each; empty when all is well.
    pub notes: Vec<String>,
    /// What is supposed, a sentence each.
    pub assumptions: Vec<String>,
}

/// What one stage could find out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StageEstimateBody {
    /// Its number, from 1.
    pub stage: u32,
    /// The candidate's share of new traffic.
    pub percent: f64,
    /// Shortest time in the stage.
    pub for_seconds: f64,
    /// Calls of the candidate's in that time.
    pub calls: f64,
    /// Calls with which a candidate that is like stable passes; absent when no number would do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls_needed: Option<u64>,
    /// How long those take; absent also without traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_needed: Option<f64>,
    /// Whether the stage's time is enough to pass.
    pub conclusive_in_time: bool,
    /// The smallest error rate of the candidate's, 0 to 1, that is reverted by the end of the stage
    /// in four rollouts of five if it is there from the start; absent when none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverted_error_rate: Option<f64>,
    /// The same as percentage points above stable's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverted_error_points: Option<f64>,
    /// The same as a multiple of stable's; absent also while stable has no errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverted_error_ratio: Option<f64>,
    /// The smallest slowdown that is reverted so: a factor of every latency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverted_slowdown: Option<f64>,
}
