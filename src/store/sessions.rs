//! The table of sessions: rows that come and go by the thousand, in commits of their own.
//!
//! A row is less than the state: one that is lost costs its session the chance to be moved to
//! another backend. How many there are and how old they may be is for their owner to say.

use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use xxhash_rust::xxh3::xxh3_64;

use super::frame::{Frame, Kind};
use super::tables::{UNSOUND, Unreadable};

pub(super) const SESSIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("sessions");
/// Between the id and the row, so that a frame says whose it is; no id has it.
const MARK: u8 = b'\n';

/// What is written of sessions in one commit.
#[derive(Clone, Debug, Default)]
pub struct SessionRows {
    /// Nothing else is to be kept.
    pub alone: bool,
    /// Sessions by their ids; `None` for one that is over.
    pub rows: Vec<(Arc<str>, Option<Vec<u8>>)>,
}

/// A session's id, and what was written of it.
pub type SessionRow = (String, Vec<u8>);

/// Writes rows as this commit and waits until they are on disk.
pub(super) fn keep(
    database: &Database,
    wanted: &SessionRows,
    commit: u64,
) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(SESSIONS)?;
        if wanted.alone {
            table.retain(|_, _| false)?;
        }
        for (id, row) in &wanted.rows {
            match row {
                Some(row) => table.insert(&**id, framed(id, row, commit).as_slice())?,
                None => table.remove(&**id)?,
            };
        }
    }
    transaction.commit()?;
    Ok(())
}

fn framed(id: &str, row: &[u8], commit: u64) -> Vec<u8> {
    let mut payload = Vec::with_capacity(id.len() + 1 + row.len());
    payload.extend(id.as_bytes());
    payload.push(MARK);
    payload.extend(row);
    let frame = Frame {
        kind: Kind::Session,
        number: xxh3_64(id.as_bytes()),
        commit,
        payload: &payload,
    };
    frame.to_bytes()
}

/// The id in a session's frame.
pub(super) fn id_of<'a>(frame: &Frame<'a>) -> Option<&'a str> {
    let at = frame.payload.iter().position(|byte| *byte == MARK)?;
    std::str::from_utf8(frame.payload.get(..at)?).ok()
}

/// Reads every sound row, and the number of the latest commit among them.
pub(super) fn all(database: &Database) -> Result<(Vec<SessionRow>, u64), Unreadable> {
    let table = database.begin_read()?.open_table(SESSIONS)?;
    let (mut rows, mut latest) = (Vec::new(), 0);
    for row in table.iter()? {
        let (key, value) = row?;
        let frame = Frame::read_whole(value.value(), Kind::Session);
        let known = frame.filter(|frame| id_of(frame) == Some(key.value()));
        let Some(frame) = known else {
            metrics::counter!(UNSOUND).increment(1);
            continue;
        };
        latest = latest.max(frame.commit);
        let row = frame.payload.get(key.value().len() + 1..);
        rows.push((key.value().to_owned(), row.unwrap_or_default().to_vec()));
    }
    Ok((rows, latest))
}

/// Makes the table.
pub(super) fn make(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(SESSIONS)?;
    Ok(())
}

/// Takes the table away; sessions then live where their ids say.
pub(super) fn drop_all(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.delete_table(SESSIONS)?;
    Ok(())
}
