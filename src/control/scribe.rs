//! Writing down where callers are held and what ties values to servers, off every request's path.
//!
//! What changed is taken from a table twice a second and added to its journal; what could not be
//! written goes back. Entries that are in use are written again before their batch is dropped for
//! its age, so that a journal needs no tidying. A kill loses what changed since the last write.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::mcp::{Recent, SpotRow};
use crate::store::{Batches, Journal, JournalEntry, Store, StoreError};

use super::actor::Control;
use super::timestamp::Timestamp;

/// Time between two writes.
const WRITE_EVERY: Duration = Duration::from_millis(500);
/// Time after a write that failed.
const RETRY_EVERY: Duration = Duration::from_secs(2);
/// Most rows in one write, so that a change of weights never waits long for its turn.
const WRITE_MOST: usize = 5_000;
/// How many rows a journal may have for each entry that its table may hold.
const ROWS_EACH: usize = 2;
/// How long batches that are too old may wait for their end when there is nothing to write, in
/// seconds.
const TIDY_EVERY: u64 = 60;

/// Least time between two looks at where entries belong.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// How many times as long as counting took nothing is counted.
const COUNT_REST: u32 = 50;

const WRITTEN: &str = "switchback_bond_records_written_total";
const FAILED: &str = "switchback_bond_records_failed_total";
const UNNOTED: &str = "switchback_bond_records_unnoted_total";

/// Keeps a table and its journal alike.
#[derive(Debug)]
pub(super) struct Scribe {
    journal: Journal,
    table: Arc<Recent>,
    /// The batches on disk, oldest first.
    batches: VecDeque<Batch>,
    /// The number of the next batch.
    next: u64,
    writing: Option<Writing>,
    /// What is on disk is not known, so everything is written.
    anew: bool,
    write_at: Instant,
    unnoted: u64,
    count_at: Instant,
    counts: Belonging,
}

/// How many entries belong to each route and backend, by their identities.
pub(super) type Belonging = HashMap<(u64, u64), u64>;

#[derive(Clone, Copy, Debug)]
struct Batch {
    number: u64,
    rows: usize,
    /// When it was written, in seconds since 1970.
    tick: u64,
}

#[derive(Debug)]
struct Writing {
    answer: oneshot::Receiver<Result<(), StoreError>>,
    batch: Batch,
    rows: Vec<SpotRow>,
    was_anew: bool,
}

impl Scribe {
    /// Takes back what was written down.
    pub(super) fn new(
        journal: Journal,
        (table, batches): (&Arc<Recent>, &Batches),
        now: Instant,
    ) -> Self {
        let tick = Timestamp::now().unix_seconds();
        let mut scribe = Self {
            journal,
            table: Arc::clone(table),
            batches: VecDeque::new(),
            next: 1,
            writing: None,
            anew: false,
            write_at: now,
            unnoted: 0,
            count_at: now,
            counts: Belonging::new(),
        };
        let rows = batches.iter().flat_map(|(_, rows)| SpotRow::read(rows));
        let taken = scribe.table.restore(rows, tick);
        for (number, rows) in batches {
            scribe.next = scribe.next.max(number.saturating_add(1));
            let rows = SpotRow::read(rows);
            let (count, latest) = rows.fold((0, 0), |(count, latest), row| {
                (count + 1, row.seen.max(latest))
            });
            scribe.batches.push_back(Batch {
                number: *number,
                rows: count,
                tick: latest.min(tick),
            });
        }
        if !batches.is_empty() {
            tracing::info!(?journal, taken, "bonds of callers and values were read");
        }
        scribe
    }

    /// Where the entries belonged when they were last counted.
    pub(super) fn counts(&self) -> &Belonging {
        &self.counts
    }

    /// Whatever is due.
    fn tick(&mut self, store: &Store, now: Instant) {
        self.hear(now);
        if self.writing.is_none() && now >= self.write_at {
            self.write_at = now + WRITE_EVERY;
            self.write(store, WRITE_MOST);
        }
        if now >= self.count_at {
            let tick = Timestamp::now().unix_seconds();
            self.counts = self.table.counts(tick);
            self.count_at = now + COUNT_EVERY.max(now.elapsed() * COUNT_REST);
        }
        let unnoted = self.table.unnoted();
        metrics::counter!(UNNOTED).increment(unnoted - self.unnoted);
        self.unnoted = unnoted;
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
        let Some(done) = self.writing.take() else {
            return;
        };
        if answer.is_some() {
            metrics::counter!(WRITTEN).increment(done.batch.rows as u64);
            if done.batch.rows > 0 {
                self.batches.push_back(done.batch);
            }
            return;
        }
        metrics::counter!(FAILED).increment(done.batch.rows as u64);
        self.write_at = now + RETRY_EVERY;
        self.anew |= done.was_anew;
        self.table.put_back(&done.rows);
    }

    fn write(&mut self, store: &Store, most: usize) {
        let was_anew = std::mem::take(&mut self.anew);
        if was_anew {
            self.batches.clear();
            self.table.put_back_all();
        }
        let most = if was_anew { usize::MAX } else { most };
        let rows = self.table.take_changed(most);
        let tick = Timestamp::now().unix_seconds();
        if rows.is_empty() && !was_anew && !self.is_untidy(tick) {
            return;
        }
        self.let_go(tick, rows.len());
        let number = self.next;
        self.next += 1;
        let entry = JournalEntry {
            journal: self.journal,
            from: self.batches.front().map_or(number, |batch| batch.number),
            number,
            rows: SpotRow::to_bytes(&rows),
        };
        self.writing = Some(Writing {
            answer: store.note(entry),
            batch: Batch {
                number,
                rows: rows.len(),
                tick,
            },
            rows,
            was_anew,
        });
    }

    /// How long a batch is kept: whatever is in use is in a younger one by then.
    fn age(&self) -> u64 {
        self.table.bounds().idle.saturating_mul(3) / 2
    }

    fn is_untidy(&self, tick: u64) -> bool {
        let oldest = self.batches.front().map(|batch| batch.tick);
        oldest.is_some_and(|oldest| tick.saturating_sub(oldest) > self.age() + TIDY_EVERY)
    }

    /// Lets go of batches that are too old, or too many with `more` rows.
    fn let_go(&mut self, tick: u64, more: usize) {
        let most = self.table.bounds().entries.saturating_mul(ROWS_EACH);
        let mut rows = more + self.batches.iter().map(|batch| batch.rows).sum::<usize>();
        while let Some(oldest) = self.batches.front() {
            if tick.saturating_sub(oldest.tick) <= self.age() && rows <= most {
                break;
            }
            rows -= oldest.rows;
            self.batches.pop_front();
        }
    }

    /// Gives the store everything that is left; it writes in the order of the asking.
    pub(super) fn write_all(&mut self, store: &Store) {
        self.hear(Instant::now());
        let before = self.writing.take();
        if let Some(before) = &before {
            // It may fail while what follows does not: what is on disk twice is read as one.
            self.batches.push_back(before.batch);
            self.table.put_back(&before.rows);
            self.anew |= before.was_anew;
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

impl Control {
    /// Writes down where callers are held and what ties values to servers.
    pub(super) fn keep_bonds(&mut self, now: Instant) {
        if self.handover.is_away() {
            return;
        }
        for scribe in &mut self.scribes {
            scribe.tick(&self.ledger.store, now);
        }
    }
}
