//! The judge as `control` sees it: batches in, records out.

use std::time::Duration;

use proptest::prelude::*;

use crate::model::{Outcome, RevertReason, Role};
use crate::stats::{ArmCounts, BadCall, Histogram, LIMITS, Latencies};

use super::spec::JudgeSpec;
use super::trial::{Batch, Judge};
use super::verdict::{HoldReason, StageTime, Verdict};
use super::{Baseline, Record, Share, Terms, TermsError};

const SHARE: f64 = 0.05;

fn judge() -> Judge {
    Judge::new(Terms::default(), Duration::from_mins(15))
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn call(role: Role, key: Option<u64>, outcome: Outcome) -> BadCall {
    BadCall { role, key, outcome }
}

fn calls(calls: u64, reached: u64) -> ArmCounts {
    ArmCounts {
        calls,
        reached,
        slow: [0; LIMITS],
        late: 0,
    }
}

/// A batch in which the candidate failed calls, and stable answered as many well.
fn failures(bad: &[BadCall]) -> Batch<'_> {
    let unreachable = bad
        .iter()
        .filter(|call| call.outcome == Outcome::Unreachable);
    let count = bad.len() as u64;
    Batch {
        now: at(1),
        share: Share::exact(SHARE),
        stable: calls(count, count),
        candidate: calls(count, count - unreachable.count() as u64),
        bad,
        dropped: 0,
    }
}

fn failed(keys: impl IntoIterator<Item = Option<u64>>, outcome: Outcome) -> Vec<BadCall> {
    let call = |key| call(Role::Candidate, key, outcome);
    keys.into_iter().map(call).collect()
}

fn hold(because: HoldReason) -> Verdict {
    Verdict::Hold { because }
}

fn revert(reason: RevertReason) -> Verdict {
    Verdict::Revert { reason }
}

fn now(judge: &Judge) -> Verdict {
    judge.rule(StageTime::Running).verdict
}

#[test]
fn three_failures_of_three_callers_revert_a_candidate_that_only_fails() {
    let mut judge = judge();
    for key in 1..=2 {
        let bad = failed([Some(key)], Outcome::ToolError);
        judge.weigh(&failures(&bad));
        assert_eq!(now(&judge), hold(HoldReason::NoData));
    }

    judge.weigh(&failures(&failed([Some(3)], Outcome::ToolError)));

    assert_eq!(now(&judge), revert(RevertReason::ErrorRateHigh));
}

#[test]
fn one_caller_that_fails_again_and_again_reverts_nothing() {
    let mut judge = judge();
    for minute in 0..60 {
        let bad = failed([Some(1); 20], Outcome::ServerError);
        judge.weigh(&Batch {
            now: at(60 * minute),
            ..failures(&bad)
        });
    }

    let record = judge.rule(StageTime::Running);
    assert_eq!(record.verdict, hold(HoldReason::FewCallers));
    assert_eq!((record.errors.callers, record.repeated), (1, 60 * 19));
    assert_eq!(record.candidate.bad_counted, 60);
}

#[test]
fn calls_without_a_key_count_each() {
    let mut judge = judge();

    judge.weigh(&failures(&failed([None; 4], Outcome::Timeout)));

    assert_eq!(now(&judge), revert(RevertReason::ErrorRateHigh));
}

#[test]
fn failures_of_both_arms_alike_are_nobodys_fault() {
    let mut judge = judge();
    for second in 0..600 {
        let mut bad = failed([None], Outcome::ServerError);
        bad.extend([call(Role::Stable, None, Outcome::ServerError); 19]);
        judge.weigh(&Batch {
            now: at(second),
            share: Share::exact(SHARE),
            stable: calls(19, 19),
            candidate: calls(1, 1),
            bad: &bad,
            dropped: 0,
        });
    }

    let record = judge.rule(StageTime::Over);
    assert!(record.errors.floor_e_value > 1e6 && record.errors.e_value < 10.0);
    assert_eq!(record.verdict, hold(HoldReason::Inconclusive));
}

