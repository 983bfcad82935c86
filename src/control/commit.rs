//! Persist, then publish, then tell.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Config;
use crate::judge::Record;
use crate::mcp::SealKey;
use crate::model::{Generation, RouteName};
use crate::proxy::snapshot::Blueprint;
use crate::rollout::TrialUse;
use crate::stats::Trial;
use crate::store::StoreError;

use super::actor::Control;
use super::author::Author;
use super::blueprint;
use super::change::{Answer, Change, Draft};
use super::desired::{Desired, RouteState};
use super::error::ControlError;
use super::event::{Event, What};
use super::event_log;
use super::evidence::Evidence;
use super::ledger::Saved;
use super::status::{PendingFile, StoreHealth};
use super::timestamp::Timestamp;

impl Control {
    /// Whatever can be done now that something has happened.
    pub(super) fn go_on(&mut self) {
        while self.ledger.saving.is_none() && !self.handover.is_away() {
            if self.ledger.wants_save() {
                self.save_what_is();
            } else if self.handover.is_on() {
                self.release();
            } else if let Some((file, renewal, asked)) = self.loaded.take() {
                self.submit_file(file, renewal, asked);
            } else if let Some(command) = self.queue.pop_front() {
                self.receive(command);
            } else if !self.tend_hooks() {
                return;
            }
        }
    }

    /// Writes what is in force.
    pub(super) fn save_what_is(&mut self) {
        match self.desired.to_bytes() {
            Ok(bytes) => self.ledger.save(bytes, None, Vec::new()),
            Err(error) => {
                self.ledger.dirty = false;
                tracing::error!(%error, "the state has no JSON form");
            }
        }
    }

    /// Writes a change; it is made when it is on disk.
    pub(super) fn submit(&mut self, change: Change) {
        if self.handover.is_on() {
            change.answer.refused(&self.handed_over());
            return;
        }
        let proposed = self.proposed(&change);
        let bytes = match proposed.to_bytes() {
            Ok(bytes) => bytes,
            Err(error) => {
                let why = format!("the state has no JSON form: {error}");
                change.answer.refused(&ControlError::Invalid(why));
                return;
            }
        };
        let first = self.ledger.last_sequence + 1;
        let events = (first..)
            .zip(change.drafts.iter().cloned())
            .map(|(sequence, draft)| self.event(draft, sequence, proposed.generation))
            .collect();
        self.ledger.save(bytes, Some(change), events);
    }

    fn proposed(&self, change: &Change) -> Desired {
        let mut proposed = self.desired.clone();
        proposed.generation = proposed.generation.next();
        if let Some(number) = change.last_rollout {
            proposed.last_rollout = number;
        }
        if change.file.is_some() {
            proposed.routes.clone_from(&change.routes);
        } else {
            proposed.routes.extend(change.routes.clone());
        }
        proposed.note_idle(&self.desired, Timestamp::now());
        proposed
    }

    /// The disk has answered, or has not for too long.
    pub(super) fn saved(&mut self, saved: Saved) {
        match saved {
            Saved::Answered(Ok(())) => self.save_succeeded(),
            Saved::Answered(Err(error)) => self.save_failed(error),
            Saved::Late => {
                let error = self.ledger.hung();
                self.put_off_file(&error);
                self.ledger
                    .give_up(&ControlError::Store(Arc::clone(&error)));
                self.queue_refused(&error);
                self.sicken(&error);
            }
        }
        self.show();
    }

    fn save_succeeded(&mut self) {
        let saving = self.ledger.succeeded();
        if let Some(saving) = saving
            && let Some(change) = saving.change
        {
            if saving.stale {
                // Written again on top of what went ahead of it.
                self.submit_again(change);
            } else {
                self.make(change, saving.events);
            }
        }
        self.recover();
    }

