//! Coarse deadlines: one table a worker instead of one timer a request.
//!
//! A timer in the runtime costs a request more than all of its routing. Here a deadline is a
//! slot in a table that the worker sweeps ten times a second: setting one is a store, and a
//! deadline fires at most a tenth of a second late and never early.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;

/// How often [`Deadlines::sweep`] is to be called.
pub const TICK: Duration = Duration::from_millis(100);
const TICKS_A_SECOND: u64 = 10;
/// A due time that never comes.
const NEVER: u64 = u64::MAX;

/// The deadlines of one worker. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Deadlines {
    table: Rc<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// Sweeps so far.
    now: Cell<u64>,
    slots: RefCell<Slab<Slot>>,
}

#[derive(Debug)]
struct Slot {
    /// The sweep that makes it due.
    due: u64,
    fired: bool,
    waker: Option<Waker>,
}

/// One deadline; gives its slot back when dropped.
#[derive(Debug)]
pub struct Deadline {
    table: Rc<Table>,
    key: usize,
}

/// A deadline has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("timed out")]
pub struct Elapsed;

impl Deadlines {
    /// A deadline that is not set yet.
    pub fn deadline(&self) -> Deadline {
        let slot = Slot {
            due: NEVER,
            fired: false,
            waker: None,
        };
        let key = self.table.slots.borrow_mut().insert(slot);
        Deadline {
            table: Rc::clone(&self.table),
            key,
        }
    }

    /// Lets a tenth of a second pass, and wakes whoever has waited long enough.
    pub fn sweep(&self) {
        let now = self.table.now.get() + 1;
        self.table.now.set(now);
        let mut woken = Vec::new();
        for (_, slot) in self.table.slots.borrow_mut().iter_mut() {
            if slot.due <= now && !slot.fired {
                slot.fired = true;
                woken.extend(slot.waker.take());
            }
        }
        // Woken after the table is free again: a waker may run code that sets deadlines.
        woken.into_iter().for_each(Waker::wake);
    }
}

impl Deadline {
    /// Due `after` from now; replaces what was set before.
    pub fn set(&self, after: Duration) {
        let ticks = ticks_in(after);
        // One more: the sweep under way may be about to end.
        let due = self.table.now.get().saturating_add(ticks).saturating_add(1);
        self.change(|slot| {
            slot.due = due;
            slot.fired = false;
        });
    }

    /// Never due, until set again.
    pub fn clear(&self) {
        self.change(|slot| {
            slot.due = NEVER;
            slot.fired = false;
        });
    }

    /// Due at the next sweep, whatever was set before.
    pub fn fire(&self) {
        self.change(|slot| slot.due = 0);
    }

    /// Ready when the deadline has passed; else the task is woken when it does.
    pub fn poll_passed(&self, cx: &Context<'_>) -> Poll<()> {
        let mut slots = self.table.slots.borrow_mut();
        let Some(slot) = slots.get_mut(self.key) else {
            return Poll::Pending;
        };
        if slot.fired {
            return Poll::Ready(());
        }
        if !slot
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            slot.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits for `future` until the deadline passes.
    ///
    /// # Errors
    /// [`Elapsed`] when the deadline was first.
    pub async fn guard<F: Future>(&self, mut future: Pin<&mut F>) -> Result<F::Output, Elapsed> {
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => self.poll_passed(cx).map(|()| Err(Elapsed)),
        })
        .await
    }

    fn change(&self, with: impl FnOnce(&mut Slot)) {
        if let Some(slot) = self.table.slots.borrow_mut().get_mut(self.key) {
            with(slot);
        }
    }
}

/// The ticks in which a duration is over, the last one begun counted as whole. In 64 bits, since
/// this is done several times a request.
fn ticks_in(duration: Duration) -> u64 {
    let whole = duration.as_secs().saturating_mul(TICKS_A_SECOND);
    whole.saturating_add(u64::from(
        duration.subsec_nanos().div_ceil(TICK.subsec_nanos()),
    ))
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.table.slots.borrow_mut().try_remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn passed(deadline: &Deadline) -> bool {
        deadline
            .poll_passed(&Context::from_waker(Waker::noop()))
            .is_ready()
    }

    #[test]
    fn a_deadline_is_never_early_and_at_most_a_tick_late() {
        let deadlines = Deadlines::default();
        let deadline = deadlines.deadline();
        deadline.set(Duration::from_millis(250));

        let sweeps = (1..100).find(|_| {
            deadlines.sweep();
            passed(&deadline)
        });

        assert_eq!(sweeps, Some(4));
    }

    #[test]
    fn a_duration_is_over_in_whole_ticks() {
        let ticks = |nanos| ticks_in(Duration::from_nanos(nanos));

        assert_eq!([0, 1, 100_000_000, 100_000_001].map(ticks), [0, 1, 1, 2]);
        assert_eq!([1_000_000_000, 2_500_000_000].map(ticks), [10, 25]);
        assert_eq!(ticks_in(Duration::MAX), u64::MAX);
        assert_eq!(u128::from(TICKS_A_SECOND) * TICK.as_millis(), 1000);
    }

    #[test]
    fn a_deadline_that_is_moved_or_cleared_does_not_fire() {
        let deadlines = Deadlines::default();
        let (moved, cleared) = (deadlines.deadline(), deadlines.deadline());
        moved.set(TICK);
        cleared.set(TICK);
        deadlines.sweep();
        moved.set(Duration::from_secs(1));
        cleared.clear();

        deadlines.sweep();

        assert!(!passed(&moved) && !passed(&cleared));
    }

    #[test]
    fn slots_are_given_back() {
        let deadlines = Deadlines::default();
        for _ in 0..1000 {
            drop(deadlines.deadline());
        }

        assert!(deadlines.table.slots.borrow().capacity() < 10);
    }

    #[tokio::test]
    async fn guarding_ends_a_future_that_hangs() {
        let deadlines = Deadlines::default();
        let deadline = deadlines.deadline();
        deadline.set(TICK);
        let sweeper = async {
            loop {
                deadlines.sweep();
                tokio::task::yield_now().await;
            }
        };

        let mut hung = pending::<()>();
        tokio::select! {
            ended = deadline.guard(Pin::new(&mut hung)) => assert_eq!(ended, Err(Elapsed)),
            () = sweeper => {}
        }
    }
}
