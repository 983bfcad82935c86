//! The machine as `control` sees it: events in, actions out.

use std::time::Duration;

use proptest::prelude::*;

use crate::judge::{HoldReason, StageTime, Verdict};
use crate::model::{Percent, RevertReason};

use super::event::{Action, Event, Finish, Note, Refusal, TrialUse};
use super::machine::step;
use super::plan::Plan;
use super::spec::{InconclusiveSpec, PlanSpec, StageSpec};
use super::state::{Phase, State};

mod baking;
mod crashes;
mod every_state;
mod gates;
mod rolling;
mod shadowing;

const PASS: Event = Event::Verdict(Verdict::Advance);
const HIGH_ERRORS: RevertReason = RevertReason::ErrorRateHigh;

fn hold(because: HoldReason) -> Event {
    Event::Verdict(Verdict::Hold { because })
}

fn bad() -> Event {
    Event::Verdict(Verdict::Revert {
        reason: HIGH_ERRORS,
    })
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn percent(percent: f64) -> Percent {
    Percent::new(percent).unwrap()
}

fn stage(share: f64, seconds: u64) -> StageSpec {
    StageSpec {
        percent: percent(share),
        duration: at(seconds),
        approve: false,
    }
}

fn spec() -> PlanSpec {
    let mut spec: PlanSpec = serde_json::from_str(r#"{"stages": []}"#).unwrap();
    spec.stages = vec![stage(5.0, 60), stage(25.0, 120), stage(50.0, 60)];
    spec.max_stage = at(600);
    spec
}

fn plan() -> Plan {
    Plan::new(&spec()).unwrap()
}

fn percent_set(action: &Action) -> Option<Percent> {
    if let Action::SetPercent(percent) = action {
        return Some(*percent);
    }
    None
}

/// A rollout and everything it has asked for.
struct Rollout {
    plan: Plan,
    state: State,
    asked: Vec<Action>,
}

impl Rollout {
    fn new(spec: &PlanSpec) -> Self {
        Self {
            plan: Plan::new(spec).unwrap(),
            state: State::new(),
            asked: Vec::new(),
        }
    }

    fn started(spec: &PlanSpec) -> Self {
        let mut rollout = Self::new(spec);
        rollout.take(Event::Start, 0).unwrap();
        rollout
    }

    fn take(&mut self, event: Event, second: u64) -> Result<Vec<Action>, Refusal> {
        let next = step(&self.plan, &self.state, event, at(second))?;
        self.state = next.state;
        self.asked.extend(&next.actions);
        Ok(next.actions)
    }

    fn phase(&self) -> &'static str {
        self.state.view(&self.plan, at(0)).phase
    }
}

#[test]
fn a_candidate_that_passes_every_stage_climbs_and_is_promoted() {
    let mut rollout = Rollout::started(&spec());
    for second in 1..=240 {
        rollout.take(PASS, second).unwrap();
    }

    let percents: Vec<_> = rollout
        .asked
        .iter()
        .filter_map(percent_set)
        .map(f64::from)
        .collect();
    assert_eq!(percents, [5.0, 25.0, 50.0, 100.0]);
    assert_eq!(
        rollout.asked.last(),
        Some(&Action::Finish(Finish::Promoted))
    );
    assert_eq!(rollout.state.phase(), Phase::Promoted);
}

#[test]
fn a_stage_lasts_its_time_however_early_it_is_shown_to_be_fine() {
    let mut rollout = Rollout::started(&spec());
    rollout.take(PASS, 1).unwrap();

    assert_eq!(rollout.take(Event::Tick, 59), Ok(vec![]));
    let actions = rollout.take(Event::Tick, 60).unwrap();

    let note = Note::StageStarted {
        stage: 1,
        percent: percent(25.0),
    };
    assert_eq!(
        actions,
        [
            Action::SetPercent(percent(25.0)),
            Action::NewTrial(TrialUse::Stage),
            Action::Record(note),
        ]
    );
}

#[test]
fn a_pass_does_not_count_for_the_next_stage() {
    let mut rollout = Rollout::started(&spec());
    rollout.take(PASS, 60).unwrap();

    rollout.take(Event::Tick, 600).unwrap();

    assert_eq!(rollout.state.phase(), Phase::Stage { index: 1 });
    assert_eq!(rollout.phase(), "extended");
}

#[test]
fn a_warm_up_gives_traffic_and_is_not_judged() {
    let mut warm = spec();
    warm.warmup = at(30);
    let mut rollout = Rollout::new(&warm);

    let actions = rollout.take(Event::Start, 100).unwrap();
    assert_eq!(actions[0], Action::SetPercent(percent(5.0)));
    assert_eq!(actions[1], Action::NewTrial(TrialUse::Warmup));
    assert!(!rollout.state.is_judged(&rollout.plan));

    assert_eq!(rollout.take(PASS, 129), Ok(vec![]));
    let actions = rollout.take(Event::Tick, 130).unwrap();
    assert_eq!(actions[0], Action::NewTrial(TrialUse::Stage));
    assert!(rollout.state.is_judged(&rollout.plan));
}

#[test]
fn a_guard_reverts_in_the_warm_up() {
    let mut warm = spec();
    warm.warmup = at(30);
    let mut rollout = Rollout::started(&warm);

    rollout.take(bad(), 1).unwrap();

    assert_eq!(rollout.phase(), "reverted");
}

#[test]
fn a_revert_takes_all_traffic_back_first() {
    let mut rollout = Rollout::started(&spec());

    let actions = rollout.take(bad(), 3).unwrap();

    let reason = HIGH_ERRORS;
    assert_eq!(
        actions,
        [
            Action::SetPercent(Percent::ZERO),
            Action::Record(Note::Reverted { reason }),
            Action::Finish(Finish::Reverted { reason }),
        ]
    );
    assert_eq!(rollout.take(PASS, 100), Ok(vec![]));
    assert_eq!(rollout.take(Event::Promote, 100), Err(Refusal::Finished));
}

#[test]
fn inconclusive_stages_do_what_the_plan_says() {
    use InconclusiveSpec::{Advance, Extend, Hold, Revert};
    let after = |policy, because| {
        let mut spec = spec();
        spec.inconclusive = policy;
        let mut rollout = Rollout::started(&spec);
        rollout.take(hold(because), 60).unwrap();
        (rollout.phase(), rollout.state.percent(&rollout.plan))
    };
    let five = percent(5.0);

    let inconclusive =
        [Extend, Hold, Advance, Revert].map(|policy| after(policy, HoldReason::Inconclusive));
    assert_eq!(
        inconclusive,
        [
            ("extended", five),
            ("awaiting_approval", five),
            ("stage", percent(25.0)),
            ("reverted", Percent::ZERO),
        ]
    );
    for because in [HoldReason::NoData, HoldReason::FewCallers] {
        let few = [Extend, Hold, Advance, Revert].map(|policy| after(policy, because).0);
        let stay = "extended";
        assert_eq!(few, [stay, "awaiting_approval", stay, stay], "{because}");
    }
}

#[test]
fn an_extended_stage_asks_for_a_person_in_the_end() {
    let mut rollout = Rollout::started(&spec());
    for second in 1..600 {
        rollout
            .take(hold(HoldReason::Inconclusive), second)
            .unwrap();
        assert_ne!(rollout.phase(), "awaiting_approval", "{second}");
    }

    rollout.take(hold(HoldReason::Inconclusive), 600).unwrap();

    assert_eq!(rollout.phase(), "awaiting_approval");
    let extended = Action::Record(Note::Extended { stage: 0 });
    let told = rollout.asked.iter().filter(|action| **action == extended);
    assert_eq!(told.count(), 1);
}

#[test]
fn an_extended_stage_goes_on_as_soon_as_it_passes() {
    let mut rollout = Rollout::started(&spec());
    rollout.take(hold(HoldReason::Inconclusive), 60).unwrap();

    rollout.take(PASS, 75).unwrap();

    assert_eq!(rollout.state.phase(), Phase::Stage { index: 1 });
}

#[test]
fn a_stage_that_needs_approval_waits_for_it_and_can_still_revert() {
    let mut gated = spec();
    gated.stages[0].approve = true;
    let mut rollout = Rollout::started(&gated);
    let early = rollout.take(Event::Approve, 10);
    assert_eq!(early, Err(Refusal::NotAwaitingApproval));

    rollout.take(PASS, 60).unwrap();
    rollout.take(PASS, 5_000).unwrap();
    assert_eq!(rollout.phase(), "awaiting_approval");
    let mut reverted = Rollout {
        plan: rollout.plan.clone(),
        state: rollout.state.clone(),
        asked: Vec::new(),
    };
    reverted.take(bad(), 5_001).unwrap();
    assert_eq!(reverted.phase(), "reverted");

    rollout.take(Event::Approve, 5_001).unwrap();
    assert_eq!(rollout.state.phase(), Phase::Stage { index: 1 });
}

#[test]
fn paused_time_does_not_count_and_keeps_the_weights() {
    let mut rollout = Rollout::started(&spec());
    rollout.take(PASS, 20).unwrap();
    let actions = rollout.take(Event::Pause, 30).unwrap();
    assert_eq!(actions, [Action::Record(Note::Paused)]);

    rollout.take(PASS, 1_000).unwrap();
    assert_eq!(rollout.state.phase(), Phase::Stage { index: 0 });
    let left = rollout.state.view(&rollout.plan, at(1_500)).time_left;
    assert_eq!(left, Some(at(30)));

    rollout.take(Event::Resume, 2_000).unwrap();
    rollout.take(PASS, 2_029).unwrap();
    assert_eq!(rollout.state.phase(), Phase::Stage { index: 0 });
    rollout.take(PASS, 2_030).unwrap();
    assert_eq!(rollout.state.phase(), Phase::Stage { index: 1 });
}

#[test]
fn a_paused_rollout_can_be_reverted_by_the_judge() {
    let mut rollout = Rollout::started(&spec());
    rollout.take(Event::Pause, 1).unwrap();

    rollout.take(bad(), 2).unwrap();

    assert_eq!(rollout.phase(), "reverted");
}

#[test]
fn abort_blames_nobody_and_promote_is_at_once() {
    let mut aborted = Rollout::started(&spec());
    let actions = aborted.take(Event::Abort, 1).unwrap();
    assert_eq!(actions[0], Action::SetPercent(Percent::ZERO));
    assert_eq!(actions[2], Action::Finish(Finish::Aborted));

    let mut promoted = Rollout::started(&spec());
    let actions = promoted.take(Event::Promote, 1).unwrap();
    assert_eq!(actions[0], Action::SetPercent(Percent::HUNDRED));
    assert_eq!(actions[2], Action::Finish(Finish::Promoted));
}

#[test]
fn wishes_that_make_no_sense_are_refused_and_change_nothing() {
    let mut rollout = Rollout::new(&spec());
    for event in [Event::Pause, Event::Promote, Event::Approve] {
        assert_eq!(rollout.take(event, 0), Err(Refusal::NotStarted));
    }
    rollout.take(Event::Start, 0).unwrap();
    assert_eq!(rollout.take(Event::Start, 1), Err(Refusal::AlreadyStarted));
    assert_eq!(rollout.take(Event::Resume, 1), Err(Refusal::NotPaused));
    rollout.take(Event::Pause, 1).unwrap();
    assert_eq!(rollout.take(Event::Pause, 2), Err(Refusal::AlreadyPaused));
    assert_eq!(rollout.take(Event::Approve, 2), Err(Refusal::Paused));
    assert_eq!(rollout.asked.len(), 4);
}

#[test]
fn a_candidate_that_is_gone_is_reverted() {
    let mut rollout = Rollout::started(&spec());

    rollout.take(Event::CandidateGone, 1).unwrap();

    let reason = RevertReason::HealthCheckFailed;
    assert_eq!(rollout.state.phase(), Phase::Reverted { reason });
}

#[test]
fn the_cooldown_is_told_after_a_revert() {
    let mut rollout = Rollout::started(&spec());
    rollout.take(bad(), 10).unwrap();

    let view = rollout.state.view(&rollout.plan, at(110));

    assert_eq!(view.reason, Some(HIGH_ERRORS));
    assert_eq!(view.time_left, Some(at(200)));
}

#[test]
fn a_restart_resumes_with_the_time_already_spent() {
    let mut rollout = Rollout::started(&spec());
    rollout.take(Event::Tick, 40).unwrap();

    let text = serde_json::to_string(&rollout.state).unwrap();
    rollout.state = serde_json::from_str(&text).unwrap();

    // The new process begins its own clock.
    rollout.take(PASS, 3).unwrap();
    assert_eq!(
        rollout.state.stage_time(&rollout.plan, at(22)),
        StageTime::Running
    );
    assert_eq!(
        rollout.state.stage_time(&rollout.plan, at(23)),
        StageTime::Over
    );
    rollout.take(Event::Tick, 23).unwrap();
    assert_eq!(rollout.state.phase(), Phase::Stage { index: 1 });
}

#[test]
fn states_of_later_versions_are_read_as_far_as_they_are_known() {
    let text = r#"{"phase": {"phase": "stage", "index": 1, "tint": "blue"}, "mood": 3}"#;

    let state: State = serde_json::from_str(text).unwrap();

    assert_eq!(state.phase(), Phase::Stage { index: 1 });
    let plan_text = serde_json::to_string(&plan()).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&plan_text).unwrap(), plan());
}

