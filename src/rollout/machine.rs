//! One step of a rollout.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::judge::{HoldReason, Verdict};
use crate::model::{Percent, RevertReason};

use super::plan::Plan;
use super::spec::InconclusiveSpec;
use super::state::{Phase, State, Waits};

/// What happened to a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A person or a pipeline: begin.
    Start,
    /// Time went by.
    Tick,
    /// The judge ruled.
    Verdict(Verdict),
    /// A person: stop the stage's clock and keep the weights. The judge goes on and may revert.
    Pause,
    /// A person: go on.
    Resume,
    /// A person: the stage that waits for approval is fine.
    Approve,
    /// A person: all traffic to the candidate, now.
    Promote,
    /// A person: back to stable, and nobody is to blame.
    Abort,
    /// A person, the candidate's health checks or its breaker: back to stable.
    Revert(RevertReason),
    /// The candidate's backend or its last endpoint no longer exists.
    CandidateGone,
}

/// What `control` has to do, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Give the candidate this share of new traffic.
    SetPercent(Percent),
    /// Begin a new trial: evidence gathered until now belongs to the share until now.
    NewTrial(TrialUse),
    /// Tell and keep for the history.
    Record(Note),
    /// Nothing more will happen; stop judging.
    Finish(Finish),
}

/// What a trial's evidence is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialUse {
    /// Guards alone: [`crate::judge::Judge::warm_up`].
    Warmup,
    /// A new stage: [`crate::judge::Judge::begin_stage`], then [`crate::judge::Judge::weigh`].
    Stage,
}

/// Something worth keeping in the history of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub enum Note {
    /// The rollout began and the candidate warms up.
    WarmupStarted {
        /// The candidate's share.
        percent: Percent,
    },
    /// A stage began.
    StageStarted {
        /// Its place in the plan, from 0.
        stage: usize,
        /// The candidate's share.
        percent: Percent,
    },
    /// A stage's time is over, and it goes on to gather evidence.
    Extended {
        /// Its place in the plan, from 0.
        stage: usize,
    },
    /// A stage waits for a person.
    AwaitingApproval {
        /// Its place in the plan, from 0.
        stage: usize,
    },
    /// A person approved a stage.
    Approved {
        /// Its place in the plan, from 0.
        stage: usize,
    },
    /// A person stopped the clock.
    Paused,
    /// A person let the clock go on.
    Resumed,
    /// The candidate has all of the traffic.
    Promoted,
    /// The candidate was reverted.
    Reverted {
        /// Why.
        reason: RevertReason,
    },
    /// The rollout was aborted.
    Aborted,
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Finish {
    /// The candidate has all of the traffic.
    Promoted,
    /// Stable has it, and the candidate is to blame.
    Reverted {
        /// Why.
        reason: RevertReason,
    },
    /// Stable has it, and nobody is to blame.
    Aborted,
}

/// Why a person's wish cannot be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has to start first.
    #[error("the rollout has not started")]
    NotStarted,
    /// It started before.
    #[error("the rollout has already started")]
    AlreadyStarted,
    /// It is over.
    #[error("the rollout is finished")]
    Finished,
    /// Its clock is stopped already.
    #[error("the rollout is already paused")]
    AlreadyPaused,
    /// Its clock runs.
    #[error("the rollout is not paused")]
    NotPaused,
    /// It has to be resumed first.
    #[error("the rollout is paused; resume it first")]
    Paused,
    /// Nothing waits for approval.
    #[error("the rollout is not waiting for approval")]
    NotAwaitingApproval,
}

/// What follows from an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where the rollout is now.
    pub state: State,
    /// What is to be done, in order.
    pub actions: Vec<Action>,
}

/// What follows when `event` happens to a rollout in `state`, `now` after the process began.
///
/// Ticks and verdicts never fail; where they mean nothing they change nothing but the time.
///
/// # Errors
/// [`Refusal`] when a person asks for what the state does not allow; the state stays.
pub fn step(plan: &Plan, state: &State, event: Event, now: Duration) -> Result<Step, Refusal> {
    let mut walk = Walk {
        plan,
        state: state.clone(),
        actions: Vec::new(),
    };
    walk.state.elapsed = state.elapsed_at(now);
    walk.state.seen = Some(state.seen.map_or(now, |seen| seen.max(now)));
    walk.take(event)?;
    Ok(Step {
        state: walk.state,
        actions: walk.actions,
    })
}

