//! Wires the rooms together and runs them until told to stop.
//!
//! One thread a worker, one for control (the admin API, the judge, the file watch), one for
//! the disk. Whoever wants the process to end tells [`Running`]: readiness turns first, then
//! workers let what is under way end, and control goes last.

mod before;
mod doors;
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

pub use before::Before;
pub use error::AppError;
pub use handover::{HandoverError, Predecessor};
pub use process::{Start, serve};
pub use running::{Gateway, Running};
