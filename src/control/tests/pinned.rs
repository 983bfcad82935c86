//! What the judge makes of pinned traffic, whose shares move long after a weight has changed.
//!
//! `SIMULATION_TIMES=10` runs ten times as many seeds.

use crate::control::evidence::Assignment;
use crate::model::RevertReason;

use super::traffic::{Candidate, Reverted, Traffic, run};

const HEALTHY: Traffic = Traffic {
    assignment: Assignment::Pinned,
    rate: 100.0,
    pace: 4.0,
    lifetime: 20.0,
    stages: [0.05, 0.25, 0.5],
    stage_seconds: 10,
    errors: 0.001,
    drift: 0.0,
    median: 0.04,
    keys: true,
    candidate: Candidate::LikeStable,
};

/// As many calls of more sessions, each a caller of its own, so that only shares matter.
const WORSE: Traffic = Traffic {
    pace: 1.0,
    stage_seconds: 120,
    keys: false,
    ..HEALTHY
};

const PLANS: [([f64; 3], u64); 3] = [
    ([0.05, 0.25, 0.5], 10),
    ([0.2, 0.4, 0.6], 5),
    ([0.2, 0.4, 0.6], 20),
];

fn times() -> u64 {
    let times = std::env::var("SIMULATION_TIMES").ok();
    times.and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// Every mixture of sessions, plans and error rates.
fn mixtures(like: Traffic) -> Vec<Traffic> {
    let mut mixtures = Vec::new();
    for rate in [20.0, 100.0, 400.0] {
        for lifetime in [5.0, 20.0, 60.0] {
            for (stages, stage_seconds) in PLANS {
                for errors in [0.0, 0.001, 0.05] {
                    mixtures.push(Traffic {
                        rate,
                        lifetime,
                        stages,
                        stage_seconds,
                        errors,
                        ..like
                    });
                }
            }
        }
    }
    mixtures
}

/// Runs each mixture under some seeds; at most half a percent of the rollouts may be reverted.
fn none_is_reverted(like: Traffic, seeds: u64) {
    let (mut rollouts, mut reverted) = (0, 0);
    for (number, traffic) in mixtures(like).into_iter().enumerate() {
        for seed in 0..seeds * times() {
            rollouts += 1;
            if let Some(Reverted { reason, at, record }) =
                run(traffic, number as u64 * 1_000 + seed)
            {
                reverted += 1;
                println!("{traffic:?}, seed {seed}: {reason:?} after {at} s: {record:?}");
            }
        }
    }
    println!("{reverted} of {rollouts} reverted");
    assert!(reverted * 200 <= rollouts, "{reverted} of {rollouts}");
}

#[test]
fn a_healthy_candidate_of_pinned_sessions_is_not_reverted() {
    none_is_reverted(HEALTHY, 4);
}

#[test]
fn nor_while_both_arms_drift() {
    none_is_reverted(
        Traffic {
            drift: 0.4,
            ..HEALTHY
        },
        4,
    );
}

#[test]
fn nor_where_calls_take_longer_than_a_window() {
    none_is_reverted(
        Traffic {
            median: 3.0,
            drift: 0.2,
            ..HEALTHY
        },
        2,
    );
}

/// The median of the candidate's calls until it was reverted, for this reason in all rollouts but
/// few.
fn calls_until(traffic: Traffic, reason: RevertReason) -> u64 {
    let seeds = 30 * times();
    let reverted: Vec<_> = (0..seeds).filter_map(|seed| run(traffic, seed)).collect();
    let right = reverted.iter().filter(|revert| revert.reason == reason);
    assert!(right.count() as u64 * 100 >= 95 * seeds, "{traffic:?}");
    let mut calls: Vec<_> = (reverted.iter())
        .map(|revert| revert.record.candidate.calls)
        .collect();
    calls.sort_unstable();
    calls[calls.len() / 2]
}

/// How many candidate calls it takes, pinned and drawn.
fn compared(traffic: Traffic, reason: RevertReason) -> [u64; 2] {
    let calls = [Assignment::Pinned, Assignment::Drawn].map(|assignment| {
        let traffic = Traffic {
            assignment,
            ..traffic
        };
        calls_until(traffic, reason)
    });
    println!(
        "{:?}, {} a second, sessions of {} s: {calls:?}",
        traffic.candidate, traffic.rate, traffic.lifetime
    );
    calls
}

/// Twice as many at most: while a stage is young the candidate is believed to have all of its
/// weight, of which pinned sessions give it only a part, so each failure weighs less.
#[test]
fn a_failing_candidate_is_found_about_as_soon_as_with_drawn_calls() {
    for rate in [20.0, 100.0, 400.0] {
        for lifetime in [5.0, 20.0, 60.0] {
            let failing = Traffic {
                rate,
                lifetime,
                candidate: Candidate::Fails(0.4),
                ..WORSE
            };

            let [pinned, drawn] = compared(failing, RevertReason::ErrorRateHigh);

            assert!(pinned <= drawn * 2 + 1, "{pinned} {drawn}");
        }
    }
}

#[test]
fn a_slow_candidate_is_found_about_as_soon_as_with_drawn_calls() {
    for rate in [20.0, 100.0, 400.0] {
        for lifetime in [5.0, 20.0] {
            let slow = Traffic {
                rate,
                lifetime,
                candidate: Candidate::Slow(1.5),
                ..WORSE
            };

            let [pinned, drawn] = compared(slow, RevertReason::LatencyDegraded);

            assert!(pinned * 2 <= drawn * 3 + 2, "{pinned} {drawn}");
        }
    }
}
