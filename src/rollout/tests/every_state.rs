//! Every state that small plans can come to, with every event.
//!
//! Time is a handful of whole seconds: the states differ only in which of the plan's times are
//! over, so a few seconds reach all of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;
use crate::rollout::event::Report;
use crate::rollout::gate::{Answer, Ask, Gate};
use crate::rollout::spec::{
    BatchSpec, KindSpec, RefusedSpec, RollingSpec, ShadowingSpec, StandbySpec,
};

/// Seconds after which every time of the plans is over.
const LATE: u64 = 4;

/// Plans of every kind: few and short stages, with and without each thing a rollout can wait for.
pub(super) fn plans() -> Vec<Plan> {
    use InconclusiveSpec::{Advance, Extend, Hold, Revert};
    let gates: [&[Gate]; 4] = [
        &[],
        &Gate::ALL,
        &[Gate::ConfirmStart, Gate::ConfirmAdvance],
        &[Gate::PreStage, Gate::PrePromote],
    ];
    let mut plans = Vec::new();
    for (policy, refused) in [
        (Extend, RefusedSpec::Hold),
        (Hold, RefusedSpec::Revert),
        (Advance, RefusedSpec::Hold),
        (Revert, RefusedSpec::Revert),
    ] {
        for mut kind in kinds() {
            (kind.inconclusive, kind.refused) = (policy, refused);
            kind.max_stage = at(3);
            for gates in gates {
                let mut plan = Plan::of_endpoints(&kind, 3).unwrap();
                plan.gates = gates.iter().copied().collect();
                plans.push(plan);
            }
        }
    }
    plans
}

fn kinds() -> Vec<PlanSpec> {
    let mut plain = spec();
    plain.stages = vec![stage(5.0, 1), stage(50.0, 0)];
    let mut warm = plain.clone();
    warm.warmup = at(2);
    warm.stages[0].approve = true;
    let mut baked = warm.clone();
    baked.bake = Some(at(2));
    let mut whole = plain.clone();
    whole.stages = vec![stage(20.0, 2), stage(100.0, 1)];
    whole.stages[1].approve = true;
    let mut switched = plain.clone();
    switched.kind = KindSpec::BlueGreen;
    switched.stages.clear();
    switched.bake = Some(at(1));
    switched.standby = Some(StandbySpec {
        healthy_for: at(1),
        healthy_within: at(3),
        smoke: Vec::new(),
    });
    let mut proved = warm.clone();
    proved.standby.clone_from(&switched.standby);
    let mut mirrored = plain.clone();
    mirrored.shadow = Some(ShadowingSpec {
        duration: at(1),
        ..ShadowingSpec::default()
    });
    let mut rolled = plain.clone();
    rolled.kind = KindSpec::Rolling;
    rolled.stages.clear();
    rolled.rolling = Some(RollingSpec {
        batch: BatchSpec::Count(2),
        duration: at(1),
        ..RollingSpec::default()
    });
    let mut all = proved.clone();
    (all.kind, all.rolling) = (KindSpec::Rolling, rolled.rolling.clone());
    all.shadow.clone_from(&mirrored.shadow);
    all.stages.clear();
    let mut shadowed = proved.clone();
    shadowed.shadow.clone_from(&mirrored.shadow);
    vec![
        plain, warm, baked, whole, switched, proved, mirrored, shadowed, rolled, all,
    ]
}

/// Everything that can happen to a rollout in this state.
pub(super) fn events(state: &State) -> Vec<Event> {
    let mut events = vec![
        Event::Start,
        Event::Tick,
        PASS,
        bad(),
        hold(HoldReason::NoData),
        hold(HoldReason::FewCallers),
        hold(HoldReason::Gathering),
        hold(HoldReason::Inconclusive),
        Event::Pause,
        Event::Resume,
        Event::Approve,
        Event::Promote,
        Event::Abort,
        Event::Revert(RevertReason::Manual),
        Event::CandidateGone,
        Event::Report(Report::NotYet),
        Event::Report(Report::Ready),
        Event::Report(Report::Failed(RevertReason::HealthCheckFailed)),
    ];
    let asked = state.asks().map(|ask| (ask.gate, ask.stage));
    let of_another_stage = Gate::ALL.map(|gate| (gate, 7));
    for (gate, stage) in asked.into_iter().chain(of_another_stage) {
        for answer in [Answer::Opened, Answer::Refused] {
            let ask = Ask { gate, stage };
            events.push(Event::Gate { ask, answer });
        }
    }
    events
}

/// What is left of a state when the clock of the process is taken away.
fn bare(mut state: State) -> State {
    state.seen = Some(Duration::ZERO);
    state.elapsed = state.elapsed.min(at(LATE));
    state
}

fn key(state: &State) -> String {
    format!("{state:?}")
}

/// Whether an event is one of those that let a good candidate through.
fn helps(state: &State, event: Event) -> bool {
    if let Event::Gate { ask, answer } = event {
        return answer == Answer::Opened && state.asks() == Some(ask);
    }
    matches!(
        event,
        Event::Start
            | Event::Tick
            | PASS
            | Event::Resume
            | Event::Approve
            | Event::Report(Report::Ready)
    )
}

