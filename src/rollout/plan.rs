//! The checked form of a plan.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::judge::Terms;
use crate::model::{HookName, Percent};

use super::gate::Gate;
use super::spec::{
    ChecklistSpec, InconclusiveSpec, MAX_BATCHES, PlanSpec, RefusedSpec, RollingSpec, ScheduleSpec,
    ShadowingSpec, StandbySpec,
};

/// The recipe of a rollout. A rollout keeps the plan that it began with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// At least one; their percents never fall.
    stages: Vec<Stage>,
    /// Time after the start that is not judged.
    pub warmup: Duration,
    /// What happens when a stage's time is over and the evidence is not conclusive.
    pub inconclusive: InconclusiveSpec,
    /// Longest a stage is extended, counted from its start.
    pub max_stage: Duration,
    /// Time after a revert in which no rollout of the same candidate starts.
    pub cooldown: Duration,
    /// So many reverts of the route within an hour refuse further starts; 0 never do. Plans of
    /// earlier versions had no such bound.
    #[serde(default)]
    pub max_reverts_per_hour: u32,
    /// What the judge tolerates.
    pub terms: Terms,
    /// Where it asks others whether it may go on.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub gates: BTreeSet<Gate>,
    /// What a gate's refusal does, [`Gate::ConfirmStart`]'s apart, which aborts.
    #[serde(default)]
    pub refused: RefusedSpec,
    /// How the candidate proves itself in the stage on standby.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby: Option<StandbySpec>,
    /// How the candidate has to answer copies in the stage in the shadow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowingSpec>,
    /// How the candidate's endpoints take over in batches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling: Option<RollingSpec>,
    /// Who keeps its gates and is told of what happens, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookName>,
    /// When a stage may begin, and the candidate be promoted.
    #[serde(default, skip_serializing_if = "ScheduleSpec::is_empty")]
    pub schedule: ScheduleSpec,
    /// What is to be done or to hold along its rollouts.
    #[serde(default, skip_serializing_if = "ChecklistSpec::is_empty")]
    pub checklist: ChecklistSpec,
}

/// One step of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// The candidate's share of new traffic.
    pub percent: Percent,
    /// Shortest time in the stage.
    pub duration: Duration,
    /// Whether a person must approve before the next stage.
    pub approve: bool,
    /// What the stage is for.
    #[serde(default)]
    pub role: StageRole,
    /// Which part of the candidate's endpoints takes new traffic, the first ones; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Part>,
}

/// What a percent, which is told to a hundredth, makes a part of a hundred endpoints smaller at most.
const ROUNDING: f64 = 0.01;

/// So many of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// So many, at least one.
    pub taken: usize,
    /// Of so many.
    pub of: usize,
}

impl Part {
    /// The same part of another number, rounded up: all of them for all of them.
    pub fn of(self, number: usize) -> usize {
        let part = number.saturating_mul(self.taken);
        part.div_ceil(self.of.max(1)).min(number)
    }

    /// The same part of another number, rounded down, but no larger a part than `percent`, and with
    /// one left over: what is left bears the rest of the traffic.
    pub fn replaced(self, number: usize, percent: Percent) -> usize {
        let part = number.saturating_mul(self.taken) / self.of.max(1);
        // A third is 33.33 percent, and of three endpoints it is one.
        let borne = (number as f64 * percent.fraction() + ROUNDING) as usize;
        part.min(borne).min(number.saturating_sub(1))
    }
}

/// What a stage is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageRole {
    /// The candidate is judged at a share.
    #[default]
    Climb,
    /// The last share before the promotion, with the hold-back left on stable, so that there is
    /// something to compare with. The candidate is judged.
    Bake,
    /// The candidate gets no traffic and has to be healthy and to answer smoke requests.
    Standby,
    /// The candidate gets copies of calls, and has to answer them like stable answers the calls.
    Shadow,
}

impl StageRole {
    /// Whether the candidate has traffic and is judged.
    pub fn is_judged(self) -> bool {
        match self {
            Self::Climb | Self::Bake => true,
            Self::Standby | Self::Shadow => false,
        }
    }

    /// The role's name in API and log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Climb => "climb",
            Self::Bake => "bake",
            Self::Standby => "standby",
            Self::Shadow => "shadow",
        }
    }
}

/// Why a plan is not usable: every problem, each with the path of its field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", describe(.problems))]
pub struct PlanError {
    /// Path of a field inside the plan, and what is wrong with it.
    pub problems: Vec<(String, String)>,
}

fn describe(problems: &[(String, String)]) -> String {
    let each = problems
        .iter()
        .map(|(path, message)| format!("{path}: {message}"));
    each.collect::<Vec<_>>().join("; ")
}

impl Plan {
    /// Checks a spec.
    ///
    /// # Errors
    /// [`PlanError`] with everything that [`PlanSpec::problems`] finds.
    pub fn new(spec: &PlanSpec) -> Result<Self, PlanError> {
        Self::of_endpoints(spec, 1)
    }

