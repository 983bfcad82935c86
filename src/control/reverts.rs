//! Evidence judged, and the way back: what waits for nothing.

use std::sync::Arc;

use tokio::time::Instant;

use crate::judge::Verdict;
use crate::model::{RevertReason, RouteName};
use crate::rollout::{Event as Step, Finish, Refusal};
use crate::stats::{CallKey, Traffic, Turn};

use super::actor::Control;
use super::author::Author;
use super::change::{Change, Draft};
use super::command::{ActOnRollout, Changed, Reply, RolloutAction};
use super::desired::{RouteState, Run};
use super::error::ControlError;
use super::event::What;
use super::manual;
use super::steps::{self, Stepped};

impl Control {
    /// Gives the judge what is new, and acts on a verdict to revert at once.
    pub(super) fn judge_evidence(&mut self, seen: Instant) {
        let now = self.moment().now;
        let mut condemned = Vec::new();
        for (route, evidence) in &mut self.evidence {
            let state = self.desired.routes.get_mut(route);
            let Some(run) = state.and_then(|state| state.run.as_deref_mut()) else {
                continue;
            };
            evidence.fold(&mut run.judge, now);
            let time = run.state.stage_time(&run.plan, now);
            let reverts = matches!(run.judge.verdict(time), Verdict::Revert { .. });
            if reverts && run.hooks.held.is_none() {
                condemned.push((route.clone(), evidence.oldest().unwrap_or(seen)));
            }
        }
        for (route, decided) in condemned {
            self.hear_judge(&route, decided);
        }
    }

    /// Once a second: limits, time, and every rollout's next step.
    pub(super) fn second(&mut self, seen: Instant) {
        let now = self.moment().now;
        for (route, evidence) in &mut self.evidence {
            let state = self.desired.routes.get_mut(route);
            let Some(run) = state.and_then(|state| state.run.as_deref_mut()) else {
                continue;
            };
            let arms = [&run.stable, &run.candidate].map(|backend| {
                let key = CallKey {
                    route: route.clone(),
                    backend: backend.clone(),
                    traffic: Traffic::Real,
                };
                self.registry.sum(&key).latency
            });
            evidence.see_latencies(&arms);
            if evidence.wants_baseline(now) {
                let [stable, _] = &arms;
                evidence.refresh(stable, &mut run.judge, now);
            }
            evidence.second(&mut run.judge, now);
        }
        let each = self.evidence.iter();
        let routes = each.map(|(route, it)| (route.clone(), it.oldest().unwrap_or(seen)));
        for (route, decided) in routes.collect::<Vec<_>>() {
            self.look_at_batch(&route, seen);
            if !self.look_at_standby(&route, seen) && !self.look_at_shadow(&route, seen) {
                self.hear_judge(&route, decided);
            }
        }
    }

    /// Switches every rollout back whose candidate is dead while stable is not.
    pub(super) fn revert_dead(&mut self, seen: Instant) {
        for (route, reason) in self.dead_candidates() {
            self.renew_record(&route);
            self.note_behind(&route, reason);
            let author = Author::new("health", None);
            self.take_step(&route, Step::Revert(reason), author, seen);
        }
    }

    /// Puts the calls behind a revert that the judge has not asked for on its record.
    fn note_behind(&mut self, route: &RouteName, reason: RevertReason) {
        let Some(evidence) = self.evidence.get(route) else {
            return;
        };
        let deciding = evidence.behind(reason);
        let state = self.desired.routes.get_mut(route);
        let run = state.and_then(|state| state.run.as_deref_mut());
        if let Some(record) = run.and_then(|run| run.record.as_mut()) {
            record.deciding = deciding;
        }
    }

    /// Asks the judge about a route's rollout and keeps its record.
    fn ask_judge(&mut self, route: &RouteName) -> Option<(&Run, Verdict)> {
        let now = self.moment().now;
        let run = self.desired.routes.get_mut(route)?.run.as_deref_mut()?;
        let time = run.state.stage_time(&run.plan, now);
        let record = match self.evidence.get_mut(route) {
            Some(evidence) => evidence.ask(&run.judge, time),
            None => run.judge.rule(time),
        };
        let verdict = record.verdict;
        run.record = Some(record);
        Some((run, verdict))
    }

