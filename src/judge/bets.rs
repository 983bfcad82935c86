//! Capital on alternatives, and what evidence does to it.

use serde::{Deserialize, Serialize};

use crate::model::Role;

use super::terms::Terms;
use super::thresholds::QUANTILES;

/// How many times worse than tolerated each bet supposes the candidate to be.
pub(super) const RATIOS: [f64; 6] = [1.3, 1.7, 2.5, 5.0, 15.0, 100.0];
/// How the capital of a test on labels is spread over [`RATIOS`]: less on what takes very many
/// calls to see anyway, and on what is seen within three.
pub(super) const SPREAD: [f64; RATIOS.len()] = [0.08, 0.2, 0.22, 0.2, 0.2, 0.1];
/// Multiples of the floor that the bets against the floor suppose.
pub(super) const FLOOR_RATIOS: [f64; 7] = [2.0, 5.0, 10.0, 30.0, 100.0, 300.0, 900.0];
/// Highest error rate that a bet against the floor supposes.
pub(super) const HIGHEST_RATE: f64 = 0.95;
/// Capital that is bet from the start; the rest is bet bit by bit over the planned time, so
/// that a candidate that turns bad late is not protected by its good record.
pub(super) const AT_START: f64 = 0.8;
/// Largest capital of one bet. Cutting wealth down keeps every guarantee.
const MOST: f64 = 1e100;
/// Largest factor of one batch; with [`MOST`] no product overflows.
const LARGEST_FACTOR: f64 = 1e200;
/// Most that the slow calls of one moment multiply a bet by, unless one call alone does more: what
/// is fair when a standstill befalls either backend with the same chance.
const MOMENT_MOST: f64 = 2.0;
/// Share of one arm below which arms are not compared: almost nothing could be learnt, and
/// ratios of chances would be huge.
const LEAST_SHARE: f64 = 1e-4;

/// Events of both arms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Labels {
    pub(super) stable: u64,
    pub(super) candidate: u64,
}

impl Labels {
    pub(super) fn add(&mut self, more: Self) {
        self.stable = self.stable.saturating_add(more.stable);
        self.candidate = self.candidate.saturating_add(more.candidate);
    }

    pub(super) fn count(&mut self, role: Role) {
        match role {
            Role::Stable => self.stable += 1,
            Role::Candidate => self.candidate += 1,
        }
    }
}

/// Whether arms can be compared when the candidate has this share of the traffic.
pub(super) fn comparable(share: f64) -> bool {
    (LEAST_SHARE..=1.0 - LEAST_SHARE).contains(&share)
}

/// The chance that an event is the candidate's if its rate is `ratio` times stable's.
fn chance(share: f64, ratio: f64) -> f64 {
    ratio * share / (ratio * share + 1.0 - share)
}

/// Bets on whose each event was: capital `j` supposes that the candidate's rate is
/// `margin * ratios[j]` times stable's; the null is `margin` times at most (or at least, when
/// the ratios are below one).
pub(super) fn bet_on_labels(
    capital: &mut [f64],
    ratios: &[f64],
    margin: f64,
    share: f64,
    events: Labels,
) {
    if !comparable(share) || events == Labels::default() {
        return;
    }
    for (capital, ratio) in capital.iter_mut().zip(ratios) {
        let factors = label_factors(share, margin, *ratio);
        grow(capital, factors, [events.candidate, events.stable]);
    }
}

/// What a bet on `ratio` is multiplied by when an event is the candidate's, and when it is
/// stable's. Their mean is one where the candidate's rate is `margin` times stable's.
pub(super) fn label_factors(share: f64, margin: f64, ratio: f64) -> [f64; 2] {
    let (null, supposed) = (chance(share, margin), chance(share, margin * ratio));
    [supposed / null, (1.0 - supposed) / (1.0 - null)]
}

/// Bets on the rate of bad calls: capital `j` supposes `rates[j]`, the null is `limit`.
pub(super) fn bet_on_rate(
    capital: &mut [f64],
    rates: impl Iterator<Item = f64>,
    limit: f64,
    [bad, good]: [u64; 2],
) {
    if bad == 0 && good == 0 {
        return;
    }
    for (capital, rate) in capital.iter_mut().zip(rates) {
        let factors = [rate / limit, (1.0 - rate) / (1.0 - limit)];
        grow(capital, factors, [bad, good]);
    }
}

fn grow(capital: &mut f64, factors: [f64; 2], times: [u64; 2]) {
    let factor = product_of_powers(factors, times).min(LARGEST_FACTOR);
    *capital = (*capital * factor).min(MOST);
}

