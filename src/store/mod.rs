//! What survives a restart: desired state, history, sessions, callers, ties and the seal key, in
//! one embedded database.
//!
//! The state folder (mode 0700) holds `state.redb` (mode 0600), a redb database, and `lock`,
//! which names the process that has the folder.
//!
//! - Acknowledged means on disk: [`Store::save`] answers after the commit has been synced, and
//!   a kill at any moment leaves the last acknowledged state or the one in flight.
//! - One process at a time has the folder; a second one is told so.
//! - Disk work happens on a thread of its own behind a bounded queue, so a hanging disk holds
//!   up nobody who does not wait for it. After a failed write the database is opened anew
//!   before the next one, so that writes work again as soon as there is room.
//! - A damaged file, and one of a newer version that older ones may not use, are refused and left
//!   as they are. [`recover`] keeps what is sound of a damaged one: every value carries its own
//!   checksum, so it is found even where the pages around it make no sense.
//! - A file of an older version is copied, then brought to this version's schema; [`migrate`]
//!   brings it back.
//! - A folder can be handed over to another process and taken back ([`Store::release`]).
//! - The history keeps the latest [`HISTORY_MAX`] events; the oldest go with the same commit.
//!
//! Deliberately not here: what state and events mean. They are bytes to this room.

mod care;
mod disk;
mod draft;
mod error;
#[cfg(test)]
pub(crate) mod faulty;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod journal;
mod salvage;
mod schema;
mod sessions;
pub mod spec;
mod tables;
#[cfg(test)]
mod tests;
mod thread;

pub use care::{Inspection, Migration, Recovery, inspect, migrate, recover};
pub use error::StoreError;
pub use journal::{Batches, Journal, JournalEntry};
pub use sessions::{SessionRow, SessionRows};
pub use tables::{Batch, Contents, HISTORY_MAX, Keep, Query, Row};
pub use thread::{Store, StoreReader};