    fn submit_again(&mut self, change: Change) {
        let Some(file) = change.file else {
            self.submit(change);
            return;
        };
        let author = change.drafts.last().map(|draft| draft.author.clone());
        let author = author.unwrap_or_else(|| Author::new("file", None));
        let (planned, report) = self.ground().reload(file, &author);
        let answer = match change.answer {
            Answer::Reloaded(replies, _) => Answer::Reloaded(replies, report),
            other @ (Answer::Nobody | Answer::Changed(..)) => other,
        };
        self.submit(Change {
            answer,
            renewal: change.renewal,
            ..planned
        });
    }

    fn save_failed(&mut self, error: StoreError) {
        let error = Arc::new(error);
        self.put_off_file(&error);
        self.ledger.failed(&ControlError::Store(Arc::clone(&error)));
        self.sicken(&error);
    }

    /// A file whose change cannot be written is not in force, which operators have to see.
    fn put_off_file(&mut self, error: &StoreError) {
        let saving = self.ledger.saving.as_ref();
        let change = saving.and_then(|saving| saving.change.as_ref());
        if change.is_some_and(|change| change.file.is_some()) {
            let since = self.pending.as_ref().map(|pending| pending.since);
            self.pending = Some(PendingFile {
                since: since.unwrap_or_else(Timestamp::now),
                error: in_full(error),
            });
        }
    }

    pub(super) fn sicken(&mut self, error: &Arc<StoreError>) {
        if self.ledger.health != StoreHealth::Healthy {
            return;
        }
        let error = in_full(error);
        self.ledger.health = StoreHealth::Unhealthy {
            since: Timestamp::now(),
            error: error.clone(),
        };
        self.tell(Draft {
            route: None,
            rollout: None,
            author: Author::new("control", None),
            what: What::StoreFailed { error },
        });
    }

    fn recover(&mut self) {
        if self.ledger.health == StoreHealth::Healthy {
            return;
        }
        self.ledger.health = StoreHealth::Healthy;
        self.tell(Draft {
            route: None,
            rollout: None,
            author: Author::new("control", None),
            what: What::StoreRecovered,
        });
    }

    /// The change is on disk: it comes into force and is told.
    fn make(&mut self, change: Change, events: Vec<Event>) {
        let mut next = self.proposed(&change);
        for (route, state) in &mut next.routes {
            if let Some(old) = self.desired.routes.remove(route) {
                bring_evidence(old, state, change.trials.get(route));
            }
        }
        self.desired = next;
        self.tools_from_now(&change.trials);
        change
            .trials
            .keys()
            .for_each(|route| self.mark_calls(route));
        let mut trials = change.trials;
        if let Some(file) = change.file {
            trials.extend(self.judged_anew(&file));
            self.config = file;
            self.times.timetable.clear();
            self.keys.adopt(&self.config);
            self.loaded_at = Timestamp::now();
            self.refusal = None;
            self.pending = None;
        }
        if let Some(renewal) = change.renewal {
            self.certificates.adopt(renewal);
        }
        self.begin_trials(&trials);
        self.begin_shadowings();
        self.publish();
        for event in events {
            self.ledger.last_sequence = event.sequence;
            self.spread(event);
        }
        // What was said of the stage before is not said of this one.
        for route in trials.keys() {
            self.renew_record(route);
        }
        change.answer.done(self.desired.generation);
    }

    /// Rollouts that need a new trial since the file counts other outcomes against backends.
    fn judged_anew(&self, file: &Config) -> BTreeMap<RouteName, TrialUse> {
        let before = &self.config.spec().routes;
        let changed = file.spec().routes.iter().filter_map(|new| {
            let old = before.iter().find(|old| old.name == new.name)?;
            let of = self.evidence.get(&new.name)?.current_use()?;
            let other = old.bad() != new.bad();
            other.then(|| (new.name.clone(), of))
        });
        changed.collect()
    }

