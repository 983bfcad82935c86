//! Keeping a table and what is written of it alike, off every request's path.
//!
//! What changed is taken from the table twice a second and given to the store's thread; what could
//! not be written goes back. A kill loses what changed since the last write.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::store::{Store, StoreError};

/// Time between two writes.
const WRITE_EVERY: Duration = Duration::from_millis(500);
/// Time after a write that failed.
const RETRY_EVERY: Duration = Duration::from_secs(2);
/// Most rows in one write, so that a change of weights never waits long for its turn.
const WRITE_MOST: usize = 5_000;

/// A table that is written down.
pub(super) trait Written {
    /// Names of the counters of rows that were written, and of those that could not be.
    const COUNTERS: [&'static str; 2];
    /// What is written of one entry, or what leads to it.
    type Row: Send;

    /// Gives the store what has changed, if anything has.
    fn begin(&mut self, store: &Store, extent: Extent) -> Option<Begun<Self::Row>>;

    /// What has become of the latest write.
    fn settle(&mut self, rows: &[Self::Row], fate: Fate);
}

/// How much is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// At most so many of the rows that changed.
    Changed(usize),
    /// Everything: what is on disk is not known.
    Anew,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is on disk.
    Written,
    /// It is not.
    Failed,
    /// It may be or not: its rows are written once more.
    Unknown,
}

/// A write under way.
#[derive(Debug)]
pub(super) struct Begun<R> {
    /// Where the store answers.
    pub(super) answer: oneshot::Receiver<Result<(), StoreError>>,
    /// What it is about.
    pub(super) rows: Vec<R>,
    /// Whether it takes the place of everything on disk.
    pub(super) is_anew: bool,
}

/// Keeps a table and what is written of it alike.
#[derive(Debug)]
pub(super) struct Writer<T: Written> {
    table: T,
    writing: Option<Begun<T::Row>>,
    /// What is on disk is not known, so everything is written.
    anew: bool,
    write_at: Instant,
}

impl<T: Written> Writer<T> {
    /// The table is as it is on disk.
    pub(super) fn new(table: T, now: Instant) -> Self {
        Self {
            table,
            writing: None,
            anew: false,
            write_at: now,
        }
    }

    /// Hears of the write under way, and begins the next one when it is due.
    pub(super) fn tick(&mut self, store: &Store, now: Instant) {
        self.hear(now);
        if self.writing.is_none() && now >= self.write_at {
            self.write_at = now + WRITE_EVERY;
            self.write(store, WRITE_MOST);
        }
    }

    fn hear(&mut self, now: Instant) {
        let Some(writing) = &mut self.writing else {
            return;
        };
        let answer = match writing.answer.try_recv() {
            Ok(answer) => answer.ok(),
            Err(oneshot::error::TryRecvError::Empty) => return,
            Err(oneshot::error::TryRecvError::Closed) => None,
        };
        let Some(done) = self.writing.take() else {
            return;
        };
        let [written, failed] = T::COUNTERS;
        let count = done.rows.len() as u64;
        if answer.is_some() {
            metrics::counter!(written).increment(count);
            self.table.settle(&done.rows, Fate::Written);
            return;
        }
        metrics::counter!(failed).increment(count);
        self.write_at = now + RETRY_EVERY;
        self.anew |= done.is_anew;
        self.table.settle(&done.rows, Fate::Failed);
    }

    fn write(&mut self, store: &Store, most: usize) {
        let extent = if std::mem::take(&mut self.anew) {
            Extent::Anew
        } else {
            Extent::Changed(most)
        };
        self.writing = self.table.begin(store, extent);
    }

    /// Gives the store everything that is left; it writes in the order of the asking.
    pub(super) fn write_all(&mut self, store: &Store) {
        self.hear(Instant::now());
        let before = self.writing.take();
        if let Some(before) = &before {
            // It may fail while what follows does not.
            self.anew |= before.is_anew;
            self.table.settle(&before.rows, Fate::Unknown);
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
        self.writing = None;
        self.anew = true;
    }
}