#[test]
fn a_candidate_that_cannot_be_reached_is_told_from_one_that_fails() {
    let mut judge = judge();

    judge.weigh(&failures(&failed((1..=4).map(Some), Outcome::Unreachable)));

    assert_eq!(now(&judge), revert(RevertReason::HealthCheckFailed));
}

#[test]
fn the_guard_works_in_the_warm_up_and_needs_two_callers() {
    let one_caller = failed([Some(1); 50], Outcome::Unreachable);
    let mut alone = judge();
    alone.warm_up(&failures(&one_caller));
    assert_eq!(now(&alone), hold(HoldReason::NoData));

    let two_callers = failed(
        [Some(1), Some(1), Some(2), Some(1), Some(1)],
        Outcome::Unreachable,
    );
    let mut several = judge();
    several.warm_up(&failures(&two_callers));
    assert_eq!(now(&several), revert(RevertReason::HealthCheckFailed));
}

#[test]
fn a_call_that_gets_through_ends_the_row_of_failures() {
    let mut judge = judge();
    for _ in 0..10 {
        judge.warm_up(&failures(&failed([None; 4], Outcome::Unreachable)));
        assert_eq!(judge.rule(StageTime::Running).connect_failures, 4);
        judge.warm_up(&Batch {
            candidate: calls(1, 1),
            ..Batch::tick(at(2))
        });
        assert_eq!(judge.rule(StageTime::Running).connect_failures, 0);
    }

    assert_eq!(now(&judge), hold(HoldReason::NoData));
}

#[test]
fn the_guard_can_be_turned_off() {
    let terms = Terms {
        max_connect_failures: 0,
        ..Terms::default()
    };
    let mut judge = Judge::new(terms, at(60));

    judge.warm_up(&failures(&failed([None; 50], Outcome::Unreachable)));

    assert_eq!(now(&judge), hold(HoldReason::NoData));
}

#[test]
fn warming_up_is_not_evidence() {
    let mut judge = judge();

    judge.warm_up(&failures(&failed([None; 50], Outcome::ServerError)));

    let record = judge.rule(StageTime::Running);
    assert_eq!(
        (record.candidate.bad, record.verdict),
        (0, hold(HoldReason::NoData))
    );
}

#[test]
fn a_slower_candidate_is_reverted_for_its_latency() {
    let mut judge = judge();
    for second in 0..10 {
        judge.weigh(&slow_batch(second, [10; LIMITS], [9; LIMITS]));
    }

    assert_eq!(now(&judge), revert(RevertReason::LatencyDegraded));
}

fn slow_batch(second: u64, stable: [u64; LIMITS], candidate: [u64; LIMITS]) -> Batch<'static> {
    let arm = |calls, slow| ArmCounts {
        calls,
        reached: calls,
        slow,
        late: 0,
    };
    Batch {
        share: Share::exact(0.1),
        stable: arm(90, stable),
        candidate: arm(10, candidate),
        ..Batch::tick(at(second))
    }
}

#[test]
fn a_stage_passes_when_errors_and_latency_are_shown_to_be_fine() {
    let mut judge = judge();
    let mut verdicts = Vec::new();
    for second in 0..120 {
        judge.weigh(&slow_batch(
            second,
            [45, 22, 9, 4, 1, 4],
            [2, 1, 0, 0, 0, 0],
        ));
        verdicts.push(now(&judge));
    }

    assert_eq!(verdicts[3], hold(HoldReason::NoData));
    assert_eq!(verdicts[5], hold(HoldReason::Gathering));
    assert_eq!(verdicts[119], Verdict::Advance);
    judge.begin_stage();
    assert_eq!(now(&judge), hold(HoldReason::NoData));
}

#[test]
fn the_estimate_of_needed_calls_comes_true() {
    let mut judge = judge();
    let mut estimate = None;
    for second in 0..1_000 {
        judge.weigh(&slow_batch(
            second,
            [45, 22, 9, 4, 1, 4],
            [4, 2, 0, 0, 0, 0],
        ));
        let record = judge.rule(StageTime::Running);
        if record.verdict == Verdict::Advance {
            let estimate: u64 = estimate.unwrap();
            assert!(
                record.stage_calls.abs_diff(estimate) * 4 < estimate,
                "{estimate}"
            );
            return;
        }
        if second == 5 {
            estimate = record
                .needed_calls
                .map(|needed| needed + record.stage_calls);
        }
    }
    panic!("never passed");
}

