//! The `plans` section of the file.

mod checklist;
mod rolling;
mod schedule;
mod shadow;
mod standby;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::judge::spec::JudgeSpec;
use crate::model::{HookName, Percent, duration_text};

pub use checklist::{Amount, BrokenSpec, BudgetSpec, ChecklistSpec, ItemSpec, MeasureSpec, Part};
pub(in crate::rollout) use rolling::MAX_BATCHES;
pub use rolling::{BatchSpec, RollingSpec};
pub use schedule::ScheduleSpec;
pub use shadow::ShadowingSpec;
pub use standby::{SmokeSpec, StandbySpec};

/// The recipe of a rollout: stages the candidate climbs while the judge agrees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanSpec {
    /// `canary` climbs its `stages`. `blue_green` has none: its candidate waits on standby until it
    /// is healthy and has answered the smoke requests, gets all traffic but the hold-back at once,
    /// and is promoted after the bake. `rolling` has none either: the candidate's endpoints take over
    /// from stable's in batches. Default `canary`.
    #[serde(default)]
    pub kind: KindSpec,
    /// One to 32 stages, with growing percents above 0 and at most 99, since a candidate with all of
    /// the traffic has nothing to be compared with. After the last stage the candidate is promoted
    /// to all of the traffic. A last stage of 100 stands for a bake of its time. `blue_green` and
    /// `rolling` plans have none.
    #[serde(default)]
    pub stages: Vec<StageSpec>,
    /// The percent that stays on stable during the bake, so that there is something to compare with;
    /// above 0 and at most 50. Default 5.
    #[serde(default = "default_hold_back")]
    pub hold_back: Percent,
    /// Time after the stages with all but the hold-back on the candidate, judged, before it is
    /// promoted. Default 0s: it is promoted after the last stage; of a `blue_green` plan 5m.
    #[serde(default, with = "duration_text::option")]
    #[schemars(with = "Option<String>")]
    pub bake: Option<Duration>,
    /// How the candidate proves itself before it gets any traffic. Default: not at all; of a
    /// `blue_green` plan by being healthy for 10s.
    #[serde(default)]
    pub standby: Option<StandbySpec>,
    /// Copies of calls that the candidate has to answer like stable before it gets any traffic, and
    /// after it was on standby. Default: none.
    #[serde(default)]
    pub shadow: Option<ShadowingSpec>,
    /// The batches of a `rolling` plan.
    #[serde(default)]
    pub rolling: Option<RollingSpec>,
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
    /// So many reverts of a route within an hour refuse further starts there until one of them is an
    /// hour old, at most 100. Reverts themselves are never held back. Default 3; 0 turns it off.
    #[serde(default = "default_max_reverts")]
    pub max_reverts_per_hour: u32,
    /// What the judge tolerates.
    #[serde(default)]
    pub judge: JudgeSpec,
    /// What happens when a gate refuses to let the rollout go on; one that refuses the start aborts
    /// it. Default `hold`.
    #[serde(default)]
    pub refused: RefusedSpec,
    /// The hooks that are asked, run and told along its rollouts, in this order where several keep a
    /// gate; at most 64. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub hooks: Vec<HookName>,
    /// When its rollouts may begin a stage, and be promoted. Default: at any time.
    #[serde(default, skip_serializing_if = "ScheduleSpec::is_empty")]
    pub schedule: ScheduleSpec,
    /// What is to be done or to hold before its rollouts begin, go on and are promoted. Default:
    /// nothing.
    #[serde(default, skip_serializing_if = "ChecklistSpec::is_empty")]
    pub checklist: ChecklistSpec,
}

