//! Calls by the window of time that they began in.
//!
//! Where sessions are pinned nobody knows the chance with which a call came to an arm, but of
//! the calls that began in one short window it is known how many each arm got. What becomes of
//! a call later is counted for the window that it began in.

use super::counter::Counter;
use super::trial::LIMITS;

/// How many windows are kept apart; what happens to a call after as many is counted for none.
pub const WINDOWS: usize = 64;

/// The number of a window, from zero at the beginning of the trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowNumber(u32);

impl WindowNumber {
    pub(super) fn new(number: u32) -> Self {
        Self(number)
    }

    pub(super) fn get(self) -> u32 {
        self.0
    }

    /// The window after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    pub(super) fn place(self) -> usize {
        self.0 as usize % WINDOWS
    }

    /// Whether no other window has come to its place until `latest`.
    pub fn keeps_its_place(self, latest: Self) -> bool {
        (latest.0.wrapping_sub(self.0) as usize) < WINDOWS
    }
}

/// One worker's counts of the windows at one place.
#[derive(Debug, Default)]
pub struct TrialWindow {
    begun: Counter,
    slow: [Counter; LIMITS],
}

impl TrialWindow {
    pub(super) fn begin(&self) {
        self.begun.add(1);
    }

    pub(super) fn mark(&self, limit: usize) {
        if let Some(slow) = self.slow.get(limit) {
            slow.add(1);
        }
    }

    pub(super) fn add_to(&self, sum: &mut WindowCounts) {
        sum.begun += self.begun.read();
        for (total, slow) in sum.slow.iter_mut().zip(&self.slow) {
            *total += slow.read();
        }
    }
}

/// The counts of one arm and place, summed over workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowCounts {
    /// Calls begun whose latency tells something.
    pub begun: u64,
    /// Those of them that passed each limit so far.
    pub slow: [u64; LIMITS],
}

impl WindowCounts {
    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut slow = self.slow;
        for (now, then) in slow.iter_mut().zip(&earlier.slow) {
            *now = now.saturating_sub(*then);
        }
        Self {
            begun: self.begun.saturating_sub(earlier.begun),
            slow,
        }
    }
}
