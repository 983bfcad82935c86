//! What a file that names another version means.

use serde::{Deserialize, Serialize};

/// What follows when the file gives a route's traffic to another backend.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum PromoteSpec {
    /// The new weights, at once.
    #[default]
    Manual,
    /// A rollout by the route's plan, from the backend that has the traffic to the one that the
    /// file names.
    Auto,
}