/// `factors[0]^times[0] * factors[1]^times[1]`. One of the two powers may be too large and the
/// other too small to represent while their product is neither, hence logarithms.
fn product_of_powers(factors: [f64; 2], times: [u64; 2]) -> f64 {
    let few = times.map(|times| i32::try_from(times).ok().filter(|times| *times <= 8));
    if let [Some(first), Some(second)] = few {
        return factors[0].powi(first) * factors[1].powi(second);
    }
    let logarithm = |factor: f64, times: u64| match times {
        0 => 0.0, // 0^0 is 1
        times => times as f64 * factor.ln(),
    };
    (logarithm(factors[0], times[0]) + logarithm(factors[1], times[1])).exp()
}

/// The capital that is bet on "the candidate is worse", one unit in each of the three tests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Bets {
    /// Not yet bet; every test has this much in reserve.
    reserve: f64,
    /// On the labels of bad calls.
    ratio: [f64; RATIOS.len()],
    /// On the candidate's error rate being above the floor.
    floor: [f64; FLOOR_RATIOS.len()],
    /// On the labels of slow calls, for each quantile.
    slow: [[f64; RATIOS.len()]; QUANTILES.len()],
    /// What the moment's slow calls have said so far.
    #[serde(default)]
    moment: Moment,
}

/// What the slow calls of one moment say, however many they are.
///
/// A backend that stands still for a blink is slow to every call that is open then. They are one
/// event rather than many, and as likely to befall stable; so what a moment multiplies a bet by is
/// cut. That takes nothing from the promise: of a process that does not grow on average, the
/// lesser of it and a constant does not either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Moment {
    number: u32,
    /// Slow calls of candidate and stable so far, by quantile; more than fit count as that many.
    events: [[u16; 2]; QUANTILES.len()],
}

/// What one batch says, already told apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    /// When it was taken in, in moments.
    pub(super) moment: u32,
    /// The candidate's share when the calls were assigned.
    pub(super) share: f64,
    /// Bad calls, one a caller.
    pub(super) bad: Labels,
    /// The candidate's good calls.
    pub(super) good: u64,
    /// Slow calls by quantile.
    pub(super) slow: [Labels; QUANTILES.len()],
}

impl Bets {
    pub(super) fn new() -> Self {
        Self {
            reserve: 1.0 - AT_START,
            ratio: SPREAD.map(|part| AT_START * part),
            floor: [AT_START / FLOOR_RATIOS.len() as f64; FLOOR_RATIOS.len()],
            slow: [SPREAD.map(|part| AT_START * part); QUANTILES.len()],
            moment: Moment::default(),
        }
    }

    /// Moves a part of the starting reserve to the bets: `part` is of one.
    pub(super) fn restart(&mut self, part: f64) {
        let moved = ((1.0 - AT_START) * part).clamp(0.0, self.reserve);
        self.reserve -= moved;
        for capital in std::iter::once(&mut self.ratio).chain(&mut self.slow) {
            for (capital, part) in capital.iter_mut().zip(SPREAD) {
                *capital += moved * part;
            }
        }
        for capital in &mut self.floor {
            *capital += moved / FLOOR_RATIOS.len() as f64;
        }
    }

    /// Settles the bets on one batch and keeps the stakes on the table.
    pub(super) fn settle(&mut self, terms: &Terms, evidence: &Evidence) {
        let share = evidence.share;
        let margin = terms.error_margin;
        bet_on_labels(&mut self.ratio, &RATIOS, margin, share, evidence.bad);
        if comparable(share) {
            self.settle_slow(evidence);
        }
        let floor = terms.error_floor;
        let rates = FLOOR_RATIOS.map(|ratio| (floor * ratio).min(HIGHEST_RATE));
        let calls = [evidence.bad.candidate, evidence.good];
        bet_on_rate(&mut self.floor, rates.into_iter(), floor, calls);
    }

    fn settle_slow(&mut self, evidence: &Evidence) {
        let moment = self.moment.at(evidence.moment);
        let singles = RATIOS.map(|ratio| label_factors(evidence.share, 1.0, ratio));
        let quantiles = self.slow.iter_mut().zip(moment).zip(evidence.slow);
        for ((capitals, known), slow) in quantiles {
            if slow == Labels::default() {
                continue;
            }
            let before = *known;
            let few = |count: u64| u16::try_from(count).unwrap_or(u16::MAX);
            known[0] = known[0].saturating_add(few(slow.candidate));
            known[1] = known[1].saturating_add(few(slow.stable));
            for (capital, single) in capitals.iter_mut().zip(singles) {
                let most = single[0].max(MOMENT_MOST);
                let worth =
                    |events: [u16; 2]| product_of_powers(single, events.map(u64::from)).min(most);
                let (was, is) = (worth(before), worth(*known));
                *capital = if was > 0.0 {
                    (*capital * (is / was)).min(MOST)
                } else {
                    0.0
                };
            }
        }
    }

