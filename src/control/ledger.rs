//! What is on its way to the disk, and who waits for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::store::{Batch, Store, StoreError};

use super::change::Change;
use super::command::{Changed, Reply};
use super::error::ControlError;
use super::event::Event;
use super::status::StoreHealth;

/// Longest wait for the disk before those who wait are told.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Time between attempts to write what could not be written.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// Events that are kept for a disk that cannot be written; the oldest are dropped.
const UNSAVED_MAX: usize = 1000;

/// One write under way.
#[derive(Debug)]
pub(super) struct Saving {
    answer: oneshot::Receiver<Result<(), StoreError>>,
    deadline: Instant,
    /// The change that is made once it is on disk; `None` when what is in force is written.
    pub(super) change: Option<Change>,
    /// The change's events, numbered.
    pub(super) events: Vec<Event>,
    /// Those who wait for something that is in force already.
    waiters: Vec<(Reply<Changed>, Changed)>,
    /// Events up to here are in it.
    up_to: u64,
    /// Something went ahead of it, so it must be written again.
    pub(super) stale: bool,
    /// The disk has used up our patience.
    pub(super) late: bool,
}

/// What is on its way to the disk.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) store: Store,
    pub(super) health: StoreHealth,
    pub(super) saving: Option<Saving>,
    /// What is in force is not all on disk.
    pub(super) dirty: bool,
    pub(super) last_sequence: u64,
    /// Told, but not on disk.
    unsaved: VecDeque<Event>,
    waiters: Vec<(Reply<Changed>, Changed)>,
    retry_at: Option<Instant>,
}

/// What became of a write.
#[derive(Debug)]
pub(super) enum Saved {
    /// It is on disk, or was refused.
    Answered(Result<(), StoreError>),
    /// It is taking too long, and is still under way.
    Late,
}

impl Ledger {
    /// A ledger with nothing to write.
    pub(super) fn new(store: Store, last_sequence: u64) -> Self {
        Self {
            store,
            health: StoreHealth::Healthy,
            saving: None,
            dirty: false,
            last_sequence,
            unsaved: VecDeque::new(),
            waiters: Vec::new(),
            retry_at: None,
        }
    }

    /// An event was told that must get to disk.
    pub(super) fn note(&mut self, event: Event) {
        self.last_sequence = event.sequence;
        self.unsaved.push_back(event);
        if self.unsaved.len() > UNSAVED_MAX {
            self.unsaved.pop_front();
        }
        self.dirty = true;
        if let Some(saving) = &mut self.saving {
            // Its own events have the numbers that were just taken.
            saving.stale = true;
        }
    }

    /// Somebody waits for what is in force to be on disk.
    pub(super) fn wait(&mut self, reply: Reply<Changed>, changed: Changed) {
        self.dirty = true;
        self.waiters.push((reply, changed));
    }

    /// Whether it is time to write what is in force.
    pub(super) fn wants_save(&self) -> bool {
        let may_try = self.retry_at.is_none_or(|at| Instant::now() >= at);
        self.dirty && self.saving.is_none() && may_try
    }

    /// Writes `state`; with a `change` it is what will be, else what is in force.
    pub(super) fn save(&mut self, state: Vec<u8>, change: Option<Change>, events: Vec<Event>) {
        let first = self.unsaved.front().or(events.first());
        let rows = self.unsaved.iter().chain(&events);
        let batch = Batch {
            state,
            first_sequence: first.map_or(self.last_sequence + 1, |event| event.sequence),
            // An event is plain data, which always has a JSON form.
            events: rows
                .filter_map(|event| serde_json::to_vec(event).ok())
                .collect(),
        };
        self.dirty = false;
        self.saving = Some(Saving {
            answer: self.store.save(batch),
            deadline: Instant::now() + PATIENCE,
            change,
            events,
            waiters: std::mem::take(&mut self.waiters),
            up_to: self.last_sequence,
            stale: false,
            late: false,
        });
    }

    /// Waits for the write that is under way; for ever when there is none.
    pub(super) async fn answer(&mut self) -> Saved {
        let Some(saving) = &mut self.saving else {
            return std::future::pending().await;
        };
        let path = self.store.path().to_owned();
        let answer = &mut saving.answer;
        if saving.late {
            return Saved::Answered(answer.await.unwrap_or(Err(StoreError::Stopped { path })));
        }
        match tokio::time::timeout_at(saving.deadline, answer).await {
            Ok(answer) => Saved::Answered(answer.unwrap_or(Err(StoreError::Stopped { path }))),
            Err(_) => Saved::Late,
        }
    }

    /// The write under way takes too long: those who wait are told, the change is not made.
    pub(super) fn give_up(&mut self, error: &ControlError) {
        let Some(saving) = &mut self.saving else {
            return;
        };
        saving.late = true;
        // Whatever reaches the disk after all is written over.
        self.dirty = true;
        if let Some(change) = saving.change.take() {
            change.answer.refused(error);
        }
        for (reply, _) in saving.waiters.drain(..).chain(self.waiters.drain(..)) {
            let _ = reply.send(Err(error.clone()));
        }
    }

    /// The write under way is on disk. Returns it when its change is still to be made.
    pub(super) fn succeeded(&mut self) -> Option<Saving> {
        let mut saving = self.saving.take()?;
        self.retry_at = None;
        self.unsaved.retain(|event| event.sequence > saving.up_to);
        for (reply, changed) in saving.waiters.drain(..) {
            let _ = reply.send(Ok(changed));
        }
        saving.change.is_some().then_some(saving)
    }

    /// The write under way was refused: those who wait are told, the change is not made.
    pub(super) fn failed(&mut self, error: &ControlError) {
        let Some(saving) = self.saving.take() else {
            return;
        };
        self.dirty = true;
        self.retry_at = Some(Instant::now() + RETRY_EVERY);
        if let Some(change) = saving.change {
            change.answer.refused(error);
        }
        for (reply, _) in saving.waiters {
            let _ = reply.send(Err(error.clone()));
        }
    }

    /// The error that a hung disk gives.
    pub(super) fn hung(&self) -> Arc<StoreError> {
        Arc::new(StoreError::Slow {
            path: self.store.path().to_owned(),
            waited: PATIENCE,
        })
    }
}
