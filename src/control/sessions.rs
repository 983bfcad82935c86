//! Writing the sessions' records down, off every request's path, and counting where they live.
//!
//! What changed is taken from the table twice a second and given to the store's thread; what
//! could not be written goes back. A kill loses what changed since.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::mcp::{Census, SessionTable};
use crate::store::{SessionRow, SessionRows, Store, StoreError};

use super::actor::Control;
use super::timestamp::Timestamp;

/// Time between two writes.
const WRITE_EVERY: Duration = Duration::from_millis(500);
/// Time after a write that failed.
const RETRY_EVERY: Duration = Duration::from_secs(2);
/// Most sessions in one write, so that a change of weights never waits long for its turn.
const WRITE_MOST: usize = 5_000;
/// Time between two looks at how old records are, and at least between two at where they live.
const SWEEP_EVERY: Duration = Duration::from_mins(10);
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// How many times as long as counting took nothing is counted.
const COUNT_REST: u32 = 50;
/// A session that is used is written anew this often at least, in seconds, so that it does not
/// look as old as its record.
const REWRITE_AFTER: u64 = 24 * 60 * 60;

const WRITTEN: &str = "switchback_session_records_written_total";
const FAILED: &str = "switchback_session_records_failed_total";
const EVICTED: &str = "switchback_session_records_evicted_total";
const UNKEPT: &str = "switchback_session_wishes_unkept_total";
const UNNOTED: &str = "switchback_session_records_unnoted_total";

/// Keeps the table of sessions and the one on disk alike.
#[derive(Debug)]
pub(super) struct Keeper {
    table: Arc<SessionTable>,
    writing: Option<Writing>,
    /// What is on disk is not known, so everything is written.
    anew: bool,
    write_at: Instant,
    sweep_at: Instant,
    count_at: Instant,
    census: Census,
}

#[derive(Debug)]
struct Writing {
    answer: oneshot::Receiver<Result<(), StoreError>>,
    ids: Vec<Arc<str>>,
    was_anew: bool,
}

impl Keeper {
    /// Takes back what was written down, but for what is older than `age`.
    pub(super) fn new(
        table: Arc<SessionTable>,
        rows: Vec<SessionRow>,
        (age, now): (Duration, Instant),
    ) -> Self {
        let since = oldest(age);
        let (mut taken, mut left) = (0_u64, Vec::new());
        for (id, row) in rows {
            if table.take_stored(&id, &row, since) {
                taken += 1;
            } else {
                left.push(Arc::from(id));
            }
        }
        if taken > 0 || !left.is_empty() {
            tracing::info!(taken, left = left.len(), "records of sessions were read");
        }
        // A row of no session is written as one that is over.
        table.put_back(left);
        Self {
            table,
            writing: None,
            anew: false,
            write_at: now,
            sweep_at: now + SWEEP_EVERY,
            count_at: now,
            census: Census::new(),
        }
    }

    /// Where the sessions lived when they were last counted.
    pub(super) fn census(&self) -> &Census {
        &self.census
    }

    /// Whatever is due.
    fn tick(&mut self, store: &Store, (age, now): (Duration, Instant)) {
        if now >= self.sweep_at {
            self.sweep_at = now + SWEEP_EVERY;
            self.table.sweep(oldest(age), REWRITE_AFTER);
        }
        if now >= self.count_at {
            self.census = self.table.census();
            self.count_at = now + COUNT_EVERY.max(now.elapsed() * COUNT_REST);
            metrics::counter!(EVICTED).absolute(self.table.evicted());
            metrics::counter!(UNNOTED).absolute(self.table.unwritten());
            metrics::counter!(UNKEPT).absolute(self.table.unkept());
        }
        self.hear(now);
        if self.writing.is_none() && now >= self.write_at {
            self.write_at = now + WRITE_EVERY;
            self.write(store, WRITE_MOST);
        }
    }

    /// What has become of the write under way.
    fn hear(&mut self, now: Instant) {
        let Some(writing) = &mut self.writing else {
            return;
        };
        let answer = match writing.answer.try_recv() {
            Ok(answer) => answer.ok(),
            Err(oneshot::error::TryRecvError::Empty) => return,
            Err(oneshot::error::TryRecvError::Closed) => None,
        };
        let done = self.writing.take();
        match (answer, done) {
            (Some(()), Some(done)) => {
                metrics::counter!(WRITTEN).increment(done.ids.len() as u64);
            }
            (None, Some(failed)) => {
                metrics::counter!(FAILED).increment(failed.ids.len() as u64);
                self.write_at = now + RETRY_EVERY;
                self.anew |= failed.was_anew;
                self.table.put_back(failed.ids);
            }
            (_, None) => {}
        }
    }

    fn write(&mut self, store: &Store, most: usize) {
        let most = if self.anew { usize::MAX } else { most };
        if self.anew {
            self.table.put_back_all();
        }
        let ids = self.table.take_changed(most);
        if ids.is_empty() && !self.anew {
            return;
        }
        let row = |id: &Arc<str>| (Arc::clone(id), self.table.to_stored(id));
        let rows = SessionRows {
            alone: self.anew,
            rows: ids.iter().map(row).collect(),
        };
        self.writing = Some(Writing {
            answer: store.keep(rows),
            ids,
            was_anew: std::mem::take(&mut self.anew),
        });
    }

    /// Gives the store everything that is left; it writes in the order of the asking.
    pub(super) fn write_all(&mut self, store: &Store) {
        self.hear(Instant::now());
        let before = self.writing.take();
        if let Some(before) = &before {
            // It may fail while what follows does not: what is written twice is the same.
            self.anew |= before.was_anew;
            self.table.put_back(before.ids.clone());
        }
        self.write(store, usize::MAX);
        if self.writing.is_none() {
            self.writing = before;
        }
    }

    /// Waits for the write under way.
    pub(super) async fn written(&mut self) {
        if let Some(writing) = self.writing.take() {
            // Nothing is left to be done about a failure.
            let _ = writing.answer.await;
        }
    }

    /// Another process has had the state.
    pub(super) fn forget_disk(&mut self) {
        self.anew = true;
    }
}

/// The tick of the oldest last call of a session that is kept.
fn oldest(age: Duration) -> u64 {
    Timestamp::now().before(age).unix_seconds()
}

impl Control {
    /// Writes the records of sessions down, and counts the sessions.
    pub(super) fn keep_sessions(&mut self, now: Instant) {
        if self.handover.is_away() {
            return;
        }
        let age = self.config.spec().limits.session_age;
        self.keeper.tick(&self.ledger.store, (age, now));
    }
}
