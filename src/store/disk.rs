//! The folder, its lock, and how the database file comes to be.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use redb::{Builder, Database};

use super::error::StoreError;
use super::tables;

/// Name of the database file.
const FILE: &str = "state.redb";
/// Name of the file that is locked while a process has the folder.
const LOCK: &str = "lock";
/// Memory for pages of the database; all of what is read often fits.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// Opens the database; called again after each failure of the disk.
pub(super) type Opener = Box<dyn FnMut() -> Result<Database, StoreError> + Send>;

/// A state folder that belongs to this process as long as this value lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Takes the folder, making it when it is missing.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| StoreError::io("making", path, source))?;
        let lock_path = path.join(LOCK);
        let lock = private()
            .create(true)
            .open(&lock_path)
            .map_err(|source| StoreError::io("opening", &lock_path, source))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse {
                folder: path.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(StoreError::io("locking", &lock_path, source)),
        }
    }

    /// Path of the database file.
    pub(super) fn file(&self) -> PathBuf {
        self.path.join(FILE)
    }

    /// Makes the database file when it is missing: beside its place, then moved there whole,
    /// so that a kill never leaves half of one.
    pub(super) fn make_file(&self) -> Result<(), StoreError> {
        let path = self.file();
        let exists =
            fs::exists(&path).map_err(|source| StoreError::io("opening", &path, source))?;
        if exists {
            return Ok(());
        }
        let draft = self.path.join(format!("{FILE}.new"));
        let made = |source| StoreError::io("making", &draft, source);
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(made(error)),
            _ => {}
        }
        let file = private().create_new(true).open(&draft).map_err(made)?;
        let database = builder()
            .create_file(file)
            .map_err(|error| StoreError::database("making", &draft, error.into()))?;
        tables::initialize(&database)
            .map_err(|error| StoreError::database("making", &draft, error))?;
        drop(database);
        File::open(&draft)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&draft, &path))
            .and_then(|()| File::open(&self.path)?.sync_all())
            .map_err(made)
    }
}

/// Opens the database file at `path`, which must have been made before.
pub(super) fn open(path: &Path) -> Result<Database, StoreError> {
    let opened = |source| StoreError::io("opening", path, source);
    let file = private().open(path).map_err(opened)?;
    if file.metadata().map_err(opened)?.len() == 0 {
        return Err(StoreError::Corrupt {
            path: path.to_owned(),
            why: "it is empty".to_owned(),
        });
    }
    builder()
        .create_file(file)
        .map_err(|error| StoreError::database("opening", path, error.into()))
}

/// How this room sets up its database.
pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}
