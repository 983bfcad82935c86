//! The `judge` part of a plan.

mod metrics;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::duration_text;

pub use metrics::{MetricKindSpec, MetricSpec, WorseSpec};

/// How much worse a candidate may be, and how sure the judge must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JudgeSpec {
    /// How much worse is tolerated where the plan does not say it itself. Default `strict`.
    pub preset: PresetSpec,
    /// Highest probability of reverting a healthy candidate over a whole rollout, 1e-9 to 0.5.
    /// Default 0.01.
    pub alpha: f64,
    /// Highest probability of passing a stage with a candidate that is worse, 1e-9 to 0.5. Default 0.05.
    pub beta: f64,
    /// Tolerated error ratio.
    pub errors: ErrorsSpec,
    /// Tolerated slowdown.
    pub latency: LatencySpec,
    /// Candidate calls in a stage below which nothing is concluded, at most 1000000. Default 50.
    pub min_requests: u64,
    /// Calls the candidate could not be reached for, in a row and from at least two keys, that revert at
    /// once. Default 5; 0 turns the guard off.
    pub max_connect_failures: u32,
    /// Limits that the candidate may not break, whatever stable does.
    pub guards: GuardsSpec,
    /// Metrics that applications push and that are judged, too; at most 8. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricSpec>,
}

impl Default for JudgeSpec {
    fn default() -> Self {
        Self {
            preset: PresetSpec::default(),
            alpha: 0.01,
            beta: 0.05,
            errors: ErrorsSpec::default(),
            latency: LatencySpec::default(),
            min_requests: 50,
            max_connect_failures: 5,
            guards: GuardsSpec::default(),
            metrics: Vec::new(),
        }
    }
}

impl JudgeSpec {
    /// How many times as often as stable the candidate may fail.
    pub fn errors_margin(&self) -> f64 {
        self.errors.margin.unwrap_or(match self.preset {
            PresetSpec::Strict => 1.1,
            PresetSpec::Relaxed => 2.0,
        })
    }

    /// How many times as long as stable the candidate may take.
    pub fn latency_margin(&self) -> f64 {
        self.latency.margin.unwrap_or(match self.preset {
            PresetSpec::Strict => 1.2,
            PresetSpec::Relaxed => 1.5,
        })
    }

    /// The slowdown that a passed stage has ruled out.
    pub fn pass_margin(&self) -> f64 {
        self.latency.pass_margin.unwrap_or(match self.preset {
            PresetSpec::Strict => 1.5,
            PresetSpec::Relaxed => 2.0,
        })
    }

    /// What is wrong with the values: the path of each field inside `judge`, and why.
    pub fn problems(&self) -> Vec<(String, String)> {
        let bounds = [
            ("alpha", self.alpha, 1e-9, 0.5),
            ("beta", self.beta, 1e-9, 0.5),
            ("errors.margin", self.errors_margin(), 1.0, 100.0),
            ("errors.floor", self.errors.floor, 1e-6, 0.5),
            ("errors.cap", self.errors.cap, 1e-5, 0.5),
            ("latency.margin", self.latency_margin(), 1.0, 100.0),
            ("latency.pass_margin", self.pass_margin(), 1.0, 100.0),
        ];
        let mut problems: Vec<_> = bounds
            .into_iter()
            .filter(|(_, value, least, most)| !(least..=most).contains(&value))
            .map(|(path, value, least, most)| {
                let message = format!("{value} is not between {least} and {most}");
                (path.to_owned(), message)
            })
            .collect();
        if self.pass_margin() <= self.latency_margin() {
            let message = "must be larger than latency.margin: what is tolerated must also pass";
            problems.push(("latency.pass_margin".to_owned(), message.to_owned()));
        }
        if self.min_requests > MAX_MIN_REQUESTS {
            let message = format!("{} is larger than {MAX_MIN_REQUESTS}", self.min_requests);
            problems.push(("min_requests".to_owned(), message));
        }
        problems.extend(self.guards.problems());
        problems.extend(metrics::problems(&self.metrics));
        problems
    }
}

/// How much worse is tolerated.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum PresetSpec {
    /// 1.1 times the errors, 1.2 times the latency, and 1.5 times it is ruled out.
    #[default]
    Strict,
    /// Twice the errors, 1.5 times the latency, and twice it is ruled out.
    Relaxed,
}

/// Largest accepted `min_requests`.
const MAX_MIN_REQUESTS: u64 = 1_000_000;

/// Limits that the candidate may not break, whatever stable does. Each is a test like the others: it
/// reverts a candidate within the limit with probability `alpha` at most over the planned time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GuardsSpec {
    /// The candidate's error rate, as a fraction, that reverts once it is shown, 0.0001 to 0.9. Default:
    /// none.
    pub max_error_rate: Option<f64>,
    /// The 99th percentile of the candidate's latency that reverts once it is shown, 1ms to 1h. Default:
    /// none.
    #[serde(with = "duration_text::option")]
    #[schemars(with = "Option<String>")]
    pub max_latency_p99: Option<Duration>,
    /// Time after which what these two have seen is forgotten, 10s to 24h. Default 5m.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub window: Duration,
}

impl Default for GuardsSpec {
    fn default() -> Self {
        Self {
            max_error_rate: None,
            max_latency_p99: None,
            window: default_window(),
        }
    }
}

impl GuardsSpec {
    fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut wrong = |field: &str, message: String| {
            problems.push((format!("guards.{field}"), message));
        };
        if let Some(rate) = self.max_error_rate
            && !(1e-4..=0.9).contains(&rate)
        {
            wrong(
                "max_error_rate",
                format!("{rate} is not between 0.0001 and 0.9"),
            );
        }
        let (least, most) = (Duration::from_millis(1), Duration::from_hours(1));
        if let Some(limit) = self.max_latency_p99
            && !(least..=most).contains(&limit)
        {
            wrong(
                "max_latency_p99",
                format!("{limit:?} is not between 1ms and 1h"),
            );
        }
        let (least, most) = (Duration::from_secs(10), Duration::from_hours(24));
        if !(least..=most).contains(&self.window) {
            wrong(
                "window",
                format!("{:?} is not between 10s and 24h", self.window),
            );
        }
        problems
    }
}

/// The window of guards that name none.
pub(super) fn default_window() -> Duration {
    Duration::from_mins(5)
}

/// Tolerated error ratio.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ErrorsSpec {
    /// The candidate may fail this many times as often as stable, 1 to 100. Default 1.1; with the
    /// preset `relaxed` 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// Error rate, as a fraction, that never matters, 0.000001 to 0.5. Default 0.001.
    pub floor: f64,
    /// Error rate, as a fraction, under which a candidate passes a stage, 0.00001 to 0.5. Default 0.01.
    pub cap: f64,
}

impl Default for ErrorsSpec {
    fn default() -> Self {
        Self {
            margin: None,
            floor: 0.001,
            cap: 0.01,
        }
    }
}

/// Tolerated slowdown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LatencySpec {
    /// The candidate may take this many times as long as stable, 1 to 100. Default 1.2; with the
    /// preset `relaxed` 1.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// Slowdown that a passed stage has ruled out: above `margin`, at most 100. Default 1.5; with the
    /// preset `relaxed` 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass_margin: Option<f64>,
}