#[test]
fn plans_out_of_bounds_are_told_with_every_field() {
    let mut wrong = spec();
    wrong.stages = vec![
        stage(0.0, 1),
        stage(50.0, 1),
        stage(50.0, 1),
        stage(99.5, 1),
    ];
    wrong.judge.alpha = 0.9;

    let problems = Plan::new(&wrong).unwrap_err().problems;

    let paths: Vec<_> = problems.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "stages[0].percent",
            "stages[2].percent",
            "stages[3].percent",
            "judge.alpha"
        ]
    );
    wrong.stages.clear();
    assert_eq!(wrong.problems()[0].0, "stages");
}

fn any_event() -> impl Strategy<Value = Event> {
    let hold = |because| hold(because);
    prop_oneof![
        1 => Just(Event::Start),
        6 => Just(Event::Tick),
        4 => Just(PASS),
        1 => Just(bad()),
        1 => Just(hold(HoldReason::NoData)),
        3 => Just(hold(HoldReason::Inconclusive)),
        1 => Just(hold(HoldReason::Gathering)),
        1 => Just(hold(HoldReason::FewCallers)),
        1 => Just(Event::Pause),
        2 => Just(Event::Resume),
        2 => Just(Event::Approve),
        1 => Just(Event::Promote),
        1 => Just(Event::Abort),
        1 => Just(Event::Revert(RevertReason::Manual)),
        1 => Just(Event::CandidateGone),
    ]
}