#[test]
fn a_bad_call_told_before_it_is_counted_is_not_counted_good_later() {
    let (mut together, mut apart) = (judge(), judge());
    let bad = failed([None], Outcome::ServerError);
    together.weigh(&Batch {
        candidate: calls(5, 5),
        ..failures(&bad)
    });
    apart.weigh(&Batch {
        candidate: calls(0, 0),
        ..failures(&bad)
    });
    apart.weigh(&Batch {
        candidate: calls(5, 5),
        ..Batch::tick(at(1))
    });

    let [together, apart] = [together, apart].map(|judge| judge.rule(StageTime::Running));
    let off = together.errors.floor_e_value / apart.errors.floor_e_value;
    assert!((off - 1.0).abs() < 1e-9, "{off}");
}

#[test]
fn a_candidate_with_all_or_none_of_the_traffic_is_not_compared() {
    for share in [0.0, 1.0] {
        let mut judge = judge();
        judge.weigh(&Batch {
            share: Share::exact(share),
            ..failures(&failed([None; 30], Outcome::ServerError))
        });

        assert!(judge.rule(StageTime::Over).errors.e_value <= 1.0);
    }
}

#[test]
fn a_restart_forgets_no_evidence() {
    let mut whole = judge();
    let mut stored = judge();
    for second in 0..300 {
        let bad = failed([Some(second % 40)], Outcome::ServerError);
        let batch = |now| Batch {
            now,
            stable: calls(40, 40),
            candidate: calls(60, 60),
            ..failures(&bad)
        };
        whole.weigh(&batch(at(1_000 + second)));
        stored.weigh(&batch(at(1_000 + second)));
        let text = serde_json::to_string(&stored).unwrap();
        stored = serde_json::from_str(&text).unwrap();
        // The clock of the next process begins elsewhere; its first batch finds no time passed.
        stored.weigh(&Batch::tick(at(1_000 + second)));
    }

    let [whole, stored] = [whole, stored].map(|judge| judge.rule(StageTime::Running));
    assert!((whole.e_value / stored.e_value - 1.0).abs() < 1e-6);
    assert_eq!(
        (whole.verdict, whole.candidate),
        (stored.verdict, stored.candidate)
    );
    assert_eq!(whole.repeated, stored.repeated);
}

#[test]
fn a_record_survives_its_text() {
    let mut judge = judge();
    judge.weigh(&slow_batch(3, [45, 22, 9, 4, 1, 4], [2, 1, 0, 0, 0, 0]));
    judge.weigh(&failures(&failed([None; 2], Outcome::ToolError)));
    let record = judge.rule(StageTime::Running);

    let text = serde_json::to_value(&record).unwrap();

    assert_eq!(text["verdict"]["because"], "no_data");
    let back: Record = serde_json::from_value(text).unwrap();
    assert_eq!(back, record);
}

#[test]
fn a_record_shows_the_limits_that_calls_are_held_against() {
    let histogram = Histogram::default();
    (0..100).for_each(|_| histogram.record(Duration::from_millis(100)));
    let mut reading = Latencies::default();
    histogram.add_to(&mut reading);
    let mut baseline = Baseline::default();
    baseline.refresh(&reading);
    let mut judge = judge();

    judge.note_limits(baseline.limits(judge.terms()).unwrap());

    let [median, ..] = judge.rule(StageTime::Running).latency.quantiles;
    let (stable, candidate) = (median.stable_limit_seconds, median.candidate_limit_seconds);
    assert!((0.1..0.102).contains(&stable.unwrap()));
    assert!((0.12..0.123).contains(&candidate.unwrap()));
}

#[test]
fn a_judge_is_small() {
    assert!(size_of::<Judge>() <= 1024, "{}", size_of::<Judge>());
}

