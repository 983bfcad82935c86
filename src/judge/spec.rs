//! The `judge` part of a plan.

use serde::{Deserialize, Serialize};

/// How much worse a candidate may be, and how sure the judge must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JudgeSpec {
    /// Highest probability of reverting a healthy candidate over a whole rollout, above 0 and
    /// at most 0.5. Default 0.01.
    pub alpha: f64,
    /// Highest probability of passing a stage with a candidate that is worse. Default 0.05.
    pub beta: f64,
    /// Tolerated error ratio.
    pub errors: ErrorsSpec,
    /// Tolerated slowdown.
    pub latency: LatencySpec,
    /// Candidate calls in a stage below which nothing is concluded. Default 50.
    pub min_requests: u64,
    /// Calls the candidate could not be reached for, in a row and from at least two keys, that revert at
    /// once. Default 5; 0 turns the guard off.
    pub max_connect_failures: u32,
}

impl Default for JudgeSpec {
    fn default() -> Self {
        Self {
            alpha: 0.01,
            beta: 0.05,
            errors: ErrorsSpec::default(),
            latency: LatencySpec::default(),
            min_requests: 50,
            max_connect_failures: 5,
        }
    }
}

/// Tolerated error ratio.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ErrorsSpec {
    /// The candidate may fail this many times as often as stable, 1 to 100. Default 1.1.
    pub margin: f64,
    /// Error rate, as a fraction, that never matters. Default 0.001.
    pub floor: f64,
    /// Error rate, as a fraction, under which a candidate passes a stage. Default 0.01.
    pub cap: f64,
}

impl Default for ErrorsSpec {
    fn default() -> Self {
        Self {
            margin: 1.1,
            floor: 0.001,
            cap: 0.01,
        }
    }
}

/// Tolerated slowdown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LatencySpec {
    /// The candidate may take this many times as long as stable, 1 to 100. Default 1.2.
    pub margin: f64,
    /// Slowdown that a passed stage has ruled out. Default 1.5.
    pub pass_margin: f64,
}

impl Default for LatencySpec {
    fn default() -> Self {
        Self {
            margin: 1.2,
            pass_margin: 1.5,
        }
    }
}
