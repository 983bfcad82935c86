//! One step of a rollout.

use std::time::Duration;

use crate::judge::{HoldReason, Verdict};
use crate::model::RevertReason;

use super::event::{Action, Event, Finish, Note, Refusal, Report, TrialUse};
use super::gate::{Answer, Ask, Gate};
use super::plan::{Plan, Stage, StageRole};
use super::spec::{InconclusiveSpec, RefusedSpec};
use super::state::{Phase, State, Waits};

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
            Event::Promote => self.on_trial().map(|()| self.promote()),
            Event::Abort => self.unfinished().map(|()| self.abort()),
            Event::Revert(reason) => self.started().map(|()| self.revert(reason)),
            Event::CandidateGone => {
                if !self.state.is_finished() {
                    self.revert(RevertReason::HealthCheckFailed);
                }
                Ok(())
            }
            Event::Gate { ask, answer } => {
                self.hear_gate(ask, answer);
                Ok(())
            }
            Event::Report(report) => {
                self.hear_report(report);
                Ok(())
            }
        }
    }

    /// Refuses unless the rollout runs, if only up to its first gate.
    fn started(&self) -> Result<(), Refusal> {
        self.unfinished()?;
        if self.state.has_begun() {
            return Ok(());
        }
        Err(Refusal::NotStarted)
    }

    /// Refuses unless the candidate gets traffic.
    fn on_trial(&self) -> Result<(), Refusal> {
        self.unfinished()?;
        if self.state.phase == Phase::Pending {
            return Err(Refusal::NotStarted);
        }
        Ok(())
    }

    fn unfinished(&self) -> Result<(), Refusal> {
        if self.state.is_finished() {
            return Err(Refusal::Finished);
        }
        Ok(())
    }

    fn start(&mut self) -> Result<(), Refusal> {
        self.unfinished()?;
        if self.state.has_begun() {
            return Err(Refusal::AlreadyStarted);
        }
        self.meet(Gate::ConfirmStart);
        Ok(())
    }

    /// Enters a stage, as soon as the endpoints are healthy that begin with it.
    fn come_to(&mut self, index: usize) {
        if !self.plan.awaits_health(index) {
            self.begin(index);
            return;
        }
        self.state.waits = Waits::Health;
        self.actions
            .push(Action::Record(Note::AwaitingHealth { stage: index }));
    }

    /// Enters a stage; the first one with traffic after the warm-up.
    fn begin(&mut self, index: usize) {
        if self.plan.warmup > Duration::ZERO && index == self.plan.first() {
            self.enter(Phase::Warmup);
            let percent = self.state.percent(self.plan);
            self.actions.extend([
                Action::SetPercent(percent),
                Action::NewTrial(TrialUse::Warmup),
                Action::Record(Note::WarmupStarted { percent }),
            ]);
        } else {
            self.enter_stage(index);
        }
    }

    /// Stops before a gate, or goes on where the plan has none there.
    fn meet(&mut self, gate: Gate) {
        if !self.plan.gates.contains(&gate) {
            self.pass(gate);
            return;
        }
        self.state.waits = Waits::Gate(gate);
        if let Some(ask) = self.state.asks() {
            self.actions
                .extend([Action::Record(Note::AwaitingGate { ask }), Action::Ask(ask)]);
        }
    }

    /// What comes behind a gate.
    fn pass(&mut self, gate: Gate) {
        match gate {
            Gate::ConfirmStart => self.meet(Gate::PreStage),
            Gate::ConfirmAdvance if self.next_stage().is_some() => self.meet(Gate::PreStage),
            Gate::ConfirmAdvance => self.meet(Gate::PrePromote),
            Gate::PreStage => match self.next_stage() {
                Some(index) => self.come_to(index),
                None => self.come_to(0),
            },
            Gate::PrePromote => self.promote(),
        }
    }

    fn hear_gate(&mut self, ask: Ask, answer: Answer) {
        // A paused rollout goes nowhere; what is waited for is asked again when it resumes.
        if self.state.paused || self.state.asks() != Some(ask) {
            return;
        }
        match (answer, ask.gate) {
            (Answer::Opened, gate) => {
                self.actions.push(Action::Record(Note::GateOpened { ask }));
                self.pass(gate);
            }
            (Answer::Refused, Gate::ConfirmStart) => {
                self.actions.push(Action::Record(Note::GateRefused { ask }));
                self.abort();
            }
            (Answer::Refused, Gate::PreStage | Gate::ConfirmAdvance | Gate::PrePromote) => {
                self.actions.push(Action::Record(Note::GateRefused { ask }));
                match self.plan.refused {
                    RefusedSpec::Hold => self.state.paused = true,
                    RefusedSpec::Revert => self.revert(RevertReason::GateRefused),
                }
            }
        }
    }

    /// The stage after the present one, while there is one.
    fn next_stage(&self) -> Option<usize> {
        let Phase::Stage { index } = self.state.phase else {
            return None;
        };
        let next = index.saturating_add(1);
        self.plan.stage(next).map(|_| next)
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
        self.actions.extend(self.state.asks().map(Action::Ask));
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
        self.meet(Gate::ConfirmAdvance);
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
        if self.state.is_judged(self.plan) {
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
            Phase::Warmup if self.state.elapsed >= self.plan.warmup => {
                self.enter_stage(self.plan.first());
            }
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
        if self.state.elapsed < stage.duration || self.state.waits.is_leaving() {
            return;
        }
        match stage.role {
            StageRole::Climb | StageRole::Bake => self.progress_judged(index, stage),
            StageRole::Standby => {
                let within = self.plan.standby.as_ref().map(|it| it.healthy_within);
                if within.is_some_and(|within| self.state.elapsed >= within) {
                    self.revert(RevertReason::HealthCheckFailed);
                }
            }
            // Time alone ends nothing: what the copies came to is reported.
            StageRole::Shadow => {}
        }
    }

    fn progress_judged(&mut self, index: usize, stage: Stage) {
        let wish = self.wish();
        self.follow(wish, index, stage);
    }

    /// Does what a stage whose time is over should do.
    fn follow(&mut self, wish: Wish, index: usize, stage: Stage) {
        match wish {
            Wish::Leave if stage.approve => self.await_approval(index),
            Wish::Leave => self.meet(Gate::ConfirmAdvance),
            Wish::Revert => self.revert(RevertReason::Inconclusive),
            Wish::Ask => self.await_approval(index),
            Wish::Stay if self.state.elapsed >= self.plan.max_stage => self.await_approval(index),
            Wish::Stay => self.extend(index),
        }
    }

    fn hear_report(&mut self, report: Report) {
        if let Some(index) = self.state.awaits_health() {
            return self.hear_of_health(index, report);
        }
        match self.state.role(self.plan) {
            Some(StageRole::Standby) => self.hear_of_standby(report),
            Some(StageRole::Shadow) => self.hear_of_shadow(report),
            Some(StageRole::Climb | StageRole::Bake) | None => {}
        }
    }

    fn hear_of_standby(&mut self, report: Report) {
        match report {
            Report::Failed(reason) => self.revert(reason),
            Report::Ready if !self.state.paused && !self.state.waits.is_leaving() => {
                self.meet(Gate::ConfirmAdvance);
            }
            Report::Ready | Report::NotYet => self.progress(),
        }
    }

    fn hear_of_health(&mut self, index: usize, report: Report) {
        match report {
            Report::Failed(reason) => self.revert(reason),
            Report::Ready if !self.state.paused => self.begin(index),
            Report::Ready | Report::NotYet => {}
        }
    }

    /// Nothing is concluded from copies before the stage's time is over.
    fn hear_of_shadow(&mut self, report: Report) {
        let Phase::Stage { index } = self.state.phase else {
            return;
        };
        let stage = self.plan.stage(index).copied();
        let Some(stage) = stage.filter(|stage| self.state.elapsed >= stage.duration) else {
            return;
        };
        let waits_for_it = !self.state.paused && !self.state.waits.is_leaving();
        match report {
            Report::Failed(reason) => self.revert(reason),
            Report::Ready if waits_for_it => self.meet(Gate::ConfirmAdvance),
            Report::NotYet if waits_for_it => {
                self.follow(self.without_conclusion(), index, stage);
            }
            Report::Ready | Report::NotYet => {}
        }
    }

    /// What the plan says about a stage whose time is over without a conclusion.
    fn without_conclusion(&self) -> Wish {
        match self.plan.inconclusive {
            InconclusiveSpec::Extend => Wish::Stay,
            InconclusiveSpec::Hold => Wish::Ask,
            InconclusiveSpec::Advance => Wish::Leave,
            InconclusiveSpec::Revert => Wish::Revert,
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
            }) => self.without_conclusion(),
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

    fn enter_stage(&mut self, index: usize) {
        let (was, before) = (self.state.phase, self.state.percent(self.plan));
        self.enter(Phase::Stage { index });
        let percent = self.state.percent(self.plan);
        // Before the start people may have given the candidate a share of their own.
        if percent != before || was == Phase::Pending {
            self.actions.push(Action::SetPercent(percent));
        }
        let trial = if self.plan.is_judged(index) {
            TrialUse::Stage
        } else {
            TrialUse::Warmup
        };
        self.actions.extend([
            Action::NewTrial(trial),
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
        // Nobody's weights were touched, and nobody is to blame: they stay.
        let untouched = self.state.phase == Phase::Pending && finish == Finish::Aborted;
        self.enter(phase);
        if !untouched {
            let percent = self.state.percent(self.plan);
            self.actions.push(Action::SetPercent(percent));
        }
        self.actions
            .extend([Action::Record(note), Action::Finish(finish)]);
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
#[derive(Clone, Copy)]
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
