//! What a reload of the file did.

use crate::model::Generation;

use super::timestamp::Timestamp;

/// What a reload of the file did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadReport {
    /// The state in force after it.
    pub generation: Generation,
    /// When it was.
    pub at: Timestamp,
    /// Whether the file says anything new.
    pub changed: bool,
    /// What an operator should know: weights that were kept or taken, rollouts that lost a
    /// backend, parts that need a restart.
    pub notes: Vec<String>,
}
