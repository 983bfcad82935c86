//! The judge and the machine of a rollout on seeded traffic: false reverts, detection and
//! whole rollouts. Counts and order only; nothing here measures time.
//!
//! `SIMULATION_TIMES=12` makes as many times the replications, for figures worth quoting.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "all of this is test code, also outside of test functions"
)]

#[path = "simulation/replay.rs"]
mod replay;
#[path = "simulation/trace.rs"]
mod trace;
#[path = "simulation/whole.rs"]
mod whole;

use std::ops::ControlFlow;

use switchback::judge::Verdict;
use switchback::model::RevertReason;

use replay::{Replayed, Revert, replay};
use trace::{Bench, Scenario};

#[test]
fn the_generator_reproduces_its_golden_traces() {
    let bench = load();

    for line in include_str!("simulation/golden.txt").lines().skip(1) {
        let fields: Vec<_> = line.split(' ').collect();
        let number = |index: usize| fields[index].parse::<u64>().unwrap();
        let (mut counts, mut sum, mut last) = ([0; 3], 0, 0.0);
        let mut hash = 0xCBF2_9CE4_8422_2325_u64;
        let scenario = bench.scenario(number(0));
        bench.replay(scenario, (number(1), number(2)), |request| {
            let (candidate, error) = (u64::from(request.candidate), u64::from(request.error));
            for value in [candidate, error, request.latency_us, request.key] {
                hash = (hash ^ value).wrapping_mul(0x100_0000_01B3);
            }
            for (count, more) in counts.iter_mut().zip([1, candidate, error]) {
                *count += more;
            }
            sum += request.latency_us;
            last = request.t;
            ControlFlow::Continue(())
        });

        assert_eq!(counts, [number(3), number(4), number(5)], "{line}");
        assert_eq!(sum, number(6), "{line}");
        assert_eq!(last.to_bits(), fields[7].parse::<f64>().unwrap().to_bits());
        assert_eq!(format!("{hash:016x}"), fields[8], "{line}");
    }
}

fn load() -> Bench {
    Bench::read(include_str!("simulation/scenarios.json")).unwrap()
}

#[test]
fn a_file_that_cannot_be_replayed_is_refused() {
    let file = include_str!("simulation/scenarios.json");
    for (field, wrong) in [
        ("stage_s", "0"),
        ("stage_s", "2.5"),
        ("warmup_s", "-1"),
        ("warmup_s", "0.5"),
        ("weights", "[0.5, 2]"),
        ("weights", "7"),
    ] {
        let mut file: serde_json::Value = serde_json::from_str(file).unwrap();
        file["rollout"][field] = serde_json::from_str(wrong).unwrap();

        assert!(Bench::read(&file.to_string()).is_err(), "{field} {wrong}");
    }
}

