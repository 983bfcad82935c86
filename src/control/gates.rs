//! Gates kept: whose turn it is along a rollout, and what their answers do.
//!
//! One hook at a time works for a route. What a command did is kept with its rollout, before it is
//! begun and when it has ended, so that a restart neither runs it twice unasked nor forgets it.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::hooks::spec::{HookSpec, OnFailure, Point};
use crate::hooks::{Ended, Errand, Report, Runner};
use crate::model::{HookName, RevertReason, RolloutId, RouteName};
use crate::rollout::{Answer, Ask, Event as Step, Finish, Gate, Phase};

use super::actor::Control;
use super::author::Author;
use super::calendar::{Kept, Rests};
use super::change::{Change, Draft};
use super::checklist::CallMarks;
use super::desired::{RouteState, Run};
use super::errands::{About, points};
use super::event::{Event, What};
use super::hook_log::{HookLog, Turn, follows};
use super::reverts::Asked;
use super::status::StoreHealth;
use super::steps;

/// Reports that wait to be heard; hooks wait with more.
const REPORTS: usize = 64;

/// The hooks of this process at work.
#[derive(Debug)]
pub(super) struct Gates {
    runner: Option<Runner>,
    sender: mpsc::Sender<Report>,
    receiver: mpsc::Receiver<Report>,
    /// Heard when the disk is free.
    waiting: VecDeque<Report>,
    at_work: BTreeMap<RouteName, Work>,
    /// Commands that this process has written down as begun and not begun yet.
    prepared: BTreeMap<RouteName, (RolloutId, Turn)>,
    /// Gates that the calendar was found to close a moment ago.
    pub(super) resting: Rests,
    /// What the arms of routes had done when their stages began.
    pub(super) call_marks: CallMarks,
    number: u64,
}

/// A hook at work for a route.
#[derive(Debug)]
struct Work {
    number: u64,
    rollout: RolloutId,
    turn: Turn,
    is_command: bool,
    /// Dropped with it, which ends a question.
    _wanted: oneshot::Sender<()>,
}

/// What is next for the hooks of a route.
enum Next {
    /// Nothing, or nothing before somebody has answered.
    Wait,
    /// A hook's turn.
    Turn(Turn),
    /// A command that another process began; nobody waits for what it was for any more.
    Lost(Turn),
    /// All have opened the gate.
    Open(Ask),
}

impl Gates {
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(REPORTS);
        Self {
            runner: None,
            sender,
            receiver,
            waiting: VecDeque::new(),
            at_work: BTreeMap::new(),
            prepared: BTreeMap::new(),
            resting: Rests::default(),
            call_marks: CallMarks::new(),
            number: 0,
        }
    }

    /// The next report. May be cancelled and asked again.
    pub(super) async fn report(&mut self) -> Report {
        match self.receiver.recv().await {
            Some(report) => report,
            // This holds a sender itself.
            None => std::future::pending().await,
        }
    }

    /// The thread that does what hooks are for; started with the first of them.
    fn runner(&mut self) -> Option<&Runner> {
        if self.runner.is_none() {
            match Runner::start(self.sender.clone()) {
                Ok(runner) => self.runner = Some(runner),
                Err(error) => tracing::error!(%error, "the thread of the hooks cannot be started"),
            }
        }
        self.runner.as_ref()
    }
}

/// The place that a gate is for those who keep it.
fn point(gate: Gate) -> Point {
    match gate {
        Gate::ConfirmStart => Point::ConfirmStart,
        Gate::PreStage => Point::PreStage,
        Gate::ConfirmAdvance => Point::ConfirmAdvance,
        Gate::PrePromote => Point::PrePromote,
    }
}

/// The gates that hooks keep.
pub(super) fn kept<'a>(hooks: &(impl Iterator<Item = &'a HookSpec> + Clone)) -> Vec<Gate> {
    let keeps = |gate: &Gate| hooks.clone().any(|hook| hook.on.contains(&point(*gate)));
    Gate::ALL.into_iter().filter(keeps).collect()
}

impl Control {
    /// A hook has ended; what follows for a rollout follows when the disk is free.
    pub(super) fn hook_ended(&mut self, report: Report) {
        match report.errand {
            Errand::Tell(_) => Self::told_hook(&report),
            Errand::Up(_) | Errand::Down => self.gates.waiting.push_back(report),
        }
    }

