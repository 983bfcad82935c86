//! Writing down where callers are held and what ties values to servers.
//!
//! What changed is added to a table's journal. Entries that are in use are written again before their batch is
//! dropped for its age. Where a journal would have too many rows before that, everything that the table
//! holds is written once more, and takes the place of all that was there: a journal is bounded, and nothing
//! that is in use is missing from it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::mcp::{Recent, SpotRow};
use crate::store::{Batches, Journal, JournalEntry, Store};

use super::actor::Control;
use super::timestamp::Timestamp;
use super::writer::{Begun, Extent, Fate, Writer, Written};

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
    table: Arc<Recent>,
    writer: Writer<Log>,
    unnoted: u64,
    count_at: Instant,
    counts: Belonging,
}

/// A journal, and what is written to it.
#[derive(Debug)]
struct Log {
    journal: Journal,
    table: Arc<Recent>,
    /// The batches on disk, oldest first.
    batches: VecDeque<Batch>,
    /// The one that is being written.
    begun: Option<Batch>,
    /// The number of the next batch.
    next: u64,
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

impl Scribe {
    /// Takes back what was written down.
    pub(super) fn new(
        journal: Journal,
        (table, batches): (&Arc<Recent>, &Batches),
        now: Instant,
    ) -> Self {
        Self {
            table: Arc::clone(table),
            writer: Writer::new(Log::read(journal, table, batches), now),
            unnoted: 0,
            count_at: now,
            counts: Belonging::new(),
        }
    }

    /// Where the entries belonged when they were last counted.
    pub(super) fn counts(&self) -> &Belonging {
        &self.counts
    }

    /// Whatever is due.
    fn tick(&mut self, store: &Store, now: Instant) {
        self.writer.tick(store, now);
        if now >= self.count_at {
            let tick = Timestamp::now().unix_seconds();
            self.counts = self.table.counts(tick);
            self.count_at = now + COUNT_EVERY.max(now.elapsed() * COUNT_REST);
        }
        let unnoted = self.table.unnoted();
        metrics::counter!(UNNOTED).increment(unnoted - self.unnoted);
        self.unnoted = unnoted;
    }

    /// The writer.
    pub(super) fn writer(&mut self) -> &mut Writer<impl Written> {
        &mut self.writer
    }
}

impl Log {
    fn read(journal: Journal, table: &Arc<Recent>, batches: &Batches) -> Self {
        let tick = Timestamp::now().unix_seconds();
        let mut log = Self {
            journal,
            table: Arc::clone(table),
            batches: VecDeque::new(),
            begun: None,
            next: 1,
        };
        let rows = batches.iter().flat_map(|(_, rows)| SpotRow::read(rows));
        let taken = log.table.restore(rows, tick);
        for (number, rows) in batches {
            log.next = log.next.max(number.saturating_add(1));
            let rows = SpotRow::read(rows);
            let (count, latest) = rows.fold((0, 0), |(count, latest), row| {
                (count + 1, row.seen.max(latest))
            });
            log.batches.push_back(Batch {
                number: *number,
                rows: count,
                tick: latest.min(tick),
            });
        }
        if !batches.is_empty() {
            tracing::info!(?journal, taken, "bonds of callers and values were read");
        }
        log
    }

    /// How long a batch is kept: whatever is in use is in a younger one by then.
    fn age(&self) -> u64 {
        self.table.bounds().idle.saturating_mul(3) / 2
    }

    fn is_untidy(&self, tick: u64) -> bool {
        let oldest = self.batches.front().map(|batch| batch.tick);
        oldest.is_some_and(|oldest| tick.saturating_sub(oldest) > self.age() + TIDY_EVERY)
    }

    /// Lets go of batches that are too old.
    fn let_go(&mut self, tick: u64) {
        let age = self.age();
        let is_old = |batch: &mut Batch| tick.saturating_sub(batch.tick) > age;
        while self.batches.pop_front_if(is_old).is_some() {}
    }

