//! A disk in memory that can be full, or hang, for tests.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use redb::StorageBackend;
use tokio::sync::watch;

use super::error::StoreError;
use super::tables::{self, Contents};
use super::thread::Store;
use super::{disk, tables::Batch};

/// The disk; what is on it outlives the stores over it.
#[derive(Debug)]
pub(crate) struct FaultyDisk {
    state: Mutex<State>,
    changed: Condvar,
    stuck: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    full: bool,
    hangs: bool,
}

impl FaultyDisk {
    /// An empty disk that works.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            stuck: watch::Sender::new(false),
        })
    }

    /// A store over this disk; the tables are made when it is empty.
    pub(crate) fn store(self: &Arc<Self>) -> Result<(Store, Contents), StoreError> {
        let path = PathBuf::from("/faulty/state.redb");
        let disk = Arc::clone(self);
        let opened = path.clone();
        let open = move || {
            let new = disk.lock().bytes.is_empty();
            let error = |error| StoreError::database("opening", &opened, error);
            let backend = Backend(Arc::clone(&disk));
            let database = disk::builder().create_with_backend(backend);
            let database = database.map_err(|e| error(e.into()))?;
            if new {
                tables::initialize(&database).map_err(error)?;
            }
            Ok(database)
        };
        Store::over(path, Box::new(open))
    }

    /// From now on nothing more fits, or everything does.
    pub(crate) fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// From now on every write waits, or goes on.
    pub(crate) fn set_hangs(&self, hangs: bool) {
        self.lock().hangs = hangs;
        self.changed.notify_all();
    }

    /// Waits until a write hangs.
    pub(crate) async fn stuck(&self) {
        let mut stuck = self.stuck.subscribe();
        let _ = stuck.wait_for(|stuck| *stuck).await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writable(&self) -> io::Result<std::sync::MutexGuard<'_, State>> {
        let mut state = self.lock();
        while state.hangs {
            self.stuck.send_replace(true);
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.stuck.send_replace(false);
        if state.full {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(state)
    }
}

#[derive(Debug)]
struct Backend(Arc<FaultyDisk>);

fn span(offset: u64, length: usize) -> std::ops::Range<usize> {
    offset as usize..offset as usize + length
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock();
        let bytes = state.bytes.get(span(offset, out.len()));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.writable()?.bytes.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        drop(self.0.writable()?);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.0.writable()?;
        let bytes = state.bytes.get_mut(span(offset, data.len()));
        bytes
            .ok_or(io::ErrorKind::UnexpectedEof)?
            .copy_from_slice(data);
        Ok(())
    }
}

/// A batch with this state and no events.
pub(crate) fn batch(state: &str) -> Batch {
    Batch {
        state: state.as_bytes().to_vec(),
        first_sequence: 1,
        events: Vec::new(),
    }
}
