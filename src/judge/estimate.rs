//! What a plan can find out at a given traffic: told before it starts.
//!
//! The tests are the judge's own; what is supposed is that calls come evenly, that each failure is
//! another caller's, and that each call is drawn by the stage's share. A regression is one that is
//! there from the start. What it takes is told for four rollouts in five: their evidence is taken
//! at the unlucky fifth of what chance gives, at the end of a stage, and without the capital that
//! is bet late, so that a little more than four in five are found in truth.

use std::time::Duration;

use crate::stats::Latencies;

use super::bets::{
    AT_START, FLOOR_RATIOS, HIGHEST_RATE, RATIOS, SPREAD, comparable, label_factors,
};
use super::keys::Culprits;
use super::pass::{self, Usual};
use super::terms::Terms;
use super::thresholds::QUANTILES;

/// How far below its mean the fifth of a normal number is that four of five exceed.
const UNLUCKY: f64 = 0.8416;
/// Largest slowdown that is looked for.
const SLOWEST: f64 = 1000.0;
/// Smallest error rate that is told from none.
const LEAST_RATE: f64 = 1e-6;
/// Halvings with which the smallest regression is found: to a thousandth.
const HALVINGS: usize = 24;

/// How a route does today.
#[derive(Clone, Copy, Debug)]
pub struct Today<'a> {
    /// Calls a second, of all versions together.
    pub rate: f64,
    /// Which part of stable's calls goes badly.
    pub error_rate: f64,
    /// Stable's latencies.
    pub latency: &'a Latencies,
}

/// One stage of a plan, before it starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StageEstimate {
    /// Calls of the candidate's while the stage lasts, if it is not extended.
    pub calls: f64,
    /// Calls of the candidate's with which one that is like stable passes; `None` when it cannot.
    pub needed_calls: Option<u64>,
    /// How long they take; `None` also without any traffic.
    pub needed: Option<Duration>,
    /// The smallest error rate of the candidate's that is reverted by the end of the stage in four
    /// rollouts of five; `None` when none is.
    pub error_rate: Option<f64>,
    /// The smallest slowdown, as a factor of every latency, for which the same holds.
    pub slowdown: Option<f64>,
}

/// What each stage can find out: its share and its time are given.
pub fn estimate(terms: &Terms, today: Today<'_>, stages: &[(f64, Duration)]) -> Vec<StageEstimate> {
    let mut exposed = Vec::with_capacity(stages.len());
    let each = stages.iter().map(|(share, time)| {
        let rate = today.rate * share;
        let calls = rate * time.as_secs_f64();
        exposed.push((*share, calls));
        let usual = usual(terms, today);
        let needed_calls = pass::usual_calls(terms, *share, usual);
        let seconds = needed_calls.map(|calls| calls as f64 / rate);
        StageEstimate {
            calls,
            needed_calls,
            needed: seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            error_rate: smallest_error_rate(terms, today, &exposed),
            slowdown: smallest_slowdown(terms, today, &exposed),
        }
    });
    each.collect()
}

fn usual(terms: &Terms, today: Today<'_>) -> Usual {
    let limit = today.latency.quantile(0.95).unwrap_or_default();
    let of = |factor: f64| slower(today.latency, limit.mul_f64(factor));
    Usual {
        error_rate: today.error_rate,
        slow: [of(1.0), of(terms.pass_margin)],
        calls: today.latency.count() as f64,
    }
}

/// Which part of the calls took longer.
fn slower(latency: &Latencies, limit: Duration) -> f64 {
    let all = latency.count().max(1);
    all.saturating_sub(latency.count_up_to(limit)) as f64 / all as f64
}

fn smallest_error_rate(terms: &Terms, today: Today<'_>, exposed: &[(f64, f64)]) -> Option<f64> {
    let least = today.error_rate.clamp(LEAST_RATE, 1.0);
    smallest(least, 1.0, |rate| {
        finds_errors(terms, today.error_rate, rate, exposed)
    })
}

fn smallest_slowdown(terms: &Terms, today: Today<'_>, exposed: &[(f64, f64)]) -> Option<f64> {
    let limits = QUANTILES.map(|quantile| today.latency.quantile(quantile));
    smallest(1.0, SLOWEST, |slowdown| {
        let each = limits.iter().flatten().map(|limit| {
            let of_candidate = limit.mul_f64(terms.latency_margin / slowdown);
            let rates = [limit, &of_candidate].map(|limit| slower(today.latency, *limit));
            wealth(1.0, rates, exposed)
        });
        let latency = each.sum::<f64>() / limits.len() as f64;
        latency >= terms.revert_threshold() / terms.weights().latency
    })
}

