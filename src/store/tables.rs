//! The tables, and the few transactions on them.

use std::fmt;

use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    TableDefinition,
};

use super::frame::{Frame, Kind};
use super::journal::{self, Batches};
use super::schema::{LEAST, SCHEMA};
use super::sessions::{self, SessionRow};

/// Most events the history keeps; older ones are dropped as new ones come.
pub const HISTORY_MAX: u64 = 10_000;

pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
pub(super) const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");
pub(super) const HISTORY: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("history");

/// The schema of the file; eight bytes, in every version.
pub(super) const META_SCHEMA: &str = "schema";
/// The oldest schema whose versions may use the file; eight bytes, in every version but 1.
pub(super) const META_LEAST: &str = "least";
pub(super) const META_SEAL_KEY: &str = "seal_key";
pub(super) const STATE_DESIRED: &str = "desired";

pub(super) const UNSOUND: &str = "switchback_state_rows_unsound_total";

/// What is written in one commit: all of it or nothing.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The state from now on.
    pub state: Vec<u8>,
    /// Sequence number of the first of `events`. Rows with this number or a larger one, left
    /// by a commit that was later taken back, are removed.
    pub first_sequence: u64,
    /// New rows of the history.
    pub events: Vec<Vec<u8>>,
}

/// What a store held when it was opened.
#[derive(Clone)]
pub struct Contents {
    /// The state that was saved last; `None` in a new store.
    pub state: Option<Vec<u8>>,
    /// The largest sequence number of the history, 0 without any.
    pub last_sequence: u64,
    /// 32 random bytes, made with the store.
    pub seal_key: [u8; 32],
    /// The sessions that were kept; empty but when a store is opened.
    pub sessions: Vec<SessionRow>,
    /// The journal of callers; empty but when a store is opened.
    pub callers: Batches,
    /// The journal of ties; empty but when a store is opened.
    pub ties: Batches,
    /// The number of the last commit.
    pub(super) commit: u64,
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Contents");
        let state_bytes = self.state.as_ref().map(Vec::len);
        shown.field("state_bytes", &state_bytes);
        shown.field("last_sequence", &self.last_sequence);
        shown.finish_non_exhaustive()
    }
}

/// Which rows of the history to read.
pub struct Query {
    /// Only rows with a smaller sequence number.
    pub before: Option<u64>,
    /// At most this many.
    pub limit: usize,
    /// Whether a row is wanted.
    pub keep: Keep,
}

/// Tells whether a row is wanted.
pub type Keep = Box<dyn Fn(&[u8]) -> bool + Send>;

/// One row of the history.
pub type Row = (u64, Vec<u8>);