    /// Whether a hook has made a way back of a route's rollout impossible but by hand, if only a
    /// moment ago.
    pub(super) fn is_irreversible(&self, route: &RouteName) -> bool {
        let hooks = &self.config.spec().hooks;
        let crosses = |report: &Report| {
            let spec = hooks.get(report.hook.as_str());
            let is_up = matches!(report.errand, Errand::Up(_)) && report.ended == Ended::Opened;
            is_up && report.route == *route && spec.is_some_and(|spec| spec.irreversible)
        };
        let run = self.run_of(route);
        run.is_some_and(|run| run.hooks.is_irreversible()) || self.gates.waiting.iter().any(crosses)
    }

    /// Does one thing that hooks want done; whether there was one.
    pub(super) fn tend_hooks(&mut self) -> bool {
        if self.ledger.health != StoreHealth::Healthy {
            // What a command does must be on disk before it.
            return false;
        }
        if let Some(report) = self.gates.waiting.pop_front() {
            self.hear_hook(&report);
            return true;
        }
        let is_kept = |state: &RouteState| {
            let run = state.run.as_ref();
            run.is_some_and(|run| !run.plan.hooks.is_empty() || run.state.asks().is_some())
        };
        let routes = self.desired.routes.iter();
        let routes = routes.filter(|(_, state)| is_kept(state));
        let routes: Vec<RouteName> = routes.map(|(route, _)| route.clone()).collect();
        routes.iter().any(|route| self.tend(route))
    }

    fn tend(&mut self, route: &RouteName) -> bool {
        match self.keep(route) {
            Kept::Free => {}
            // A hook at work goes on, and what it says is kept.
            Kept::Held => return false,
            Kept::Noted => return true,
        }
        let Some(run) = self.run_of(route) else {
            return false;
        };
        let (rollout, next) = (run.id, self.next_hook(run));
        if let Some(work) = self.gates.at_work.get(route) {
            let same = matches!(&next, Next::Turn(turn) if *turn == work.turn);
            if work.is_command || (same && work.rollout == rollout) {
                return false;
            }
            self.gates.at_work.remove(route);
        }
        match next {
            Next::Wait => false,
            Next::Open(ask) => {
                let answer = Answer::Opened;
                let hooks = self.run_of(route).map_or(0, |run| run.plan.hooks.len());
                let who = if hooks == 0 { "plan" } else { "hooks" };
                let author = Author::new(who, None);
                self.follow(route, Step::Gate { ask, answer }, &author)
            }
            Next::Turn(turn) => self.take_turn(route, rollout, turn),
            Next::Lost(turn) => self.lose_turn(route, &turn),
        }
    }

    pub(super) fn run_of(&self, route: &RouteName) -> Option<&Run> {
        self.desired.routes.get(route)?.run.as_deref()
    }

    fn next_hook(&self, run: &Run) -> Next {
        let went_back = matches!(run.state.phase(), Phase::Reverted { .. } | Phase::Aborted);
        match (run.hooks.ups.last(), run.state.asks()) {
            (Some(hook), _) if went_back => Next::Turn(Turn {
                hook: hook.clone(),
                errand: Errand::Down,
                ask: None,
            }),
            (_, Some(ask)) if !run.state.is_paused() => self.next_at(run, ask),
            (_, Some(_)) => Next::Wait,
            (_, None) => match &run.hooks.begun {
                Some(turn) => Next::Lost(turn.clone()),
                None => Next::Wait,
            },
        }
    }

    fn next_at(&self, run: &Run, ask: Ask) -> Next {
        let point = point(ask.gate);
        let hooks = &self.config.spec().hooks;
        let keeps = |hook: &&HookName| {
            // A hook that the file does not have any more keeps no gate.
            let spec = hooks.get(hook.as_str());
            spec.is_some_and(|spec| spec.on.contains(&point)) && !run.hooks.has_opened(ask, hook)
        };
        match run.plan.hooks.iter().find(keeps) {
            Some(hook) => Next::Turn(Turn {
                hook: hook.clone(),
                errand: Errand::Up(point),
                ask: Some(ask),
            }),
            None => Next::Open(ask),
        }
    }

