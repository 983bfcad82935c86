//! The record of one call: begun once, ended once, whatever happens in between.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

use crate::model::{Outcome, Role};
use crate::shadow::Twin;
use crate::stats::{About, BadCall, CallId, Incident, Marks, Trial, Wrong};
use crate::upstream::{Attempt, Ended, LateBody, Pace};

use super::attempt;
use super::counted::Tally;

/// One call to a backend. Dropped before its end it counts as cancelled.
#[derive(Debug)]
pub(super) struct Call {
    tally: Tally,
    /// The attempt that carries it.
    attempt: Option<Attempt>,
    clock: Clock,
    trial: Option<Watched>,
    /// The copy of the call that its shadow gets.
    twin: Option<Twin>,
    /// The head of its answer says nothing bad.
    well_begun: bool,
    state: State,
}

/// How long a call takes its backend: what the client takes for its own part is not counted.
#[derive(Clone, Debug)]
struct Clock {
    started: Instant,
    pace: Rc<Pace>,
    /// What the client had taken before the call began.
    before: Duration,
}

impl Clock {
    fn start(pace: &Rc<Pace>) -> Self {
        Self {
            started: Instant::now(),
            pace: Rc::clone(pace),
            before: pace.client_time(),
        }
    }

    fn elapsed(&self) -> Duration {
        let clients = self.pace.client_time().saturating_sub(self.before);
        self.started.elapsed().saturating_sub(clients)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Carries no call, or one whose latency is over; `counts` tells whether its end is counted.
    Stream {
        counts: Counts,
        latency: Duration,
    },
    Ended,
}

/// Whether the end of a stream is the end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    /// It was asked for, and its end tells how that went.
    Yes,
    /// It only carries what the server has to say: no call at all.
    No,
}

/// The call as the judge sees it.
#[derive(Debug)]
struct Watched {
    trial: Arc<Trial>,
    worker: usize,
    about: About,
    /// The status of its answer, once there is one.
    status: Option<u16>,
    open: OpenCalls,
    /// `None` once the call's latency is over, or if it tells nothing.
    slot: Option<usize>,
    /// The judge has heard of the call already, since a request of its batch went badly.
    is_told: bool,
}

/// The calls of one worker that the judge watches while they are open: a call that hangs is
/// slow long before it ends.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenCalls {
    calls: Rc<RefCell<Slab<OpenCall>>>,
}

#[derive(Debug)]
struct OpenCall {
    trial: Arc<Trial>,
    about: About,
    clock: Clock,
    /// There from when it is known that the call's latency tells something.
    marks: Cell<Option<Marks>>,
    /// What tells it.
    body: Option<Rc<LateBody>>,
}

impl OpenCalls {
    /// Counts every open call of `worker` that has become slow since the last time.
    pub(super) fn sweep(&self, worker: usize) {
        let calls = self.calls.borrow();
        if calls.is_empty() {
            return;
        }
        for (_, call) in calls.iter() {
            call.mark(worker, call.clock.elapsed());
        }
    }
}

impl OpenCall {
    /// The call has taken so long by now.
    fn mark(&self, worker: usize, age: Duration) {
        let begun = || {
            let tells = self.body.as_ref()?.facts().is_some_and(attempt::tells);
            tells.then(|| self.trial.begin(worker, self.about.role))
        };
        let Some(mut marks) = self.marks.get().or_else(begun) else {
            return;
        };
        if self.trial.mark(worker, self.about.role, age, &mut marks) {
            self.trial.note(Incident {
                at: Instant::now(),
                about: self.about,
                wrong: Wrong::Slow,
                status: None,
                latency: age,
            });
        }
        self.marks.set(Some(marks));
    }
}

/// What a call is to the judge.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) trial: Arc<Trial>,
    pub(super) worker: usize,
    pub(super) role: Role,
    pub(super) key: Option<u64>,
    /// The id that the caller gave it.
    pub(super) id: Option<CallId>,
    pub(super) latency: Latency,
}

impl Part {
    /// The same with the id that the caller gave it, which is noted where it went.
    #[must_use]
    pub(super) fn called(self, id: Option<CallId>) -> Self {
        if let Some(id) = &id {
            self.trial.assign(self.worker, id, self.role);
        }
        Self { id, ..self }
    }

    /// Whose call it is.
    pub(super) fn about(&self) -> About {
        About {
            role: self.role,
            key: self.key,
            id: self.id,
        }
    }
}

/// Whether the latency of a call says how fast its backend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Latency {
    /// It does.
    Tells,
    /// The request's body says so, once it is here.
    MayTell,
    /// What opens and closes sessions is not like other calls, and while a share changes one arm
    /// has more of it than the other.
    TellsNothing,
}

impl Call {
    /// A call begins, as part of a rollout if there is one.
    pub(super) fn begin(
        tally: Tally,
        pace: &Rc<Pace>,
        part: Option<Part>,
        open: &OpenCalls,
    ) -> Self {
        let clock = Clock::start(pace);
        let trial = part.map(|part| Watched::new(part, &clock, open));
        Self {
            tally,
            attempt: None,
            clock,
            trial,
            twin: None,
            well_begun: false,
            state: State::Open,
        }
    }

    /// When the call began.
    pub(super) fn began(&self) -> Instant {
        self.clock.started
    }

    /// The call is carried by this attempt from now on.
    pub(super) fn carry(&mut self, attempt: Attempt) {
        self.attempt = Some(attempt);
    }

