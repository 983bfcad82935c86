//! Gates: in their order, asked again, refused, and never in the way of a revert.

use super::*;
use crate::rollout::gate::{Answer, Ask, Gate};
use crate::rollout::spec::RefusedSpec;

fn gated(gates: &[Gate]) -> Rollout {
    let mut rollout = Rollout::new(&spec());
    rollout.plan.gates = gates.iter().copied().collect();
    rollout
}

fn asked(actions: &[Action]) -> Vec<Ask> {
    let ask = |action: &Action| {
        if let Action::Ask(ask) = action {
            Some(*ask)
        } else {
            None
        }
    };
    actions.iter().filter_map(ask).collect()
}

fn opened(gate: Gate, stage: usize) -> Event {
    Event::Gate {
        ask: Ask { gate, stage },
        answer: Answer::Opened,
    }
}

fn refused(gate: Gate, stage: usize) -> Event {
    Event::Gate {
        ask: Ask { gate, stage },
        answer: Answer::Refused,
    }
}

#[test]
fn every_gate_is_asked_in_its_order_and_nothing_moves_before_it_opens() {
    let mut rollout = gated(&Gate::ALL);
    rollout.take(Event::Start, 0).unwrap();
    assert!(!rollout.asked.iter().any(|it| percent_set(it).is_some()));
    let mut second = 0;
    let mut seen = Vec::new();
    while let Some(ask) = rollout.state.asks() {
        let before = rollout.state.percent(&rollout.plan);
        rollout.take(PASS, second + 1_000).unwrap();
        rollout.take(Event::Tick, second + 2_000).unwrap();
        assert_eq!(rollout.state.asks(), Some(ask), "only its answer opens it");
        assert_eq!(rollout.state.percent(&rollout.plan), before);
        assert_eq!(rollout.phase(), "awaiting_gate");
        seen.push((ask.gate.as_str(), ask.stage));
        second += 2_000;
        rollout.take(opened(ask.gate, ask.stage), second).unwrap();
        second += 1_000;
        rollout.take(PASS, second).unwrap();
    }
    assert_eq!(
        seen,
        [
            ("confirm_start", 0),
            ("pre_stage", 0),
            ("confirm_advance", 0),
            ("pre_stage", 1),
            ("confirm_advance", 1),
            ("pre_stage", 2),
            ("confirm_advance", 2),
            ("pre_promote", 2),
        ]
    );
    assert_eq!(rollout.phase(), "promoted");
    assert_eq!(asked(&rollout.asked).len(), seen.len());
}

#[test]
fn a_gate_comes_behind_the_approval() {
    let mut spec = spec();
    spec.stages[0].approve = true;
    let mut rollout = Rollout::new(&spec);
    rollout.plan.gates = [Gate::ConfirmAdvance].into();
    rollout.take(Event::Start, 0).unwrap();
    rollout.take(PASS, 60).unwrap();
    assert_eq!(rollout.phase(), "awaiting_approval");
    let early = opened(Gate::ConfirmAdvance, 0);
    assert_eq!(rollout.take(early, 61), Ok(vec![]));

    rollout.take(Event::Approve, 62).unwrap();
    assert_eq!(rollout.phase(), "awaiting_gate");
    let again = rollout.take(Event::Approve, 63);
    assert_eq!(again, Err(Refusal::NotAwaitingApproval));

    rollout.take(early, 64).unwrap();
    assert_eq!(rollout.state.phase(), Phase::Stage { index: 1 });
    assert_eq!(
        rollout.take(early, 65),
        Ok(vec![]),
        "told twice, heard once"
    );
}

#[test]
fn a_refused_start_aborts_and_touches_no_weights() {
    let mut rollout = gated(&[Gate::ConfirmStart]);
    rollout.take(Event::Start, 0).unwrap();
    assert_eq!(rollout.take(Event::Start, 1), Err(Refusal::AlreadyStarted));
    assert_eq!(rollout.take(Event::Promote, 1), Err(Refusal::NotStarted));

    rollout.take(refused(Gate::ConfirmStart, 0), 1).unwrap();

    assert_eq!(rollout.phase(), "aborted");
    assert!(!rollout.asked.iter().any(|it| percent_set(it).is_some()));
}

#[test]
fn a_refusal_holds_until_a_person_lets_it_be_asked_again() {
    let mut rollout = gated(&[Gate::PrePromote]);
    rollout.plan.warmup = Duration::ZERO;
    rollout.take(Event::Start, 0).unwrap();
    for second in 1..=240 {
        rollout.take(PASS, second).unwrap();
    }
    let ask = Ask {
        gate: Gate::PrePromote,
        stage: 2,
    };
    assert_eq!(rollout.state.asks(), Some(ask));

    let actions = rollout.take(refused(Gate::PrePromote, 2), 241).unwrap();
    assert_eq!(actions, [Action::Record(Note::GateRefused { ask })]);
    assert!(rollout.state.view(&rollout.plan, at(241)).paused);
    let late = rollout.take(opened(Gate::PrePromote, 2), 242);
    assert_eq!(late, Ok(vec![]), "paused");

    let actions = rollout.take(Event::Resume, 243).unwrap();
    assert_eq!(asked(&actions), [ask]);
    rollout.take(opened(Gate::PrePromote, 2), 244).unwrap();
    assert_eq!(rollout.phase(), "promoted");
}

#[test]
fn a_plan_may_say_that_a_refusal_reverts() {
    let mut rollout = gated(&[Gate::ConfirmAdvance]);
    rollout.plan.refused = RefusedSpec::Revert;
    rollout.take(Event::Start, 0).unwrap();
    rollout.take(PASS, 60).unwrap();

    rollout.take(refused(Gate::ConfirmAdvance, 0), 61).unwrap();

    let reason = RevertReason::GateRefused;
    assert_eq!(rollout.state.phase(), Phase::Reverted { reason });
}

#[test]
fn a_revert_waits_for_no_gate() {
    for gate in Gate::ALL {
        let mut rollout = gated(&[gate]);
        rollout.take(Event::Start, 0).unwrap();
        let mut second = 0;
        while rollout.state.asks().is_none() {
            second += 1;
            rollout.take(PASS, second).unwrap();
        }
        for event in [bad(), Event::Revert(RevertReason::Manual), Event::Abort] {
            let step = step(&rollout.plan, &rollout.state, event, at(second)).unwrap();
            assert!(step.state.is_finished(), "{gate}");
            assert_eq!(step.state.percent(&rollout.plan), Percent::ZERO);
        }
    }
}

#[test]
fn a_gate_is_asked_again_after_a_restart() {
    let mut rollout = gated(&[Gate::PreStage]);
    rollout.take(Event::Start, 0).unwrap();

    let text = serde_json::to_string(&rollout.state).unwrap();
    rollout.state = serde_json::from_str(&text).unwrap();

    let ask = rollout.state.asks().unwrap();
    rollout.take(opened(ask.gate, ask.stage), 1).unwrap();
    assert_eq!(rollout.state.phase(), Phase::Stage { index: 0 });
}