    /// Whether the journal has room for so many rows more.
    fn has_room(&self, more: usize) -> bool {
        let most = self.table.bounds().entries.saturating_mul(ROWS_EACH);
        let rows: usize = self.batches.iter().map(|batch| batch.rows).sum();
        rows.saturating_add(more) <= most
    }

    /// Everything that the table holds, to be written instead of all that was.
    fn take_all(&mut self) -> Vec<SpotRow> {
        self.batches.clear();
        self.table.put_back_all();
        self.table.take_changed(usize::MAX)
    }
}

impl Written for Log {
    const COUNTERS: [&'static str; 2] = [WRITTEN, FAILED];
    type Row = SpotRow;

    fn begin(&mut self, store: &Store, extent: Extent) -> Option<Begun<SpotRow>> {
        let tick = Timestamp::now().unix_seconds();
        let (mut rows, mut is_anew) = match extent {
            Extent::Anew => (self.take_all(), true),
            Extent::Changed(most) => (self.table.take_changed(most), false),
        };
        if rows.is_empty() && !is_anew && !self.is_untidy(tick) {
            return None;
        }
        self.let_go(tick);
        if !is_anew && !self.has_room(rows.len()) {
            (rows, is_anew) = (self.take_all(), true);
        }
        let number = self.next;
        self.next += 1;
        let entry = JournalEntry {
            journal: self.journal,
            from: self.batches.front().map_or(number, |batch| batch.number),
            number,
            rows: SpotRow::to_bytes(&rows),
        };
        self.begun = Some(Batch {
            number,
            rows: rows.len(),
            tick,
        });
        Some(Begun {
            answer: store.note(entry),
            rows,
            is_anew,
        })
    }

    fn settle(&mut self, rows: &[SpotRow], fate: Fate) {
        let begun = self.begun.take().filter(|batch| batch.rows > 0);
        match fate {
            Fate::Written => self.batches.extend(begun),
            Fate::Failed => self.table.put_back(rows),
            Fate::Unknown => {
                // What is on disk twice is read as one.
                self.batches.extend(begun);
                self.table.put_back(rows);
            }
        }
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

#[cfg(test)]
mod tests {
    use crate::mcp::{RecentBounds, Spot};
    use crate::store::faulty::FaultyDisk;

    use super::*;

    fn table() -> Arc<Recent> {
        let bounds = RecentBounds {
            entries: 100,
            idle: 600,
        };
        Arc::new(Recent::written_down(bounds))
    }

    fn spot() -> Spot {
        Spot {
            route: 1,
            backend: 2,
            endpoint: 3,
        }
    }

    /// Writes what has changed and waits until it is on disk.
    fn write(log: &mut Log, store: &Store) {
        if let Some(begun) = log.begin(store, Extent::Changed(usize::MAX)) {
            begun.answer.blocking_recv().unwrap().unwrap();
            log.settle(&begun.rows, Fate::Written);
        }
    }

    #[test]
    fn a_journal_is_bounded_and_has_all_that_is_in_use() {
        let disk = FaultyDisk::new();
        let table = table();
        let tick = Timestamp::now().unix_seconds();
        {
            let (store, _) = disk.store().unwrap();
            let mut log = Log::read(Journal::Callers, &table, &Vec::new());
            for regular in 0..10 {
                table.put(regular, spot(), tick);
                table.find(regular, tick);
            }
            for key in 1_000..3_000 {
                table.put(key, spot(), tick);
                table.sweep(tick);
                if key % 10 == 0 {
                    write(&mut log, &store);
                }
                let rows: usize = log.batches.iter().map(|batch| batch.rows).sum();
                assert!(rows <= ROWS_EACH * 100, "{rows}");
            }
            write(&mut log, &store);
        }

        let (_store, contents) = disk.store().unwrap();
        let again = self::table();
        let log = Log::read(Journal::Callers, &again, &contents.callers);

        let rows: usize = log.batches.iter().map(|batch| batch.rows).sum();
        assert!(rows <= ROWS_EACH * 100, "{rows}");
        assert!((0..10).all(|key| again.find(key, tick + 1).is_some()));
    }
}
