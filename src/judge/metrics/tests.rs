//! Metrics that are pushed: who is reverted for them, and who is not.

use crate::judge::draws::draws;
use crate::judge::spec::JudgeSpec;
use crate::judge::{Batch, Judge, Record, StageTime, Terms, Verdict};
use crate::model::RevertReason;

use super::*;

fn terms(metrics: &serde_json::Value) -> Terms {
    let spec: JudgeSpec =
        serde_json::from_value(serde_json::json!({ "metrics": metrics })).unwrap();
    Terms::new(&spec).unwrap()
}

fn liked_and_tokens() -> Terms {
    terms(&serde_json::json!([
        { "name": "liked", "kind": "yes_no", "worse": "lower" },
        { "name": "tokens", "kind": "number" },
    ]))
}

const STAGES: [f64; 3] = [0.05, 0.25, 0.5];
const STAGE_SECONDS: u64 = 120;

/// How calls of both arms go: shares of answers that are not liked, and mean tokens.
#[derive(Clone, Copy)]
struct Arms {
    disliked: [f64; 2],
    tokens: [f64; 2],
    /// Which part of the calls of each arm is reported.
    reported: [f64; 2],
}

const ALIKE: Arms = Arms {
    disliked: [0.1, 0.1],
    tokens: [500.0, 500.0],
    reported: [1.0, 1.0],
};

/// A rollout of three stages at ten calls a second, and what the judge says at its end, or when it
/// has enough.
fn rollout(arms: Arms, draw: &mut impl FnMut() -> f64) -> Record {
    let mut judge = Judge::new(liked_and_tokens(), at(3 * STAGE_SECONDS));
    for (stage, share) in STAGES.into_iter().enumerate() {
        judge.begin_stage();
        for second in 0..STAGE_SECONDS {
            let now = at(stage as u64 * STAGE_SECONDS + second);
            for _ in 0..10 {
                let role = if draw() < share {
                    Role::Candidate
                } else {
                    Role::Stable
                };
                if draw() < arms.reported[role.index()] {
                    judge.observe(&pushed(role, &arms, draw));
                }
            }
            judge.weigh(&Batch::tick(now));
            let record = judge.rule(StageTime::Running);
            if matches!(record.verdict, Verdict::Revert { .. }) {
                return record;
            }
        }
    }
    judge.rule(StageTime::Over)
}

