//! The tables, and the few transactions on them.

use std::fmt;

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

/// Most events the history keeps; older ones are dropped as new ones come.
pub const HISTORY_MAX: u64 = 10_000;
/// The schema this version writes, and the newest it reads.
pub(super) const SCHEMA: u64 = 1;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");
const HISTORY: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("history");

const META_SCHEMA: &str = "schema";
const META_SEAL_KEY: &str = "seal_key";
const STATE_DESIRED: &str = "desired";

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
        meta.insert(META_SEAL_KEY, seal_key.as_slice())?;
        transaction.open_table(STATE)?;
        transaction.open_table(HISTORY)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Reads what a process needs when it starts.
pub(super) fn contents(database: &Database) -> Result<Contents, Unreadable> {
    let transaction = database.begin_read()?;
    let meta = transaction.open_table(META)?;
    let schema = meta
        .get(META_SCHEMA)?
        .and_then(|value| Some(u64::from_le_bytes(value.value().try_into().ok()?)))
        .ok_or(Unreadable::Odd("its schema is not named"))?;
    if schema > SCHEMA {
        return Err(Unreadable::Newer { found: schema });
    }
    let seal_key = meta
        .get(META_SEAL_KEY)?
        .and_then(|value| value.value().try_into().ok())
        .ok_or(Unreadable::Odd("its seal key is missing"))?;
    let state = transaction.open_table(STATE)?.get(STATE_DESIRED)?;
    let history = transaction.open_table(HISTORY)?;
    let last = history.last()?;
    Ok(Contents {
        state: state.map(|value| value.value().to_vec()),
        last_sequence: last.map_or(0, |(sequence, _)| sequence.value()),
        seal_key,
    })
}

/// Writes a batch and waits until it is on disk.
pub(super) fn save(database: &Database, batch: &Batch) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut state = transaction.open_table(STATE)?;
        state.insert(STATE_DESIRED, batch.state.as_slice())?;
        let mut history = transaction.open_table(HISTORY)?;
        history.retain_in(batch.first_sequence.., |_, _| false)?;
        for (sequence, event) in (batch.first_sequence..).zip(&batch.events) {
            history.insert(sequence, event.as_slice())?;
        }
        while history.len()? > HISTORY_MAX {
            history.pop_first()?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// Reads rows of the history, latest first.
pub(super) fn history(database: &Database, query: &Query) -> Result<Vec<Row>, redb::Error> {
    let table = database.begin_read()?.open_table(HISTORY)?;
    let mut rows = Vec::new();
    for row in table.range(..query.before.unwrap_or(u64::MAX))?.rev() {
        if rows.len() >= query.limit {
            break;
        }
        let (sequence, event) = row?;
        if (query.keep)(event.value()) {
            rows.push((sequence.value(), event.value().to_vec()));
        }
    }
    Ok(rows)
}

/// Changes the schema of a store, to play a newer version.
#[cfg(test)]
pub(super) fn set_schema(database: &Database, schema: u64) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction
        .open_table(META)?
        .insert(META_SCHEMA, schema.to_le_bytes().as_slice())?;
    transaction.commit()?;
    Ok(())
}
