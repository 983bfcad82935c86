//! The outcomes behind a verdict, for people who look for the calls.

use serde::{Deserialize, Serialize};

use crate::model::Role;

/// One call that went wrong shortly before a revert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DecidingOutcome {
    /// When it was recorded.
    pub at: String,
    /// Whose it was.
    pub role: Role,
    /// How it ended, such as `server_error`, or `slow`.
    pub what: String,
    /// The status of the answer; absent without one, and for slow calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How long it had taken by then, in seconds.
    pub latency_seconds: f64,
    /// A hash of the caller's session or key; absent where nothing tells callers apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The request's `x-request-id`, else its `traceparent`; absent where it came with neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl DecidingOutcome {
    /// Most that are kept of an arm.
    pub const MOST: usize = 8;
}
