//! Why a rollout was reverted.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a rollout was reverted: the same words in API, CLI, log and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RevertReason {
    /// The candidate fails more often than was agreed.
    ErrorRateHigh,
    /// The candidate answers more slowly than was agreed.
    LatencyDegraded,
    /// A metric that applications push is worse with the candidate than was agreed.
    MetricDegraded,
    /// The candidate could not be reached, or failed its health checks.
    HealthCheckFailed,
    /// The candidate's circuit breaker opened.
    CircuitBreaker,
    /// A stage's time was over without a conclusion, and the plan says to revert then.
    Inconclusive,
    /// A gate refused to let the rollout go on, and the plan says to revert then.
    GateRefused,
    /// Copies of calls were answered too differently from the calls themselves, before the candidate
    /// had any traffic.
    ShadowDiverged,
    /// A person, or a person's pipeline, asked for it.
    Manual,
}

impl RevertReason {
    /// The reason's name in API, log and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ErrorRateHigh => "error_rate_high",
            Self::LatencyDegraded => "latency_degraded",
            Self::MetricDegraded => "metric_degraded",
            Self::HealthCheckFailed => "health_check_failed",
            Self::CircuitBreaker => "circuit_breaker",
            Self::Inconclusive => "inconclusive",
            Self::GateRefused => "gate_refused",
            Self::ShadowDiverged => "shadow_diverged",
            Self::Manual => "manual",
        }
    }
}

impl fmt::Display for RevertReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