/// The smallest value for which `is_found`, which holds for all larger ones.
fn smallest(least: f64, most: f64, is_found: impl Fn(f64) -> bool) -> Option<f64> {
    if !is_found(most) {
        return None;
    }
    let (mut low, mut high) = (least.ln(), most.ln());
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if is_found(middle.exp()) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high.exp())
}

fn finds_errors(terms: &Terms, stable: f64, candidate: f64, exposed: &[(f64, f64)]) -> bool {
    let calls: f64 = exposed.iter().map(|(_, calls)| calls).sum();
    let expected = calls * candidate;
    let failures = expected - spread(expected, candidate) * expected.sqrt();
    if failures < f64::from(Culprits::ENOUGH) {
        return false;
    }
    let ratio = wealth(terms.error_margin, [stable, candidate], exposed);
    let floor = wealth_over_floor(terms.error_floor, failures, calls);
    ratio.min(floor) >= terms.revert_threshold() / terms.weights().errors
}

/// What the bets on "worse than stable" come to at these rates of events, in the unlucky fifth.
fn wealth(margin: f64, [stable, candidate]: [f64; 2], exposed: &[(f64, f64)]) -> f64 {
    let comparable = exposed.iter().filter(|(share, _)| comparable(*share));
    let events: Vec<_> = comparable
        .map(|(share, calls)| {
            let of_stable = stable * calls * (1.0 - share) / share;
            (*share, calls * candidate, of_stable)
        })
        .collect();
    let total = |of: fn(&(f64, f64, f64)) -> f64| events.iter().map(of).sum::<f64>();
    let fewer = spread(total(|each| each.1), candidate);
    let more = excess(total(|each| each.2));
    let grown = RATIOS.iter().zip(SPREAD).map(|(ratio, part)| {
        let (mut mean, mut below, mut above) = (0.0, 0.0, 0.0);
        for (share, of_candidate, of_stable) in &events {
            let [up, down] = label_factors(*share, margin, *ratio).map(f64::ln);
            mean += of_candidate * up + of_stable * down;
            below += of_candidate * up * up;
            above += of_stable * down * down;
        }
        let unlucky = mean - (fewer * fewer * below + more * more * above).sqrt();
        AT_START * part * unlucky.exp()
    });
    1.0 - AT_START + grown.sum::<f64>()
}

/// What the bets on "fails often enough to matter" come to after so many failures.
fn wealth_over_floor(floor: f64, failures: f64, calls: f64) -> f64 {
    let good = (calls - failures).max(0.0);
    let grown = FLOOR_RATIOS.iter().map(|ratio| {
        let rate = (floor * ratio).min(HIGHEST_RATE);
        let bad = failures * (rate / floor).ln();
        (bad + good * ((1.0 - rate) / (1.0 - floor)).ln()).exp()
    });
    1.0 - AT_START + AT_START * grown.sum::<f64>() / FLOOR_RATIOS.len() as f64
}

/// How many standard deviations of a Poisson number its unlucky fifth is below the mean (Wilson and
/// Hilferty); less where the chance of each call is not small.
fn spread(mean: f64, chance: f64) -> f64 {
    if mean <= 0.0 {
        return 0.0;
    }
    let root = 1.0 - 1.0 / (9.0 * mean) - UNLUCKY / (3.0 * mean.sqrt());
    let fifth = mean * root.max(0.0).powi(3);
    (mean - fifth) / mean.sqrt() * (1.0 - chance).max(0.0).sqrt()
}

/// The same above the mean.
fn excess(mean: f64) -> f64 {
    if mean <= 0.0 {
        return 0.0;
    }
    let root = 1.0 - 1.0 / (9.0 * mean) + UNLUCKY / (3.0 * mean.sqrt());
    ((mean * root.powi(3) - mean) / mean.sqrt()).max(0.0)
}

#[cfg(test)]
mod tests {
    use crate::model::{Outcome, Role};
    use crate::stats::{ArmCounts, BadCall, Histogram};

    use crate::judge::draws::draws;

    use super::*;
    use crate::judge::{Batch, Judge, Share, StageTime, Verdict};

