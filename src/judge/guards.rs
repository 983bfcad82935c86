//! Hard limits beside the comparison with stable: what may not happen whatever stable does.
//!
//! A limit is a bet on the candidate alone: capital supposes several rates above it, every bad
//! call multiplies it by how much likelier that makes them, every good one by how much less. It
//! begins anew with every window, so that a good past protects nobody.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bets::bet_on_rate;
use super::keys::Culprits;
use super::terms::Terms;

/// How many times above the limit each bet supposes the rate to be.
const RATIOS: [f64; 6] = [1.5, 2.0, 4.0, 10.0, 30.0, 100.0];
/// How far from the limit to certainty the highest supposed rate is.
const HIGHEST: f64 = 0.95;
/// The part of calls that may be slower than a limit for the 99th percentile.
const SLOW_PART: f64 = 0.01;
/// Callers that were failed, or slow calls, below which no guard speaks.
const LEAST: u32 = 2;

/// A guard: what it watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// The candidate's error rate, against `max_error_rate`.
    ErrorRate,
    /// The 99th percentile of the candidate's latency, against `max_latency_p99`.
    LatencyP99,
    /// Candidate calls in a row that found no connection, against `max_connect_failures`.
    ConnectFailures,
}

impl Guard {
    /// The guard's name in API, CLI and log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ErrorRate => "error_rate",
            Self::LatencyP99 => "latency_p99",
            Self::ConnectFailures => "connect_failures",
        }
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A guard with a limit, and how it stands in its present window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GuardRecord {
    /// What it watches.
    pub guard: Guard,
    /// The limit: a rate from 0 to 1, seconds, or a number of calls.
    pub limit: f64,
    /// Candidate calls that were looked at.
    pub calls: u64,
    /// Those that are over the limit: failed (one a caller and minute), slow, or unconnected in a row.
    pub over: u64,
    /// Evidence that the limit is broken; for `connect_failures` the number itself.
    pub evidence: f64,
    /// The evidence that switches back.
    pub revert_at: f64,
}

/// What a batch says to the guards.
#[derive(Clone, Copy, Debug)]
pub(super) struct GuardEvidence {
    /// Bad calls of the candidate, one a caller and minute.
    pub(super) bad: u64,
    /// Its good ones.
    pub(super) good: u64,
    /// Its finished calls.
    pub(super) calls: u64,
    /// Its calls that have passed the limit for latency, open ones too.
    pub(super) late: u64,
}

/// One bet, of one window.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Bet {
    capital: [f64; RATIOS.len()],
    calls: u64,
    over: u64,
}

impl Default for Bet {
    fn default() -> Self {
        Self {
            capital: [1.0 / RATIOS.len() as f64; RATIOS.len()],
            calls: 0,
            over: 0,
        }
    }
}

impl Bet {
    fn settle(&mut self, limit: f64, over: u64, within: u64) {
        let highest = limit + HIGHEST * (1.0 - limit);
        let rates = RATIOS.map(|ratio| (limit * ratio).min(highest));
        bet_on_rate(&mut self.capital, rates.into_iter(), limit, [over, within]);
        self.over = self.over.saturating_add(over);
        self.calls = self.calls.saturating_add(over).saturating_add(within);
    }

    fn worth(&self) -> f64 {
        self.capital.iter().sum()
    }
}

/// The bets on the limits of a plan.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Guards {
    errors: Bet,
    slow: Bet,
    /// Slow calls that were told before they were counted as calls.
    owed: u64,
    /// Time since the window began.
    age: Duration,
}

impl Guards {
    /// Time has gone by.
    pub(super) fn pass(&mut self, terms: &Terms, since: Duration) {
        self.age = self.age.saturating_add(since);
        if self.age >= terms.guard_window {
            let owed = self.owed;
            *self = Self {
                owed,
                ..Self::default()
            };
        }
    }

    pub(super) fn settle(&mut self, terms: &Terms, evidence: &GuardEvidence) {
        if let Some(limit) = terms.max_error_rate {
            self.errors.settle(limit, evidence.bad, evidence.good);
        }
        if terms.max_latency_p99.is_some() {
            let not_in_time = evidence.late.saturating_add(self.owed);
            let in_time = evidence.calls.saturating_sub(not_in_time);
            self.owed = not_in_time.saturating_sub(evidence.calls);
            self.slow.settle(SLOW_PART, evidence.late, in_time);
        }
    }

    /// The guard whose limit has been shown to be broken.
    pub(super) fn broken(&self, terms: &Terms, planned: Duration) -> Option<Guard> {
        let revert_at = revert_at(terms, planned);
        let is_broken = |bet: &Bet| bet.over >= u64::from(LEAST) && bet.worth() >= revert_at;
        if terms.max_error_rate.is_some() && is_broken(&self.errors) {
            return Some(Guard::ErrorRate);
        }
        (terms.max_latency_p99.is_some() && is_broken(&self.slow)).then_some(Guard::LatencyP99)
    }

