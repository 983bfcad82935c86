//! The `plans` section of the file.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::judge::spec::JudgeSpec;
use crate::model::{Percent, duration_text};

/// The recipe of a rollout: stages the candidate climbs while the judge agrees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanSpec {
    /// One to 32 stages, with growing percents above 0 and at most 99, since a candidate with all of
    /// the traffic has nothing to be compared with. After the last stage the candidate is promoted
    /// to all of the traffic.
    pub stages: Vec<StageSpec>,
    /// Time after the start that is not judged, so that a cold candidate is not blamed; one that
    /// cannot be reached is reverted all the same. Default 0s.
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
    /// What happens when a gate refuses to let the rollout go on; one that refuses the start aborts
    /// it. Default `hold`.
    #[serde(default)]
    pub refused: RefusedSpec,
}

impl PlanSpec {
    /// What is wrong with the values: the path of each field inside the plan, and why.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = self.stage_problems();
        let judge = self.judge.problems().into_iter();
        problems.extend(judge.map(|(path, message)| (format!("judge.{path}"), message)));
        problems
    }

    fn stage_problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if self.stages.is_empty() || self.stages.len() > MAX_STAGES {
            let message = format!("{} stages; a plan has 1 to {MAX_STAGES}", self.stages.len());
            problems.push(("stages".to_owned(), message));
        }
        let mut before = 0.0;
        for (index, stage) in self.stages.iter().enumerate() {
            let percent = f64::from(stage.percent);
            let wrong = if percent <= 0.0 {
                Some("is 0: the candidate would get no traffic to be judged by".to_owned())
            } else if percent > HIGHEST_PERCENT {
                Some(format!(
                    "{percent} is above {HIGHEST_PERCENT}: no stable traffic is left to compare with; end at 95, the candidate is promoted after the last stage"
                ))
            } else if percent <= before {
                Some(format!("{percent} is not above the stage before, {before}"))
            } else {
                None
            };
            before = before.max(percent);
            problems.extend(wrong.map(|message| (format!("stages[{index}].percent"), message)));
        }
        problems
    }
}

/// Most stages of a plan.
const MAX_STAGES: usize = 32;
/// Highest percent of a stage.
const HIGHEST_PERCENT: f64 = 99.0;

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageSpec {
    /// The candidate's share of new traffic, above 0 and at most 99.
    pub percent: Percent,
    /// Shortest time in the stage; paused time does not count. With `0s` the stage is left as soon
    /// as the evidence allows.
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

/// What happens when a gate refuses to let the rollout go on.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum RefusedSpec {
    /// Pause; `resume` asks the gate again.
    #[default]
    Hold,
    /// Go back.
    Revert,
}

fn default_max_stage() -> Duration {
    Duration::from_hours(24)
}

fn default_cooldown() -> Duration {
    Duration::from_mins(5)
}
