//! Writing the sessions' records down, and counting where they live.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::mcp::{Census, SessionTable};
use crate::store::{SessionRow, SessionRows, Store};

use super::actor::Control;
use super::timestamp::Timestamp;
use super::writer::{Begun, Extent, Fate, Writer, Written};

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
const CROWDED_OUT: &str = "switchback_session_records_crowded_out_total";
const HOMES_EVICTED: &str = "switchback_session_homes_evicted_total";
const UNKEPT: &str = "switchback_session_wishes_unkept_total";
const ENDED: &str = "switchback_sessions_ended_total";
const LEFT_OPEN: &str = "switchback_sessions_left_open_total";
const UNNOTED: &str = "switchback_session_records_unnoted_total";

/// Keeps the table of sessions and the one on disk alike.
#[derive(Debug)]
pub(super) struct Keeper {
    table: Arc<SessionTable>,
    writer: Writer<Sessions>,
    sweep_at: Instant,
    count_at: Instant,
    census: Census,
}

/// The sessions as they are written down.
#[derive(Debug)]
struct Sessions(Arc<SessionTable>);

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
            writer: Writer::new(Sessions(Arc::clone(&table)), now),
            table,
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
            metrics::counter!(CROWDED_OUT).absolute(self.table.crowded_out());
            metrics::counter!(HOMES_EVICTED).absolute(self.table.homes_evicted());
            metrics::counter!(ENDED).absolute(self.table.endings().ended());
            metrics::counter!(LEFT_OPEN).absolute(self.table.endings().left());
            metrics::counter!(UNNOTED).absolute(self.table.unwritten());
            metrics::counter!(UNKEPT).absolute(self.table.unkept());
        }
        self.writer.tick(store, now);
    }

    /// The writer.
    pub(super) fn writer(&mut self) -> &mut Writer<impl Written> {
        &mut self.writer
    }
}

impl Written for Sessions {
    const COUNTERS: [&'static str; 2] = [WRITTEN, FAILED];
    type Row = Arc<str>;

    fn begin(&mut self, store: &Store, extent: Extent) -> Option<Begun<Arc<str>>> {
        let Self(table) = self;
        let is_anew = extent == Extent::Anew;
        let most = match extent {
            Extent::Changed(most) => most,
            Extent::Anew => {
                table.put_back_all();
                usize::MAX
            }
        };
        let ids = table.take_changed(most);
        if ids.is_empty() && !is_anew {
            return None;
        }
        let row = |id: &Arc<str>| (Arc::clone(id), table.to_stored(id));
        let rows = SessionRows {
            alone: is_anew,
            rows: ids.iter().map(row).collect(),
        };
        Some(Begun {
            answer: store.keep(rows),
            rows: ids,
            is_anew,
        })
    }

    fn settle(&mut self, ids: &[Arc<str>], fate: Fate) {
        match fate {
            Fate::Written => {}
            // What is written twice is the same.
            Fate::Failed | Fate::Unknown => self.0.put_back(ids.iter().cloned()),
        }
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