#[test]
fn of_an_uncertain_share_each_side_gets_the_worse() {
    let bad = failed([None; 3], Outcome::ToolError);
    let e_values = |share| {
        let mut judge = judge();
        judge.weigh(&Batch {
            share,
            ..failures(&bad)
        });
        let mut bad = bad.clone();
        bad.extend([call(Role::Stable, None, Outcome::ToolError); 9]);
        judge.weigh(&Batch {
            share,
            ..failures(&bad)
        });
        let errors = judge.rule(StageTime::Running).errors;
        [errors.ratio_e_value, errors.pass_e_value].map(f64::to_bits)
    };

    let [worse, good] = e_values(Share::between([0.2, 0.1, 0.3]));
    let [least, most] = [0.1, 0.3].map(|share| e_values(Share::exact(share)));

    assert_eq!([worse, good], [most[0], least[1]]);
    assert!(least[0] != most[0] && least[1] != most[1]);
}

#[test]
fn terms_out_of_bounds_are_all_told_with_their_field() {
    let mut spec = JudgeSpec {
        alpha: 0.0,
        beta: f64::NAN,
        min_requests: u64::MAX,
        ..JudgeSpec::default()
    };
    spec.errors.margin = Some(0.9);
    spec.latency.pass_margin = Some(1.1);

    let TermsError { problems } = Terms::new(&spec).unwrap_err();

    let paths: Vec<_> = problems.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "alpha",
            "beta",
            "errors.margin",
            "latency.pass_margin",
            "min_requests"
        ]
    );
    assert!(Terms::new(&JudgeSpec::default()).is_ok());
}

fn any_arm() -> impl Strategy<Value = ArmCounts> {
    let count = prop_oneof![0..5u64, 0..1_000_000u64, Just(u64::MAX)];
    let slow = prop::array::uniform6(count.clone());
    (count.clone(), count, slow).prop_map(|(calls, reached, slow)| ArmCounts {
        calls,
        reached,
        slow,
        late: 0,
    })
}

fn any_calls() -> impl Strategy<Value = Vec<BadCall>> {
    let outcome = (0..Outcome::COUNT).prop_map(|index| Outcome::ALL[index]);
    let role = any::<bool>().prop_map(|stable| Role::BOTH[usize::from(stable)]);
    let call = (role, prop::option::of(0..20u64), outcome)
        .prop_map(|(role, key, outcome)| call(role, key, outcome));
    prop::collection::vec(call, 0..30)
}

proptest! {
    #[test]
    fn no_batch_makes_the_judge_panic_or_lose_its_numbers(
        batches in prop::collection::vec((any_arm(), any_arm(), any_calls(), any::<f64>(), any::<u64>(), any::<u64>()), 1..12)
    ) {
        let mut judge = judge();
        for (stable, candidate, bad, share, now, dropped) in &batches {
            let batch = Batch { now: Duration::from_nanos(*now), share: Share::exact(*share), stable: *stable, candidate: *candidate, bad, dropped: *dropped };
            judge.weigh(&batch);
            let record = judge.rule(StageTime::Over);

            prop_assert!(record.e_value.is_finite() && record.e_value >= 0.0);
            prop_assert!(record.latency.pass_e_value.is_finite() && record.errors.pass_e_value.is_finite());
            let text = serde_json::to_string(&judge).unwrap();
            let restored: Judge = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(restored.verdict(StageTime::Over), record.verdict);
        }
    }
}

fn hundredths(margin: f64) -> i64 {
    (margin * 100.0).round() as i64
}

#[test]
fn a_preset_says_what_a_plan_does_not() {
    use super::spec::PresetSpec;
    let mut spec = JudgeSpec {
        preset: PresetSpec::Relaxed,
        ..JudgeSpec::default()
    };
    spec.latency.margin = Some(1.4);

    let terms = Terms::new(&spec).unwrap();

    let margins = [terms.error_margin, terms.latency_margin, terms.pass_margin];
    assert_eq!(margins.map(hundredths), [200, 140, 200]);
    let strict = Terms::default();
    let margins = [
        strict.error_margin,
        strict.latency_margin,
        strict.pass_margin,
    ];
    assert_eq!(margins.map(hundredths), [110, 120, 150]);
}