    /// The backend was spared the call, which says nothing about its endpoint.
    pub(super) fn spared(&self) {
        if let Some(attempt) = &self.attempt {
            attempt.ended(Ended::Unknown);
        }
    }

    /// The request's body says later what the call is.
    pub(super) fn told_by(&self, body: Option<&Rc<LateBody>>) {
        if let (Some(watched), Some(body)) = (&self.trial, body) {
            watched.hear_of(body);
        }
    }

    /// The call has a copy that wants to know how it goes.
    pub(super) fn has_twin(&mut self, twin: Twin) {
        self.twin = Some(twin);
    }

    /// The head of the answer has come.
    pub(super) fn answered(&mut self, status: u16) {
        if let Some(attempt) = &self.attempt {
            let ended = Ended::of_status(status);
            self.well_begun = ended == Ended::Answered;
            attempt.ended(ended);
        }
        if let Some(watched) = &mut self.trial {
            watched.status = Some(status);
        }
        if let Some(twin) = &self.twin {
            twin.answered(status);
        }
    }

    /// The answer turns out to be a stream; a call's latency is over now.
    pub(super) fn becomes_stream(&mut self, counts: Counts) {
        if self.state == State::Open {
            self.tally.becomes_stream();
            self.state = State::Stream {
                counts,
                latency: self.clock.elapsed(),
            };
            match counts {
                Counts::Yes => self.settle(),
                Counts::No => self.trial = None,
            }
        }
    }

    /// The call's latency is over, though the call is not: it grows no slower from now on.
    fn settle(&mut self) {
        if let Some(watched) = &mut self.trial {
            watched.settle(self.clock.elapsed());
        }
    }

    /// A request of the batch that the call is has its answer, though the call may go on.
    pub(super) fn answered_one(&mut self, place: usize, outcome: Outcome) {
        if self.state == State::Open {
            let latency = self.clock.elapsed();
            self.tally.end_one(place, outcome, latency);
            if let Some(watched) = &mut self.trial {
                watched.hear(outcome, latency);
            }
        }
    }

    /// The call has ended so. Later ends are ignored.
    pub(super) fn end(&mut self, outcome: Outcome) {
        let latency = match std::mem::replace(&mut self.state, State::Ended) {
            State::Ended => return,
            State::Open => {
                let latency = self.clock.elapsed();
                self.tally.end(outcome, latency);
                latency
            }
            State::Stream { counts, latency } => {
                self.tally
                    .end_stream((counts == Counts::Yes).then_some((outcome, latency)));
                latency
            }
        };
        if let Some(attempt) = self.attempt.take() {
            // Told before, unless there was no answer.
            attempt.ended(Ended::of_outcome(outcome));
            if self.well_begun && matches!(outcome, Outcome::Broken | Outcome::Timeout) {
                attempt.broke_off();
            }
        }
        if let Some(watched) = self.trial.take() {
            watched.end(outcome, latency);
        }
        if let Some(twin) = &self.twin {
            twin.ended(outcome, latency);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // Whoever follows an event stream leaves it some day: that is its ordinary end.
        let left = match self.state {
            State::Stream { .. } => Outcome::Success,
            State::Open | State::Ended => Outcome::Cancelled,
        };
        self.end(left);
    }
}

impl Watched {
    fn new(part: Part, clock: &Clock, open: &OpenCalls) -> Self {
        let about = part.about();
        let Part {
            trial,
            worker,
            role,
            latency,
            ..
        } = part;
        let enter = |marks| {
            let call = OpenCall {
                trial: Arc::clone(&trial),
                about,
                clock: clock.clone(),
                marks: Cell::new(marks),
                body: None,
            };
            open.calls.borrow_mut().insert(call)
        };
        let slot = match latency {
            Latency::Tells => Some(enter(Some(trial.begin(worker, role)))),
            Latency::MayTell => Some(enter(None)),
            Latency::TellsNothing => None,
        };
        Self {
            trial,
            worker,
            about,
            status: None,
            open: open.clone(),
            slot,
            is_told: false,
        }
    }

    fn hear_of(&self, body: &Rc<LateBody>) {
        let mut calls = self.open.calls.borrow_mut();
        if let Some(call) = self.slot.and_then(|slot| calls.get_mut(slot)) {
            call.body = Some(Rc::clone(body));
        }
    }

    /// Counts how slow the call was, once: nobody looks at its age any more.
    fn settle(&mut self, latency: Duration) {
        if let Some(call) = self.leave() {
            call.mark(self.worker, latency);
        }
    }

    fn leave(&mut self) -> Option<OpenCall> {
        self.open.calls.borrow_mut().try_remove(self.slot.take()?)
    }

    /// A request of a batch has ended. The whole batch went one way by one choice, so it is one
    /// piece of evidence: a bad one as soon as one of its requests went badly.
    fn hear(&mut self, outcome: Outcome, latency: Duration) {
        if self.trial.is_bad(outcome) {
            self.tell(outcome, latency);
        }
    }

    fn end(mut self, outcome: Outcome, latency: Duration) {
        if !outcome.tells_nothing() {
            self.settle(latency);
        }
        self.tell(outcome, latency);
    }

    fn tell(&mut self, outcome: Outcome, latency: Duration) {
        if !std::mem::replace(&mut self.is_told, true) {
            let About { role, key, .. } = self.about;
            if self.trial.is_bad(outcome) {
                self.trial.note(Incident {
                    at: Instant::now(),
                    about: self.about,
                    wrong: Wrong::Bad(outcome),
                    status: self.status,
                    latency,
                });
            }
            self.trial.end(self.worker, BadCall { role, key, outcome });
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests;