/// Why the contents could not be read.
pub(super) enum Unreadable {
    Database(redb::Error),
    Newer { found: u64 },
    Odd(&'static str),
}

impl<E: Into<redb::Error>> From<E> for Unreadable {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

/// Makes the tables of a new database, and its seal key.
pub(super) fn initialize(database: &Database) -> Result<(), redb::Error> {
    let mut seal_key = [0; 32];
    getrandom::fill(&mut seal_key)
        .map_err(|error| redb::Error::Io(std::io::Error::other(error)))?;
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(META_SCHEMA, SCHEMA.to_le_bytes().as_slice())?;
        meta.insert(META_LEAST, LEAST.to_le_bytes().as_slice())?;
        let seal_key = Frame {
            kind: Kind::SealKey,
            number: 0,
            commit: 0,
            payload: &seal_key,
        };
        meta.insert(META_SEAL_KEY, seal_key.to_bytes().as_slice())?;
        transaction.open_table(STATE)?;
        transaction.open_table(HISTORY)?;
    }
    sessions::make(&transaction)?;
    journal::make(&transaction)?;
    transaction.commit()?;
    Ok(())
}

/// The schema of a file that this version may use.
pub(super) fn schema(transaction: &ReadTransaction) -> Result<u64, Unreadable> {
    let meta = transaction.open_table(META)?;
    let number = |key| -> Result<Option<u64>, Unreadable> {
        let value = meta.get(key)?;
        Ok(value.and_then(|value| Some(u64::from_le_bytes(value.value().try_into().ok()?))))
    };
    let schema = number(META_SCHEMA)?.ok_or(Unreadable::Odd("its schema is not named"))?;
    if schema > SCHEMA && number(META_LEAST)?.is_none_or(|least| least > SCHEMA) {
        return Err(Unreadable::Newer { found: schema });
    }
    Ok(schema)
}

/// Reads what a process needs when it starts.
pub(super) fn contents(database: &Database) -> Result<Contents, Unreadable> {
    let transaction = database.begin_read()?;
    schema(&transaction)?;
    let meta = transaction.open_table(META)?;
    let seal_key = meta.get(META_SEAL_KEY)?;
    let seal_key = seal_key
        .and_then(|value| {
            let frame = Frame::read_whole(value.value(), Kind::SealKey)?;
            frame.payload.try_into().ok()
        })
        .ok_or(Unreadable::Odd("its seal key is missing or damaged"))?;
    let mut contents = Contents {
        state: None,
        last_sequence: 0,
        seal_key,
        sessions: Vec::new(),
        callers: Vec::new(),
        ties: Vec::new(),
        commit: 0,
    };
    if let Some(value) = transaction.open_table(STATE)?.get(STATE_DESIRED)? {
        let frame = Frame::read_whole(value.value(), Kind::State);
        let frame = frame.ok_or(Unreadable::Odd("its state does not match its checksum"))?;
        contents.state = Some(frame.payload.to_vec());
        contents.commit = frame.commit;
    }
    let history = transaction.open_table(HISTORY)?;
    let last = history.last()?;
    contents.last_sequence = last.map_or(0, |(sequence, _)| sequence.value());
    Ok(contents)
}

/// Writes a batch as this commit and waits until it is on disk.
pub(super) fn save(database: &Database, batch: &Batch, commit: u64) -> Result<(), redb::Error> {
    let framed = |kind, number, payload: &[u8]| {
        let frame = Frame {
            kind,
            number,
            commit,
            payload,
        };
        frame.to_bytes()
    };
    let transaction = database.begin_write()?;
    {
        let mut state = transaction.open_table(STATE)?;
        let last = (batch.first_sequence + batch.events.len() as u64).saturating_sub(1);
        let bytes = framed(Kind::State, last, &batch.state);
        state.insert(STATE_DESIRED, bytes.as_slice())?;
        let mut history = transaction.open_table(HISTORY)?;
        history.retain_in(batch.first_sequence.., |_, _| false)?;
        for (sequence, event) in (batch.first_sequence..).zip(&batch.events) {
            let bytes = framed(Kind::Event, sequence, event);
            history.insert(sequence, bytes.as_slice())?;
        }
        while history.len()? > HISTORY_MAX {
            history.pop_first()?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// Reads rows of the history, latest first. Rows that are not sound are left out and counted.
pub(super) fn history(database: &Database, query: &Query) -> Result<Vec<Row>, redb::Error> {
    let table = database.begin_read()?.open_table(HISTORY)?;
    let mut rows = Vec::new();
    for row in table.range(..query.before.unwrap_or(u64::MAX))?.rev() {
        if rows.len() >= query.limit {
            break;
        }
        let (sequence, value) = row?;
        match Frame::read_whole(value.value(), Kind::Event) {
            Some(frame) if (query.keep)(frame.payload) => {
                rows.push((sequence.value(), frame.payload.to_vec()));
            }
            Some(_) => {}
            None => metrics::counter!(UNSOUND).increment(1),
        }
    }
    Ok(rows)
}

/// Counts the rows of the history: those that are sound, and the others.
pub(super) fn count_rows(database: &Database) -> Result<(u64, u64), redb::Error> {
    let table = database.begin_read()?.open_table(HISTORY)?;
    let (mut sound, mut unsound) = (0, 0);
    for row in table.iter()? {
        let (_, value) = row?;
        match Frame::read_whole(value.value(), Kind::Event) {
            Some(_) => sound += 1,
            None => unsound += 1,
        }
    }
    Ok((sound, unsound))
}

/// Changes the schema of a store, to play a newer version; `least` as that one would write it.
#[cfg(test)]
pub(super) fn set_schema(database: &Database, schema: u64, least: u64) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(META_SCHEMA, schema.to_le_bytes().as_slice())?;
        meta.insert(META_LEAST, least.to_le_bytes().as_slice())?;
    }
    transaction.commit()?;
    Ok(())
}
