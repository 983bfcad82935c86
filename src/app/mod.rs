//! Wires the rooms together and runs them until told to stop.
//!
//! One thread a worker, one for control (the admin API, the judge, the file watch), one for
//! the disk. Whoever wants the process to end tells [`Running`]: readiness turns first, then
//! workers let what is under way end, and control goes last.

mod alarms;
mod before;
mod doors;
mod errands;
mod error;
mod handover;
mod limits;
mod process;
mod running;
mod service;
pub mod state;
mod upgrade;
mod vitals;
mod workers;

use std::path::Path;

use crate::config::{self, Config, Diagnostics};
use crate::control::Certificates;

pub use before::Before;
pub use error::AppError;
pub use handover::{HandoverError, Predecessor};
pub use process::{Start, serve};
pub use running::{Gateway, Running};

/// Reads a config file and the certificates that it names, as a start would.
///
/// # Errors
/// Everything that is wrong with the file, or else with what it names.
pub fn check(path: &Path) -> Result<Config, Diagnostics> {
    let config = config::load(path)?;
    Certificates::load(&config)?;
    Ok(config)
}
