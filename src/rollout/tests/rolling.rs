//! Batches of endpoints: a stage each, and none before its endpoints are healthy.

use super::*;
use crate::rollout::event::Report;
use crate::rollout::gate::{Ask, Gate};
use crate::rollout::plan::{Part, StageRole};
use crate::rollout::spec::{BatchSpec, KindSpec, RollingSpec, ShadowingSpec};

const HEALTHY: Event = Event::Report(Report::Ready);

fn rolling(batch: BatchSpec) -> PlanSpec {
    let mut rolling = spec();
    rolling.kind = KindSpec::Rolling;
    rolling.stages.clear();
    rolling.rolling = Some(RollingSpec {
        batch,
        duration: at(60),
        ..RollingSpec::default()
    });
    rolling
}

fn lowered(spec: &PlanSpec, endpoints: usize) -> Vec<(f64, Option<usize>)> {
    let plan = Plan::of_endpoints(spec, endpoints).unwrap();
    let stages = plan.stages().iter();
    stages
        .map(|stage| (f64::from(stage.percent), stage.endpoints.map(|it| it.taken)))
        .collect()
}

fn started(spec: &PlanSpec, endpoints: usize) -> Rollout {
    let mut rollout = Rollout {
        plan: Plan::of_endpoints(spec, endpoints).unwrap(),
        state: State::new(),
        asked: Vec::new(),
    };
    rollout.take(Event::Start, 0).unwrap();
    rollout
}

#[test]
fn there_is_a_stage_a_batch_at_its_part_of_the_traffic() {
    let one = rolling(BatchSpec::Count(1));
    let wanted = [(33.33, Some(1)), (66.67, Some(2)), (95.0, Some(3))];
    assert_eq!(lowered(&one, 3), wanted);
    assert_eq!(lowered(&one, 1), [(95.0, Some(1))]);
    let half = rolling(BatchSpec::Percent(50));
    assert_eq!(lowered(&half, 4), [(50.0, Some(2)), (95.0, Some(4))]);

    let mut baked = rolling(BatchSpec::Percent(50));
    (baked.bake, baked.hold_back) = (Some(at(1)), percent(10.0));

    let wanted = [(50.0, Some(1)), (90.0, Some(2)), (90.0, Some(2))];
    assert_eq!(lowered(&baked, 2), wanted);
    let many = Plan::of_endpoints(&one, 101).unwrap_err().problems;
    assert_eq!(many[0].0, "rolling.batch");
    assert_eq!(lowered(&one, 100).len(), 100);
}

#[test]
fn parts_of_another_number_leave_stable_something() {
    let part = |taken| Part { taken, of: 3 };

    assert_eq!([1, 2, 3].map(|taken| part(taken).of(6)), [2, 4, 6]);
    assert_eq!([1, 2, 3].map(|taken| part(taken).of(2)), [1, 2, 2]);
    let replaced = |taken: usize, number| {
        let share = (taken as f64 * 100.0 / 3.0).min(95.0);
        part(taken).replaced(number, percent(share))
    };
    assert_eq!([1, 2, 3].map(|taken| replaced(taken, 3)), [1, 2, 2]);
    assert_eq!([1, 2, 3].map(|taken| replaced(taken, 1)), [0, 0, 0]);
    assert_eq!([1, 2, 3].map(|taken| replaced(taken, 2)), [0, 1, 1]);
    assert_eq!([1, 2, 3].map(|taken| replaced(taken, 99)), [33, 66, 94]);
}

#[test]
fn what_is_left_of_stable_bears_the_hold_back() {
    let all = Part {
        taken: 100,
        of: 100,
    };

    assert_eq!(all.replaced(100, percent(95.0)), 95);
    assert_eq!(all.replaced(100, percent(50.0)), 50);
    assert_eq!(all.replaced(3, percent(50.0)), 1);
}

#[test]
fn each_batch_waits_until_its_endpoints_are_healthy() {
    let mut rollout = started(&rolling(BatchSpec::Count(1)), 2);
    assert_eq!(rollout.phase(), "awaiting_health");
    assert_eq!(rollout.state.percent(&rollout.plan), Percent::ZERO);
    assert_eq!(rollout.state.endpoints(&rollout.plan), None);
    rollout.take(Event::Tick, 10_000).unwrap();
    assert_eq!(
        rollout.phase(),
        "awaiting_health",
        "time alone helps nothing"
    );

    let actions = rollout.take(HEALTHY, 10_001).unwrap();

    assert_eq!(actions[0], Action::SetPercent(percent(50.0)));
    let taken = |rollout: &Rollout| rollout.state.endpoints(&rollout.plan).unwrap().taken;
    assert_eq!(taken(&rollout), 1);
    rollout.take(PASS, 10_061).unwrap();
    assert_eq!((rollout.phase(), taken(&rollout)), ("awaiting_health", 1));
    assert_eq!(rollout.state.percent(&rollout.plan), percent(50.0));
    assert_eq!(rollout.state.awaits_health(), Some(1));

    rollout.take(HEALTHY, 10_100).unwrap();

    assert_eq!((rollout.phase(), taken(&rollout)), ("stage", 2));
    rollout.take(PASS, 10_160).unwrap();
    assert_eq!(rollout.phase(), "promoted");
    assert_eq!(rollout.state.endpoints(&rollout.plan), None);
}

