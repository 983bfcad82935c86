//! How much of pinned traffic the candidate has.
//!
//! Where sessions or keys are pinned the weight says who gets new ones, not who has the calls,
//! and after a stage begins the candidate's share of the calls moves for as long as sessions
//! last. A mean over some seconds lags behind; believing half a point too little for some
//! minutes, or ten points for some seconds, is enough to condemn a candidate that is like stable.
//! So calls are counted by short windows, and what became of the calls of a window is weighed with
//! that window's own share, known when it is over. Only what cannot wait for that, a bad call,
//! goes by bounds of the share.

use std::collections::VecDeque;
use std::time::Duration;

use crate::judge::Share;

/// Shortest window.
const SHORTEST: Duration = Duration::from_millis(900);
/// Longest window, and how long an earlier share is remembered.
const LONGEST: Duration = Duration::from_secs(10);
/// How long after a stage began the weight bounds the share too: of each caller one failure a
/// minute counts, so the callers of new sessions, given out by the weight, weigh more for a while.
const SETTLED: Duration = Duration::from_mins(2);
/// Calls with which a window need not be the longest.
const ENOUGH: u64 = 100;
/// Calls that an earlier share counts for while a window has few of its own.
const PRIOR: f64 = 30.0;

/// Calls begun at stable and at the candidate.
pub(super) type Begun = [u64; 2];

/// The candidate's share of these calls, if there are any.
pub(super) fn share_of([stable, candidate]: Begun) -> Option<f64> {
    let all = stable + candidate;
    (all > 0).then(|| candidate as f64 / all as f64)
}

/// Whether a window that has lasted `age` holds enough to be over.
pub(super) fn is_over(age: Duration, [stable, candidate]: Begun) -> bool {
    age >= LONGEST || age >= SHORTEST && stable + candidate >= ENOUGH
}

/// The shares of the windows until now, as far as they bound the share of this moment.
#[derive(Clone, Debug)]
pub(super) struct Shares {
    weight: f64,
    began: Duration,
    /// The latest share known from before.
    last: f64,
    /// Windows that were over within [`LONGEST`], oldest first, and when they were.
    over: VecDeque<(Duration, Begun)>,
}

impl Shares {
    /// From `began` on new sessions are given out by `weight`; `before` is the share until then.
    pub(super) fn new(weight: f64, before: f64, began: Duration) -> Self {
        Self {
            weight,
            began,
            last: before,
            over: VecDeque::new(),
        }
    }

    /// The latest share that is known.
    pub(super) fn last(&self) -> f64 {
        self.last
    }

    /// A window is over.
    pub(super) fn note(&mut self, now: Duration, begun: Begun) {
        let Some(share) = share_of(begun) else {
            return;
        };
        self.last = share;
        self.over.push_back((now, begun));
        while (self.over.front()).is_some_and(|(then, _)| now.saturating_sub(*then) > LONGEST) {
            self.over.pop_front();
        }
    }

    /// Bounds of the share at this moment: what this window has so far, the latest share before
    /// it, and the mean of some seconds; and at first the weight, which the share moves towards.
    pub(super) fn now(&self, now: Duration, begun: Begun) -> Share {
        let [stable, candidate] = begun.map(|calls| calls as f64);
        let so_far = (candidate + PRIOR * self.last) / (candidate + stable + PRIOR);
        let over = self.over.iter().map(|(_, begun)| *begun);
        let all = over.fold(begun, |[s, c], [stable, candidate]| {
            [s + stable, c + candidate]
        });
        let is_new = now.saturating_sub(self.began) < SETTLED;
        let more = [is_new.then_some(self.weight), share_of(all)];
        Share::between(
            [so_far, self.last]
                .into_iter()
                .chain(more.into_iter().flatten()),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn is(share: Share, least: f64, most: f64) -> bool {
        (share.least - least).abs() < 1e-9 && (share.most - most).abs() < 1e-9
    }

    #[test]
    fn at_first_the_share_is_between_what_was_and_what_shall_be() {
        let shares = Shares::new(0.5, 0.2, at(100));

        assert!(is(shares.now(at(100), [0, 0]), 0.2, 0.5));
        assert!(is(shares.now(at(220), [0, 0]), 0.2, 0.2));
    }

    #[test]
    fn a_share_that_moves_is_followed_within_a_window() {
        let mut shares = Shares::new(0.6, 0.2, at(0));
        shares.note(at(121), [400, 100]);
        shares.note(at(122), [350, 150]);

        let now = shares.now(at(122), [180, 120]);

        // The mean of the seconds on one side, what this window holds on the other.
        assert!(
            now.least < 0.3 && (0.39..0.4).contains(&now.most),
            "{now:?}"
        );
    }

    #[test]
    fn old_windows_are_forgotten_and_silent_ones_say_nothing() {
        let mut shares = Shares::new(0.5, 0.0, at(0));
        shares.note(at(120), [0, 1_000]);
        shares.note(at(130), [50, 50]);
        shares.note(at(131), [50, 50]);
        shares.note(at(132), [0, 0]);

        assert!(is(shares.now(at(132), [0, 0]), 0.5, 0.5));
    }

    #[test]
    fn a_window_is_over_when_it_holds_enough_or_has_lasted_long() {
        assert!(!is_over(Duration::from_millis(500), [1_000, 1_000]));
        assert!(is_over(at(1), [90, 10]) && !is_over(at(1), [89, 10]));
        assert!(is_over(at(10), [0, 0]));
    }

    proptest! {
        #[test]
        fn bounds_hold_what_they_are_made_of(
            weight in 0.0..=1.0f64, before in 0.0..=1.0f64,
            windows in prop::collection::vec([0..10_000u64, 0..10_000u64], 0..30), begun in [0..1_000u64, 0..1_000u64],
        ) {
            let mut shares = Shares::new(weight, before, at(0));
            for (second, window) in windows.iter().enumerate() {
                shares.note(at(second as u64), *window);
            }

            let now = shares.now(at(windows.len() as u64), begun);

            prop_assert!(0.0 <= now.least && now.least <= now.most && now.most <= 1.0);
            prop_assert!((now.least..=now.most).contains(&shares.last()));
        }
    }
}
