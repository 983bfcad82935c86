//! The `plans` section of the file.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::judge::spec::JudgeSpec;
use crate::model::{Percent, duration_text};

/// The recipe of a rollout: stages the candidate climbs while the judge agrees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanSpec {
    /// One to 32 stages, with growing percents. After the last one the candidate is promoted
    /// to all of the traffic.
    pub stages: Vec<StageSpec>,
    /// Time after the start that is not judged, so that a cold candidate is not blamed.
    /// Default 0s.
    #[serde(default, with = "duration_text")]
    #[schemars(with = "String")]
    pub warmup: Duration,
    /// What happens when a stage's time is over and the evidence is not conclusive. Default `extend`.
    #[serde(default)]
    pub inconclusive: InconclusiveSpec,
    /// Longest a stage is extended, counted from its start. After it the stage holds and
    /// waits for a person. Default 24h.
    #[serde(default = "default_max_stage", with = "duration_text")]
    #[schemars(with = "String")]
    pub max_stage: Duration,
    /// Time after a revert in which no rollout of the same candidate starts. Default 5m.
    #[serde(default = "default_cooldown", with = "duration_text")]
    #[schemars(with = "String")]
    pub cooldown: Duration,
    /// What the judge tolerates.
    #[serde(default)]
    pub judge: JudgeSpec,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageSpec {
    /// The candidate's share of new traffic.
    pub percent: Percent,
    /// Shortest time in the stage.
    #[serde(rename = "for", with = "duration_text")]
    #[schemars(with = "String")]
    pub duration: Duration,
    /// Wait for a person's `approve` before the next stage. Default false.
    #[serde(default)]
    pub approve: bool,
}

/// What happens when a stage's time is over and the evidence is not conclusive.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum InconclusiveSpec {
    /// Stay and gather evidence, up to `max_stage`.
    #[default]
    Extend,
    /// Stay until a person decides.
    Hold,
    /// Go on.
    Advance,
    /// Go back.
    Revert,
}

fn default_max_stage() -> Duration {
    Duration::from_secs(24 * 3600)
}

fn default_cooldown() -> Duration {
    Duration::from_secs(300)
}