#[test]
fn the_judge_and_people_take_it_back_while_health_is_waited_for() {
    for back in [bad(), Event::Revert(HIGH_ERRORS), Event::Abort] {
        for passed in [0, 1] {
            let mut rollout = started(&rolling(BatchSpec::Count(1)), 2);
            for stage in 0..passed {
                rollout.take(HEALTHY, stage * 60).unwrap();
                rollout.take(PASS, (stage + 1) * 60).unwrap();
            }
            assert_eq!(rollout.phase(), "awaiting_health");

            rollout.take(back, 100).unwrap();

            assert!(rollout.state.is_finished(), "{back:?}");
            assert_eq!(rollout.state.percent(&rollout.plan), Percent::ZERO);
        }
    }
}

#[test]
fn a_paused_rollout_takes_no_batch_and_a_restart_waits_on() {
    let mut rollout = started(&rolling(BatchSpec::Count(1)), 2);
    rollout.take(Event::Pause, 1).unwrap();
    assert_eq!(rollout.take(HEALTHY, 2), Ok(vec![]));
    rollout.take(Event::Resume, 3).unwrap();
    let text = serde_json::to_string(&rollout.state).unwrap();
    rollout.state = serde_json::from_str(&text).unwrap();
    assert_eq!(rollout.phase(), "awaiting_health");

    rollout.take(HEALTHY, 0).unwrap();

    assert_eq!(rollout.phase(), "stage");
}

#[test]
fn gates_and_the_warm_up_come_where_they_always_do() {
    let mut warm = rolling(BatchSpec::Count(1));
    warm.warmup = at(30);
    let mut rollout = Rollout {
        plan: Plan::of_endpoints(&warm, 2).unwrap(),
        state: State::new(),
        asked: Vec::new(),
    };
    rollout.plan.gates = [Gate::PreStage].into();
    rollout.take(Event::Start, 0).unwrap();
    let ask = |stage| Ask {
        gate: Gate::PreStage,
        stage,
    };
    let open = |stage| Event::Gate {
        ask: ask(stage),
        answer: crate::rollout::gate::Answer::Opened,
    };
    assert_eq!(rollout.state.asks(), Some(ask(0)));
    rollout.take(HEALTHY, 0).unwrap();
    assert_eq!(rollout.phase(), "awaiting_gate", "nobody waits for it yet");
    rollout.take(open(0), 1).unwrap();
    assert_eq!(rollout.phase(), "awaiting_health");

    rollout.take(HEALTHY, 2).unwrap();

    assert_eq!(rollout.phase(), "warmup");
    assert_eq!(rollout.state.endpoints(&rollout.plan).unwrap().taken, 1);
    rollout.take(Event::Tick, 32).unwrap();
    rollout.take(PASS, 92).unwrap();
    rollout.take(open(1), 93).unwrap();
    assert_eq!(rollout.phase(), "awaiting_health");
    rollout.take(HEALTHY, 94).unwrap();
    assert_eq!(rollout.phase(), "stage", "one warm-up");
}

#[test]
fn copies_come_before_the_first_batch() {
    let mut spec = rolling(BatchSpec::Count(1));
    spec.shadow = Some(ShadowingSpec {
        duration: at(10),
        ..ShadowingSpec::default()
    });
    let mut rollout = started(&spec, 2);
    assert_eq!(rollout.phase(), "shadowing");
    rollout.take(HEALTHY, 10).unwrap();
    assert_eq!(rollout.phase(), "awaiting_health");
    assert_eq!(rollout.state.awaits_health(), Some(1));

    rollout.take(HEALTHY, 11).unwrap();

    assert_eq!(rollout.state.percent(&rollout.plan), percent(50.0));
}

#[test]
fn what_makes_no_sense_of_batches_is_told() {
    let mut staged = rolling(BatchSpec::Count(1));
    staged.stages = vec![stage(5.0, 60)];
    assert_eq!(staged.problems()[0].0, "stages");
    let mut canary = spec();
    canary.rolling = Some(RollingSpec::default());
    assert_eq!(canary.problems()[0].0, "rolling");
    let roles = Plan::new(&rolling(BatchSpec::Count(1))).unwrap();
    assert_eq!(roles.stages()[0].role, StageRole::Climb);
}
