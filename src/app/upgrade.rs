//! Starting one's own successor, as SIGUSR2 asks for.

use std::io;
use std::process::{Command, Stdio};

use super::error::AppError;
use super::running::spawn;

/// The word that makes a process take over.
const TAKE_OVER: &str = "--takeover";

/// Starts the program that this process's own path leads to by now, with the same words and
/// [`TAKE_OVER`]. It asks to take over by itself; whether it could, the log says.
///
/// # Errors
/// When it cannot be started.
pub(super) fn start_successor() -> Result<(), AppError> {
    let failed = |source: io::Error| AppError::Successor(source);
    let mut words = std::env::args_os();
    let program = words
        .next()
        .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let words: Vec<_> = words.collect();
    let mut command = Command::new(program);
    command.args(&words).stdin(Stdio::null());
    if !words.iter().any(|word| word == TAKE_OVER) {
        command.arg(TAKE_OVER);
    }
    let mut child = command.spawn().map_err(failed)?;
    tracing::info!(pid = child.id(), "a successor was started");
    // The thread ends with the successor, or with this process, which has nothing left to do then.
    spawn("successor".to_owned(), move || match child.wait() {
        Ok(status) => tracing::warn!(%status, "the successor has ended"),
        Err(error) => tracing::warn!(%error, "the successor was lost sight of"),
    })?;
    Ok(())
}