    fn latency() -> Latencies {
        let histogram = Histogram::default();
        for each in 1..=1000_u32 {
            // A long tail, as latencies have it.
            let unit = f64::from(each) / 1001.0;
            histogram.record(Duration::from_secs_f64(0.010 * (1.0 - unit).powf(-0.6)));
        }
        let mut latency = Latencies::default();
        histogram.add_to(&mut latency);
        latency
    }

    fn today(latency: &Latencies, rate: f64, error_rate: f64) -> Today<'_> {
        Today {
            rate,
            error_rate,
            latency,
        }
    }

    const MINUTES: [(f64, Duration); 2] = [
        (0.05, Duration::from_mins(5)),
        (0.25, Duration::from_mins(5)),
    ];

    /// Whether a rollout with these error rates is reverted by the end of its stages.
    fn is_reverted(rate: f64, errors: [f64; 2], draw: &mut impl FnMut() -> f64) -> bool {
        let planned = MINUTES.iter().map(|(_, time)| *time).sum();
        let mut judge = Judge::new(Terms::default(), planned);
        let mut now = 0.0;
        for (share, time) in MINUTES {
            judge.begin_stage();
            for _ in 0..(rate * time.as_secs_f64()) as u64 {
                now += 1.0 / rate;
                let role = if draw() < share {
                    Role::Candidate
                } else {
                    Role::Stable
                };
                let is_bad = draw() < errors[role.index()];
                let one = ArmCounts {
                    calls: 1,
                    reached: 1,
                    ..ArmCounts::default()
                };
                let bad = [BadCall {
                    role,
                    key: None,
                    outcome: Outcome::ServerError,
                }];
                let mut batch = Batch {
                    share: Share::exact(share),
                    bad: if is_bad { &bad } else { &[] },
                    ..Batch::tick(Duration::from_secs_f64(now))
                };
                match role {
                    Role::Stable => batch.stable = one,
                    Role::Candidate => batch.candidate = one,
                }
                judge.weigh(&batch);
            }
        }
        matches!(judge.verdict(StageTime::Running), Verdict::Revert { .. })
    }

    #[test]
    fn the_smallest_regression_is_found_in_four_of_five_rollouts() {
        let latency = latency();
        let mut draw = draws(11);
        for (rate, stable) in [(20.0, 0.0), (20.0, 0.001), (20.0, 0.02), (4.0, 0.01)] {
            let estimates = estimate(&Terms::default(), today(&latency, rate, stable), &MINUTES);
            let candidate = estimates[1].error_rate.unwrap();
            let runs = 60;

            let errors = [stable, candidate];
            let found = (0..runs).filter(|_| is_reverted(rate, errors, &mut draw));
            let found = found.count();

            let shown = format!("{rate}/s, {stable} to {candidate}: {found} of {runs}");
            assert!((42..=60).contains(&found), "{shown}");
        }
    }

    #[test]
    fn a_stage_that_is_too_short_needs_more_time_than_it_has() {
        let latency = latency();

        let [first, second] = estimate(&Terms::default(), today(&latency, 20.0, 0.001), &MINUTES)
            .try_into()
            .unwrap();

        assert!((first.calls - 300.0).abs() < 1e-9);
        let needed = first.needed_calls.unwrap();
        assert!((380..=900).contains(&needed), "{needed}");
        assert!(first.needed.unwrap() > MINUTES[0].1);
        assert!(second.needed.unwrap() < MINUTES[1].1);
        assert!(second.error_rate < first.error_rate && second.slowdown < first.slowdown);
        assert!((1.2..4.0).contains(&first.slowdown.unwrap()), "{first:?}");
    }

    #[test]
    fn without_traffic_nothing_is_found() {
        let nothing = Latencies::default();

        let estimates = estimate(&Terms::default(), today(&nothing, 0.0, 0.0), &MINUTES);

        for stage in estimates {
            assert_eq!((stage.calls, stage.needed), (0.0, None));
            assert_eq!((stage.error_rate, stage.slowdown), (None, None));
        }
    }

    #[test]
    fn more_traffic_finds_smaller_regressions() {
        let latency = latency();
        let at = |rate| estimate(&Terms::default(), today(&latency, rate, 0.01), &MINUTES)[1];

        let (some, much) = (at(20.0), at(2000.0));

        assert!(much.error_rate < some.error_rate && much.slowdown < some.slowdown);
        assert!(much.error_rate.unwrap() > 0.011, "beyond the margin");
        assert!(much.slowdown.unwrap() > 1.19, "beyond the margin");
    }
}
