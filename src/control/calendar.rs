//! Calendars kept: whether a rollout may begin its next stage now, and who let it pass all the same.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::calendar::spec::WindowSpec;
use crate::calendar::{Opening, opening};
use crate::model::{RolloutId, RouteName, WindowName};
use crate::rollout::{Ask, Gate, Plan};

use super::actor::Control;
use super::author::Author;
use super::change::{Change, Draft};
use super::command::{ActOnRollout, Punctuality, RolloutAction, StartRollout};
use super::desired::Run;
use super::error::ControlError;
use super::event::What;
use super::ground::Ground;
use super::status::GateStatus;
use super::steps::{Stepped, number};
use super::timestamp::Timestamp;

/// Time between looks at the calendar for a rollout that waits for it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the calendar did along a rollout; kept with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct CalendarLog {
    /// It waits for no window at all, as whoever started it wished.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ignored: bool,
    /// The gate that a person let it pass outside its windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    waived: Option<Ask>,
    /// The gate at which it was told that it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    told: Option<Ask>,
}

/// Why a rollout waits for its schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// When it may go on; `None` when that is not in sight.
    pub opens_at: Option<Timestamp>,
    /// The freeze window that closes it now; `None` where no start window is open.
    pub freeze: Option<WindowName>,
}

/// Whether a rollout that waits before a gate is still held up there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// Nothing but hooks may keep it.
    Free,
    /// It is.
    Held,
    /// It is, and that was just written down.
    Noted,
}

/// Gates that were found closed so lately that they are not looked at again.
#[derive(Debug, Default)]
pub(super) struct Rests(BTreeMap<RouteName, (RolloutId, Ask, Instant)>);

impl Rests {
    fn has(&self, route: &RouteName, gate: (RolloutId, Ask), now: Instant) -> bool {
        let rest = self.0.get(route);
        rest.is_some_and(|(id, ask, until)| (*id, *ask) == gate && now < *until)
    }

    fn add(&mut self, route: &RouteName, (id, ask): (RolloutId, Ask), until: Instant) {
        self.0.insert(route.clone(), (id, ask, until));
    }
}

/// The gates that a plan's schedule keeps.
pub(super) fn gates_of(plan: &Plan) -> impl Iterator<Item = Gate> {
    let gates = [Gate::PreStage, Gate::PrePromote];
    let kept = !plan.schedule.is_empty();
    gates.into_iter().filter(move |_| kept)
}

/// What is told of a start that regards no schedule, where there is one.
pub(super) fn waived(asked: &StartRollout, plan: &Plan, id: RolloutId) -> Option<Draft> {
    let ignores = asked.punctuality == Punctuality::Ignore && !plan.schedule.is_empty();
    ignores.then(|| Draft {
        route: Some(asked.route.clone()),
        rollout: Some(id),
        author: asked.author.clone(),
        what: What::RolloutWindowWaived {
            gate: None,
            stage: None,
        },
    })
}

/// Why a rollout waits for its schedule, if it does. Windows are those of the file in force: one
/// that it does not have any more neither opens nor closes anything.
pub(super) fn closed(
    windows: &BTreeMap<WindowName, WindowSpec>,
    run: &Run,
    now: Timestamp,
) -> Option<Closed> {
    let ask = due(run)?;
    let schedule = &run.plan.schedule;
    if schedule.is_empty() || run.calendar.lets_pass(ask) {
        return None;
    }
    let known = |names: &[WindowName]| -> Vec<_> {
        let each = names.iter();
        each.filter_map(|name| windows.get_key_value(name))
            .collect()
    };
    let (start, freeze) = (known(&schedule.start), known(&schedule.freeze));
    let specs = |known: &[(_, _)]| known.iter().map(|(_, spec)| *spec).collect::<Vec<_>>();
    match opening(&specs(&start), &specs(&freeze), now.into()) {
        Opening::Open => None,
        Opening::Closed {
            opens_at,
            freeze: place,
        } => Some(Closed {
            opens_at: opens_at.map(|at: SystemTime| at.into()),
            freeze: place
                .and_then(|place| freeze.get(place))
                .map(|(name, _)| (*name).clone()),
        }),
    }
}

/// The gate that a rollout waits before, if it does.
pub(super) fn gate(
    windows: &BTreeMap<WindowName, WindowSpec>,
    run: &Run,
    now: Timestamp,
) -> Option<GateStatus> {
    let ask = due(run)?;
    let closed = closed(windows, run, now);
    // One that was passed is there again only if it has closed.
    let is_there = run.state.asks().is_some() || closed.is_some();
    is_there.then(|| GateStatus {
        gate: ask.gate.as_str(),
        stage: number(ask.stage),
        closed,
    })
}

