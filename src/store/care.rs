//! Looking after the file while no gateway has it: its schema, its soundness, its rescue.

use std::fs;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use redb::Database;

use super::disk::{self, Folder};
use super::error::StoreError;
use super::salvage::{Salvage, Sound};
use super::schema::{self, FRAMED, OLDEST, SCHEMA};
use super::tables;

/// Largest damaged file that is searched, in bytes; what is beyond is given up.
const SEARCH_MAX_BYTES: u64 = 1 << 30;

/// What a file is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The file.
    pub file: PathBuf,
    /// Its size.
    pub size_bytes: u64,
    /// The version of its tables.
    pub schema: u64,
    /// Whether a state has been saved in it.
    pub has_state: bool,
    /// Sound rows of the history.
    pub rows: u64,
    /// Rows that are damaged; they are left out wherever the history is read.
    pub rows_unsound: u64,
}

/// A file that was brought to another schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// The schema it had.
    pub from: u64,
    /// The schema it has now.
    pub to: u64,
    /// A copy of the file as it was; `None` when nothing had to be done.
    pub backup: Option<PathBuf>,
}

/// A damaged file that was replaced by what is sound of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The damaged file, kept aside.
    pub damaged: PathBuf,
    /// What was wrong with it.
    pub why: String,
    /// Whether a state was found in it.
    pub has_state: bool,
    /// Whether the key was found that session ids are sealed with; without it every open
    /// session has to begin anew.
    pub has_seal_key: bool,
    /// Rows of the history that were kept.
    pub rows: u64,
    /// Rows that are known to be missing between those.
    pub rows_lost: u64,
}

/// Looks at the file of a folder that no gateway has. Makes nothing.
///
/// # Errors
/// [`StoreError`]; [`StoreError::Corrupt`] for a damaged file.
pub fn inspect(folder: &Path) -> Result<Inspection, StoreError> {
    let folder = existing(folder)?;
    let file = folder.file();
    let size = fs::metadata(&file).map_err(|source| StoreError::io("opening", &file, source))?;
    guarded(&file, || {
        let database = disk::open(&file)?;
        let schema = read(&file, schema::of(&database))?;
        if schema < FRAMED {
            // An older schema has no checksums to look at.
            return Ok(Inspection {
                file: file.clone(),
                size_bytes: size.len(),
                schema,
                has_state: true,
                rows: 0,
                rows_unsound: 0,
            });
        }
        let contents = read(&file, tables::contents(&database))?;
        let (rows, rows_unsound) = tables::count_rows(&database)
            .map_err(|error| StoreError::database("reading", &file, error))?;
        Ok(Inspection {
            file: file.clone(),
            size_bytes: size.len(),
            schema,
            has_state: contents.state.is_some(),
            rows,
            rows_unsound,
        })
    })
}

/// Brings the file of a folder that no gateway has to a schema, forth or back.
///
/// # Errors
/// [`StoreError`]; the file is then as it was, or at a schema in between.
pub fn migrate(folder: &Path, to: u64) -> Result<Migration, StoreError> {
    if !(OLDEST..=SCHEMA).contains(&to) {
        return Err(StoreError::NoSchema {
            asked: to,
            oldest: OLDEST,
            newest: SCHEMA,
        });
    }
    bring(&existing(folder)?, to)
}

/// Opens the file, and brings it to the schema of this version when it has an older one.
pub(super) fn bring_forth(folder: &Folder) -> Result<Database, StoreError> {
    let file = folder.file();
    let (database, from) = guarded(&file, || {
        let database = disk::open(&file)?;
        let from = read(&file, schema::of(&database))?;
        Ok((database, from))
    })?;
    if from >= SCHEMA {
        return Ok(database);
    }
    drop(database);
    let migration = bring(folder, SCHEMA)?;
    tracing::warn!(
        from,
        to = SCHEMA,
        backup = %migration.backup.unwrap_or_default().display(),
        "the state file was brought to this version's schema"
    );
    guarded(&file, || disk::open(&file))
}

fn bring(folder: &Folder, to: u64) -> Result<Migration, StoreError> {
    let file = folder.file();
    let from = guarded(&file, || read(&file, schema::of(&disk::open(&file)?)))?;
    if from == to {
        return Ok(Migration {
            from,
            to,
            backup: None,
        });
    }
    let backup = folder.copy_file(&format!("schema-{from}"))?;
    guarded(&file, || {
        read(&file, schema::bring(&disk::open(&file)?, to))
    })?;
    Ok(Migration {
        from,
        to,
        backup: Some(backup),
    })
}

/// Replaces a damaged file by what is sound of it, and keeps the damaged one aside. A file that
/// is sound is left alone: `None`.
///
/// # Errors
/// [`StoreError`], when the folder or the disk is the trouble; the file is then as it was.
pub fn recover(folder: &Path) -> Result<Option<Recovery>, StoreError> {
    let folder = Folder::take(folder)?;
    folder.make_file()?;
    // Before anything else: the database mends and tidies what it opens, and what it takes for
    // rubbish then may be the only sound copy.
    let bytes = bytes_of(&folder.file())?;
    let why = match look_through(&folder) {
        Ok(()) => return Ok(None),
        Err(StoreError::Corrupt { why, .. }) => why,
        Err(other) => return Err(other),
    };
    let sound = Sound::find(&bytes);
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let damaged = folder.put_aside(&format!("damaged-{}", now.replace(':', "-")), &bytes)?;
    folder.replace_file(|database| {
        tables::initialize(database)?;
        sound.write(database)
    })?;
    let Salvage {
        has_state,
        has_seal_key,
        rows,
        rows_lost,
    } = sound.salvage();
    Ok(Some(Recovery {
        damaged,
        why,
        has_state,
        has_seal_key,
        rows,
        rows_lost,
    }))
}

/// Reads everything there is.
fn look_through(folder: &Folder) -> Result<(), StoreError> {
    let database = bring_forth(folder)?;
    let file = folder.file();
    guarded(&file, || {
        // Closing a damaged file may panic like reading it.
        let database = database;
        read(&file, tables::contents(&database))?;
        let (_, unsound) = tables::count_rows(&database)
            .map_err(|error| StoreError::database("reading", &file, error))?;
        if unsound > 0 {
            let why = format!("{unsound} rows of its history do not match their checksums");
            return Err(StoreError::corrupt(&file, why));
        }
        Ok(())
    })
}

fn existing(folder: &Path) -> Result<Folder, StoreError> {
    // Taking a folder makes it, which is not what somebody wants who mistyped its name.
    fs::metadata(folder).map_err(|source| StoreError::io("opening", folder, source))?;
    Folder::take(folder)
}

fn bytes_of(file: &Path) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    fs::File::open(file)
        .and_then(|file| file.take(SEARCH_MAX_BYTES).read_to_end(&mut bytes))
        .map_err(|source| StoreError::io("reading", file, source))?;
    Ok(bytes)
}

fn read<T>(file: &Path, read: Result<T, tables::Unreadable>) -> Result<T, StoreError> {
    read.map_err(|unreadable| StoreError::unreadable(file, unreadable))
}

/// Does something with a file that may be damaged: the database checks what it reads, but not
/// everything; what is left panics, and is told like the rest.
pub(super) fn guarded<T>(
    file: &Path,
    job: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(job))
        .unwrap_or_else(|_| Err(StoreError::corrupt(file, "its pages make no sense")))
}
