//! The hold-back and the bake.

use super::*;

fn percents(plan: &Plan) -> Vec<f64> {
    let stages = plan.stages().iter();
    stages.map(|stage| f64::from(stage.percent)).collect()
}

#[test]
fn a_bake_keeps_the_hold_back_on_stable_and_is_judged() {
    let mut baked = spec();
    baked.bake = Some(at(300));
    let mut rollout = Rollout::started(&baked);
    assert_eq!(percents(&rollout.plan), [5.0, 25.0, 50.0, 95.0]);
    for second in 1..=240 {
        rollout.take(PASS, second).unwrap();
    }
    assert_eq!(rollout.phase(), "baking");
    assert_eq!(rollout.state.percent(&rollout.plan), percent(95.0));
    rollout
        .take(hold(HoldReason::Inconclusive), 240 + 300)
        .unwrap();
    assert_eq!(rollout.phase(), "extended");

    rollout.take(PASS, 240 + 301).unwrap();

    assert_eq!(rollout.phase(), "promoted");
}

#[test]
fn a_bad_candidate_is_reverted_while_it_bakes() {
    let mut baked = spec();
    (baked.bake, baked.hold_back) = (Some(at(300)), percent(10.0));
    let mut rollout = Rollout::started(&baked);
    for second in 1..=240 {
        rollout.take(PASS, second).unwrap();
    }
    assert_eq!(rollout.state.percent(&rollout.plan), percent(90.0));

    rollout.take(bad(), 241).unwrap();

    assert_eq!(rollout.phase(), "reverted");
}

#[test]
fn a_last_stage_of_all_traffic_is_a_bake_of_its_time() {
    let lowered = |stages: &[(f64, u64)]| {
        let mut spec = spec();
        spec.stages = stages
            .iter()
            .map(|(share, time)| stage(*share, *time))
            .collect();
        percents(&Plan::new(&spec).unwrap())
    };

    assert_eq!(
        lowered(&[(5.0, 1), (50.0, 1), (100.0, 1)]),
        [5.0, 50.0, 95.0]
    );
    assert_eq!(
        lowered(&[(99.0, 1), (100.0, 1)]),
        [99.0, 99.0],
        "it never falls"
    );
    assert_eq!(
        lowered(&[(50.0, 1), (100.0, 0)]),
        [50.0],
        "promoted at once"
    );
    assert_eq!(lowered(&[(100.0, 1)]), [95.0]);
}

#[test]
fn what_makes_no_sense_of_a_bake_is_told() {
    let first = |change: fn(&mut PlanSpec)| {
        let mut spec = spec();
        change(&mut spec);
        spec.problems().first().map(|(path, _)| path.clone())
    };

    assert_eq!(
        first(|spec| spec.hold_back = Percent::ZERO).as_deref(),
        Some("hold_back")
    );
    assert_eq!(
        first(|spec| spec.hold_back = percent(51.0)).as_deref(),
        Some("hold_back")
    );
    let twice = first(|spec| {
        spec.bake = Some(at(1));
        spec.stages.push(stage(100.0, 1));
    });
    assert_eq!(twice.as_deref(), Some("bake"));
    let blind = first(|spec| spec.stages = vec![stage(100.0, 0)]);
    assert_eq!(blind.as_deref(), Some("stages[0].for"));
}

#[test]
fn plans_of_earlier_versions_have_no_bake_and_no_gates() {
    let mut text = serde_json::to_value(plan()).unwrap();
    let plan_fields = text.as_object_mut().unwrap();
    plan_fields.retain(|name, _| name != "gates" && name != "refused");
    for stage in plan_fields["stages"].as_array_mut().unwrap() {
        stage.as_object_mut().unwrap().remove("role");
    }

    assert_eq!(serde_json::from_value::<Plan>(text).unwrap(), plan());
}