/// The gate that the calendar has to do with: the one that is waited before, and the one before a
/// stage whose endpoints have yet to become healthy, since that takes a time in which a window may
/// close.
fn due(run: &Run) -> Option<Ask> {
    let awaited = |stage| Ask {
        gate: Gate::PreStage,
        stage,
    };
    let asked = run.state.asks();
    asked.or_else(|| run.state.awaits_health().map(awaited))
}

impl CalendarLog {
    pub(super) fn new(punctuality: Punctuality) -> Self {
        Self {
            ignored: punctuality == Punctuality::Ignore,
            ..Self::default()
        }
    }

    /// Whether a gate is none of the calendar's, or has been opened by hand.
    fn lets_pass(&self, ask: Ask) -> bool {
        // Two gates come before the first stage, and whoever lets it begin means both.
        let begins = |ask: Ask| ask.stage == 0 && ask.gate <= Gate::PreStage;
        let waived = |of: Ask| of == ask || (begins(of) && begins(ask));
        // A stage that is left needs no window; the next one that begins does.
        self.ignored || self.waived.is_some_and(waived) || ask.gate == Gate::ConfirmAdvance
    }
}

impl Control {
    /// Whether anything but hooks holds a rollout up before a gate: first its checklist, then its
    /// schedule. Looked at once a second.
    pub(super) fn keep(&mut self, route: &RouteName) -> Kept {
        let run = self.run_of(route).filter(|run| !run.state.is_paused());
        let gate = run.and_then(|run| Some((run.id, run.state.asks()?)));
        let Some((id, ask)) = gate else {
            return Kept::Free;
        };
        let now = Instant::now();
        if self.gates.resting.has(route, (id, ask), now) {
            return Kept::Held;
        }
        let kept = match self.keep_to_checklist(route, ask) {
            Kept::Free => self.keep_to_calendar(route, ask),
            kept @ (Kept::Held | Kept::Noted) => kept,
        };
        if kept == Kept::Held {
            self.gates.resting.add(route, (id, ask), now + LOOK_EVERY);
        }
        kept
    }

    /// Whether the calendar holds a rollout up whose next stage's endpoints are healthy. Not to be
    /// asked while something is being written.
    pub(super) fn keeps_batch(&mut self, route: &RouteName) -> bool {
        let run = self.run_of(route).filter(|run| !run.state.is_paused());
        let ask = run.and_then(due);
        ask.is_some_and(|ask| self.keep_to_calendar(route, ask) != Kept::Free)
    }

    fn keep_to_calendar(&mut self, route: &RouteName, ask: Ask) -> Kept {
        let Some(run) = self.run_of(route) else {
            return Kept::Free;
        };
        let Some(closed) = closed(&self.config.spec().windows, run, self.moment().at) else {
            return Kept::Free;
        };
        if run.calendar.told == Some(ask) {
            return Kept::Held;
        }
        let what = What::RolloutAwaitingWindow {
            gate: ask.gate,
            stage: number(ask.stage),
            opens_at: closed.opens_at,
            freeze: closed.freeze,
        };
        let told = |run: &mut Run| run.calendar.told = Some(ask);
        self.write_down(route, Some(what), told, &Author::new("schedule", None));
        Kept::Noted
    }

    /// Writes something into what is kept of a rollout, and tells of it.
    pub(super) fn write_down(
        &mut self,
        route: &RouteName,
        what: Option<What>,
        by: impl FnOnce(&mut Run),
        author: &Author,
    ) -> bool {
        let Some(mut state) = self.desired.routes.get(route).cloned() else {
            return false;
        };
        let Some(run) = state.run.as_deref_mut() else {
            return false;
        };
        by(run);
        let stepped = Stepped {
            rollout: Some(run.id),
            whats: what.into_iter().collect(),
            ..Stepped::default()
        };
        self.submit(Change::of_step(route, state, stepped, author));
        true
    }
}

impl Ground<'_> {
    /// What an approval does to a rollout that waits for its schedule: it may pass this one gate.
    /// `None` where the calendar is not what it waits for.
    pub(super) fn let_pass(
        &self,
        route: &RouteName,
        asked: &ActOnRollout,
    ) -> Option<Result<Change, ControlError>> {
        let mut state = self.desired.routes.get(route)?.clone();
        let run = state.run.as_deref_mut()?;
        let is_about_it = asked.action == RolloutAction::Approve && !run.state.is_paused();
        let ask = due(run).filter(|_| is_about_it)?;
        closed(&self.config.spec().windows, run, self.moment.at)?;
        run.calendar.waived = Some(ask);
        let stepped = Stepped {
            rollout: Some(run.id),
            whats: vec![What::RolloutWindowWaived {
                gate: Some(ask.gate),
                stage: Some(number(ask.stage)),
            }],
            ..Stepped::default()
        };
        let fresh = self.check_generation(asked.if_match);
        Some(fresh.map(|()| Change::of_step(route, state, stepped, &asked.author)))
    }
}
