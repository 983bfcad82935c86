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

/// How long somebody may keep us waiting: time that waiting uses up, and that bytes earn.
///
/// One pause is bounded by itself; many short ones by the rate that makes up for them. Time in
/// which nobody waits costs nothing.
#[derive(Debug)]
pub struct Allowance {
    deadline: Deadline,
    terms: Terms,
    /// What is left, in units of which a tick costs [`Terms::rate`] and a byte earns ten.
    left: u64,
    /// The sweep at which the present pause began.
    since: Option<u64>,
}

/// What an [`Allowance`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Longest pause.
    pub pause: Duration,
    /// Time that is there to begin with.
    pub grace: Duration,
    /// Bytes a second that make up for waiting; zero asks for none.
    pub rate: u32,
}

/// Why an [`Allowance`] is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsedUp {
    /// One pause was too long.
    Paused,
    /// It all was too slow.
    TooSlow,
}

impl Allowance {
    /// The whole allowance.
    pub fn new(deadlines: &Deadlines, terms: Terms) -> Self {
        Self {
            deadline: deadlines.deadline(),
            terms,
            left: terms.worth(terms.grace),
            since: None,
        }
    }

    /// We wait. Ready when we have waited long enough; else the task is woken then.
    pub fn poll_used_up(&mut self, cx: &Context<'_>) -> Poll<UsedUp> {
        let now = self.deadline.table.now.get();
        if self.since.is_none() {
            self.since = Some(now);
            self.deadline.set_ticks(self.pause_ticks().0);
        }
        self.deadline.poll_passed(cx).map(|()| self.pause_ticks().1)
    }

    /// These bytes came, or went: the wait is over, and they earn time.
    pub fn earn(&mut self, bytes: usize) {
        if let Some(since) = self.since.take() {
            let waited = self.deadline.table.now.get().saturating_sub(since);
            let cost = waited.saturating_mul(u64::from(self.terms.rate));
            self.left = self.left.saturating_sub(cost);
            self.deadline.clear();
        }
        // What is earned is not more than what one pause may use: nobody saves up for hours.
        let most = self.terms.worth(self.terms.pause.max(self.terms.grace));
        let earned = (bytes as u64).saturating_mul(TICKS_A_SECOND);
        self.left = self.left.saturating_add(earned).min(most);
    }

    /// How long a pause may last now, and what it is to be called when it lasts longer.
    fn pause_ticks(&self) -> (u64, UsedUp) {
        let pause = ticks_in(self.terms.pause);
        match self.left.checked_div(u64::from(self.terms.rate)) {
            Some(left) if left < pause => (left, UsedUp::TooSlow),
            Some(_) | None => (pause, UsedUp::Paused),
        }
    }
}

impl Terms {
    fn worth(&self, time: Duration) -> u64 {
        ticks_in(time).saturating_mul(u64::from(self.rate))
    }
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

    /// Sweeps so far: the time in tenths of a second, for what need not be more exact.
    pub fn ticks(&self) -> u64 {
        self.table.now.get()
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
        self.set_ticks(ticks_in(after));
    }

    fn set_ticks(&self, ticks: u64) {
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

    /// Waits for at most this many sweeps; how many it took, and why it was over.
    fn waited(
        deadlines: &Deadlines,
        allowance: &mut Allowance,
        most: u64,
    ) -> Option<(u64, UsedUp)> {
        let cx = Context::from_waker(Waker::noop());
        (0..=most).find_map(|ticks| match allowance.poll_used_up(&cx) {
            Poll::Ready(why) => Some((ticks, why)),
            Poll::Pending => {
                deadlines.sweep();
                None
            }
        })
    }

    const SLOW: Terms = Terms {
        pause: Duration::from_secs(3),
        grace: Duration::from_secs(1),
        rate: 100,
    };

    #[test]
    fn who_sends_nothing_has_the_grace_and_no_more() {
        let deadlines = Deadlines::default();
        let mut allowance = Allowance::new(&deadlines, SLOW);

        let over = waited(&deadlines, &mut allowance, 100);

        assert_eq!(over, Some((11, UsedUp::TooSlow)));
    }

    #[test]
    fn who_sends_at_the_rate_goes_on_and_who_sends_less_does_not() {
        let deadlines = Deadlines::default();
        let mut steady = Allowance::new(&deadlines, SLOW);
        let mut slow = Allowance::new(&deadlines, SLOW);

        for round in 0..40 {
            assert_eq!(waited(&deadlines, &mut steady, 4), None, "round {round}");
            steady.earn(50);
        }
        let ended = (0..40).find(|_| {
            let over = waited(&deadlines, &mut slow, 4);
            slow.earn(10);
            over.is_some()
        });

        assert_eq!(ended, Some(2), "half a second costs 50 bytes and earned 10");
    }

    #[test]
    fn nobody_saves_up_for_more_than_a_pause() {
        let deadlines = Deadlines::default();
        let mut allowance = Allowance::new(&deadlines, SLOW);
        allowance.earn(1_000_000);

        let over = waited(&deadlines, &mut allowance, 100);

        assert_eq!(over, Some((31, UsedUp::Paused)));
    }

    #[test]
    fn without_a_rate_a_pause_alone_is_bounded() {
        let deadlines = Deadlines::default();
        let mut allowance = Allowance::new(&deadlines, Terms { rate: 0, ..SLOW });

        for _ in 0..10 {
            assert_eq!(waited(&deadlines, &mut allowance, 29), None);
            allowance.earn(1);
        }

        assert_eq!(
            waited(&deadlines, &mut allowance, 100),
            Some((31, UsedUp::Paused))
        );
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