    /// The same for a candidate with so many endpoints, which a rolling plan goes by.
    ///
    /// # Errors
    /// As [`Plan::new`], and when that makes too many batches.
    pub fn of_endpoints(spec: &PlanSpec, endpoints: usize) -> Result<Self, PlanError> {
        let mut problems = spec.problems();
        let batches = spec.rolling().map(|rolling| rolling.batches(endpoints));
        let batches = batches.unwrap_or_default();
        if batches.len() > MAX_BATCHES {
            let count = batches.len();
            let message =
                format!("{count} batches of {endpoints} endpoints; at most {MAX_BATCHES}");
            problems.push(("rolling.batch".to_owned(), message));
        }
        let terms = Terms::new(&spec.judge);
        let (Ok(terms), true) = (terms, problems.is_empty()) else {
            return Err(PlanError { problems });
        };
        Ok(Self {
            stages: lower(spec, &batches),
            warmup: spec.warmup,
            inconclusive: spec.inconclusive,
            max_stage: spec.max_stage,
            cooldown: spec.cooldown,
            max_reverts_per_hour: spec.max_reverts_per_hour,
            terms,
            gates: BTreeSet::new(),
            refused: spec.refused,
            standby: spec.standby(),
            shadow: spec.shadow.clone(),
            rolling: spec.rolling(),
            hooks: spec.hooks.clone(),
            schedule: spec.schedule.clone(),
            checklist: spec.checklist.clone(),
        })
    }

    /// The stages, in their order.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// A stage by its place, from 0.
    pub fn stage(&self, index: usize) -> Option<&Stage> {
        self.stages.get(index)
    }

    /// Whether the candidate is judged at a stage.
    pub fn is_judged(&self, index: usize) -> bool {
        let stage = self.stage(index);
        stage.is_some_and(|stage| stage.role.is_judged())
    }

    /// Place of the first stage that gives the candidate traffic.
    pub fn first(&self) -> usize {
        let mut stages = self.stages.iter();
        let first = stages.position(|stage| stage.percent > Percent::ZERO);
        first.unwrap_or_default()
    }

    /// Whether the endpoints that begin with a stage have to be healthy before it.
    pub fn awaits_health(&self, index: usize) -> bool {
        let taken = |index| self.stage(index).and_then(|stage| stage.endpoints);
        let before = index.checked_sub(1).and_then(taken);
        let now = taken(index);
        self.rolling.is_some() && now.is_some() && now != before
    }

    /// The least time that all judged stages take together, over which the judge spreads its bets.
    pub fn planned(&self) -> Duration {
        let judged = self.stages.iter().filter(|stage| stage.role.is_judged());
        judged.fold(Duration::ZERO, |sum, stage| {
            sum.saturating_add(stage.duration)
        })
    }
}

/// The stages of a spec without problems.
fn lower(spec: &PlanSpec, batches: &[usize]) -> Vec<Stage> {
    let standby = spec.standby().map(|_| Stage {
        percent: Percent::ZERO,
        duration: Duration::ZERO,
        approve: false,
        role: StageRole::Standby,
        endpoints: None,
    });
    let shadow = spec.shadow.as_ref().map(|shadow| Stage {
        percent: Percent::ZERO,
        duration: shadow.duration,
        approve: false,
        role: StageRole::Shadow,
        endpoints: None,
    });
    let climbs = spec.climbs().iter().map(|stage| Stage {
        percent: stage.percent,
        duration: stage.duration,
        approve: stage.approve,
        role: StageRole::Climb,
        endpoints: None,
    });
    let batches = lower_batches(spec, batches);
    let mut stages: Vec<_> = standby
        .into_iter()
        .chain(shadow)
        .chain(climbs)
        .chain(batches)
        .collect();
    let whole = spec.whole();
    let duration = whole.map_or(spec.bake(), |stage| stage.duration);
    let approve = whole.is_some_and(|stage| stage.approve);
    if duration > Duration::ZERO || approve {
        let highest = stages.last().map(|stage| f64::from(stage.percent));
        let percent = highest.unwrap_or_default().max(spec.bake_percent());
        stages.push(Stage {
            // A share between two that are valid is one.
            percent: Percent::new(percent).unwrap_or(Percent::ZERO),
            duration,
            approve,
            role: StageRole::Bake,
            endpoints: stages.last().and_then(|stage| stage.endpoints),
        });
    }
    stages
}

/// A stage for each batch, at the part of the endpoints that takes traffic then.
fn lower_batches(spec: &PlanSpec, batches: &[usize]) -> Vec<Stage> {
    let of = batches.last().copied().unwrap_or(1);
    let duration = spec.rolling().map(|rolling| rolling.duration);
    let each = batches.iter().map(|taken| {
        let percent = *taken as f64 * 100.0 / of as f64;
        Stage {
            percent: Percent::new(percent.min(spec.bake_percent())).unwrap_or(Percent::ZERO),
            duration: duration.unwrap_or_default(),
            approve: false,
            role: StageRole::Climb,
            endpoints: Some(Part { taken: *taken, of }),
        }
    });
    each.collect()
}
