//! The one deadline of a call, and how far its request's body is.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::deadline::{Deadline, Deadlines};

use super::intake::ClientFault;

/// How far the body of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Partly,
    Whole,
    Failed(ClientFault),
}

/// How long a call may take, by the bounds of its route.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Longest wait for the head of the answer.
    pub head: Duration,
    /// Longest pause inside a body.
    pub idle: Duration,
    /// Longest time for all of it.
    pub total: Option<Duration>,
}

impl Patience {
    /// The same patience with the head and inside the body, and none on the whole.
    pub fn even(patience: Duration) -> Self {
        Self {
            head: patience,
            idle: patience,
            total: None,
        }
    }
}

/// The one deadline of a call, moved along as the call goes on: first while the backend takes
/// the request in, then for the answer's head, then for stalls of the answer. The client's own
/// slowness is bounded elsewhere ([`Intake`](super::Intake)), and counted here.
#[derive(Debug)]
pub struct Pace {
    deadline: Deadline,
    /// For the whole of the call, where its route bounds that.
    total: Option<Deadline>,
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
    /// How long the client has kept the call waiting.
    client_time: Cell<Duration>,
    /// Since when the client keeps it waiting now.
    client_since: Cell<Option<Instant>>,
}

impl Pace {
    /// The pace of a call that is about to be sent.
    pub fn new(deadlines: &Deadlines, patience: Patience) -> Self {
        let deadline = deadlines.deadline();
        deadline.set(patience.head);
        let total = patience.total.map(|total| {
            let deadline = deadlines.deadline();
            deadline.set(total);
            deadline
        });
        Self {
            deadline,
            total,
            head: patience.head,
            idle: patience.idle,
            sent: Cell::new(Sent::Whole),
            answered: Cell::new(false),
            endless: Cell::new(false),
            ending: Cell::new(false),
            connect_within: Cell::new(Duration::MAX),
            client_time: Cell::new(Duration::ZERO),
            client_since: Cell::new(None),
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
            Sent::Partly | Sent::Failed(_) => self.deadline.set(self.idle),
        }
    }

    /// Longest wait for a connection, apart from the endpoint's own bound.
    pub fn connect_within(&self) -> Duration {
        self.connect_within.get()
    }

    /// Whether the time for all of the call is over, so that nothing is to be tried any more.
    pub fn is_over(&self) -> bool {
        let total = self.total.as_ref();
        total.is_some_and(|total| {
            total
                .poll_passed(&Context::from_waker(Waker::noop()))
                .is_ready()
        })
    }

    /// Ready when the call has taken too long; else its task is woken then.
    pub fn poll_passed(&self, cx: &Context<'_>) -> Poll<()> {
        if let Some(total) = &self.total
            && total.poll_passed(cx).is_ready()
        {
            return Poll::Ready(());
        }
        self.deadline.poll_passed(cx)
    }

    /// What a future brings; `None` when the call has taken too long before that.
    pub(super) async fn bound<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(brought) => Poll::Ready(Some(brought)),
            Poll::Pending => self.poll_passed(cx).map(|()| None),
        })
        .await
    }

    /// The answer is over: nothing is waited for any more.
    pub fn over(&self) {
        self.deadline.clear();
        self.clear_total();
    }

    fn clear_total(&self) {
        if let Some(total) = &self.total {
            total.clear();
        }
    }

    /// The client keeps the call waiting, for which its backend is not to blame.
    pub(super) fn awaits_client(&self) {
        if self.client_since.get().is_none() {
            self.client_since.set(Some(Instant::now()));
            if !self.answered.get() {
                self.deadline.clear();
            }
        }
    }

    /// The client has sent something, or has been given up.
    pub(super) fn client_came(&self) {
        if self.client_since.get().is_some() {
            self.client_time.set(self.client_time());
            self.client_since.set(None);
        }
    }

    /// Whether the client keeps the call waiting now.
    pub fn is_awaiting_client(&self) -> bool {
        self.client_since.get().is_some()
    }

    /// How long the client has kept the call waiting so far.
    pub fn client_time(&self) -> Duration {
        let now = self.client_since.get().map(|since| since.elapsed());
        self.client_time.get() + now.unwrap_or_default()
    }

    /// The request's body is on its way: the backend is to take a piece of it.
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

    /// The client's body is at fault.
    pub fn send_failed(&self, fault: ClientFault) {
        self.sent.set(Sent::Failed(fault));
    }

    /// Whether the request's body has been sent whole, so that its connection is free again
    /// after the answer.
    pub fn is_sent(&self) -> bool {
        self.sent.get() == Sent::Whole
    }

    /// What is wrong with the client's own body, if that is what went wrong.
    pub fn client_fault(&self) -> Option<ClientFault> {
        match self.sent.get() {
            Sent::Failed(fault) => Some(fault),
            Sent::Partly | Sent::Whole => None,
        }
    }

    /// The answer's head has come. An `endless` answer may pause for as long as it likes.
    pub fn answered(&self, endless: bool) {
        self.answered.set(true);
        self.endless.set(endless);
        if endless {
            self.clear_total();
        }
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
    use crate::deadline::TICK;

    use super::*;

    fn pace(deadlines: &Deadlines, head: Duration, idle: Duration) -> Pace {
        let total = None;
        Pace::new(deadlines, Patience { head, idle, total })
    }

    fn has_passed_after(ticks: u32, deadlines: &Deadlines, pace: &Pace) -> bool {
        (0..ticks).for_each(|_| deadlines.sweep());
        let cx = Context::from_waker(Waker::noop());
        pace.poll_passed(&cx).is_ready()
    }

    #[test]
    fn a_body_that_ends_after_the_answers_head_sets_no_wait_for_a_head() {
        let deadlines = Deadlines::default();
        let pace = pace(&deadlines, TICK, TICK * 100);
        pace.sending();
        pace.answered(false);

        pace.sent();

        assert!(!has_passed_after(50, &deadlines, &pace));
        assert!(has_passed_after(60, &deadlines, &pace));
    }

    #[test]
    fn an_event_stream_may_be_silent_whenever_the_body_ended() {
        let deadlines = Deadlines::default();
        let pace = pace(&deadlines, TICK, TICK);
        pace.sending();
        pace.answered(true);

        pace.sent();

        assert!(!has_passed_after(100, &deadlines, &pace));
    }
    #[test]
    fn the_client_has_the_time_that_it_takes_and_the_whole_is_bounded() {
        let deadlines = Deadlines::default();
        let total = Some(TICK * 100);
        let pace = Pace::new(
            &deadlines,
            Patience {
                total,
                ..Patience::even(TICK)
            },
        );
        pace.sending();
        pace.awaits_client();

        assert!(!has_passed_after(90, &deadlines, &pace));
        assert!(has_passed_after(20, &deadlines, &pace));
        assert!(pace.is_awaiting_client());
    }
}
