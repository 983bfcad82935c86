//! The state of a gateway that is not running.

use crate::config::Config;
use crate::store;

pub use crate::store::{Inspection, Migration, StoreError};

/// Looks at the state file.
///
/// # Errors
/// [`StoreError`] when there is none, a gateway has it, or it is damaged.
pub fn inspect(config: &Config) -> Result<Inspection, StoreError> {
    store::inspect(&config.state_folder())
}

/// Brings the state file to a schema, forth or back.
///
/// # Errors
/// [`StoreError`] when there is none, a gateway has it, it is damaged, or there is no such schema.
pub fn migrate(config: &Config, to: u64) -> Result<Migration, StoreError> {
    store::migrate(&config.state_folder(), to)
}

/// Replaces a damaged state file by what is sound of it, and says so in the log.
pub(super) fn recover(config: &Config) -> Result<(), StoreError> {
    let Some(found) = store::recover(&config.state_folder())? else {
        tracing::info!("the state file is sound, so nothing was recovered");
        return Ok(());
    };
    tracing::warn!(
        damaged = %found.damaged.display(),
        why = found.why,
        state_kept = found.has_state,
        sessions_kept = found.has_seal_key,
        rows_kept = found.rows,
        rows_lost = found.rows_lost,
        "the state file was damaged: what is sound of it was kept, the damaged one was put aside"
    );
    Ok(())
}
