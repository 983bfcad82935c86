//! Where a rollout is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::judge::{StageTime, Verdict};
use crate::model::{Percent, RevertReason};

use super::gate::{Ask, Gate};
use super::plan::{Part, Plan, Stage, StageRole};

/// Where a rollout is. Made by [`super::step`] only; kept in the store between steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The phase.
    pub(super) phase: Phase,
    /// What a stage waits for.
    #[serde(default)]
    pub(super) waits: Waits,
    /// Whether a person stopped the clock.
    #[serde(default)]
    pub(super) paused: bool,
    /// Time in the phase, pauses apart, up to `seen`.
    #[serde(default)]
    pub(super) elapsed: Duration,
    /// The latest verdict of this stage.
    #[serde(default)]
    pub(super) verdict: Option<Verdict>,
    /// The `now` of the latest step; means nothing to another process.
    #[serde(skip)]
    pub(super) seen: Option<Duration>,
}

/// The phase of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// Made, but not started.
    Pending,
    /// The candidate gets the first stage's share and is not judged yet.
    Warmup,
    /// The candidate is judged at a stage's share.
    Stage {
        /// The stage's place in the plan, from 0.
        index: usize,
    },
    /// The candidate has all of the traffic. Finished.
    Promoted,
    /// Stable has all of the traffic again, and the candidate is to blame. Finished.
    Reverted {
        /// Why.
        reason: RevertReason,
    },
    /// Stable has all of the traffic again, and nobody is to blame. Finished.
    Aborted,
}

/// What a stage waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Waits {
    /// The stage's time and the evidence.
    #[default]
    Time,
    /// The time is over; evidence.
    Evidence,
    /// A person's approval.
    Approval,
    /// A gate's answer.
    Gate(Gate),
    /// The endpoints that the next stage begins with, which have to be healthy.
    Health,
}

