//! A database that is made in memory, to be written to its file as a whole.
//!
//! On disk a new database is a dozen commits, each of which waits for the disk. In memory it is none, and
//! the file needs to be waited for once.

use std::io;
use std::sync::Arc;

use redb::backends::InMemoryBackend;
use redb::{Database, StorageBackend};

use super::disk::builder;

/// The bytes of a database that `fill` has filled, closed as it should be.
pub(super) fn bytes(
    fill: impl FnOnce(&Database) -> Result<(), redb::Error>,
) -> Result<Vec<u8>, redb::Error> {
    let draft = Draft::default();
    let database = builder().create_with_backend(draft.clone())?;
    fill(&database)?;
    drop(database);
    let length = usize::try_from(draft.len()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    draft.read(0, &mut bytes)?;
    Ok(bytes)
}

/// Memory that is still there when the database is closed.
#[derive(Clone, Debug, Default)]
struct Draft(Arc<InMemoryBackend>);

impl StorageBackend for Draft {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}
