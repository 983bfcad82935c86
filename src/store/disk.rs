//! The folder, its lock, and how the database file comes to be.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::ops::RangeInclusive;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use redb::backends::InMemoryBackend;
use redb::{Builder, Database, StorageBackend};
use xxhash_rust::xxh3::xxh3_128;

use super::draft;
use super::error::StoreError;
use super::tables;

/// Name of the database file.
const FILE: &str = "state.redb";
/// Name of the file that is locked while a process has the folder.
const LOCK: &str = "lock";
/// Memory for pages of the database; all of what is read often fits.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// How the database file begins; the byte behind it holds the flags.
const MAGIC: &[u8; 9] = b"redb\x1A\x0A\xA9\x0D\x0A";
/// Flag: the last commit is in the second of the two slots.
const IN_SECOND_SLOT: u8 = 1;
/// Flag: whoever had the file did not close it.
const RECOVERY_REQUIRED: u8 = 2;
/// Flag: the last commit needs no checking.
const TWO_PHASE_COMMIT: u8 = 4;
/// Where the slots are: one behind the other.
const SLOTS: usize = 64;
const SLOT_BYTES: usize = 128;
/// Where the number of its commit is in a slot.
const COMMIT: std::ops::Range<usize> = 104..112;
/// What a repair says of its progress when the last commit is not sound, and it goes on with the
/// one before.
const FELL_BACK: RangeInclusive<f64> = 0.2..=0.4;
/// Largest file that is checked page by page before it is opened; ten thousand events and a state
/// are some megabytes.
const CHECKED_MAX_BYTES: u64 = 256 * 1024 * 1024;

/// Opens the database; called again after each failure of the disk.
pub(super) type Opener = Box<dyn FnMut() -> Result<Database, StoreError> + Send>;

/// A state folder that belongs to this process as long as this value lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    lock: File,
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
            Ok(()) => {
                sign(&lock);
                Ok(Self {
                    path: path.to_owned(),
                    lock,
                })
            }
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse {
                folder: path.to_owned(),
                holder: holder(&lock),
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
        let made = |error| StoreError::database("making", &path, error);
        let bytes = draft::bytes(tables::initialize).map_err(made)?;
        self.write_whole(FILE, &bytes)
            .map(drop)
            .map_err(|source| StoreError::io("making", &path, source))
    }

    /// Puts a new database in the place of the file, filled by `fill`.
    pub(super) fn replace_file(
        &self,
        fill: impl FnOnce(&Database) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let draft = self.path.join(format!("{FILE}.new"));
        let made = |source| StoreError::io("making", &draft, source);
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(made(error)),
            _ => {}
        }
        let empty = private().create_new(true).open(&draft).map_err(made)?;
        let database = builder()
            .create_file(empty)
            .map_err(|error| StoreError::database("making", &draft, error.into()))?;
        fill(&database).map_err(|error| StoreError::database("making", &draft, error))?;
        drop(database);
        self.move_in(&draft, &self.file()).map_err(made)
    }

    /// Copies the file, as it is, to another name in the folder, and returns its path.
    pub(super) fn copy_file(&self, suffix: &str) -> Result<PathBuf, StoreError> {
        let copy = self.path.join(format!("{FILE}.{suffix}"));
        let draft = self.path.join(format!("{FILE}.{suffix}.new"));
        let copied = |source| StoreError::io("copying to", &copy, source);
        // A copy has the permissions of what it is a copy of.
        fs::copy(self.file(), &draft).map_err(copied)?;
        self.move_in(&draft, &copy).map_err(copied)?;
        Ok(copy)
    }

    /// Writes bytes to a file beside the database's, and returns its path.
    pub(super) fn put_aside(&self, suffix: &str, bytes: &[u8]) -> Result<PathBuf, StoreError> {
        let name = format!("{FILE}.{suffix}");
        self.write_whole(&name, bytes)
            .map_err(|source| StoreError::io("writing", &self.path.join(&name), source))
    }

    /// Writes a file of this name, so that a kill leaves all of it or nothing.
    fn write_whole(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        let draft = self.path.join(format!("{name}.new"));
        let mut empty = private();
        empty.create(true).truncate(true);
        empty
            .open(&draft)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| self.move_in(&draft, &path))?;
        Ok(path)
    }

    /// Moves a file to its name when all of it is on disk.
    fn move_in(&self, draft: &Path, to: &Path) -> io::Result<()> {
        File::open(draft)?.sync_all()?;
        fs::rename(draft, to)?;
        File::open(&self.path)?.sync_all()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // To close it would not do: a child has it, too, until it becomes a program of its own.
        let _ = self.lock.unlock();
    }
}

/// Says who has the folder, for whoever else wants it. A courtesy: without it they are told less.
fn sign(mut lock: &File) {
    let _ = lock.set_len(0);
    let _ = writeln!(lock, "{}", std::process::id());
}

