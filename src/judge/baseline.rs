//! The candidate's errors beside what stable did before: for a candidate with nearly all of the traffic.
//!
//! Then almost every bad call is the candidate's whatever it does, and the label test learns little from
//! each. So its error rate is also held against twice the worst that stable did in a window of 10 to
//! 30 s until then, or does now where that is worse. A baseline from the past is less sure than one
//! beside it, since both may meet something new. Therefore this test counts for little, each second
//! counts for so much at most that nothing shorter than five seconds decides, and what stable does
//! now excuses the candidate soon.

use serde::{Deserialize, Serialize};

use super::bets::{HIGHEST_RATE, MOST, bet_on_rate};
use super::terms::Terms;
use super::verdict::BaselineRecord;

/// The candidate's share above which this test speaks, and stable's windows no longer count.
const SHARE: f64 = 0.9;
/// How many times stable's worst rate is tolerated, times the plan's margin.
const TOLERATED: f64 = 2.0;
/// Multiples of what is tolerated that the bets suppose.
const RATIOS: [f64; 3] = [1.5, 2.5, 6.0];
/// Most that the calls of a second multiply a bet by.
const SECOND_MOST: f64 = 20.0;
/// Part of the reserve that is bet each second, since nobody knows when a candidate turns bad.
const EACH_SECOND: f64 = 1e-3;
/// Seconds of a piece.
const PIECE: u64 = 10;
/// Pieces of a window at most.
const PIECES: usize = 3;
/// Stable's calls with which a window need not be longer.
const ENOUGH: u32 = 500;
/// Stable's calls below which a window says nothing, and of a group.
const LEAST: u32 = 20;

/// Stable's worst window, and the bets against twice its error rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Baseline {
    /// Stable's calls by piece, the one under way first.
    pieces: [Calls; PIECES],
    /// The candidate's calls of this second.
    second: Calls,
    /// Stable's calls of the group under way.
    group: Calls,
    /// The error rate of stable's last group of 20 calls or more in this piece.
    last_group: f32,
    /// The error rate of stable's worst window while it had a tenth of the traffic; 0 before there was any.
    worst: f32,
    /// Not yet bet.
    reserve: f64,
    capital: [f64; RATIOS.len()],
}

/// Calls of one arm; more than fit count as that many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Calls {
    all: u32,
    bad: u32,
}

impl Calls {
    fn add(&mut self, all: u64, bad: u64) {
        self.all = self.all.saturating_add(few(all));
        self.bad = self.bad.saturating_add(few(bad));
    }

    /// The share of bad calls, with so many more; of 20 calls at least.
    fn rate(self, more: u32) -> f32 {
        let [bad, all] = [self.bad.saturating_add(more), self.all.max(LEAST)];
        (f64::from(bad) / f64::from(all)) as f32
    }
}

