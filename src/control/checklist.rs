//! Checklists kept: what persons ticked, what was measured, and what is still open before a gate.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::model::{ItemName, MetricName, Outcome, OutcomeSet, RevertReason, Role, RouteName};
use crate::rollout::spec::{BrokenSpec, BudgetSpec, ItemSpec, MeasureSpec, Part};
use crate::rollout::{Ask, Event as Step, Gate, Phase, Plan};
use crate::stats::{CallKey, CallSummary, Traffic};

use super::actor::Control;
use super::author::Author;
use super::calendar::Kept;
use super::change::Change;
use super::command::CheckItem;
use super::desired::Run;
use super::error::ControlError;
use super::event::What;
use super::ground::Ground;
use super::steps::{Stepped, number};
use super::timestamp::Timestamp;

/// What both arms of a route had done when its stage began.
pub(super) type CallMarks = BTreeMap<RouteName, [CallSummary; 2]>;

/// What is known of a rollout's checklist; kept with it. One entry an item and stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ChecklistLog {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entries: Vec<ItemRecord>,
    /// The gate at which it was told what is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    told: Option<Ask>,
    /// The gate that it opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    passed: Option<Ask>,
}

/// What is known of an item of a checklist.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemRecord {
    /// The part it is in.
    pub part: Part,
    /// Its name.
    pub item: ItemName,
    /// Number of the stage that it is about, from 1; of `during` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<u32>,
    /// How it stands.
    pub state: ItemState,
    /// What was measured of the candidate: a part of one, seconds, or a count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<f64>,
    /// The same of stable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<f64>,
    /// Who ticked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// What they noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When that was found or said; absent where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// How an item stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    /// Nobody has ticked it, and nothing was measured.
    Open,
    /// A person ticked it; a budget is let pass by that.
    Done,
    /// The budget holds.
    Met,
    /// The budget is broken.
    Broken,
    /// There was nothing to measure it by: a person is asked.
    Unmeasured,
}

impl ItemState {
    /// The state's name in API and log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Done => "done",
            Self::Met => "met",
            Self::Broken => "broken",
            Self::Unmeasured => "unmeasured",
        }
    }

    fn passes(self) -> bool {
        match self {
            Self::Done | Self::Met => true,
            Self::Open | Self::Broken | Self::Unmeasured => false,
        }
    }
}

/// The gates that a plan's checklist keeps.
pub(super) fn gates_of(plan: &Plan) -> impl Iterator<Item = Gate> {
    let list = &plan.checklist;
    let gates = [
        (Gate::ConfirmStart, Part::Pre),
        (Gate::ConfirmAdvance, Part::During),
        (Gate::PrePromote, Part::Post),
    ];
    let kept = gates.into_iter();
    kept.filter(|(_, part)| !list.part(*part).is_empty())
        .map(|(gate, _)| gate)
}

/// The part that is due at a gate; of a stage without traffic there is nothing to check.
fn part_at(plan: &Plan, ask: Ask) -> Option<Part> {
    let part = match ask.gate {
        Gate::ConfirmStart => Part::Pre,
        Gate::ConfirmAdvance if plan.is_judged(ask.stage) => Part::During,
        Gate::ConfirmAdvance | Gate::PreStage => return None,
        Gate::PrePromote => Part::Post,
    };
    (!plan.checklist.part(part).is_empty()).then_some(part)
}

/// The checklist as it is known: every item of the plan, those of `during` in the present or latest
/// stage.
pub(super) fn standing(run: &Run) -> Vec<ItemRecord> {
    let items = run.plan.checklist.items();
    let known = items.map(|(part, item)| {
        let entries = run.checklist.entries.iter().rev();
        let mut entries = entries.filter(|entry| entry.item == item.name);
        let present = stage_of(part, run);
        let found = match (part, present) {
            (Part::During, Some(_)) => entries.find(|entry| entry.stage == present),
            _ => entries.next(),
        };
        found.cloned().unwrap_or_else(|| blank(part, item, present))
    });
    known.collect()
}

/// The stage that an item is about now.
fn stage_of(part: Part, run: &Run) -> Option<u32> {
    match (part, run.state.phase()) {
        (Part::During, Phase::Stage { index }) => Some(number(index)),
        _ => None,
    }
}

fn blank(part: Part, item: &ItemSpec, stage: Option<u32>) -> ItemRecord {
    ItemRecord {
        part,
        item: item.name.clone(),
        stage,
        state: ItemState::Open,
        candidate: None,
        stable: None,
        who: None,
        note: None,
        at: None,
    }
}

