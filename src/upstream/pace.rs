//! The one deadline of a call, and how far its request's body is.

use std::cell::Cell;
use std::time::Duration;

use crate::deadline::{Deadline, Deadlines};

/// How far the body of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Partly,
    Whole,
    Failed,
}

/// The one deadline of a call, moved along as the call goes on: body stalls while the request
/// is sent, then the wait for the answer's head, then stalls of the answer.
#[derive(Debug)]
pub struct Pace {
    deadline: Deadline,
    head: Duration,
    idle: Duration,
    sent: Cell<Sent>,
    /// The answer's head has come: from then on the answer sets the pace.
    answered: Cell<bool>,
    /// The answer is an event stream, which may be silent for as long as it likes.
    endless: Cell<bool>,
    /// The stream was told to end.
    ending: Cell<bool>,
    connect_within: Cell<Duration>,
}

impl Pace {
    /// The pace of a call that is about to be sent, with the bounds of its route: the wait for the
    /// answer's head, and the longest pause inside a body.
    pub fn new(deadlines: &Deadlines, head: Duration, idle: Duration) -> Self {
        let deadline = deadlines.deadline();
        deadline.set(head);
        Self {
            deadline,
            head,
            idle,
            sent: Cell::new(Sent::Whole),
            answered: Cell::new(false),
            endless: Cell::new(false),
            ending: Cell::new(false),
            connect_within: Cell::new(Duration::MAX),
        }
    }

    /// The request is sent once more, over a connection that is there `connect_within` from
    /// now: the wait for an answer begins again.
    pub fn again(&self, connect_within: Duration) {
        self.connect_within.set(connect_within);
        self.answered.set(false);
        self.endless.set(false);
        match self.sent.get() {
            Sent::Whole => self.deadline.set(self.head),
            Sent::Partly | Sent::Failed => self.deadline.set(self.idle),
        }
    }

    /// Longest wait for a connection, apart from the endpoint's own bound.
    pub fn connect_within(&self) -> Duration {
        self.connect_within.get()
    }

    /// The deadline, to be waited for.
    pub fn deadline(&self) -> &Deadline {
        &self.deadline
    }

    /// A piece of the request's body is awaited from the client.
    pub fn sending(&self) {
        self.sent.set(Sent::Partly);
        self.deadline.set(self.idle);
    }

    /// The request's body is complete.
    pub fn sent(&self) {
        self.sent.set(Sent::Whole);
        if self.answered.get() {
            self.moved();
        } else {
            self.deadline.set(self.head);
        }
    }

    /// The client's body broke off or stalled.
    pub fn send_failed(&self) {
        self.sent.set(Sent::Failed);
    }

    /// Whether the request's body has been sent whole, so that its connection is free again
    /// after the answer.
    pub fn is_sent(&self) -> bool {
        self.sent.get() == Sent::Whole
    }

    /// Whether the client's own body is what went wrong.
    pub fn has_send_failed(&self) -> bool {
        self.sent.get() == Sent::Failed
    }

    /// The answer's head has come. An `endless` answer may pause for as long as it likes.
    pub fn answered(&self, endless: bool) {
        self.answered.set(true);
        self.endless.set(endless);
        self.moved();
    }

    /// A piece of the answer has come.
    pub fn moved(&self) {
        if self.ending.get() {
            return;
        }
        if self.endless.get() {
            self.deadline.clear();
        } else {
            self.deadline.set(self.idle);
        }
    }

    /// Ends the answer cleanly at its next pause.
    pub fn end(&self) {
        self.ending.set(true);
        self.deadline.fire();
    }

    /// Whether the answer was told to end.
    pub fn is_ending(&self) -> bool {
        self.ending.get()
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use crate::deadline::TICK;

    use super::*;

    fn has_passed_after(ticks: u32, deadlines: &Deadlines, pace: &Pace) -> bool {
        (0..ticks).for_each(|_| deadlines.sweep());
        let cx = Context::from_waker(Waker::noop());
        pace.deadline().poll_passed(&cx).is_ready()
    }

    #[test]
    fn a_body_that_ends_after_the_answers_head_sets_no_wait_for_a_head() {
        let deadlines = Deadlines::default();
        let pace = Pace::new(&deadlines, TICK, TICK * 100);
        pace.sending();
        pace.answered(false);

        pace.sent();

        assert!(!has_passed_after(50, &deadlines, &pace));
        assert!(has_passed_after(60, &deadlines, &pace));
    }

    #[test]
    fn an_event_stream_may_be_silent_whenever_the_body_ended() {
        let deadlines = Deadlines::default();
        let pace = Pace::new(&deadlines, TICK, TICK);
        pace.sending();
        pace.answered(true);

        pace.sent();

        assert!(!has_passed_after(100, &deadlines, &pace));
    }
}