    /// Has the record of a rollout that the judge was asked about say what it says now, before
    /// something else than its verdict has the rollout go on: record and tape belong together.
    pub(super) fn renew_record(&mut self, route: &RouteName) {
        let run = self.run_of(route);
        if run.is_some_and(|run| run.record.is_some() && !run.state.is_finished()) {
            self.ask_judge(route);
        }
    }

    /// Asks the judge about a route's rollout and lets the rollout take the step that follows.
    pub(super) fn hear_judge(&mut self, route: &RouteName, seen: Instant) {
        let Some((run, verdict)) = self.ask_judge(route) else {
            return;
        };
        let reverts = matches!(verdict, Verdict::Revert { .. });
        // In the warm-up only a guard can speak; otherwise time goes by.
        let step = if reverts || run.state.is_judged(&run.plan) {
            Step::Verdict(verdict)
        } else {
            Step::Tick
        };
        let author = Author::new(if reverts { "judge" } else { "plan" }, None);
        self.take_step(route, step, author, seen);
    }

    /// Lets a rollout take a step of its own accord, for another reason than the judge's verdict.
    pub(super) fn step(&mut self, route: &RouteName, step: Step, author: Author, seen: Instant) {
        self.renew_record(route);
        self.take_step(route, step, author, seen);
    }

    fn take_step(&mut self, route: &RouteName, step: Step, author: Author, seen: Instant) {
        let Ok((state, mut stepped)) = self.try_step(route, step) else {
            // Only persons are refused anything.
            return;
        };
        if stepped.goes_back() && self.is_irreversible(route) {
            if let Some(Finish::Reverted { reason }) = stepped.finish {
                self.hold(route, reason);
            }
        } else if stepped.goes_back() {
            let evidence = self.evidence.get_mut(route);
            stepped.keep_tape(|| evidence?.take_recording());
            self.go_back(route, state, stepped, Asked::by_itself(author, seen));
        } else if !stepped.acts {
            self.tick_clock(route, state);
        } else if self.ledger.saving.is_none() {
            // The judge goes on with the tape until the disk has the step.
            let evidence = self.evidence.get(route);
            stepped.keep_tape(|| evidence?.recording());
            let change = Change::of_step(route, state, stepped, &author);
            self.submit(change);
        }
        // Else the disk is busy: the same step is due again in a second.
    }

    /// Nothing but the rollout's clock has changed.
    fn tick_clock(&mut self, route: &RouteName, state: RouteState) {
        let changing = self
            .ledger
            .saving
            .as_ref()
            .and_then(|saving| saving.change.as_ref());
        if changing.is_some_and(|change| change.routes.contains_key(route)) {
            return;
        }
        self.desired.routes.insert(route.clone(), state);
    }

    /// What a step of a route's rollout comes to.
    pub(super) fn try_step(
        &self,
        route: &RouteName,
        step: Step,
    ) -> Result<(RouteState, Stepped), Refusal> {
        let state = self.desired.routes.get(route);
        let mut state = state.cloned().ok_or(Refusal::NotStarted)?;
        let stepped = steps::take(&mut state, step, self.moment())?;
        Ok((state, stepped))
    }

    /// A person's revert or abort.
    pub(super) fn go_back_by_hand(&mut self, asked: ActOnRollout, reply: Reply<Changed>) {
        let seen = Instant::now();
        if let Some((route, state, stepped)) = self.try_after_promotion(&asked) {
            let who = Asked::by_hand(asked.author, reply, seen);
            return self.go_back(&route, state, stepped, who);
        }
        match self.try_by_hand(&asked) {
            Ok((route, state, stepped)) => {
                let who = Asked::by_hand(asked.author, reply, seen);
                self.go_back(&route, state, stepped, who);
            }
            Err(error) => {
                // Whoever asked may have left.
                let _ = reply.send(Err(error));
            }
        }
    }

    /// What to do about a revert of a rollout whose candidate was promoted.
    fn try_after_promotion(
        &self,
        asked: &ActOnRollout,
    ) -> Option<(RouteName, RouteState, Stepped)> {
        self.ground().check_generation(asked.if_match).ok()?;
        if asked.action != RolloutAction::Revert {
            return None;
        }
        let route = self.desired.route_of(asked.rollout)?;
        let state = self.desired.routes.get(route)?.clone();
        let (state, stepped) = manual::after_promotion(state, self.moment())?;
        Some((route.clone(), state, stepped))
    }