/// How many replications or seeds to run where this many are asserted on.
fn times(replications: u64) -> u64 {
    let times = std::env::var("SIMULATION_TIMES").ok();
    replications * times.and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// Many replications of one scenario at one rate.
struct Runs(Vec<Replayed>);

impl Runs {
    fn of(bench: &Bench, scenario: u64, rate: u64, replications: u64) -> Self {
        Self::replay(bench, bench.scenario(scenario), rate, replications)
    }

    /// The same with a last stage that leaves stable a twentieth, as plans do.
    fn with_hold_back(bench: &Bench, scenario: u64, rate: u64, replications: u64) -> Self {
        let mut scenario = bench.scenario(scenario).clone();
        scenario.weights = Some(vec![0.05, 0.25, 0.5, 0.95]);
        Self::replay(bench, &scenario, rate, replications)
    }

    fn replay(bench: &Bench, scenario: &Scenario, rate: u64, replications: u64) -> Self {
        let replications = times(replications);
        let runs = Self(
            (0..replications)
                .map(|replication| replay(bench, scenario, rate, replication))
                .collect(),
        );
        println!(
            "| {:<42} | {rate:>3} | {replications:>4} | {:>5.1} % | {:>7} | {:>4} | {:>6.1} | {:>3.0} {:>3.0} {:>3.0} % |",
            scenario.name,
            100.0 * runs.reverted(),
            runs.calls(),
            runs.bad(),
            runs.seconds(),
            100.0 * runs.passed(0),
            100.0 * runs.passed(1),
            100.0 * runs.passed(2),
        );
        runs
    }

    fn reverted(&self) -> f64 {
        let reverted = self.0.iter().filter(|run| run.revert.is_some());
        reverted.count() as f64 / self.0.len() as f64
    }

    fn passed(&self, stage: usize) -> f64 {
        let passed = self
            .0
            .iter()
            .filter(|run| run.revert.is_none() && run.passed[stage]);
        passed.count() as f64 / self.0.len() as f64
    }

    /// The share of rollouts that a stage passed and nothing reverted.
    fn wrongly_passed(&self) -> f64 {
        (0..3).map(|stage| self.passed(stage)).fold(0.0, f64::max)
    }

    fn median(&self, of: impl Fn(&Revert) -> f64) -> f64 {
        let mut values: Vec<_> = self.reverts().map(of).collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        f64::midpoint(at(values.len().saturating_sub(1) / 2), at(values.len() / 2))
    }

    fn reverts(&self) -> impl Iterator<Item = &Revert> {
        self.0.iter().filter_map(|run| run.revert.as_ref())
    }

    fn calls(&self) -> f64 {
        self.median(|revert| revert.calls as f64)
    }

    fn bad(&self) -> f64 {
        self.median(|revert| revert.bad as f64)
    }

    fn seconds(&self) -> f64 {
        self.median(|revert| revert.t)
    }

    /// Whether all but a hundredth of the rollouts were reverted for this reason: now and
    /// then a check that has nothing to find is the first to find something.
    fn all_reverted_for(&self, reason: RevertReason) -> bool {
        let verdict = Verdict::Revert { reason };
        let right = self.reverts().filter(|r| r.record.verdict == verdict);
        right.count() as f64 >= 0.99 * self.0.len() as f64
    }
}

/// The agreed chance of reverting a tolerable candidate. With the replications of an ordinary
/// run it allows none of most scenarios.
const ALPHA: f64 = 0.01;

/// Scenarios in which the candidate is like stable or within the margins.
const TOLERABLE: [u64; 11] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

#[test]
fn tolerable_candidates_are_not_reverted_at_twenty_a_second() {
    let bench = load();
    for scenario in TOLERABLE {
        let runs = Runs::with_hold_back(&bench, scenario, 20, 25);

        assert!(runs.reverted() <= ALPHA, "scenario {scenario}");
    }
}

#[test]
fn tolerable_candidates_are_not_reverted_at_two_hundred_a_second() {
    let bench = load();
    for scenario in TOLERABLE {
        let runs = Runs::with_hold_back(&bench, scenario, 200, 3);

        assert!(runs.reverted() <= ALPHA, "scenario {scenario}");
        assert!(runs.passed(2) > 0.99, "scenario {scenario}");
    }
}

#[test]
fn two_calls_a_second_are_too_few_for_a_pass_and_enough_for_a_revert() {
    let bench = load();

    let healthy = Runs::with_hold_back(&bench, 1, 2, 100);
    let failing = Runs::of(&bench, 19, 2, 100);

    assert!(healthy.reverted() <= ALPHA && healthy.passed(0) <= 0.0);
    assert!(failing.reverted() >= 1.0 && failing.calls() <= 4.0);
}

#[test]
fn a_candidate_that_only_fails_is_reverted_after_three_calls() {
    let bench = load();
    for rate in [20, 200] {
        let runs = Runs::of(&bench, 19, rate, 100);

        assert!(runs.all_reverted_for(RevertReason::ErrorRateHigh));
        assert!(runs.calls() <= 4.0);
    }
}

#[test]
fn five_points_more_errors_are_seen_within_a_handful_of_bad_calls() {
    let bench = load();
    for rate in [20, 200] {
        let runs = Runs::of(&bench, 12, rate, 200);

        assert!(runs.all_reverted_for(RevertReason::ErrorRateHigh));
        assert!(runs.calls() <= 65.0 && runs.bad() <= 4.0);
    }
}

#[test]
fn one_point_more_errors_is_seen_within_nine_bad_calls() {
    let bench = load();
    for rate in [20, 200] {
        let runs = Runs::of(&bench, 14, rate, 200);

        assert!(runs.all_reverted_for(RevertReason::ErrorRateHigh));
        assert!(runs.calls() <= 650.0 && runs.bad() <= 9.0);
    }
}

#[test]
fn twice_the_errors_are_mostly_seen_and_hardly_ever_passed() {
    let bench = load();

    let slowly = Runs::of(&bench, 15, 20, 150);
    let quickly = Runs::of(&bench, 15, 200, 30);

    assert!(slowly.reverted() >= 0.6 && slowly.wrongly_passed() <= 0.05);
    assert!(quickly.reverted() >= 1.0);
}

#[test]
fn a_slower_candidate_is_seen_in_its_middle_and_in_its_tail() {
    let bench = load();
    // Twice and half as slow again; then the same for the slowest twentieth alone.
    for (scenario, most) in [(24, 35.0), (23, 170.0), (26, 230.0), (25, 950.0)] {
        let runs = Runs::of(&bench, scenario, 20, 200);

        assert!(runs.calls() <= most, "{scenario}");
        assert!(runs.all_reverted_for(RevertReason::LatencyDegraded));
    }
}

#[test]
fn a_defect_that_begins_late_is_seen_within_seconds() {
    let bench = load();

    let runs = Runs::of(&bench, 21, 200, 60);

    assert!(runs.all_reverted_for(RevertReason::ErrorRateHigh));
    assert!(runs.seconds() - 450.0 <= 6.0 && runs.bad() <= 40.0);
}

#[test]
fn the_same_trace_gives_the_same_verdict_with_the_same_numbers() {
    let bench = load();
    for scenario in [14, 25] {
        let again = || {
            replay(&bench, bench.scenario(scenario), 20, 3)
                .revert
                .unwrap()
        };

        let (first, second) = (again(), again());

        assert_eq!(first.record, second.record);
        assert!(first.record.e_value >= first.record.revert_at);
    }
}