impl PlanSpec {
    /// What is wrong with the values: the path of each field inside the plan, and why.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = self.stage_problems();
        problems.extend(self.bake_problems());
        if self.max_reverts_per_hour > MAX_REVERTS_PER_HOUR {
            let message = format!(
                "{} is above {MAX_REVERTS_PER_HOUR}",
                self.max_reverts_per_hour
            );
            problems.push(("max_reverts_per_hour".to_owned(), message));
        }
        let standby = self.standby.iter().flat_map(StandbySpec::problems);
        problems.extend(standby.map(|(path, message)| (format!("standby.{path}"), message)));
        let schedule = self.schedule.problems().into_iter();
        problems.extend(schedule.map(|(path, message)| (format!("schedule.{path}"), message)));
        let shadow = self.shadow.iter().flat_map(ShadowingSpec::problems);
        problems.extend(shadow.map(|(path, message)| (format!("shadow.{path}"), message)));
        let rolling = self.rolling.iter().flat_map(RollingSpec::problems);
        problems.extend(rolling.map(|(path, message)| (format!("rolling.{path}"), message)));
        let metrics = self.judge.metrics.iter();
        let pushed: Vec<_> = metrics.map(|metric| metric.name.clone()).collect();
        let checklist = self.checklist.problems(&pushed).into_iter();
        problems.extend(checklist.map(|(path, message)| (format!("checklist.{path}"), message)));
        let judge = self.judge.problems().into_iter();
        problems.extend(judge.map(|(path, message)| (format!("judge.{path}"), message)));
        problems
    }

    /// Time of the bake, unless a last stage says it.
    pub(super) fn bake(&self) -> Duration {
        self.bake.unwrap_or(match self.kind {
            KindSpec::Canary | KindSpec::Rolling => Duration::ZERO,
            KindSpec::BlueGreen => DEFAULT_BAKE,
        })
    }

    /// How the candidate proves itself before it gets any traffic.
    pub(super) fn standby(&self) -> Option<StandbySpec> {
        match (self.kind, &self.standby) {
            (_, Some(standby)) => Some(standby.clone()),
            (KindSpec::BlueGreen, None) => Some(StandbySpec::default()),
            (KindSpec::Canary | KindSpec::Rolling, None) => None,
        }
    }

    /// The batches, where there are any.
    pub(super) fn rolling(&self) -> Option<RollingSpec> {
        match self.kind {
            KindSpec::Rolling => Some(self.rolling.clone().unwrap_or_default()),
            KindSpec::Canary | KindSpec::BlueGreen => None,
        }
    }

    /// The stages below 100 percent.
    pub(super) fn climbs(&self) -> &[StageSpec] {
        match self.stages.split_last() {
            Some((last, before)) if is_whole(last) => before,
            Some(_) | None => &self.stages,
        }
    }

    /// A last stage of 100 percent.
    pub(super) fn whole(&self) -> Option<&StageSpec> {
        self.stages.last().filter(|last| is_whole(last))
    }

    /// The candidate's share during the bake, unless it has more already.
    pub(super) fn bake_percent(&self) -> f64 {
        100.0 - f64::from(self.hold_back)
    }

    fn bake_problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let hold_back = f64::from(self.hold_back);
        if hold_back <= 0.0 || hold_back > HIGHEST_HOLD_BACK {
            let message = format!("{hold_back} is not above 0 and at most {HIGHEST_HOLD_BACK}");
            problems.push(("hold_back".to_owned(), message));
        }
        let Some(whole) = self.whole() else {
            return problems;
        };
        if self.bake.is_some_and(|bake| !bake.is_zero()) {
            let message = "the last stage of 100 percent is a bake already; leave one of them out";
            problems.push(("bake".to_owned(), message.to_owned()));
        }
        if self.climbs().is_empty() && whole.duration.is_zero() && !whole.approve {
            let message = "is 0s: the candidate would get all of the traffic without being judged; give it a time, or set weights instead";
            problems.push(("stages[0].for".to_owned(), message.to_owned()));
        }
        problems
    }

    /// A blue-green plan switches once.
    fn switch_problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if self.rolling.is_some() {
            problems.push(no_batches());
        }
        if !self.stages.is_empty() {
            let message = "a blue_green plan has no stages: it switches once; say `kind: canary`, or leave them out";
            problems.push(("stages".to_owned(), message.to_owned()));
        }
        if self.bake().is_zero() {
            let message = "is 0s: the candidate would get all of the traffic without being judged; give it a time";
            problems.push(("bake".to_owned(), message.to_owned()));
        }
        problems
    }

    /// The stages of a rolling plan are its batches.
    fn rolling_problems(&self) -> Vec<(String, String)> {
        if self.stages.is_empty() {
            return Vec::new();
        }
        let message =
            "a rolling plan has no stages of its own: it has a stage a batch; leave them out";
        vec![("stages".to_owned(), message.to_owned())]
    }

    fn stage_problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        match self.kind {
            KindSpec::Canary => {}
            KindSpec::BlueGreen => return self.switch_problems(),
            KindSpec::Rolling => return self.rolling_problems(),
        }
        if self.rolling.is_some() {
            problems.push(no_batches());
        }
        if self.stages.is_empty() || self.stages.len() > MAX_STAGES {
            let message = format!("{} stages; a plan has 1 to {MAX_STAGES}", self.stages.len());
            problems.push(("stages".to_owned(), message));
        }
        let mut before = 0.0;
        for (index, stage) in self.climbs().iter().enumerate() {
            let percent = f64::from(stage.percent);
            let wrong = if percent <= 0.0 {
                Some("is 0: the candidate would get no traffic to be judged by".to_owned())
            } else if percent > HIGHEST_PERCENT {
                Some(format!(
                    "{percent} is above {HIGHEST_PERCENT}: no stable traffic is left to compare with; end at 95, or with 100 for a bake before the promotion"
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

/// Time of a blue-green plan's bake.
const DEFAULT_BAKE: Duration = Duration::from_mins(5);
/// Highest `max_reverts_per_hour`.
const MAX_REVERTS_PER_HOUR: u32 = 100;
/// Highest `hold_back`.
const HIGHEST_HOLD_BACK: f64 = 50.0;
/// Most stages of a plan.
const MAX_STAGES: usize = 32;
/// Highest percent of a stage.
const HIGHEST_PERCENT: f64 = 99.0;

/// How a plan brings its candidate to the traffic.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum KindSpec {
    /// Stage by stage.
    #[default]
    Canary,
    /// All at once, after it has proved itself on standby.
    BlueGreen,
    /// Endpoint by endpoint, or batch by batch.
    Rolling,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageSpec {
    /// The candidate's share of new traffic, above 0 and at most 99, or 100 in the last stage.
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

fn no_batches() -> (String, String) {
    let message = "is for plans with `kind: rolling`";
    ("rolling".to_owned(), message.to_owned())
}

fn is_whole(stage: &StageSpec) -> bool {
    stage.percent == Percent::HUNDRED
}

fn default_hold_back() -> Percent {
    Percent::new(5.0).unwrap_or(Percent::ZERO)
}

fn default_max_stage() -> Duration {
    Duration::from_hours(24)
}

fn default_max_reverts() -> u32 {
    3
}

fn default_cooldown() -> Duration {
    Duration::from_mins(5)
}