/// Whether an event may give the candidate more traffic.
fn may_grow(plan: &Plan, event: Event) -> bool {
    match event {
        Event::Start | Event::Tick | Event::Approve | Event::Promote => true,
        Event::Verdict(verdict) => !matches!(verdict, Verdict::Revert { .. }),
        Event::Gate { answer, .. } => answer == Answer::Opened,
        Event::Report(Report::NotYet) => plan.inconclusive == InconclusiveSpec::Advance,
        Event::Report(report) => report == Report::Ready,
        Event::Pause | Event::Resume | Event::Abort | Event::Revert(_) | Event::CandidateGone => {
            false
        }
    }
}

/// Asserts what holds for one event in one state.
fn check(plan: &Plan, before: &State, event: Event, next: &crate::rollout::machine::Step) {
    let after = &next.state;
    let tell = || format!("{event:?} in {before:?} became {next:?}");
    let set: Vec<_> = next.actions.iter().filter_map(percent_set).collect();
    let (had, has) = (before.percent(plan), after.percent(plan));
    assert_eq!(set.last().copied().unwrap_or(had), has, "{}", tell());
    assert!(set.len() <= 1, "one share a step: {}", tell());
    assert!(has <= had || may_grow(plan, event), "{}", tell());
    assert!(
        has <= had || !before.paused || event == Event::Promote,
        "{}",
        tell()
    );
    let place = |kind: fn(&Action) -> bool| next.actions.iter().position(kind);
    let share = place(|it| matches!(it, Action::SetPercent(_)));
    let trial = place(|it| matches!(it, Action::NewTrial(_)));
    let finish = place(|it| matches!(it, Action::Finish(_)));
    if let (Some(share), Some(trial)) = (share, trial) {
        assert!(share < trial, "a trial counts at its own share: {}", tell());
    }
    let ends = after.is_finished() && !before.is_finished();
    assert_eq!(finish, ends.then(|| next.actions.len() - 1), "{}", tell());
    if before.is_finished() {
        assert!(next.actions.is_empty(), "{}", tell());
        assert_eq!(before.phase(), after.phase(), "{}", tell());
    }
    let asked = place(|it| matches!(it, Action::Ask(_)));
    if let Some(ask) = asked {
        assert_eq!(
            next.actions.get(ask),
            after.asks().map(Action::Ask).as_ref()
        );
    }
    let is_new = after.waits != before.waits || after.phase != before.phase;
    if after.asks().is_some() && is_new {
        assert!(asked.is_some(), "a gate that nobody asks: {}", tell());
    }
}

/// Asserts that it goes back from here whatever is waited for.
fn check_way_back(plan: &Plan, state: &State) {
    if state.is_finished() {
        return;
    }
    let go = |event| step(plan, state, event, Duration::ZERO).map(|step| step.state);
    let aborted = go(Event::Abort).unwrap();
    assert_eq!(aborted.percent(plan), Percent::ZERO, "{state:?}");
    let gone = go(Event::CandidateGone).unwrap();
    assert_eq!(gone.percent(plan), Percent::ZERO, "{state:?}");
    if state.has_begun() {
        for event in [Event::Revert(RevertReason::Manual), bad()] {
            let back = go(event).unwrap();
            assert!(matches!(back.phase(), Phase::Reverted { .. }), "{state:?}");
        }
    }
}

/// All that a plan can come to; panics where something does not hold.
fn walk(plan: &Plan) -> usize {
    let first = bare(State::new());
    let mut known = BTreeMap::from([(key(&first), first.clone())]);
    let mut todo = VecDeque::from([first]);
    // For every state from where a good candidate gets there.
    let mut from: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    while let Some(state) = todo.pop_front() {
        check_way_back(plan, &state);
        for event in events(&state) {
            for seconds in 0..=1 {
                let Ok(next) = step(plan, &state, event, at(seconds)) else {
                    continue;
                };
                check(plan, &state, event, &next);
                let after = bare(next.state);
                if helps(&state, event) {
                    from.entry(key(&after)).or_default().insert(key(&state));
                }
                if known.insert(key(&after), after.clone()).is_none() {
                    todo.push_back(after);
                }
            }
        }
    }
    let promoted = known
        .values()
        .filter(|state| state.phase() == Phase::Promoted);
    let mut ways: VecDeque<String> = promoted.map(key).collect();
    let mut leads: BTreeSet<String> = ways.iter().cloned().collect();
    while let Some(there) = ways.pop_front() {
        for before in from.get(&there).into_iter().flatten() {
            if leads.insert(before.clone()) {
                ways.push_back(before.clone());
            }
        }
    }
    for (name, state) in &known {
        assert!(
            state.is_finished() || leads.contains(name),
            "stuck in {state:?}"
        );
    }
    known.len()
}

#[test]
fn every_state_of_every_kind_keeps_what_is_promised() {
    let mut states = 0;
    for plan in plans() {
        states += walk(&plan);
    }
    println!("{states} states");
    assert!(states > 2_000, "{states}");
}