impl ChecklistLog {
    /// Writes an entry down, in the place of what was known of the same item and stage.
    fn note(&mut self, entry: ItemRecord) {
        let same = |it: &ItemRecord| it.item == entry.item && it.stage == entry.stage;
        self.entries.retain(|it| !same(it));
        self.entries.push(entry);
    }
}

impl Control {
    /// Whether the checklist holds a rollout up before a gate.
    pub(super) fn keep_to_checklist(&mut self, route: &RouteName, ask: Ask) -> Kept {
        let Some(run) = self.run_of(route) else {
            return Kept::Free;
        };
        let due = part_at(&run.plan, ask).filter(|_| run.checklist.passed != Some(ask));
        let Some(part) = due else {
            return Kept::Free;
        };
        let stage = number(ask.stage);
        let told = run.checklist.told == Some(ask);
        let looked = self.look_through(route, run, part);
        if let Some(broken) = reverts(run, &looked) {
            let reason = format!("budget {broken} of the checklist is broken");
            let author = Author::new("checklist", Some(&reason));
            self.write_in_place(route, looked);
            let step = Step::Revert(RevertReason::GateRefused);
            self.step(route, step, author, Instant::now());
            return Kept::Held;
        }
        let passes = looked.iter().all(|entry| entry.state.passes());
        if told && !passes {
            self.write_in_place(route, looked);
            return Kept::Held;
        }
        let items = looked.clone();
        let what = if passes {
            What::ChecklistPassed { part, stage, items }
        } else {
            What::ChecklistOpen { part, stage, items }
        };
        let noted = |run: &mut Run| {
            let log = &mut run.checklist;
            for entry in looked {
                log.note(entry);
            }
            let gate = if passes {
                &mut log.passed
            } else {
                &mut log.told
            };
            *gate = Some(ask);
        };
        self.write_down(route, Some(what), noted, &Author::new("checklist", None));
        Kept::Noted
    }

    /// Keeps what was measured with a rollout, for people to see; it gets to disk with the next write.
    fn write_in_place(&mut self, route: &RouteName, looked: Vec<ItemRecord>) {
        let state = self.desired.routes.get_mut(route);
        if let Some(run) = state.and_then(|state| state.run.as_deref_mut()) {
            for entry in looked {
                run.checklist.note(entry);
            }
        }
    }

    /// Every item of a part as it is now.
    fn look_through(&self, route: &RouteName, run: &Run, part: Part) -> Vec<ItemRecord> {
        let items = run.plan.checklist.part(part).iter();
        let known = standing(run);
        let each = items.map(|item| {
            let ticked =
                |entry: &&ItemRecord| entry.item == item.name && entry.state == ItemState::Done;
            if let Some(entry) = known.iter().find(ticked) {
                return entry.clone();
            }
            let blank = blank(part, item, stage_of(part, run));
            match &item.budget {
                Some(budget) => self.measure(route, run, budget, blank),
                None => blank,
            }
        });
        each.collect()
    }

    fn measure(
        &self,
        route: &RouteName,
        run: &Run,
        budget: &BudgetSpec,
        blank: ItemRecord,
    ) -> ItemRecord {
        let [stable, candidate] = if let MeasureSpec::Pushed(name) = &budget.metric {
            pushed(run, name)
        } else {
            let bad = self.config.spec().bad_outcomes(route);
            let least = run.plan.terms.min_requests;
            let calls = self.calls_since(route, run);
            calls.map(|calls| counted(&calls, &budget.metric, (bad, least)))
        };
        let holds = candidate.and_then(|candidate| budget.holds(candidate, stable));
        ItemRecord {
            state: match holds {
                Some(true) => ItemState::Met,
                Some(false) => ItemState::Broken,
                None => ItemState::Unmeasured,
            },
            candidate,
            stable,
            at: Some(self.moment().at),
            ..blank
        }
    }

    /// What stable and candidate have done since the stage began, or since the process did.
    fn calls_since(&self, route: &RouteName, run: &Run) -> [CallSummary; 2] {
        let now = self.calls_of(route, run);
        match self.gates.call_marks.get(route) {
            Some([stable, candidate]) => [now[0].since(stable), now[1].since(candidate)],
            None => now,
        }
    }

    fn calls_of(&self, route: &RouteName, run: &Run) -> [CallSummary; 2] {
        Role::BOTH.map(|role| {
            let backend = match role {
                Role::Stable => &run.stable,
                Role::Candidate => &run.candidate,
            };
            self.registry.sum(&CallKey {
                route: route.clone(),
                backend: backend.clone(),
                traffic: Traffic::Real,
            })
        })
    }