fn holder(mut lock: &File) -> Option<u32> {
    let mut signed = String::new();
    lock.rewind().ok()?;
    lock.take(16).read_to_string(&mut signed).ok()?;
    signed.trim().parse().ok()
}

/// Opens the database file at `path`, which must have been made before.
pub(super) fn open(path: &Path) -> Result<Database, StoreError> {
    let opened = |source| StoreError::io("opening", path, source);
    let file = private().open(path).map_err(opened)?;
    let size = file.metadata().map_err(opened)?.len();
    if size == 0 {
        return Err(StoreError::corrupt(path, "it is empty"));
    }
    if size <= CHECKED_MAX_BYTES {
        let mut bytes = Vec::new();
        (&file).read_to_end(&mut bytes).map_err(opened)?;
        check(bytes).map_err(|error| {
            if matches!(error, redb::Error::Io(_)) {
                // In memory nothing else can be the matter.
                return StoreError::corrupt(path, "it names pages that it does not have");
            }
            StoreError::database("opening", path, error)
        })?;
    }
    builder()
        .create_file(file)
        .map_err(|error| StoreError::database("opening", path, error.into()))
}

/// Opens a copy of a file in memory as one that was not closed, so that every page is compared
/// with the checksum beside the pointer to it before it is followed.
///
/// A closed file is trusted by the database: a damaged pointer can then name a page of gigabytes,
/// and the memory is asked for before the file is. A copy, because the database tidies even what
/// it refuses. What is compared is the commit that the database will open: where its flags say that
/// it need not look at the other slot, that one is made unreadable in the copy. Flags and places
/// are those of the format's description, version 3 ("god byte", "commit slot").
fn check(mut bytes: Vec<u8>) -> Result<(), redb::Error> {
    // A kill may tear the last commit, and the one before is then what there is. A file that was
    // closed has no torn commit: it is damaged. Nor has a slot that is wrong in itself a
    // commit before the other's: the database would follow whatever it says.
    let mut may_fall_back = is_slot_sound(&bytes, false) && is_slot_sound(&bytes, true);
    if let Some((start, [flags, ..])) = bytes.split_first_chunk_mut()
        && start == MAGIC
    {
        let found = *flags;
        *flags = (found | RECOVERY_REQUIRED) & !TWO_PHASE_COMMIT;
        let second = found & IN_SECOND_SLOT != 0;
        let was_closed = found & RECOVERY_REQUIRED == 0;
        if was_closed && number_in(&bytes, !second) > number_in(&bytes, second) {
            return Err(damaged_commit());
        }
        if found & TWO_PHASE_COMMIT != 0 {
            spoil(&mut bytes, !second);
        }
        may_fall_back &= !was_closed && found & TWO_PHASE_COMMIT == 0;
    }
    let copy = InMemoryBackend::new();
    copy.set_len(bytes.len() as u64)?;
    copy.write(0, &bytes)?;
    drop(bytes);
    let mut builder = builder();
    builder.set_repair_callback(move |repair| {
        if !may_fall_back && FELL_BACK.contains(&repair.progress()) {
            repair.abort();
        }
    });
    match builder.create_with_backend(copy).map_err(redb::Error::from) {
        Ok(_) => Ok(()),
        Err(redb::Error::RepairAborted) => Err(damaged_commit()),
        Err(error) => Err(error),
    }
}

/// Whether a slot is as it was written: its last bytes are a checksum of the others.
fn is_slot_sound(bytes: &[u8], second: bool) -> bool {
    let slot = bytes.get(slot_at(second)..slot_at(second) + SLOT_BYTES);
    let parts = slot.and_then(|slot| slot.split_last_chunk());
    parts.is_some_and(|(text, checksum)| xxh3_128(text) == u128::from_le_bytes(*checksum))
}

/// Number of the commit in one of the slots; 0 where the file ends before it.
fn number_in(bytes: &[u8], second: bool) -> u64 {
    let slot = bytes.get(slot_at(second)..).unwrap_or_default();
    let number = slot.get(COMMIT).and_then(|number| number.try_into().ok());
    number.map_or(0, u64::from_le_bytes)
}

fn slot_at(second: bool) -> usize {
    SLOTS + usize::from(second) * SLOT_BYTES
}

/// Makes a slot's checksum, its last bytes, wrong.
fn spoil(bytes: &mut [u8], second: bool) {
    if let Some(last) = bytes.get_mut(slot_at(second) + SLOT_BYTES - 1) {
        *last = !*last;
    }
}

fn damaged_commit() -> redb::Error {
    redb::Error::Corrupted("its last commit is damaged".to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_free_once_dropped_whoever_still_has_its_file() {
        let path = tempfile::tempdir().unwrap();
        let folder = Folder::take(path.path()).unwrap();
        let held_by_a_child = folder.lock.try_clone().unwrap();

        drop(folder);

        assert!(Folder::take(path.path()).is_ok());
        drop(held_by_a_child);
    }
}