    /// How each of them that has a limit stands.
    pub(super) fn records(&self, terms: &Terms, planned: Duration) -> Vec<GuardRecord> {
        let record = |guard, limit, bet: &Bet| GuardRecord {
            guard,
            limit,
            calls: bet.calls,
            over: bet.over,
            evidence: bet.worth(),
            revert_at: revert_at(terms, planned),
        };
        let errors = terms.max_error_rate;
        let errors = errors.map(|limit| record(Guard::ErrorRate, limit, &self.errors));
        let slow = terms.max_latency_p99.map(|limit| limit.as_secs_f64());
        let slow = slow.map(|limit| record(Guard::LatencyP99, limit, &self.slow));
        errors.into_iter().chain(slow).collect()
    }
}

/// The worth of a bet that shows a limit to be broken. A candidate within it reaches that in a
/// window with probability `1 / revert_at`, and in all planned windows with `alpha` at most.
fn revert_at(terms: &Terms, planned: Duration) -> f64 {
    let windows = planned.as_secs_f64() / terms.guard_window.as_secs_f64();
    terms.revert_threshold() * windows.ceil().max(1.0)
}

/// Calls in a row that found no connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ConnectGuard {
    pub(super) failures: u32,
    pub(super) callers: Culprits,
}

impl ConnectGuard {
    pub(super) fn is_broken(&self, terms: &Terms) -> bool {
        let most = terms.max_connect_failures;
        most > 0 && self.failures >= most && self.callers.found() >= LEAST.min(most)
    }

    /// How it stands, if it is not turned off.
    pub(super) fn record(&self, terms: &Terms) -> Option<GuardRecord> {
        let most = terms.max_connect_failures;
        (most > 0).then(|| GuardRecord {
            guard: Guard::ConnectFailures,
            limit: f64::from(most),
            calls: u64::from(self.failures),
            over: u64::from(self.failures),
            evidence: f64::from(self.failures),
            revert_at: f64::from(most),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::judge::draws::draws;

    use super::*;

    const PLANNED: Duration = Duration::from_mins(10);

    fn terms() -> Terms {
        Terms {
            max_error_rate: Some(0.05),
            max_latency_p99: Some(Duration::from_secs(1)),
            guard_window: Duration::from_mins(5),
            ..Terms::default()
        }
    }

    /// Whether a candidate of these rates is reverted in 600 calls, and after how many.
    fn calls_until(rate: f64, slow: f64, draw: &mut impl FnMut() -> f64) -> Option<u64> {
        let (terms, mut guards) = (terms(), Guards::default());
        (1..=600).find(|_| {
            guards.pass(&terms, Duration::from_secs(1));
            let bad = u64::from(draw() < rate);
            let late = u64::from(draw() < slow);
            guards.settle(
                &terms,
                &GuardEvidence {
                    bad,
                    good: 1 - bad,
                    calls: 1,
                    late,
                },
            );
            guards.broken(&terms, PLANNED).is_some()
        })
    }

    #[test]
    fn a_candidate_at_its_limits_is_reverted_no_more_often_than_agreed() {
        let mut draw = draws(3);

        let runs = 4_000;
        let reverted = (0..runs).filter(|_| calls_until(0.05, 0.01, &mut draw).is_some());

        let most = 2.0 * 0.01 * f64::from(runs);
        assert!((reverted.count() as f64) <= most, "two guards, alpha each");
    }

    #[test]
    fn a_candidate_over_a_limit_is_found_within_a_window() {
        let mut draw = draws(4);
        for (rate, slow, within) in [(1.0, 0.0, 4), (0.3, 0.0, 60), (0.0, 0.2, 80), (0.0, 1.0, 3)] {
            let found = (0..100).filter(|_| {
                let calls = calls_until(rate, slow, &mut draw);
                calls.is_some_and(|calls| calls <= within)
            });
            assert!(found.count() >= 90, "{rate} {slow}");
        }
    }

    #[test]
    fn one_slow_answer_in_sixty_trips_nothing() {
        let (terms, mut guards) = (terms(), Guards::default());
        let mut settle = |late, calls| {
            let (bad, good) = (0, calls);
            guards.settle(
                &terms,
                &GuardEvidence {
                    bad,
                    good,
                    calls,
                    late,
                },
            );
            guards.broken(&terms, PLANNED)
        };

        assert_eq!(settle(1, 0), None, "still open");
        assert_eq!(settle(0, 60), None);
    }

    #[test]
    fn a_good_past_protects_for_a_window_at_most() {
        let (terms, mut guards) = (terms(), Guards::default());
        let evidence = |bad, good| GuardEvidence {
            bad,
            good,
            calls: bad + good,
            late: 0,
        };
        guards.settle(&terms, &evidence(0, 1_000_000));
        guards.settle(&terms, &evidence(50, 0));
        assert_eq!(guards.broken(&terms, PLANNED), None);

        guards.pass(&terms, terms.guard_window);
        guards.settle(&terms, &evidence(5, 0));

        assert_eq!(guards.broken(&terms, PLANNED), Some(Guard::ErrorRate));
    }
}