fn any_plan() -> impl Strategy<Value = Plan> {
    use InconclusiveSpec::{Advance, Extend, Hold, Revert};
    let stages = prop::collection::btree_map(1u8..=99, (0..100u64, any::<bool>()), 1..5);
    let policy = prop::sample::select(vec![Extend, Hold, Advance, Revert]);
    (stages, 0..50u64, policy).prop_map(|(stages, warmup, inconclusive)| {
        let mut spec = spec();
        let stages = stages.into_iter();
        spec.stages = stages
            .map(|(percent, (seconds, approve))| StageSpec {
                approve,
                ..stage(f64::from(percent), seconds)
            })
            .collect();
        (spec.warmup, spec.inconclusive) = (at(warmup), inconclusive);
        Plan::new(&spec).unwrap()
    })
}

proptest! {
    #[test]
    fn the_candidates_share_grows_only_when_it_may(plan in any_plan(), events in prop::collection::vec((any_event(), 0..90u64), 0..60)) {
        let (mut state, mut now) = (State::new(), 1_000);
        for (event, seconds) in events {
            now += seconds;
            let before = state.clone();
            let Ok(next) = step(&plan, &before, event, at(now)) else {
                continue;
            };
            state = next.state;

            let mut set = next.actions.iter().filter_map(percent_set);
            prop_assert_eq!(set.next_back().unwrap_or(before.percent(&plan)), state.percent(&plan));
            if state.percent(&plan) > before.percent(&plan) {
                let may = match event {
                    Event::Start | Event::Approve | Event::Promote | PASS => true,
                    // A pass that came before the stage's time was over, or the plan's own leave.
                    Event::Tick | Event::Verdict(Verdict::Hold { .. }) => before.is_judged(&plan) && (before.verdict.is_some() || plan.inconclusive == InconclusiveSpec::Advance),
                    Event::Verdict(Verdict::Revert { .. }) | Event::Pause | Event::Resume | Event::Abort | Event::Revert(_) | Event::CandidateGone | Event::Gate { .. } | Event::Report(_) => false,
                };
                prop_assert!(may, "{event:?} {before:?}");
            }
            if before.is_finished() {
                prop_assert!(next.actions.is_empty());
            }
            let finishes = next.actions.iter().filter(|action| matches!(action, Action::Finish(_)));
            prop_assert_eq!(finishes.count(), usize::from(state.is_finished() && !before.is_finished()));
            let text = serde_json::to_string(&state).unwrap();
            let restored: State = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(restored.view(&plan, at(0)), State { seen: None, ..state.clone() }.view(&plan, at(0)));
        }
    }
}