fn pushed(role: Role, arms: &Arms, draw: &mut impl FnMut() -> f64) -> [Observation; 2] {
    let liked = draw() >= arms.disliked[role.index()];
    let tokens = -arms.tokens[role.index()] * (1.0 - draw()).ln();
    let observed = |metric, value| Observation {
        metric,
        role,
        key: None,
        value,
    };
    [observed(0, f64::from(u8::from(liked))), observed(1, tokens)]
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn reverted(runs: usize, arms: Arms, draw: &mut impl FnMut() -> f64) -> usize {
    let records = (0..runs).map(|_| rollout(arms, draw));
    let because = |record: Record| match record.verdict {
        Verdict::Revert { reason } => {
            assert_eq!(reason, RevertReason::MetricDegraded);
            true
        }
        Verdict::Advance | Verdict::Hold { .. } => false,
    };
    records.filter(|record| because(record.clone())).count()
}

#[test]
fn a_candidate_like_stable_is_reverted_no_more_often_than_agreed() {
    let mut draw = draws(21);
    let uneven = Arms {
        reported: [0.1, 1.0],
        ..ALIKE
    };
    let tolerated = Arms {
        disliked: [0.1, 0.11],
        tokens: [500.0, 600.0],
        reported: [1.0, 0.3],
    };
    for arms in [ALIKE, uneven, tolerated] {
        let reverted = reverted(60, arms, &mut draw);
        assert!(reverted <= 1, "{reverted} of 60");
    }
}

#[test]
fn a_candidate_that_is_liked_less_or_costs_more_is_reverted_for_it() {
    let mut draw = draws(22);
    let disliked = Arms {
        disliked: [0.1, 0.4],
        ..ALIKE
    };
    let costly = Arms {
        tokens: [500.0, 1500.0],
        ..ALIKE
    };
    for arms in [disliked, costly] {
        let reverted = reverted(30, arms, &mut draw);
        assert!(reverted >= 28, "{reverted} of 30");
    }
}

fn observed(metric: usize, role: Role, key: Option<u64>, value: f64) -> Observation {
    Observation {
        metric,
        role,
        key,
        value,
    }
}

/// A judge that has been told of good answers of both arms, one a second.
fn told_well() -> Judge {
    let mut judge = Judge::new(liked_and_tokens(), at(600));
    for second in 0..100 {
        judge.observe(&Role::BOTH.map(|role| observed(0, role, None, 1.0)));
        judge.weigh(&Batch::tick(at(second)));
    }
    judge
}

#[test]
fn one_caller_that_complains_again_and_again_reverts_nothing() {
    let mut judge = told_well();

    for second in 100..400 {
        judge.observe(&[observed(0, Role::Candidate, Some(7), 0.0); 20]);
        judge.observe(&[observed(0, Role::Stable, None, 1.0); 20]);
        judge.weigh(&Batch::tick(at(second)));
    }

    let record = judge.rule(StageTime::Running);
    assert!(matches!(record.verdict, Verdict::Hold { .. }));
    let liked = &record.metrics[0];
    assert!(liked.candidate.bad <= 6, "{liked:?}");
    assert_eq!(liked.repeated, 300 * 20 - liked.candidate.bad);
    assert!(liked.e_value <= 1.0);
}

#[test]
fn complaints_of_several_callers_revert_within_seconds() {
    let mut judge = told_well();

    let until = (100..200).find(|second| {
        judge.observe(&[observed(0, Role::Candidate, Some(*second), 0.0)]);
        judge.observe(&[observed(0, Role::Stable, None, 1.0); 20]);
        judge.weigh(&Batch::tick(at(*second)));
        matches!(judge.verdict(StageTime::Running), Verdict::Revert { .. })
    });

    assert!(until.is_some_and(|second| second < 130), "{until:?}");
    let record = judge.rule(StageTime::Running);
    assert_eq!(
        record.verdict,
        Verdict::Revert {
            reason: RevertReason::MetricDegraded
        }
    );
}

#[test]
fn an_arm_that_nobody_reports_of_is_compared_with_nothing() {
    let mut judge = Judge::new(liked_and_tokens(), at(600));

    for second in 0..300 {
        judge.observe(&[observed(0, Role::Candidate, Some(second), 0.0); 5]);
        judge.observe(&[observed(1, Role::Candidate, None, 1e9); 5]);
        judge.weigh(&Batch::tick(at(second)));
    }

    let record = judge.rule(StageTime::Running);
    assert!(matches!(record.verdict, Verdict::Hold { .. }));
    assert!(
        record.metrics.iter().all(|metric| metric.e_value <= 1.0),
        "{:?}",
        record.metrics
    );
    assert_eq!(record.metrics[1].candidate.mean, Some(1e9));
}

#[test]
fn values_of_another_kind_are_none() {
    let terms = liked_and_tokens();
    let [liked, tokens] = &terms.metrics[..] else {
        panic!("two metrics");
    };

    assert_eq!(liked.read(Value::Answer(true)), Some(1.0));
    assert_eq!(liked.read(Value::Number(0.0)), Some(0.0));
    assert_eq!(tokens.read(Value::Number(17.5)), Some(17.5));
    for wrong in [Value::Number(0.5), Value::Number(f64::NAN)] {
        assert_eq!(liked.read(wrong), None);
    }
    for wrong in [
        Value::Answer(true),
        Value::Number(-1.0),
        Value::Number(f64::INFINITY),
    ] {
        assert_eq!(tokens.read(wrong), None);
    }
}

#[test]
fn a_restart_keeps_the_evidence() {
    let mut judge = told_well();
    judge.observe(&[observed(0, Role::Candidate, Some(7), 0.0)]);

    let text = serde_json::to_string(&judge).unwrap();
    let restored: Judge = serde_json::from_str(&text).unwrap();

    let [before, after] = [&judge, &restored].map(|judge| judge.rule(StageTime::Running));
    assert_eq!(before.metrics, after.metrics);
}

#[test]
fn metrics_count_a_tenth_where_there_are_some() {
    let with = liked_and_tokens().weights();
    let without = Terms::default().weights();

    assert_eq!((with.errors, with.latency, with.metrics), (0.45, 0.45, 0.1));
    assert_eq!(
        (without.errors, without.latency, without.metrics),
        (0.5, 0.5, 0.0)
    );
}

#[test]
fn a_plan_with_metrics_that_make_no_sense_is_refused() {
    let spec: JudgeSpec = serde_json::from_value(serde_json::json!({ "metrics": [
        { "name": "a", "kind": "number", "floor": 0.1, "margin": 0.5 },
        { "name": "a", "kind": "yes_no", "floor": 2.0 },
    ] }))
    .unwrap();
    let paths: Vec<_> = spec.problems().into_iter().map(|(path, _)| path).collect();
    let expected = [
        "metrics[0].margin",
        "metrics[0].floor",
        "metrics[1].floor",
        "metrics[1].name",
    ];
    assert_eq!(paths, expected);

    let many: Vec<_> = (0..9)
        .map(|n| serde_json::json!({ "name": format!("m{n}"), "kind": "number" }))
        .collect();
    let spec: JudgeSpec = serde_json::from_value(serde_json::json!({ "metrics": many })).unwrap();
    assert_eq!(spec.problems()[0].0, "metrics");
}