    fn try_by_hand(
        &self,
        asked: &ActOnRollout,
    ) -> Result<(RouteName, RouteState, Stepped), ControlError> {
        self.ground().check_generation(asked.if_match)?;
        let route = self.desired.route_of(asked.rollout).cloned();
        let route = route.ok_or(ControlError::UnknownRollout {
            rollout: asked.rollout,
        })?;
        let step = match asked.action {
            RolloutAction::Abort => Step::Abort,
            RolloutAction::Pause
            | RolloutAction::Resume
            | RolloutAction::Approve
            | RolloutAction::Promote
            | RolloutAction::Revert => Step::Revert(RevertReason::Manual),
        };
        let (state, stepped) =
            self.try_step(&route, step)
                .map_err(|refusal| ControlError::NotNow {
                    action: asked.action,
                    rollout: asked.rollout,
                    refusal,
                })?;
        Ok((route, state, stepped))
    }

    /// Publishes first and leaves the disk for later: a revert waits for nothing.
    pub(super) fn go_back(
        &mut self,
        route: &RouteName,
        mut state: RouteState,
        stepped: Stepped,
        asked: Asked,
    ) {
        state.note_idle(self.desired.routes.get(route), self.moment().at);
        self.desired.routes.insert(route.clone(), state);
        self.desired.generation = self.desired.generation.next();
        self.evidence.remove(route);
        self.shadowings.forget(route);
        self.rollings.forget(route);
        self.standbys.retain(|other| other != route);
        self.begin_turn(route, asked.seen);
        self.publish();
        let taken_us = u64::try_from(asked.seen.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.overtake(route);
        for mut what in stepped.whats {
            if let What::RolloutReverted { actuation_us, .. }
            | What::RouteReverted { actuation_us, .. } = &mut what
            {
                *actuation_us = taken_us;
            }
            self.tell(Draft {
                route: Some(route.clone()),
                rollout: stepped.rollout,
                author: asked.author.clone(),
                what,
            });
        }
        self.tool_spans.remove(route);
        if let Some(reply) = asked.reply {
            let changed = Changed {
                generation: self.desired.generation,
                rollout: stepped.rollout,
            };
            self.ledger.wait(reply, changed);
        }
        self.show();
    }

    /// Has the workers tell when they have gone back.
    fn begin_turn(&mut self, route: &RouteName, decided: Instant) {
        let run = self.desired.routes.get(route);
        let Some(run) = run.and_then(|state| state.run.as_deref()) else {
            return;
        };
        let turn = Turn::new(run.stable.clone(), decided, self.workers);
        if let Some(before) = self.turns.insert(route.clone(), Arc::new(turn)) {
            self.registry.reverts(route).record(before.so_far());
        }
    }

    /// Counts how long ways back took that are known by now.
    pub(super) fn measure_turns(&mut self) {
        let registry = &self.registry;
        self.turns.retain(|route, turn| {
            let took = turn.took();
            if let Some(took) = took {
                registry.reverts(route).record(took);
            }
            took.is_none()
        });
    }

    /// A change of the same route that is still being written is dropped; any other one is
    /// written again on top of this. A reload is planned again, since it is about everything.
    fn overtake(&mut self, route: &RouteName) {
        self.ledger.dirty = true;
        let Some(saving) = &mut self.ledger.saving else {
            return;
        };
        saving.stale = true;
        let same = |change: &mut Change| change.file.is_none() && change.routes.contains_key(route);
        if let Some(change) = saving.change.take_if(same) {
            change.answer.refused(&ControlError::Conflict {
                route: route.clone(),
            });
        }
    }
}

/// Who goes back, and who waits to hear of it.
pub(super) struct Asked {
    author: Author,
    reply: Option<Reply<Changed>>,
    /// When the reason for it was recorded, or the command came.
    seen: Instant,
}

impl Asked {
    /// A person, who waits.
    pub(super) fn by_hand(author: Author, reply: Reply<Changed>, seen: Instant) -> Self {
        Self {
            author,
            reply: Some(reply),
            seen,
        }
    }

    /// By a part of this process; nobody waits.
    pub(super) fn by_itself(author: Author, seen: Instant) -> Self {
        Self {
            author,
            reply: None,
            seen,
        }
    }
}