/// A step being made.
struct Walk<'a> {
    plan: &'a Plan,
    state: State,
    actions: Vec<Action>,
}

impl Walk<'_> {
    fn take(&mut self, event: Event) -> Result<(), Refusal> {
        match event {
            Event::Start => self.start(),
            Event::Tick => {
                self.progress();
                Ok(())
            }
            Event::Verdict(verdict) => {
                self.hear(verdict);
                Ok(())
            }
            Event::Pause => self.pause(),
            Event::Resume => self.resume(),
            Event::Approve => self.approve(),
            Event::Promote => self.started().map(|()| self.promote()),
            Event::Abort => self.unfinished().map(|()| self.abort()),
            Event::Revert(reason) => self.started().map(|()| self.revert(reason)),
            Event::CandidateGone => {
                if !self.state.is_finished() {
                    self.revert(RevertReason::HealthCheckFailed);
                }
                Ok(())
            }
        }
    }

    /// Refuses unless the rollout runs.
    fn started(&self) -> Result<(), Refusal> {
        self.unfinished()?;
        match self.state.phase {
            Phase::Pending => Err(Refusal::NotStarted),
            Phase::Warmup
            | Phase::Stage { .. }
            | Phase::Promoted
            | Phase::Reverted { .. }
            | Phase::Aborted => Ok(()),
        }
    }

    fn unfinished(&self) -> Result<(), Refusal> {
        if self.state.is_finished() {
            return Err(Refusal::Finished);
        }
        Ok(())
    }

    fn start(&mut self) -> Result<(), Refusal> {
        self.unfinished()?;
        if self.state.phase != Phase::Pending {
            return Err(Refusal::AlreadyStarted);
        }
        if self.plan.warmup > Duration::ZERO {
            self.enter(Phase::Warmup);
            let percent = self.state.percent(self.plan);
            self.actions.extend([
                Action::SetPercent(percent),
                Action::NewTrial(TrialUse::Warmup),
                Action::Record(Note::WarmupStarted { percent }),
            ]);
        } else {
            self.enter_stage(0);
        }
        Ok(())
    }

    fn pause(&mut self) -> Result<(), Refusal> {
        self.started()?;
        if self.state.paused {
            return Err(Refusal::AlreadyPaused);
        }
        self.state.paused = true;
        self.actions.push(Action::Record(Note::Paused));
        Ok(())
    }

    fn resume(&mut self) -> Result<(), Refusal> {
        self.started()?;
        if !self.state.paused {
            return Err(Refusal::NotPaused);
        }
        self.state.paused = false;
        self.actions.push(Action::Record(Note::Resumed));
        Ok(())
    }

    fn approve(&mut self) -> Result<(), Refusal> {
        self.started()?;
        if self.state.paused {
            return Err(Refusal::Paused);
        }
        let (Phase::Stage { index }, Waits::Approval) = (self.state.phase, self.state.waits) else {
            return Err(Refusal::NotAwaitingApproval);
        };
        self.actions
            .push(Action::Record(Note::Approved { stage: index }));
        self.leave_stage(index);
        Ok(())
    }

    fn hear(&mut self, verdict: Verdict) {
        if self.started().is_err() {
            return;
        }
        if let Verdict::Revert { reason } = verdict {
            self.revert(reason);
            return;
        }
        if self.state.is_judged() {
            self.state.verdict = Some(verdict);
            self.progress();
        }
    }

    /// Ends the warm-up or the stage if it is time.
    fn progress(&mut self) {
        if self.state.paused {
            return;
        }
        match self.state.phase {
            Phase::Warmup if self.state.elapsed >= self.plan.warmup => self.enter_stage(0),
            Phase::Stage { index } => self.progress_stage(index),
            Phase::Warmup
            | Phase::Pending
            | Phase::Promoted
            | Phase::Reverted { .. }
            | Phase::Aborted => {}
        }
    }

    fn progress_stage(&mut self, index: usize) {
        let Some(stage) = self.plan.stage(index).copied() else {
            return;
        };
        if self.state.elapsed < stage.duration || self.state.waits == Waits::Approval {
            return;
        }
        match self.wish() {
            Wish::Leave if stage.approve => self.await_approval(index),
            Wish::Leave => self.leave_stage(index),
            Wish::Revert => self.revert(RevertReason::Inconclusive),
            Wish::Ask => self.await_approval(index),
            Wish::Stay if self.state.elapsed >= self.plan.max_stage => self.await_approval(index),
            Wish::Stay => self.extend(index),
        }
    }

    /// What a stage whose time is over should do, by the verdict and the plan.
    fn wish(&self) -> Wish {
        match self.state.verdict {
            Some(Verdict::Advance) => Wish::Leave,
            Some(Verdict::Revert { .. }) => Wish::Revert,
            // Too little evidence, or evidence from too few, is never a reason to go anywhere.
            None
            | Some(Verdict::Hold {
                because: HoldReason::NoData | HoldReason::FewCallers,
            }) => match self.plan.inconclusive {
                InconclusiveSpec::Hold => Wish::Ask,
                InconclusiveSpec::Extend | InconclusiveSpec::Advance | InconclusiveSpec::Revert => {
                    Wish::Stay
                }
            },
            Some(Verdict::Hold {
                because: HoldReason::Gathering | HoldReason::Inconclusive,
            }) => match self.plan.inconclusive {
                InconclusiveSpec::Extend => Wish::Stay,
                InconclusiveSpec::Hold => Wish::Ask,
                InconclusiveSpec::Advance => Wish::Leave,
                InconclusiveSpec::Revert => Wish::Revert,
            },
        }
    }

    fn extend(&mut self, index: usize) {
        if self.state.waits == Waits::Time {
            self.state.waits = Waits::Evidence;
            self.actions
                .push(Action::Record(Note::Extended { stage: index }));
        }
    }

    fn await_approval(&mut self, index: usize) {
        self.state.waits = Waits::Approval;
        self.actions
            .push(Action::Record(Note::AwaitingApproval { stage: index }));
    }

    fn leave_stage(&mut self, index: usize) {
        let next = index.saturating_add(1);
        if self.plan.stage(next).is_some() {
            self.enter_stage(next);
        } else {
            self.promote();
        }
    }

    fn enter_stage(&mut self, index: usize) {
        let before = self.state.percent(self.plan);
        self.enter(Phase::Stage { index });
        let percent = self.state.percent(self.plan);
        if percent != before {
            self.actions.push(Action::SetPercent(percent));
        }
        self.actions.extend([
            Action::NewTrial(TrialUse::Stage),
            Action::Record(Note::StageStarted {
                stage: index,
                percent,
            }),
        ]);
    }

    fn promote(&mut self) {
        self.end(Phase::Promoted, Note::Promoted, Finish::Promoted);
    }

    fn revert(&mut self, reason: RevertReason) {
        let note = Note::Reverted { reason };
        self.end(
            Phase::Reverted { reason },
            note,
            Finish::Reverted { reason },
        );
    }

    fn abort(&mut self) {
        self.end(Phase::Aborted, Note::Aborted, Finish::Aborted);
    }

    fn end(&mut self, phase: Phase, note: Note, finish: Finish) {
        self.enter(phase);
        self.actions.extend([
            Action::SetPercent(self.state.percent(self.plan)),
            Action::Record(note),
            Action::Finish(finish),
        ]);
    }

    fn enter(&mut self, phase: Phase) {
        self.state = State {
            phase,
            seen: self.state.seen,
            ..State::new()
        };
    }
}

/// What a stage whose time is over should do.
enum Wish {
    /// Go on to the next stage.
    Leave,
    /// Gather more evidence.
    Stay,
    /// Wait for a person.
    Ask,
    /// Go back.
    Revert,
}