/// A rollout for people: what a status shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// `pending`, `warmup`, `stage`, `extended`, `awaiting_approval`,
    /// `awaiting_gate`, `awaiting_health`, `baking`, `standby`, `shadowing`, `promoted`, `reverted` or `aborted`.
    pub phase: &'static str,
    /// Whether a person stopped the clock.
    pub paused: bool,
    /// The stage's place in the plan, from 0.
    pub stage: Option<usize>,
    /// How many stages the plan has.
    pub stages: usize,
    /// The candidate's share of new traffic.
    pub percent: Percent,
    /// Time in the phase, pauses apart.
    pub elapsed: Duration,
    /// Least time until the phase can end: of the warm-up, the stage or, after a revert, the
    /// cooldown. `None` where time alone ends nothing.
    pub time_left: Option<Duration>,
    /// Why it was reverted.
    pub reason: Option<RevertReason>,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// A rollout that has not started.
    pub fn new() -> Self {
        Self {
            phase: Phase::Pending,
            waits: Waits::Time,
            paused: false,
            elapsed: Duration::ZERO,
            verdict: None,
            seen: None,
        }
    }

    /// The phase.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether nothing will change any more.
    pub fn is_finished(&self) -> bool {
        match self.phase {
            Phase::Promoted | Phase::Reverted { .. } | Phase::Aborted => true,
            Phase::Pending | Phase::Warmup | Phase::Stage { .. } => false,
        }
    }

    /// Whether it was started, if only up to its first gate.
    pub fn has_begun(&self) -> bool {
        self.phase != Phase::Pending || self.waits.is_leaving()
    }

    /// Whether its clock is stopped.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// What is to be asked of whoever keeps a gate, while the rollout waits for one. It waits on
    /// while it is paused, but no answer counts then.
    pub fn asks(&self) -> Option<Ask> {
        let (Waits::Gate(gate), false) = (self.waits, self.is_finished()) else {
            return None;
        };
        let present = match self.phase {
            Phase::Stage { index } => Some(index),
            Phase::Pending
            | Phase::Warmup
            | Phase::Promoted
            | Phase::Reverted { .. }
            | Phase::Aborted => None,
        };
        let stage = match gate {
            Gate::ConfirmStart => 0,
            Gate::PreStage => present.map_or(0, |index| index.saturating_add(1)),
            Gate::ConfirmAdvance | Gate::PrePromote => present.unwrap_or_default(),
        };
        Some(Ask { gate, stage })
    }

    /// Place of the stage that begins once its endpoints are healthy, while that is waited for.
    pub fn awaits_health(&self) -> Option<usize> {
        if self.waits != Waits::Health {
            return None;
        }
        match self.phase {
            Phase::Stage { index } => Some(index.saturating_add(1)),
            Phase::Pending => Some(0),
            Phase::Warmup | Phase::Promoted | Phase::Reverted { .. } | Phase::Aborted => None,
        }
    }

    /// Which part of the candidate's endpoints takes new traffic, and as large a part of stable's
    /// takes none; `None` where no part is told apart.
    pub fn endpoints(&self, plan: &Plan) -> Option<Part> {
        let stage = match self.phase {
            Phase::Warmup => plan.stage(plan.first()),
            Phase::Stage { index } => plan.stage(index),
            Phase::Pending | Phase::Promoted | Phase::Reverted { .. } | Phase::Aborted => None,
        };
        stage.and_then(|stage| stage.endpoints)
    }

    /// Whether the rollout is at a stage, so that its evidence is judged; in the warm-up only
    /// guards look at it.
    pub fn is_judged(&self, plan: &Plan) -> bool {
        matches!(self.phase, Phase::Stage { index } if plan.is_judged(index))
    }

    /// What the stage that it is at is for.
    pub(super) fn role(&self, plan: &Plan) -> Option<StageRole> {
        let Phase::Stage { index } = self.phase else {
            return None;
        };
        plan.stage(index).map(|stage| stage.role)
    }

    /// Whether the candidate has yet to prove itself on standby.
    pub fn is_on_standby(&self, plan: &Plan) -> bool {
        self.role(plan) == Some(StageRole::Standby) && !self.waits.is_leaving()
    }

    /// Whether the candidate gets copies of calls, which goes on until the next stage begins.
    pub fn is_in_shadow(&self, plan: &Plan) -> bool {
        self.role(plan) == Some(StageRole::Shadow)
    }

    /// The candidate's share of new traffic.
    pub fn percent(&self, plan: &Plan) -> Percent {
        match self.phase {
            Phase::Pending | Phase::Reverted { .. } | Phase::Aborted => Percent::ZERO,
            Phase::Warmup => percent_of(plan.stage(plan.first())),
            Phase::Stage { index } => percent_of(plan.stage(index)),
            Phase::Promoted => Percent::HUNDRED,
        }
    }

    /// Whether the time of the stage is over, for [`crate::judge::Judge::rule`].
    pub fn stage_time(&self, plan: &Plan, now: Duration) -> StageTime {
        match self.time_left(plan, now) {
            Some(left) if left > Duration::ZERO => StageTime::Running,
            Some(_) | None => StageTime::Over,
        }
    }

    /// The rollout as a status shows it.
    pub fn view(&self, plan: &Plan, now: Duration) -> View {
        let (phase, stage, reason) = match self.phase {
            Phase::Pending if self.has_begun() => (self.waits.as_str(), None, None),
            Phase::Pending => ("pending", None, None),
            Phase::Warmup => ("warmup", None, None),
            Phase::Stage { index } => (self.in_stage(plan, index), Some(index), None),
            Phase::Promoted => ("promoted", None, None),
            Phase::Reverted { reason } => ("reverted", None, Some(reason)),
            Phase::Aborted => ("aborted", None, None),
        };
        View {
            phase,
            paused: self.paused,
            stage,
            stages: plan.stages().len(),
            percent: self.percent(plan),
            elapsed: self.elapsed_at(now),
            time_left: self.time_left(plan, now),
            reason,
        }
    }

    /// Time in the phase, pauses apart.
    pub(super) fn elapsed_at(&self, now: Duration) -> Duration {
        if self.paused {
            return self.elapsed;
        }
        let since = now.saturating_sub(self.seen.unwrap_or(now));
        self.elapsed.saturating_add(since)
    }

    fn in_stage(&self, plan: &Plan, index: usize) -> &'static str {
        let role = plan.stage(index).map(|stage| stage.role);
        match (self.waits, role) {
            (Waits::Time, Some(StageRole::Bake)) => "baking",
            (Waits::Time, Some(StageRole::Standby)) => "standby",
            (Waits::Time, Some(StageRole::Shadow)) => "shadowing",
            (waits, _) => waits.as_str(),
        }
    }

    fn time_left(&self, plan: &Plan, now: Duration) -> Option<Duration> {
        let least = match self.phase {
            Phase::Warmup => plan.warmup,
            Phase::Stage { index } => plan.stage(index)?.duration,
            Phase::Reverted { .. } => plan.cooldown,
            Phase::Pending | Phase::Promoted | Phase::Aborted => return None,
        };
        Some(least.saturating_sub(self.elapsed_at(now)))
    }
}

impl Waits {
    /// Whether time and evidence are done with, and somebody has to say yes.
    pub(super) fn is_leaving(self) -> bool {
        match self {
            Self::Approval | Self::Gate(_) | Self::Health => true,
            Self::Time | Self::Evidence => false,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Time => "stage",
            Self::Evidence => "extended",
            Self::Approval => "awaiting_approval",
            Self::Gate(_) => "awaiting_gate",
            Self::Health => "awaiting_health",
        }
    }
}

fn percent_of(stage: Option<&Stage>) -> Percent {
    stage.map_or(Percent::ZERO, |stage| stage.percent)
}
