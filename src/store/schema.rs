//! Versions of the tables, and the ways from each to the next and back.
//!
//! | schema | what it has |
//! |---|---|
//! | 1 | bare values |
//! | 2 | every value in a frame with a checksum, and `least` in `meta` |
//! | 3 | `sessions`, which versions that know only 2 leave alone |
//! | 4 | `callers` and `ties`, the same |
//!
//! A new schema is one more step here, with the way back. When versions that know only the
//! schema before can go on using the file, `least` stays as it was, and they do.

use std::cmp::Ordering;

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, WriteTransaction};

use super::frame::{Frame, Kind};
use super::journal;
use super::sessions;
use super::tables::{
    HISTORY, META, META_LEAST, META_SCHEMA, META_SEAL_KEY, STATE, STATE_DESIRED, Unreadable, schema,
};

/// The schema that this version writes.
pub(super) const SCHEMA: u64 = 4;
/// The oldest schema whose versions can use what this version writes.
pub(super) const LEAST: u64 = 2;
/// The oldest schema whose values have checksums.
pub(super) const FRAMED: u64 = 2;
/// The oldest schema that this version can read and write back.
pub(super) const OLDEST: u64 = 1;

/// One way, in one transaction.
type Way = fn(&WriteTransaction) -> Result<(), redb::Error>;

/// From the schema of this place, counted from [`OLDEST`], to the next, and back.
const STEPS: [(Way, Way); (SCHEMA - OLDEST) as usize] = [
    (frame_all, unframe_all),
    (sessions::make, sessions::drop_all),
    (journal::make, journal::drop_all),
];

/// The schema of a file.
pub(super) fn of(database: &Database) -> Result<u64, Unreadable> {
    schema(&database.begin_read()?)
}

/// Brings a file to a schema, step by step; each is on disk before the next begins.
pub(super) fn bring(database: &Database, to: u64) -> Result<(), Unreadable> {
    loop {
        let from = of(database)?;
        let step = |at: u64| usize::try_from(at.saturating_sub(OLDEST)).ok();
        let (way, next) = match from.cmp(&to) {
            Ordering::Equal => return Ok(()),
            Ordering::Less => (
                step(from).and_then(|at| STEPS.get(at)).map(|s| s.0),
                from + 1,
            ),
            Ordering::Greater => (
                step(from - 1).and_then(|at| STEPS.get(at)).map(|s| s.1),
                from - 1,
            ),
        };
        let way = way.ok_or(Unreadable::Odd("there is no way to that schema"))?;
        let transaction = database.begin_write()?;
        way(&transaction)?;
        transaction
            .open_table(META)?
            .insert(META_SCHEMA, next.to_le_bytes().as_slice())?;
        transaction.commit()?;
    }
}

fn frame_all(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    let mut history = transaction.open_table(HISTORY)?;
    let last = history.last()?.map_or(0, |(sequence, _)| sequence.value());
    let framed = |kind, number, payload: &[u8]| {
        let frame = Frame {
            kind,
            number,
            commit: 0,
            payload,
        };
        frame.to_bytes()
    };
    rewrite(&mut transaction.open_table(META)?, META_SEAL_KEY, |key| {
        framed(Kind::SealKey, 0, key)
    })?;
    rewrite(
        &mut transaction.open_table(STATE)?,
        STATE_DESIRED,
        |state| framed(Kind::State, last, state),
    )?;
    rewrite_all(&mut history, |sequence, event| {
        framed(Kind::Event, sequence, event)
    })?;
    transaction
        .open_table(META)?
        .insert(META_LEAST, 2_u64.to_le_bytes().as_slice())?;
    Ok(())
}

/// What is not sound goes back as it is: schema 1 cannot tell, and a row less would be worse.
fn unframe_all(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    let bare = |framed: &[u8]| match Frame::read(framed) {
        Some(frame) => frame.payload.to_vec(),
        None => framed.to_vec(),
    };
    let mut meta = transaction.open_table(META)?;
    rewrite(&mut meta, META_SEAL_KEY, bare)?;
    meta.remove(META_LEAST)?;
    rewrite(&mut transaction.open_table(STATE)?, STATE_DESIRED, bare)?;
    rewrite_all(&mut transaction.open_table(HISTORY)?, |_, event| {
        bare(event)
    })
}

fn rewrite(
    table: &mut redb::Table<'_, &'static str, &'static [u8]>,
    key: &str,
    by: impl FnOnce(&[u8]) -> Vec<u8>,
) -> Result<(), redb::Error> {
    let new = table.get(key)?.map(|value| by(value.value()));
    if let Some(new) = new {
        table.insert(key, new.as_slice())?;
    }
    Ok(())
}

fn rewrite_all(
    table: &mut redb::Table<'_, u64, &'static [u8]>,
    by: impl Fn(u64, &[u8]) -> Vec<u8>,
) -> Result<(), redb::Error> {
    let mut rows = Vec::with_capacity(usize::try_from(table.len()?).unwrap_or(0));
    for row in table.iter()? {
        let (number, value) = row?;
        rows.push((number.value(), by(number.value(), value.value())));
    }
    for (number, value) in rows {
        table.insert(number, value.as_slice())?;
    }
    Ok(())
}
