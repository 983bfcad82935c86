//! What can go wrong with the state folder.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::schema::SCHEMA;
use super::tables::Unreadable;

/// Why something could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk, or the quota of this user on it, is full.
    #[error("writing {}: the disk is full", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process has the folder.
    #[error(
        "the state folder {} is in use by {}; stop that one first, or start with --takeover",
        folder.display(), holder.map_or("another process".to_owned(), |pid| format!("process {pid}"))
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The process, where it is known.
        holder: Option<u32>,
    },
    /// The file is not what this room wrote.
    #[error(
        "{} is damaged ({why}); start once with `switchback serve --recover`, which keeps what is sound of it, \
         or bring back a copy, or move it away to start afresh with the weights of the config file",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A newer version of Switchback wrote the file.
    #[error(
        "{} has schema {found}, this version knows up to {known}; run the version that wrote it, \
         or let that one bring the file back with `switchback state migrate --to {known}`",
        path.display()
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The schema it has.
        found: u64,
        /// The newest schema this version knows.
        known: u64,
    },
    /// The system refused something else.
    #[error("{tried} {}", path.display())]
    Io {
        /// What was tried, such as `opening`.
        tried: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The disk has not answered for a long time; the write may still get there.
    #[error("no answer from the disk for {} s while writing {}", waited.as_secs(), path.display())]
    Slow {
        /// The file.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// Too much waits for the disk already.
    #[error("too many reads and writes wait for {}", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The folder has been handed over to another process, or is about to be.
    #[error("another process is taking {} over", path.display())]
    HandedOver {
        /// The file.
        path: PathBuf,
    },
    /// There is no way to a schema.
    #[error("there is no schema {asked}: this version knows {oldest} to {newest}")]
    NoSchema {
        /// The schema that was asked for.
        asked: u64,
        /// The oldest that is known.
        oldest: u64,
        /// The newest that is known.
        newest: u64,
    },
    /// The store has been closed.
    #[error("the store of {} has stopped", path.display())]
    Stopped {
        /// The file.
        path: PathBuf,
    },
}

impl StoreError {
    /// Whether more room on the disk would help.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// The error for a file that this room did not write like that.
    pub(super) fn corrupt(path: &Path, why: impl Into<String>) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            why: why.into(),
        }
    }

    /// The error for contents of `path` that could not be read.
    pub(super) fn unreadable(path: &Path, unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::Database(error) => Self::database("reading", path, error),
            Unreadable::Odd(why) => Self::corrupt(path, why),
            Unreadable::Newer { found } => Self::NewerSchema {
                path: path.to_owned(),
                found,
                known: SCHEMA,
            },
        }
    }

    /// The error for what the system said while this was `tried` on `path`.
    pub(super) fn io(tried: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "kinds of system errors are open-ended"
        )]
        match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full { path, source },
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Corrupt {
                path,
                why: source.to_string(),
            },
            _ => Self::Io {
                tried,
                path,
                source,
            },
        }
    }

    /// The error for what the database said while this was `tried` on `path`.
    pub(super) fn database(tried: &'static str, path: &Path, error: redb::Error) -> Self {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the database's errors are open-ended"
        )]
        match error {
            redb::Error::Io(source) => Self::io(tried, path, source),
            redb::Error::DatabaseAlreadyOpen => Self::InUse {
                folder: path.parent().unwrap_or(path).to_owned(),
                holder: None,
            },
            redb::Error::Corrupted(why) => Self::Corrupt {
                path: path.to_owned(),
                why,
            },
            error @ (redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableDoesNotExist(_)
            | redb::Error::UpgradeRequired(_)) => Self::Corrupt {
                path: path.to_owned(),
                why: error.to_string(),
            },
            error => Self::Io {
                tried,
                path: path.to_owned(),
                source: io::Error::other(error),
            },
        }
    }
}
