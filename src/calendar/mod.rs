//! Calendars: when something comes round, and when something is open.
//!
//! A [`Cron`] says at which minutes something comes round on the clocks of a [`Zone`]; a window of
//! the file is open for some time from each of them, and [`opening`] says whether a set of windows
//! lets somebody begin.
//!
//! Invariants: `now` is an argument; every search ends after a bounded number of steps; a moment
//! that the clocks skip comes as much later as they are put forward, one that they show twice comes
//! twice. The rules of time zones are those that the binary was built with, whatever the machine has.
//!
//! Deliberately not here: what waits for a calendar (`control`).

mod cron;
mod opening;
pub mod spec;
mod zone;

pub use cron::{Cron, CronError};
pub use opening::{Opening, opening};
pub use zone::{Zone, ZoneError};
