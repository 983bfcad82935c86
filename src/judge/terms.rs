//! What was agreed: the checked form of a plan's `judge` part.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::metrics::Metric;
use super::spec::{JudgeSpec, default_window};

/// How much worse a candidate may be and how sure the judge must be; valid by construction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// Highest probability of reverting a tolerable candidate over a whole rollout.
    pub alpha: f64,
    /// Highest probability of passing a stage with a candidate that is worse.
    pub beta: f64,
    /// Tolerated ratio of the candidate's error rate to stable's.
    pub error_margin: f64,
    /// Error rate that never matters.
    pub error_floor: f64,
    /// Error rate under which a candidate passes a stage.
    pub error_cap: f64,
    /// Tolerated slowdown.
    pub latency_margin: f64,
    /// Slowdown that a passed stage has ruled out.
    pub pass_margin: f64,
    /// Candidate calls in a stage below which nothing is concluded.
    pub min_requests: u64,
    /// Candidate calls in a row that found no connection and revert at once; 0 turns the guard off.
    pub max_connect_failures: u32,
    /// Error rate of the candidate's that reverts whatever stable does.
    #[serde(default)]
    pub max_error_rate: Option<f64>,
    /// What the candidate's 99th percentile of latency may be, whatever stable's is.
    #[serde(default)]
    pub max_latency_p99: Option<Duration>,
    /// Time after which the guards begin anew.
    #[serde(default = "default_window")]
    pub guard_window: Duration,
    /// Metrics that applications push.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
}

/// What each check's e-value counts for. They add up to one, which keeps `alpha` whole.
///
/// Nothing is set aside for watching a candidate with all of the traffic: without a stable arm
/// beside it no test keeps its promise, so that share would be spent on nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CheckWeights {
    /// Of the error check.
    pub errors: f64,
    /// Of the latency check.
    pub latency: f64,
    /// Of all pushed metrics together, spread evenly over them.
    pub metrics: f64,
}

/// Why a plan's `judge` part is not usable: every problem, each with the path of its field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", describe(.problems))]
pub struct TermsError {
    /// Path of a field inside `judge`, and what is wrong with it.
    pub problems: Vec<(String, String)>,
}

fn describe(problems: &[(String, String)]) -> String {
    let each = problems
        .iter()
        .map(|(path, message)| format!("{path}: {message}"));
    each.collect::<Vec<_>>().join("; ")
}

impl Terms {
    /// Checks a spec.
    ///
    /// # Errors
    /// [`TermsError`] with everything that [`JudgeSpec::problems`] finds.
    pub fn new(spec: &JudgeSpec) -> Result<Self, TermsError> {
        let problems = spec.problems();
        if !problems.is_empty() {
            return Err(TermsError { problems });
        }
        Ok(Self::lower(spec))
    }

    fn lower(spec: &JudgeSpec) -> Self {
        Self {
            alpha: spec.alpha,
            beta: spec.beta,
            error_margin: spec.errors_margin(),
            error_floor: spec.errors.floor,
            error_cap: spec.errors.cap,
            latency_margin: spec.latency_margin(),
            pass_margin: spec.pass_margin(),
            min_requests: spec.min_requests,
            max_connect_failures: spec.max_connect_failures,
            max_error_rate: spec.guards.max_error_rate,
            max_latency_p99: spec.guards.max_latency_p99,
            guard_window: spec.guards.window,
            metrics: spec.metrics.iter().map(Metric::new).collect(),
        }
    }

    /// Whether there are limits that the candidate may not break whatever stable does.
    pub fn has_guards(&self) -> bool {
        self.max_error_rate.is_some() || self.max_latency_p99.is_some()
    }

    /// What each check counts for: pushed metrics only where the plan names some.
    pub fn weights(&self) -> CheckWeights {
        let metrics = if self.metrics.is_empty() { 0.0 } else { 0.1 };
        let half = (1.0 - metrics) / 2.0;
        CheckWeights {
            errors: half,
            latency: half,
            metrics,
        }
    }

    /// The e-value at which a rollout is reverted.
    pub fn revert_threshold(&self) -> f64 {
        1.0 / self.alpha
    }

    /// The e-value at which a stage is passed.
    pub fn pass_threshold(&self) -> f64 {
        1.0 / self.beta
    }
}

impl Default for Terms {
    fn default() -> Self {
        Self::lower(&JudgeSpec::default())
    }
}