    /// A stage begins on a route: its budgets are about what comes from now on.
    pub(super) fn mark_calls(&mut self, route: &RouteName) {
        let mark = self.run_of(route).map(|run| self.calls_of(route, run));
        self.gates
            .call_marks
            .extend(mark.map(|mark| (route.clone(), mark)));
    }
}

/// One measure of an arm's calls; `None` of fewer than `least`, which tell nothing of a share or a time.
fn counted(
    calls: &CallSummary,
    measure: &MeasureSpec,
    (bad, least): (OutcomeSet, u64),
) -> Option<f64> {
    let total = calls.total();
    let quantile = |at: f64| calls.latency.quantile(at).map(|time| time.as_secs_f64());
    match measure {
        MeasureSpec::Calls => Some(total as f64),
        _ if total < least.max(1) => None,
        MeasureSpec::ErrorRate => {
            let outcomes = Outcome::ALL.into_iter().filter(|it| bad.contains(*it));
            let failed: u64 = outcomes.map(|outcome| calls.count(outcome)).sum();
            Some(failed as f64 / total as f64)
        }
        MeasureSpec::LatencyP50 => quantile(0.5),
        MeasureSpec::LatencyP95 => quantile(0.95),
        MeasureSpec::LatencyP99 => quantile(0.99),
        MeasureSpec::Pushed(_) => None,
    }
}

/// The means of what was pushed about stable and candidate.
fn pushed(run: &Run, name: &MetricName) -> [Option<f64>; 2] {
    let metrics = run.record.iter().flat_map(|record| &record.metrics);
    let mut metrics = metrics.filter(|metric| metric.name == *name);
    let found = metrics.next();
    found.map_or([None, None], |it| [it.stable.mean, it.candidate.mean])
}

/// The broken budget that reverts, if one is.
fn reverts(run: &Run, looked: &[ItemRecord]) -> Option<ItemName> {
    let broken = looked.iter().filter(|it| it.state == ItemState::Broken);
    let mut names = broken.map(|entry| &entry.item);
    let reverts = |name: &&ItemName| {
        let mut items = run.plan.checklist.items();
        items.any(|(_, item)| {
            let budget = item.budget.as_ref();
            item.name == **name && budget.is_some_and(|it| it.broken == BrokenSpec::Revert)
        })
    };
    names.find(reverts).cloned()
}

impl Ground<'_> {
    /// A person ticks an item.
    pub(super) fn check_item(&self, asked: &CheckItem) -> Result<Change, ControlError> {
        self.check_generation(asked.if_match)?;
        let id = asked.rollout;
        let route = self.desired.route_of(id);
        let route = route.ok_or(ControlError::UnknownRollout { rollout: id })?;
        let mut state = self.route(route)?.clone();
        let run = state.run.as_deref_mut();
        let Some(run) = run.filter(|run| !run.state.is_finished()) else {
            let message = format!("rollout {id} is over, so its checklist is closed");
            return Err(ControlError::Invalid(message));
        };
        let (part, item) = found(&run.plan, asked)?;
        let present = stage_of(part, run);
        if part == Part::During && !run.state.is_judged(&run.plan) {
            let name = &item.name;
            let message =
                format!("`{name}` is ticked in each stage with traffic, and it is in none");
            return Err(ControlError::Invalid(message));
        }
        let entry = ItemRecord {
            state: ItemState::Done,
            who: Some(asked.author.who.clone()),
            note: asked.author.reason.clone(),
            at: Some(self.moment.at),
            ..blank(part, &item, present)
        };
        run.checklist.note(entry.clone());
        let stepped = Stepped {
            rollout: Some(id),
            whats: vec![What::ChecklistTicked { item: entry }],
            ..Stepped::default()
        };
        Ok(Change::of_step(route, state, stepped, &asked.author))
    }
}

/// The item that is to be ticked.
fn found(plan: &Plan, asked: &CheckItem) -> Result<(Part, ItemSpec), ControlError> {
    let items = || plan.checklist.items();
    let Some((part, item)) = items().find(|(_, item)| item.name.as_str() == asked.item) else {
        let names: Vec<_> = items()
            .map(|(_, item)| format!("`{}`", item.name))
            .collect();
        let names = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        };
        return Err(ControlError::Invalid(format!(
            "no item of the checklist of rollout {} is named `{}`; there are: {names}",
            asked.rollout, asked.item
        )));
    };
    if item.budget.is_some() && asked.author.reason.is_none() {
        let message = format!(
            "`{}` is a budget: to let it pass say why (`note`)",
            item.name
        );
        return Err(ControlError::Invalid(message));
    }
    Ok((part, item.clone()))
}
