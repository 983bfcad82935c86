//! The `judge.metrics` part of a plan: what applications push, and when it is bad.

use serde::{Deserialize, Serialize};

use crate::model::MetricName;

/// Most metrics of a plan.
const MOST_METRICS: usize = 8;

/// One metric that applications push.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricSpec {
    /// Its name, as in what is pushed; each once in a plan.
    pub name: MetricName,
    /// What is pushed: `yes_no` (true or false, or 1 or 0) or `number` (0 or more, at most 1e12).
    pub kind: MetricKindSpec,
    /// Which values are the bad ones: `higher` (of `yes_no` true) or `lower` (of `yes_no` false).
    /// Default `higher`.
    #[serde(default)]
    pub worse: WorseSpec,
    /// How many times as often as stable's the candidate's may be bad, or of numbers how many times as
    /// large (or as small) they may be; 1 to 100. Default 1.1, of numbers 1.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// Share of bad answers, as a fraction, that never matters, 0.000001 to 0.5; of `yes_no` alone.
    /// Default 0.001.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
}

/// What is pushed of a metric.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum MetricKindSpec {
    /// An answer to a question with two, such as whether a filter for safety was hit.
    YesNo,
    /// A number, such as tokens or cost.
    Number,
}

/// Which values of a metric are the bad ones.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum WorseSpec {
    /// The higher ones; of answers `true`.
    #[default]
    Higher,
    /// The lower ones; of answers `false`.
    Lower,
}

impl MetricSpec {
    /// How many times as bad as stable's the candidate's may be.
    pub fn margin(&self) -> f64 {
        self.margin.unwrap_or(match self.kind {
            MetricKindSpec::YesNo => 1.1,
            MetricKindSpec::Number => 1.2,
        })
    }

    /// The share of bad answers that never matters.
    pub fn floor(&self) -> f64 {
        self.floor.unwrap_or(0.001)
    }

    fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut wrong = |field: &str, message| problems.push((field.to_owned(), message));
        let margin = self.margin();
        if !(1.0..=100.0).contains(&margin) {
            wrong("margin", format!("{margin} is not between 1 and 100"));
        }
        let floor = self.floor();
        if !(1e-6..=0.5).contains(&floor) {
            wrong("floor", format!("{floor} is not between 0.000001 and 0.5"));
        }
        if self.kind == MetricKindSpec::Number && self.floor.is_some() {
            let message = "only a metric of the kind `yes_no` has a floor";
            wrong("floor", message.to_owned());
        }
        problems
    }
}

/// What is wrong with the metrics of a plan: the path of each field inside `judge`, and why.
pub(super) fn problems(metrics: &[MetricSpec]) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    if metrics.len() > MOST_METRICS {
        let message = format!(
            "{} metrics, a plan has at most {MOST_METRICS}",
            metrics.len()
        );
        problems.push(("metrics".to_owned(), message));
    }
    for (place, metric) in metrics.iter().enumerate() {
        let path = format!("metrics[{place}]");
        let of_metric = metric.problems().into_iter();
        problems.extend(of_metric.map(|(field, message)| (format!("{path}.{field}"), message)));
        let mut before = metrics.iter().take(place);
        if before.any(|other| other.name == metric.name) {
            let message = format!("a metric before it is named `{}`, too", metric.name);
            problems.push((format!("{path}.name"), message));
        }
    }
    problems
}