    /// Every running rollout has evidence, and no other route has.
    pub(super) fn begin_trials(&mut self, asked: &BTreeMap<RouteName, TrialUse>) {
        let now = self.moment().now;
        let desired = &self.desired;
        self.evidence.retain(|route, _| {
            let state = desired.routes.get(route);
            state.is_some_and(|state| state.running().is_some())
        });
        self.rollings
            .retain(|route| self.evidence.contains_key(route));
        self.standbys
            .retain(|route| self.evidence.contains_key(route));
        let routes = self.config.spec().routes.iter();
        for spec in routes {
            let state = desired.routes.get(&spec.name);
            let Some(run) = state.and_then(RouteState::running) else {
                continue;
            };
            let evidence = self.evidence.entry(spec.name.clone());
            let assignment = blueprint::assignment(spec);
            let evidence = evidence.or_insert_with(|| Evidence::new(assignment));
            evidence.assign(assignment, now);
            let wanted = asked.get(&spec.name).copied();
            let of = match (wanted, evidence.current_use()) {
                (Some(of), _) => of,
                (None, Some(_)) => continue,
                (None, None) if run.state.is_judged(&run.plan) => TrialUse::Stage,
                (None, None) => TrialUse::Warmup,
            };
            let bad = spec.bad();
            let terms = &run.plan.terms;
            let asks = !terms.metrics.is_empty();
            let assigned = asks.then(|| evidence.note_requests(self.workers));
            let trial = Trial::new(self.workers, bad, Arc::clone(&self.wake)).noting(assigned);
            if let Some(limit) = terms.max_latency_p99 {
                trial.set_late(limit);
            }
            let share = run.state.percent(&run.plan).fraction();
            evidence.begin(Arc::new(trial), of, (share, now));
            // There from the start, so that the first way back is not missed.
            self.registry.reverts(&spec.name);
        }
    }

    pub(super) fn blueprint(&self) -> Blueprint {
        let file = self.config.spec();
        blueprint::draw(
            (&self.desired, self.published_at),
            (file, &self.listeners, &self.keys),
            (&self.evidence, &self.turns, &self.shadowings),
            (self.seal_keys(), self.certificates.backends()),
        )
    }

    /// What session ids are sealed with: the file's keys, and behind them the folder's own, so that
    /// a file that begins to name keys loses no session.
    fn seal_keys(&self) -> Vec<SealKey> {
        let named = &self.config.spec().state.session_keys;
        let named = named.iter().map(|secret| SealKey::new(secret.key()));
        named.chain([self.seal_key.clone()]).collect()
    }

    /// From now on new requests go by what is desired.
    pub(super) fn publish(&mut self) {
        self.is_publishing();
        let blueprint = self.blueprint();
        (self.publisher)(&blueprint);
    }

    /// Tells of something that is in force already; it gets to disk with the next write.
    pub(super) fn tell(&mut self, draft: Draft) {
        let sequence = self.ledger.last_sequence + 1;
        let event = self.event(draft, sequence, self.desired.generation);
        self.ledger.note(event.clone());
        self.spread(event);
    }

    fn event(&self, draft: Draft, sequence: u64, generation: Generation) -> Event {
        Event {
            sequence,
            at: Timestamp::now(),
            generation,
            tools: self.tools_until(&draft),
            route: draft.route,
            rollout: draft.rollout,
            author: draft.author,
            what: draft.what,
        }
    }

    /// The record of the rollout that an event ends.
    fn record_at_end(&self, event: &Event) -> Option<&Record> {
        let route = event.route.as_ref().filter(|_| event.what.ends_rollout())?;
        self.desired
            .routes
            .get(route)?
            .run
            .as_deref()?
            .record
            .as_ref()
    }

    fn spread(&mut self, event: Event) {
        event_log::write(&event, self.record_at_end(&event));
        self.tell_hooks(&event);
        // Without a subscriber there is nobody to tell, which is fine.
        let _ = self.events.send(Arc::new(event));
    }
}

/// The judge has gone on while the change was being written.
fn bring_evidence(old: RouteState, state: &mut RouteState, trial: Option<&TrialUse>) {
    let (Some(old), Some(run)) = (old.run, state.run.as_deref_mut()) else {
        return;
    };
    if old.id != run.id {
        return;
    }
    run.judge = old.judge;
    run.shadow = old.shadow;
    run.rolling = old.rolling;
    if trial == Some(&TrialUse::Stage) {
        run.judge.begin_stage();
    }
}

/// An error with its causes, on one line.
pub(super) fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
