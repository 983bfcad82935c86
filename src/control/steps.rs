//! What the machine of a rollout wants done, done to what is desired.

use std::sync::Arc;
use std::time::Duration;

use crate::judge::{Record, Recording};
use crate::model::{Percent, RevertReason, RolloutId};
use crate::rollout::{
    self, Action, Event, Finish, Note, Refusal, ShadowReport, StageRole, TrialUse,
};

use super::desired::{RouteState, Run};
use super::event::What;
use super::timestamp::Timestamp;

/// The two clocks: one to decide by, one to show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Since control started.
    pub(super) now: Duration,
    /// On the wall.
    pub(super) at: Timestamp,
}

/// What a step changed beside what is desired.
#[derive(Debug, Default)]
pub(super) struct Stepped {
    /// The rollout that took the step.
    pub(super) rollout: Option<RolloutId>,
    /// What to tell.
    pub(super) whats: Vec<What>,
    /// The trial to begin.
    pub(super) trial: Option<TrialUse>,
    /// How the rollout ended.
    pub(super) finish: Option<Finish>,
    /// Whether more than the clock changed.
    pub(super) acts: bool,
}

impl Stepped {
    /// Keeps what the judge was told with what came of it, if that is something of the kind.
    pub(super) fn keep_tape(&mut self, cut: impl FnOnce() -> Option<Recording>) {
        let mut tapes = self.whats.iter_mut().filter_map(What::tape).peekable();
        if tapes.peek().is_none() {
            return;
        }
        let recording = cut().map(Arc::new);
        tapes.for_each(|tape| tape.clone_from(&recording));
    }

    /// Whether stable got all of the traffic back: what waits for no disk.
    pub(super) fn goes_back(&self) -> bool {
        matches!(self.finish, Some(Finish::Reverted { .. } | Finish::Aborted))
    }
}

/// Lets a route's rollout take one step.
pub(super) fn take(
    route: &mut RouteState,
    event: Event,
    moment: Moment,
) -> Result<Stepped, Refusal> {
    let Some(run) = route.run.as_deref_mut() else {
        return Err(Refusal::NotStarted);
    };
    let step = rollout::step(&run.plan, &run.state, event, moment.now)?;
    let mut stepped = Stepped {
        rollout: Some(run.id),
        acts: !step.actions.is_empty(),
        ..Stepped::default()
    };
    run.state = step.state;
    for action in step.actions {
        let Some(run) = route.run.as_deref_mut() else {
            break;
        };
        match action {
            Action::SetPercent(percent) => {
                let weights = run.weights_at(percent);
                route.set_weights(weights);
            }
            Action::NewTrial(of) => {
                if of == TrialUse::Stage {
                    run.judge.begin_stage();
                }
                stepped.trial = Some(of);
            }
            // Whoever keeps the gates goes by what the state asks, which outlives a restart.
            Action::Ask(_) => {}
            Action::Record(note) => stepped.whats.push(told(note, run)),
            Action::Finish(finish) => {
                run.ended_at = Some(moment.at);
                finished(route, finish, moment.at);
                stepped.finish = Some(finish);
            }
        }
    }
    Ok(stepped)
}

fn finished(route: &mut RouteState, finish: Finish, at: Timestamp) {
    let Some(run) = route.run.as_deref() else {
        return;
    };
    match finish {
        Finish::Reverted { .. } => {
            let candidate = run.candidate.clone();
            let until = at.after(run.plan.cooldown);
            route.cooldowns.insert(candidate.clone(), until);
            route.reverted.insert(candidate);
            route.note_revert(at);
        }
        Finish::Promoted => {
            route.trusted.insert(run.candidate.clone());
        }
        Finish::Aborted => {}
    }
}

fn told(note: Note, run: &Run) -> What {
    let verdict = || run.record.clone().map(Box::new);
    match note {
        // The first endpoints are waited for: that is the start.
        Note::AwaitingHealth { stage: 0 } => begun(run, Percent::ZERO),
        Note::AwaitingHealth { stage } => What::RolloutAwaitingHealth {
            stage: number(stage),
        },
        // Behind a stage without traffic.
        Note::WarmupStarted { percent } if has_begun(run, run.plan.first()) => {
            advanced(run, (run.plan.first(), percent), None)
        }
        Note::WarmupStarted { percent } => begun(run, percent),
        // Without a warm-up before it the first stage is the start.
        Note::StageStarted { stage: 0, percent }
            if !has_begun(run, 0) && (run.plan.warmup.is_zero() || run.plan.first() > 0) =>
        {
            begun(run, percent)
        }
        Note::StageStarted { stage, percent } => advanced(run, (stage, percent), verdict()),
        Note::Extended { stage } => What::RolloutExtended {
            stage: number(stage),
        },
        Note::AwaitingApproval { stage } => What::RolloutAwaitingApproval {
            stage: number(stage),
        },
        Note::Approved { stage } => What::RolloutApproved {
            stage: number(stage),
        },
        Note::AwaitingGate { ask } => What::RolloutAwaitingGate {
            gate: ask.gate,
            stage: number(ask.stage),
        },
        Note::GateOpened { ask } => What::RolloutGateOpened {
            gate: ask.gate,
            stage: number(ask.stage),
        },
        Note::GateRefused { ask } => What::RolloutGateRefused {
            gate: ask.gate,
            stage: number(ask.stage),
        },
        Note::Paused => What::RolloutPaused,
        Note::Resumed => What::RolloutResumed,
        Note::Promoted => What::RolloutPromoted {
            verdict: verdict(),
            tape: None,
        },
        Note::Reverted { reason } => reverted(run, reason),
        Note::Aborted => What::RolloutAborted,
    }
}

/// Whether it was told before this stage or its warm-up that the rollout has begun.
fn has_begun(run: &Run, stage: usize) -> bool {
    stage > 0 || run.plan.awaits_health(stage)
}

/// A stage's number for people, from 1.
pub(super) fn number(stage: usize) -> u32 {
    u32::try_from(stage).unwrap_or(u32::MAX).saturating_add(1)
}

fn advanced(run: &Run, (stage, percent): (usize, Percent), verdict: Option<Box<Record>>) -> What {
    What::RolloutAdvanced {
        stage: number(stage),
        stages: stages(run),
        percent,
        verdict,
        shadow: of_shadow(run, stage),
        tape: None,
    }
}

fn begun(run: &Run, percent: Percent) -> What {
    What::RolloutStarted {
        stable: run.stable.clone(),
        candidate: run.candidate.clone(),
        plan: run.plan_name.clone(),
        stages: stages(run),
        recipe: Some(Arc::new(run.plan.clone())),
        percent,
        contract: run.contract.clone(),
    }
}

fn reverted(run: &Run, reason: RevertReason) -> What {
    What::RolloutReverted {
        why: reason,
        from: Some(run.candidate.clone()),
        to: Some(run.stable.clone()),
        lasted_seconds: Some(Timestamp::now().since(run.started_at).as_secs()),
        verdict: run.record.clone().map(Box::new),
        shadow: run.shadow.clone().map(Box::new),
        tape: None,
        actuation_us: 0,
    }
}

/// What copies came to, when this is the stage after the one in the shadow.
fn of_shadow(run: &Run, stage: usize) -> Option<Box<ShadowReport>> {
    let before = run.plan.stage(stage.checked_sub(1)?)?;
    let report = run.shadow.clone().map(Box::new);
    report.filter(|_| before.role == StageRole::Shadow)
}

fn stages(run: &Run) -> u32 {
    u32::try_from(run.plan.stages().len()).unwrap_or(u32::MAX)
}