    /// E-value against "the candidate fails at most `margin` times as often as stable".
    pub(super) fn ratio(&self) -> f64 {
        self.worth(&self.ratio)
    }

    /// E-value against "the candidate's error rate is at most the floor".
    pub(super) fn floor(&self) -> f64 {
        self.worth(&self.floor)
    }

    /// E-values against "the candidate is at most `margin` times as slow", by quantile.
    pub(super) fn slow(&self) -> [f64; QUANTILES.len()] {
        let mut worths = [0.0; QUANTILES.len()];
        for (worth, slow) in worths.iter_mut().zip(&self.slow) {
            *worth = self.worth(slow);
        }
        worths
    }

    fn worth(&self, capital: &[f64]) -> f64 {
        self.reserve + capital.iter().sum::<f64>()
    }
}

impl Moment {
    /// The slow calls of the moment with this number.
    fn at(&mut self, number: u32) -> &mut [[u16; 2]; QUANTILES.len()] {
        if self.number != number {
            *self = Self {
                number,
                ..Self::default()
            };
        }
        &mut self.events
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::judge::draws::draws;

    use super::*;

    /// The highest e-value of one rollout of three stages with this true ratio of error rates.
    fn highest(ratio: f64, margin: f64, draw: &mut impl FnMut() -> f64) -> f64 {
        let mut bets = Bets::new();
        let mut highest = 0.0_f64;
        for (share, events) in [(0.05, 60), (0.25, 75), (0.5, 100)] {
            for _ in 0..events {
                bets.restart(1.0 / 235.0);
                let event = if draw() < chance(share, ratio) {
                    [0, 1]
                } else {
                    [1, 0]
                };
                let [stable, candidate] = event;
                let events = Labels { stable, candidate };
                bet_on_labels(&mut bets.ratio, &RATIOS, margin, share, events);
                highest = highest.max(bets.ratio());
            }
        }
        highest
    }

    #[test]
    fn a_tolerable_candidate_is_reverted_no_more_often_than_agreed() {
        let mut draw = draws(7);
        for ratio in [0.5, 1.0, 1.1] {
            let runs: Vec<_> = (0..4_000).map(|_| highest(ratio, 1.1, &mut draw)).collect();
            for alpha in [0.05, 0.01, 0.001] {
                let reverted = runs.iter().filter(|e| **e >= 1.0 / alpha).count();

                assert!(
                    reverted as f64 <= alpha * runs.len() as f64,
                    "ratio {ratio}, alpha {alpha}: {reverted} of {}",
                    runs.len()
                );
            }
        }
    }

    #[test]
    fn a_much_worse_candidate_is_reverted_nearly_always() {
        let mut draw = draws(8);
        let caught = (0..500)
            .filter(|_| highest(5.0, 1.1, &mut draw) >= 100.0)
            .count();

        assert!(caught >= 495, "{caught}");
    }

    /// Slow calls of one moment, at every quantile.
    fn slow(moment: u32, share: f64, stable: u64, candidate: u64) -> Evidence {
        Evidence {
            moment,
            share,
            bad: Labels::default(),
            good: 0,
            slow: [Labels { stable, candidate }; QUANTILES.len()],
        }
    }

    #[test]
    fn calls_that_are_slow_at_once_are_hardly_more_than_one() {
        for share in [0.05, 0.5, 0.95] {
            let mut bets = Bets::new();
            for moment in 0..3 {
                for _ in 0..200 {
                    bets.settle(&Terms::default(), &slow(moment, share, 0, 1));
                }
            }

            let single = label_factors(share, 1.0, 100.0)[0].max(MOMENT_MOST);
            for worth in bets.slow() {
                assert!(worth <= 1.0 + single.powi(3), "{share}: {worth}");
            }
        }
    }

    #[test]
    fn what_a_moment_says_does_not_hang_on_how_it_is_told() {
        let (mut at_once, mut singly) = (Bets::new(), Bets::new());
        at_once.settle(&Terms::default(), &slow(1, 0.3, 4, 30));
        for candidate in [20, 0, 10] {
            singly.settle(&Terms::default(), &slow(1, 0.3, 0, candidate));
            singly.settle(
                &Terms::default(),
                &slow(1, 0.3, if candidate == 0 { 4 } else { 0 }, 0),
            );
        }

        for (at_once, singly) in at_once.slow().iter().zip(singly.slow()) {
            assert!((at_once / singly - 1.0).abs() < 1e-9, "{at_once} {singly}");
        }
    }

    #[test]
    fn a_candidate_that_stands_still_as_often_as_stable_is_not_reverted() {
        let mut draw = draws(9);
        for share in [0.5, 0.7, 0.95] {
            let reverted = (0..500).filter(|_| {
                let mut bets = Bets::new();
                (0..200).any(|moment| {
                    bets.restart(1.0 / 200.0);
                    // Each call that is open is slow: 30 of them at one of the two, or the few
                    // that are always slow.
                    let (stable, candidate) = if draw() < 0.1 {
                        let of_candidate = draw() < 0.5;
                        let hit: f64 = 30.0 * if of_candidate { share } else { 1.0 - share };
                        let hit = hit.round() as u64;
                        if of_candidate { (0, hit) } else { (hit, 0) }
                    } else {
                        let candidate = u64::from(draw() < share);
                        (1 - candidate, candidate)
                    };
                    bets.settle(&Terms::default(), &slow(moment, share, stable, candidate));
                    bets.slow().iter().sum::<f64>() / bets.slow().len() as f64 >= 200.0
                })
            });
            let reverted = reverted.count();
            assert!(reverted <= 5, "{share}: {reverted} of 500");
        }
    }

    #[test]
    fn the_reserve_is_bet_once_and_never_more_than_there_is() {
        let mut bets = Bets::new();
        for _ in 0..100 {
            bets.restart(0.03);
        }

        assert!(bets.reserve.abs() < 1e-12, "{}", bets.reserve);
        assert!((bets.ratio() - 1.0).abs() < 1e-9 && (bets.floor() - 1.0).abs() < 1e-9);
    }

    fn evidence() -> impl Strategy<Value = Evidence> {
        let count = prop_oneof![0..20u64, Just(u64::MAX / 2), 0..1_000_000u64];
        let labels = (count.clone(), count.clone())
            .prop_map(|(stable, candidate)| Labels { stable, candidate });
        let share = prop_oneof![0.0..=1.0, Just(0.0), Just(1.0), Just(f64::NAN), Just(-1.0)];
        let slow = prop::array::uniform5(labels.clone());
        (0..3u32, share, labels, count, slow).prop_map(|(moment, share, bad, good, slow)| {
            Evidence {
                moment,
                share,
                bad,
                good,
                slow,
            }
        })
    }

    proptest! {
        #[test]
        fn no_evidence_makes_wealth_anything_but_a_number(batches in prop::collection::vec(evidence(), 1..20)) {
            let mut bets = Bets::new();
            for batch in &batches {
                bets.settle(&Terms::default(), batch);
                bets.restart(0.1);
                let all = [bets.ratio(), bets.floor()].into_iter().chain(bets.slow());
                for wealth in all {
                    prop_assert!(wealth.is_finite() && wealth >= 0.0, "{wealth}");
                }
            }
        }

        #[test]
        fn a_bet_is_fair_at_the_margin_and_unfavourable_below(share in 0.001..0.999f64, margin in 1.0..3.0f64, ratio in 1.01..200.0f64, better in 0.0..1.0f64) {
            let [up, down] = label_factors(share, margin, ratio);
            let mean = |chance: f64| chance * up + (1.0 - chance) * down;

            prop_assert!((mean(chance(share, margin)) - 1.0).abs() < 1e-9);
            prop_assert!(mean(chance(share, margin * better)) <= 1.0 + 1e-9);
            prop_assert!(up > 1.0 && down < 1.0);
        }

        #[test]
        fn a_batch_is_worth_what_its_events_are_worth_one_by_one(share in 0.01..0.99f64, stable in 0..30u64, candidate in 0..30u64) {
            let (mut at_once, mut singly) = ([0.1; 6], [0.1; 6]);
            bet_on_labels(&mut at_once, &RATIOS, 1.1, share, Labels { stable, candidate });
            for (events, times) in [([1, 0], stable), ([0, 1], candidate)] {
                let [stable, candidate] = events;
                for _ in 0..times {
                    bet_on_labels(&mut singly, &RATIOS, 1.1, share, Labels { stable, candidate });
                }
            }

            for (once, single) in at_once.iter().zip(singly) {
                prop_assert!((once / single - 1.0).abs() < 1e-9);
            }
        }

        #[test]
        fn more_bad_calls_of_the_candidate_never_speak_for_it(bad in 0..200u64, good in 0..2_000u64) {
            let with = |bad: u64, good: u64| {
                let mut bets = Bets::new();
                let nothing = [Labels::default(); QUANTILES.len()];
                bets.settle(&Terms::default(), &Evidence { moment: 0, share: 0.2, bad: Labels { stable: 3, candidate: bad }, good, slow: nothing });
                bets.ratio().min(bets.floor())
            };

            prop_assert!(with(bad + 1, good) >= with(bad, good));
            prop_assert!(with(bad, good + 1) <= with(bad, good));
        }
    }
}