    fn take_turn(&mut self, route: &RouteName, rollout: RolloutId, turn: Turn) -> bool {
        let hooks = &self.config.spec().hooks;
        let spec = hooks.get(turn.hook.as_str());
        let spec = spec.filter(|spec| turn.errand != Errand::Down || !spec.down.is_empty());
        let Some(spec) = spec.cloned() else {
            // A command that the file has no `down` of any more.
            return self.note(route, None, |log| drop(log.ups.pop()));
        };
        if !spec.is_command() {
            return self.begin_hook(route, turn, &spec);
        }
        let begun = self.run_of(route).and_then(|run| run.hooks.begun.clone());
        let is_prepared = self.gates.prepared.get(route) == Some(&(rollout, turn.clone()));
        if begun.as_ref() != Some(&turn) {
            self.gates
                .prepared
                .insert(route.clone(), (rollout, turn.clone()));
            let what = What::HookStarted {
                hook: turn.hook.clone(),
                point: turn.errand.as_str().to_owned(),
            };
            return self.note(route, Some(what), |log| log.begun = Some(turn));
        }
        if is_prepared || spec.idempotent {
            return self.begin_hook(route, turn, &spec);
        }
        self.lose_turn(route, &turn)
    }

    /// Another process began a command, and nobody knows how far it came.
    fn lose_turn(&mut self, route: &RouteName, turn: &Turn) -> bool {
        let why =
            "the gateway ended while it ran, and it is not `idempotent`: look how far it came";
        let ended = Ended::Failed(why.to_owned());
        self.end_turn(route, turn, OnFailure::Hold, (ended, None, None))
    }

    /// Lets a hook begin; it is heard of when it ends.
    fn begin_hook(&mut self, route: &RouteName, turn: Turn, spec: &HookSpec) -> bool {
        let Some(run) = self.run_of(route) else {
            return false;
        };
        let rollout = run.id;
        let (wanted, until) = oneshot::channel();
        let number = self.gates.number + 1;
        let about = About {
            route,
            run,
            hook: &turn.hook,
            errand: turn.errand,
            ask: turn.ask,
        };
        let folder = self.config.folder().to_owned();
        let job = about.job((spec.clone(), folder), number, until);
        self.gates.number = number;
        let work = Work {
            number,
            rollout,
            is_command: spec.is_command(),
            turn,
            _wanted: wanted,
        };
        self.gates.at_work.insert(route.clone(), work);
        let given = self.gates.runner().map(|runner| runner.give(job));
        if matches!(given, Some(Ok(()))) {
            self.gates.prepared.remove(route);
        } else {
            // Nothing was begun; the next tick tries again.
            self.gates.at_work.remove(route);
        }
        false
    }

    fn hear_hook(&mut self, report: &Report) {
        let route = &report.route;
        let at_work = self.gates.at_work.get(route);
        if at_work.is_none_or(|work| work.number != report.number) {
            return;
        }
        let Some(work) = self.gates.at_work.remove(route) else {
            return;
        };
        let current = self.run_of(route).map(|run| run.id);
        if current != Some(work.rollout) || report.ended == Ended::Unwanted {
            return;
        }
        let spec = self.config.spec().hooks.get(work.turn.hook.as_str());
        let on_failure = spec.map_or(OnFailure::Hold, |spec| spec.on_failure);
        let ended = report.ended.clone();
        let known = (ended, report.exit_code, report.output.clone());
        self.end_turn(route, &work.turn, on_failure, known);
    }

    fn told_hook(report: &Report) {
        if let Ended::Failed(why) | Ended::Refused(why) = &report.ended {
            tracing::warn!(hook = %report.hook, route = %report.route, why, "a hook was not told");
        }
    }

    /// A hook's turn is over: that holds from now on, whatever becomes of the step that follows.
    fn end_turn(
        &mut self,
        route: &RouteName,
        turn: &Turn,
        on_failure: OnFailure,
        (ended, exit_code, output): (Ended, Option<i32>, Option<String>),
    ) -> bool {
        let hooks = &self.config.spec().hooks;
        let spec = hooks.get(turn.hook.as_str());
        let state = self.desired.routes.get_mut(route);
        let Some(run) = state.and_then(|state| state.run.as_deref_mut()) else {
            return false;
        };
        // A command has run, even if a revert goes ahead of its next write or the disk fails.
        run.hooks.end(turn, &ended, on_failure, spec);
        let rollout = Some(run.id);
        let waits = turn
            .ask
            .filter(|ask| run.state.asks() == Some(*ask) && !run.state.is_paused());
        let (result, why) = match &ended {
            Ended::Opened | Ended::Unwanted => ("ok", None),
            Ended::Refused(why) => ("refused", Some(why.clone())),
            Ended::Failed(why) => ("failed", Some(why.clone())),
        };
        let author = Author::new(&format!("hook:{}", turn.hook), why.as_deref());
        let what = What::HookEnded {
            hook: turn.hook.clone(),
            point: turn.errand.as_str().to_owned(),
            result: result.to_owned(),
            why: author.reason.clone(),
            exit_code,
            output,
        };
        self.tell(Draft {
            route: Some(route.clone()),
            rollout,
            author: author.clone(),
            what,
        });
        if let Some(step) = waits.and_then(|ask| follows(&ended, on_failure, ask)) {
            self.follow(route, step, &author);
        }
        true
    }