/// A count; more than fit count as that many.
pub(super) fn few(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Default for Baseline {
    fn default() -> Self {
        Self {
            pieces: Default::default(),
            second: Calls::default(),
            group: Calls::default(),
            last_group: 0.0,
            worst: 0.0,
            reserve: 1.0,
            capital: [0.0; RATIOS.len()],
        }
    }
}

impl Baseline {
    /// Takes in stable's calls: of bad ones one a caller.
    pub(super) fn see_stable(&mut self, calls: u64, bad: u64) {
        let [under_way, ..] = &mut self.pieces;
        under_way.add(calls, bad);
        self.group.add(calls, bad);
        if self.group.all >= LEAST {
            self.last_group = self.group.rate(0);
            self.group = Calls::default();
        }
    }

    /// Takes in the candidate's calls: of bad ones one a caller.
    pub(super) fn see_candidate(&mut self, good: u64, bad: u64) {
        self.second.add(good.saturating_add(bad), bad);
    }

    /// The judge grew older by whole seconds, in which the candidate had this share.
    pub(super) fn pass(&mut self, terms: &Terms, [before, now]: [u64; 2], share: f64) {
        let seconds = now.saturating_sub(before);
        if seconds == 0 {
            return;
        }
        let second = std::mem::take(&mut self.second);
        if let Some(limit) = self.limit(terms, share) {
            self.restart((seconds as f64 * EACH_SECOND).min(1.0));
            self.settle(limit, second);
        }
        let over = now / PIECE - before / PIECE;
        if over > 0 {
            if share <= SHARE {
                self.worst = self.worst.max(rate(&self.pieces));
            }
            self.close(over);
            (self.group, self.last_group) = (Calls::default(), 0.0);
        }
    }

    /// The error rate that the candidate is held against; none while it has less of the traffic, or
    /// too little is known of stable.
    fn limit(&self, terms: &Terms, share: f64) -> Option<f64> {
        if share <= SHARE || self.worst == 0.0 {
            return None;
        }
        let now = rate(&self.pieces)
            .max(self.last_group)
            .max(self.group.rate(0));
        let worst = f64::from(self.worst.max(now));
        let limit = (tolerated(terms) * worst).max(terms.error_floor);
        // Above that no bet could suppose anything worse.
        (limit < HIGHEST_RATE / RATIOS[0]).then_some(limit)
    }

    /// E-value against "the candidate's error rate is at most the limit".
    pub(super) fn e_value(&self) -> f64 {
        self.reserve + self.capital.iter().sum::<f64>()
    }

    pub(super) fn record(&self, terms: &Terms, share: f64) -> BaselineRecord {
        BaselineRecord {
            e_value: self.e_value(),
            margin: tolerated(terms),
            limit: self.limit(terms, share),
        }
    }

    fn restart(&mut self, part: f64) {
        let moved = self.reserve * part;
        self.reserve -= moved;
        for capital in &mut self.capital {
            *capital += moved / RATIOS.len() as f64;
        }
    }

    fn settle(&mut self, limit: f64, calls: Calls) {
        let rates = RATIOS.map(|ratio| (ratio * limit).min(HIGHEST_RATE));
        let mut factors = [1.0; RATIOS.len()];
        let [bad, all] = [calls.bad, calls.all].map(u64::from);
        bet_on_rate(
            &mut factors,
            rates.into_iter(),
            limit,
            [bad, all.saturating_sub(bad)],
        );
        for (capital, factor) in self.capital.iter_mut().zip(factors) {
            *capital = (*capital * factor.min(SECOND_MOST)).min(MOST);
        }
    }

    /// The piece under way is over, and so many pieces in all.
    fn close(&mut self, pieces: u64) {
        let pieces = usize::try_from(pieces).unwrap_or(PIECES).min(PIECES);
        self.pieces.rotate_right(pieces);
        for piece in self.pieces.iter_mut().take(pieces) {
            *piece = Calls::default();
        }
    }
}

/// How many times stable's worst rate is tolerated.
fn tolerated(terms: &Terms) -> f64 {
    TOLERATED * terms.error_margin
}

/// Stable's error rate in its latest pieces, one bad call added for what was not seen; 0 where too
/// few are known.
fn rate(pieces: &[Calls]) -> f32 {
    let mut window = Calls::default();
    for piece in pieces {
        if window.all >= ENOUGH {
            break;
        }
        window.add(piece.all.into(), piece.bad.into());
    }
    if window.all < LEAST {
        return 0.0;
    }
    window.rate(1)
}

#[cfg(test)]
mod tests {
    use crate::judge::draws::draws;

    use super::*;

    /// What reverts by this test alone.
    const ENOUGH_EVIDENCE: f64 = 1000.0;

    /// A rollout by seconds: 200 calls in each, of which stable fails this share.
    struct Rollout<D> {
        baseline: Baseline,
        terms: Terms,
        seconds: u64,
        stable: f64,
        draw: D,
    }

    impl<D: FnMut() -> f64> Rollout<D> {
        fn new(stable: f64, draw: D) -> Self {
            Self {
                baseline: Baseline::default(),
                terms: Terms::default(),
                seconds: 0,
                stable,
                draw,
            }
        }

        /// A second with this share, in which the candidate's calls fail so often.
        fn second(&mut self, share: f64, candidate: f64) {
            let (mut good, mut bad) = (0, 0);
            let (mut calls, mut failed) = (0, 0);
            for _ in 0..200 {
                if (self.draw)() >= share {
                    calls += 1;
                    failed += u64::from((self.draw)() < self.stable);
                } else if (self.draw)() < candidate {
                    bad += 1;
                } else {
                    good += 1;
                }
            }
            self.baseline.see_stable(calls, failed);
            self.baseline.see_candidate(good, bad);
            self.seconds += 1;
            let times = [self.seconds - 1, self.seconds];
            self.baseline.pass(&self.terms, times, share);
        }

        /// Seconds until this test reverts, of so many at most.
        fn until_found(&mut self, share: f64, candidate: f64, most: usize) -> Option<usize> {
            (1..=most).find(|_| {
                self.second(share, candidate);
                self.baseline.e_value() >= ENOUGH_EVIDENCE
            })
        }
    }

    #[test]
    fn nothing_is_said_at_lower_shares_or_before_stable_is_known() {
        let mut rollout = Rollout::new(0.001, draws(1));

        assert_eq!(rollout.until_found(0.95, 0.5, 60), None, "nothing is known");
        let mut rollout = Rollout::new(0.001, draws(1));
        assert_eq!(rollout.until_found(0.9, 0.5, 60), None, "others look there");
        assert!((rollout.baseline.e_value() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_candidate_that_turns_bad_with_all_of_the_traffic_is_found() {
        for share in [0.95, 1.0] {
            for seed in 0..50 {
                let mut rollout = Rollout::new(0.001, draws(seed));
                (0..120).for_each(|_| rollout.second(0.5, 0.001));
                assert_eq!(rollout.until_found(share, 0.001, 60), None, "seed {seed}");

                let found = rollout.until_found(share, 0.05, 25);

                assert!(found.is_some_and(|it| it >= 5), "seed {seed}: {found:?}");
            }
        }
    }

    #[test]
    fn a_shock_to_both_that_was_there_before_reverts_nothing() {
        for seed in 0..50 {
            let mut rollout = Rollout::new(0.01, draws(seed));
            for share in [0.5, 0.95, 1.0] {
                for second in 0..360 {
                    let rate = if second % 120 < 10 { 0.1 } else { 0.01 };
                    rollout.stable = rate;
                    rollout.second(share, rate);
                }
            }
            assert!(rollout.baseline.e_value() < ENOUGH_EVIDENCE, "seed {seed}");
        }
    }

    #[test]
    fn a_shock_to_both_is_seen_by_what_stable_still_has() {
        for (rate, most) in [(0.1, 2), (0.4, 0)] {
            let reverted = (0..100).filter(|seed| {
                let mut rollout = Rollout::new(0.001, draws(*seed));
                (0..60).for_each(|_| rollout.second(0.5, 0.001));
                (0..60).for_each(|_| rollout.second(0.95, 0.001));
                rollout.stable = rate;
                rollout.until_found(0.95, rate, 60).is_some()
            });
            let reverted = reverted.count();
            assert!(reverted <= most, "{reverted} of 100 at {rate}");
        }
    }

    #[test]
    fn no_four_seconds_decide() {
        let mut rollout = Rollout::new(0.0, draws(3));
        (0..60).for_each(|_| rollout.second(0.5, 0.0));

        assert_eq!(rollout.until_found(0.95, 1.0, 4), None);
        assert_eq!(rollout.until_found(0.95, 1.0, 1), Some(1));
    }

    #[test]
    fn a_tolerable_candidate_is_reverted_no_more_often_than_agreed() {
        let runs = 300;
        let highest = |seed| {
            let mut rollout = Rollout::new(0.02, draws(seed));
            (0..120).for_each(|_| rollout.second(0.5, 0.02));
            (0..300).fold(0.0_f64, |highest, _| {
                rollout.second(0.97, 0.022);
                highest.max(rollout.baseline.e_value())
            })
        };
        let high = (0..runs).filter(|seed| highest(*seed) >= 20.0).count();

        assert!(high <= runs as usize / 20, "{high} of {runs}");
    }

    #[test]
    fn gaps_in_time_and_floods_of_calls_do_no_harm() {
        let mut baseline = Baseline::default();
        let terms = Terms::default();
        let times = [0, 0, 1, 10, 19, 60, 61, 1_000_000, u64::MAX, 0];
        for times in times.windows(2) {
            baseline.see_stable(u64::MAX, 3);
            baseline.see_candidate(u64::MAX, u64::MAX);
            baseline.pass(&terms, [times[0], times[1]], 0.5);
            baseline.see_stable(0, u64::MAX);
            baseline.pass(&terms, [times[0], times[1]], 1.0);
        }
        assert!(baseline.e_value().is_finite());
    }
}
