//! The stage in the shadow: no traffic, and copies that decide.

use super::*;
use crate::rollout::event::Report;
use crate::rollout::gate::{Answer, Ask, Gate};
use crate::rollout::plan::StageRole;
use crate::rollout::spec::{KindSpec, ShadowingSpec, StandbySpec};

const ALIKE: Event = Event::Report(Report::Ready);
const TOO_FEW: Event = Event::Report(Report::NotYet);
const DIVERGED: Event = Event::Report(Report::Failed(RevertReason::ShadowDiverged));

fn shadowed() -> PlanSpec {
    let mut spec = spec();
    spec.shadow = Some(ShadowingSpec {
        duration: at(100),
        ..ShadowingSpec::default()
    });
    spec
}

#[test]
fn copies_come_before_traffic_and_after_the_standby() {
    let roles = |spec: &PlanSpec| {
        let plan = Plan::new(spec).unwrap();
        let stages = plan.stages().iter();
        stages.map(|stage| stage.role).collect::<Vec<_>>()
    };
    let mut spec = shadowed();
    spec.stages.truncate(1);
    assert_eq!(roles(&spec), [StageRole::Shadow, StageRole::Climb]);

    spec.standby = Some(StandbySpec::default());
    (spec.kind, spec.bake) = (KindSpec::BlueGreen, Some(at(60)));
    spec.stages.clear();

    let wanted = [StageRole::Standby, StageRole::Shadow, StageRole::Bake];
    assert_eq!(roles(&spec), wanted);
}

#[test]
fn a_candidate_that_answers_alike_gets_traffic_when_the_time_is_over() {
    let mut rollout = Rollout::started(&shadowed());
    assert_eq!(rollout.phase(), "shadowing");
    let shares: Vec<_> = rollout.asked.iter().filter_map(percent_set).collect();
    assert_eq!(shares, [Percent::ZERO], "whatever it had before");
    assert_eq!(rollout.take(ALIKE, 99), Ok(vec![]));
    assert_eq!(
        rollout.take(Event::Tick, 100),
        Ok(vec![]),
        "nothing is known"
    );

    let actions = rollout.take(ALIKE, 100).unwrap();

    assert_eq!(actions[0], Action::SetPercent(percent(5.0)));
    assert_eq!(actions[1], Action::NewTrial(TrialUse::Stage));
    assert!(!rollout.state.is_in_shadow(&rollout.plan));
}

#[test]
fn one_that_differs_is_reverted_without_ever_having_had_traffic() {
    let mut rollout = Rollout::started(&shadowed());
    assert_eq!(rollout.take(DIVERGED, 99), Ok(vec![]), "it may yet be well");

    rollout.take(DIVERGED, 100).unwrap();

    let reason = RevertReason::ShadowDiverged;
    assert_eq!(rollout.state.phase(), Phase::Reverted { reason });
    let shares = rollout.asked.iter().filter_map(percent_set);
    assert!(shares.into_iter().all(|share| share == Percent::ZERO));
}

#[test]
fn with_too_few_copies_the_plan_decides() {
    use InconclusiveSpec::{Advance, Extend, Hold, Revert};
    let after = |policy| {
        let mut spec = shadowed();
        spec.inconclusive = policy;
        let mut rollout = Rollout::started(&spec);
        rollout.take(TOO_FEW, 100).unwrap();
        rollout.phase()
    };

    let wanted = ["extended", "awaiting_approval", "stage", "reverted"];
    assert_eq!([Extend, Hold, Advance, Revert].map(after), wanted);
}

#[test]
fn an_extended_stage_goes_on_with_enough_copies_and_asks_in_the_end() {
    let mut rollout = Rollout::started(&shadowed());
    rollout.take(TOO_FEW, 100).unwrap();
    rollout.take(ALIKE, 300).unwrap();
    assert_eq!(rollout.state.phase(), Phase::Stage { index: 1 });

    let mut rollout = Rollout::started(&shadowed());
    rollout.take(TOO_FEW, 100).unwrap();
    rollout.take(TOO_FEW, 600).unwrap();
    assert_eq!(rollout.phase(), "awaiting_approval");
    rollout.take(ALIKE, 601).unwrap();
    assert_eq!(rollout.phase(), "awaiting_approval", "a person was asked");
    assert!(rollout.state.is_in_shadow(&rollout.plan));
    rollout.take(Event::Approve, 602).unwrap();
    assert_eq!(rollout.state.phase(), Phase::Stage { index: 1 });
}

#[test]
fn whatever_is_waited_for_copies_that_differ_revert() {
    let mut gated = Rollout::new(&shadowed());
    gated.plan.gates = [Gate::ConfirmAdvance].into();
    gated.take(Event::Start, 0).unwrap();
    gated.take(ALIKE, 100).unwrap();
    assert_eq!(gated.phase(), "awaiting_gate");
    gated.take(DIVERGED, 101).unwrap();
    assert_eq!(gated.phase(), "reverted");

    let mut paused = Rollout::started(&shadowed());
    paused.take(TOO_FEW, 100).unwrap();
    paused.take(Event::Pause, 101).unwrap();
    assert_eq!(paused.take(ALIKE, 500), Ok(vec![]));
    paused.take(DIVERGED, 501).unwrap();
    assert_eq!(paused.phase(), "reverted");
}

#[test]
fn paused_time_does_not_count_and_a_gate_lets_it_on() {
    let mut rollout = Rollout::new(&shadowed());
    rollout.plan.gates = [Gate::ConfirmAdvance].into();
    rollout.take(Event::Start, 0).unwrap();
    rollout.take(Event::Pause, 10).unwrap();
    rollout.take(Event::Resume, 1_000).unwrap();
    assert_eq!(rollout.take(ALIKE, 1_089), Ok(vec![]));
    rollout.take(ALIKE, 1_090).unwrap();
    let ask = Ask {
        gate: Gate::ConfirmAdvance,
        stage: 0,
    };
    assert_eq!(rollout.state.asks(), Some(ask));

    let answer = Answer::Opened;
    rollout.take(Event::Gate { ask, answer }, 1_091).unwrap();

    assert_eq!(rollout.state.phase(), Phase::Stage { index: 1 });
}

#[test]
fn the_judge_spreads_its_bets_over_judged_time_alone() {
    assert_eq!(Plan::new(&shadowed()).unwrap().planned(), at(240));
}

#[test]
fn limits_out_of_bounds_are_told() {
    let mut wrong = shadowed();
    wrong.shadow = Some(ShadowingSpec {
        percent: Percent::ZERO,
        min_compared: 0,
        max_slowdown: 0.5,
        ..ShadowingSpec::default()
    });

    let problems = wrong.problems();

    let paths: Vec<_> = problems.iter().map(|(path, _)| path.as_str()).collect();
    let wanted = [
        "shadow.percent",
        "shadow.min_compared",
        "shadow.max_slowdown",
    ];
    assert_eq!(paths, wanted);
}