    /// Writes something into a rollout's log of hooks, and tells of it.
    fn note(
        &mut self,
        route: &RouteName,
        what: Option<What>,
        by: impl FnOnce(&mut HookLog),
    ) -> bool {
        let author = Author::new("hooks", None);
        self.write_down(route, what, |run| by(&mut run.hooks), &author)
    }

    /// Lets a rollout take the step that follows from what hooks said. Says whether there was one.
    fn follow(&mut self, route: &RouteName, step: Step, author: &Author) -> bool {
        let seen = Instant::now();
        self.renew_record(route);
        let Ok((state, mut stepped)) = self.try_step(route, step) else {
            return false;
        };
        let evidence = self.evidence.get(route);
        stepped.keep_tape(|| evidence?.recording());
        if !stepped.goes_back() {
            self.submit(Change::of_step(route, state, stepped, author));
            return true;
        }
        if self.is_irreversible(route) {
            return self.hold_instead(route, stepped.finish, author);
        }
        self.gates.prepared.remove(route);
        let asked = Asked::by_itself(author.clone(), seen);
        self.go_back(route, state, stepped, asked);
        true
    }

    /// No way back by itself: the rollout waits for a person, with an alarm the first time.
    fn hold_instead(&mut self, route: &RouteName, finish: Option<Finish>, author: &Author) -> bool {
        let is_held = self
            .run_of(route)
            .is_some_and(|run| run.hooks.held.is_some());
        if is_held {
            return self.follow(route, Step::Pause, author);
        }
        match finish {
            Some(Finish::Reverted { reason }) => self.hold(route, reason),
            Some(Finish::Aborted | Finish::Promoted) | None => {
                self.hold(route, RevertReason::GateRefused);
            }
        }
        true
    }

    /// Holds a rollout that would be switched back, had a hook not made that impossible, and
    /// raises the alarm once. A person may still switch it back.
    pub(super) fn hold(&mut self, route: &RouteName, why: RevertReason) {
        if self.ledger.saving.is_some() {
            return;
        }
        let Some(mut state) = self.desired.routes.get(route).cloned() else {
            return;
        };
        let moment = self.moment();
        // One that is paused already stays so.
        let stepped = steps::take(&mut state, Step::Pause, moment);
        let Some(run) = state
            .run
            .as_deref_mut()
            .filter(|run| run.hooks.held.is_none())
        else {
            return;
        };
        let Some(hook) = run.hooks.irreversible.clone() else {
            return;
        };
        run.hooks.held = Some(why);
        let mut stepped = stepped.unwrap_or_default();
        stepped.rollout = Some(run.id);
        let verdict = run.record.clone().map(Box::new);
        stepped.whats.push(What::RolloutHeld { why, hook, verdict });
        let author = Author::new("hooks", Some("there is no way back but by hand"));
        self.submit(Change::of_step(route, state, stepped, &author));
    }

    /// Tells the hooks of a rollout what happened to it. Never waits.
    pub(super) fn tell_hooks(&mut self, event: &Event) {
        let Some(run) = event.route.as_ref().and_then(|route| self.run_of(route)) else {
            return;
        };
        if run.plan.hooks.is_empty() || event.rollout != Some(run.id) {
            return;
        }
        let Some(route) = &event.route else { return };
        let points = points(&event.what, &run.plan, run.state.phase());
        let folder = self.config.folder().to_owned();
        let mut jobs = Vec::new();
        for hook in &run.plan.hooks {
            let Some(spec) = self.config.spec().hooks.get(hook.as_str()) else {
                continue;
            };
            for point in points.iter().filter(|point| spec.on.contains(point)) {
                let about = About {
                    route,
                    run,
                    hook,
                    errand: Errand::Tell(*point),
                    ask: None,
                };
                jobs.push(about.telling(event, (spec.clone(), folder.clone())));
            }
        }
        for job in jobs {
            let hook = job.hook.clone();
            let given = self.gates.runner().map(|runner| runner.give(job));
            if !matches!(given, Some(Ok(()))) {
                tracing::warn!(%hook, "a hook was not told: too many wait");
            }
        }
    }
}
