//! What is sound of a damaged file.
//!
//! The pages of the file may make no sense any more, so they are not asked: every frame that is
//! sound is found by its own checksum. Pages that the database has let go of hold older values,
//! which is why a frame says which commit wrote it.

use std::collections::BTreeMap;

use redb::{Database, TableDefinition};

use super::frame::{self, Frame, Kind};
use super::journal;
use super::sessions::{self, SESSIONS};
use super::tables::{HISTORY, HISTORY_MAX, META, META_SEAL_KEY, STATE, STATE_DESIRED};

/// The latest sound value of everything.
#[derive(Debug, Default)]
pub(super) struct Sound<'a> {
    seal_key: Option<Frame<'a>>,
    state: Option<Frame<'a>>,
    /// By sequence number.
    events: BTreeMap<u64, Frame<'a>>,
    /// By the digests of their ids. Some may be over; nobody asks for those.
    sessions: BTreeMap<u64, Frame<'a>>,
    /// By the numbers of the batches. Some may have been dropped: they are as old as they look.
    callers: BTreeMap<u64, Frame<'a>>,
    ties: BTreeMap<u64, Frame<'a>>,
}

/// How much that is.
pub(super) struct Salvage {
    pub(super) has_state: bool,
    pub(super) has_seal_key: bool,
    pub(super) rows: u64,
    pub(super) rows_lost: u64,
}

impl<'a> Sound<'a> {
    /// Searches a file.
    pub(super) fn find(bytes: &'a [u8]) -> Self {
        let mut sound = Self::default();
        for frame in frame::scan(bytes) {
            match frame.kind {
                Kind::SealKey => later(&mut sound.seal_key, frame),
                Kind::State => later(&mut sound.state, frame),
                Kind::Event => latest(&mut sound.events, frame),
                Kind::Session => latest(&mut sound.sessions, frame),
                Kind::Callers => latest(&mut sound.callers, frame),
                Kind::Ties => latest(&mut sound.ties, frame),
            }
        }
        sound.forget_what_is_over();
        sound
    }

    /// Leaves out events of commits that were taken back, and those that were dropped for age.
    fn forget_what_is_over(&mut self) {
        if let Some(state) = self.state {
            self.events.retain(|number, _| *number <= state.number);
        }
        while self.events.len() as u64 > HISTORY_MAX {
            self.events.pop_first();
        }
    }

    /// Writes it to a new database.
    pub(super) fn write(&self, database: &Database) -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        let put = |table: TableDefinition<'_, &'static str, &'static [u8]>,
                   key,
                   frame: Option<Frame<'_>>| {
            if let Some(frame) = frame {
                let mut table = transaction.open_table(table)?;
                table.insert(key, frame.to_bytes().as_slice())?;
            }
            Ok::<_, redb::Error>(())
        };
        put(META, META_SEAL_KEY, self.seal_key)?;
        put(STATE, STATE_DESIRED, self.state)?;
        {
            let mut history = transaction.open_table(HISTORY)?;
            for (number, frame) in &self.events {
                history.insert(number, frame.to_bytes().as_slice())?;
            }
        }
        {
            let mut sessions = transaction.open_table(SESSIONS)?;
            for frame in self.sessions.values() {
                if let Some(id) = sessions::id_of(frame) {
                    sessions.insert(id, frame.to_bytes().as_slice())?;
                }
            }
        }
        journal::put_back(&transaction, self.callers.values())?;
        journal::put_back(&transaction, self.ties.values())?;
        transaction.commit()?;
        Ok(())
    }

    /// How much it is.
    pub(super) fn salvage(&self) -> Salvage {
        let rows = self.events.len() as u64;
        let first = self.events.keys().next();
        let last = self.state.map(|state| state.number);
        let last = last.or(self.events.keys().next_back().copied());
        let expected = first
            .zip(last)
            .map_or(0, |(first, last)| (last + 1).saturating_sub(*first));
        Salvage {
            has_state: self.state.is_some(),
            has_seal_key: self.seal_key.is_some(),
            rows,
            rows_lost: expected.saturating_sub(rows),
        }
    }
}

fn latest<'a>(known: &mut BTreeMap<u64, Frame<'a>>, frame: Frame<'a>) {
    let slot = known.entry(frame.number).or_insert(frame);
    if slot.commit <= frame.commit {
        *slot = frame;
    }
}

fn later<'a>(known: &mut Option<Frame<'a>>, frame: Frame<'a>) {
    if known.is_none_or(|known| known.commit <= frame.commit) {
        *known = Some(frame);
    }
}
