//! Journals: batches in the order of their writing, each in a commit of its own.
//!
//! For small rows that change all the time: nothing is looked up in a journal, and what is older
//! than its owner wants is dropped a batch at a time. A lost batch is less than the state.

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use super::frame::{Frame, Kind};
use super::tables::{UNSOUND, Unreadable};

type Table = TableDefinition<'static, u64, &'static [u8]>;

const CALLERS: Table = TableDefinition::new("callers");
const TIES: Table = TableDefinition::new("ties");

/// Which journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journal {
    /// Callers, and where they are held.
    Callers,
    /// Values of servers, and where they were made.
    Ties,
}

/// What is written to a journal in one commit.
#[derive(Clone, Debug)]
pub struct JournalEntry {
    /// The journal.
    pub journal: Journal,
    /// Batches before this one are dropped.
    pub from: u64,
    /// The number of this batch; whatever has this number or a larger one is dropped.
    pub number: u64,
    /// Its rows; without any nothing is added.
    pub rows: Vec<u8>,
}

/// The batches of a journal in their order, each with its number.
pub type Batches = Vec<(u64, Vec<u8>)>;

impl Journal {
    const ALL: [Self; 2] = [Self::Callers, Self::Ties];

    fn table(self) -> Table {
        match self {
            Self::Callers => CALLERS,
            Self::Ties => TIES,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Callers => Kind::Callers,
            Self::Ties => Kind::Ties,
        }
    }
}

/// Writes an entry as this commit and waits until it is on disk.
pub(super) fn write(
    database: &Database,
    wanted: &JournalEntry,
    commit: u64,
) -> Result<(), redb::Error> {
    let JournalEntry {
        journal,
        from,
        number,
        rows,
    } = wanted;
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(journal.table())?;
        table.retain_in(..*from, |_, _| false)?;
        table.retain_in(*number.., |_, _| false)?;
        if !rows.is_empty() {
            let frame = Frame {
                kind: journal.kind(),
                number: *number,
                commit,
                payload: rows,
            };
            table.insert(number, frame.to_bytes().as_slice())?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// Reads every sound batch, and the number of the latest commit among them.
pub(super) fn all(database: &Database, journal: Journal) -> Result<(Batches, u64), Unreadable> {
    let table = database.begin_read()?.open_table(journal.table())?;
    let (mut batches, mut latest) = (Vec::new(), 0);
    for row in table.iter()? {
        let (number, value) = row?;
        let frame = Frame::read_whole(value.value(), journal.kind());
        let Some(frame) = frame.filter(|frame| frame.number == number.value()) else {
            metrics::counter!(UNSOUND).increment(1);
            continue;
        };
        latest = latest.max(frame.commit);
        batches.push((frame.number, frame.payload.to_vec()));
    }
    Ok((batches, latest))
}

/// Puts frames that were found in a damaged file back into their journals.
pub(super) fn put_back<'a>(
    transaction: &WriteTransaction,
    frames: impl Iterator<Item = &'a Frame<'a>>,
) -> Result<(), redb::Error> {
    for frame in frames {
        let mut journals = Journal::ALL.into_iter();
        if let Some(journal) = journals.find(|journal| journal.kind() == frame.kind) {
            let mut table = transaction.open_table(journal.table())?;
            table.insert(frame.number, frame.to_bytes().as_slice())?;
        }
    }
    Ok(())
}

/// Makes the tables.
pub(super) fn make(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    for journal in Journal::ALL {
        transaction.open_table(journal.table())?;
    }
    Ok(())
}

/// Takes the tables away; callers then go by their keys.
pub(super) fn drop_all(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    for journal in Journal::ALL {
        transaction.delete_table(journal.table())?;
    }
    Ok(())
}
