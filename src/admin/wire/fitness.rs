//! How fit a backend and its endpoints are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How fit a backend is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FitnessBody {
    /// How its breaker stands: `closed`, `open` or `half_open`.
    #[schema(example = "closed")]
    pub breaker: String,
    /// How often the breaker opened because too many calls failed.
    pub breaker_opened: u64,
    /// Calls and connections that the backend was spared, by why: `open`, `in_flight`, `connecting`.
    pub shed: BTreeMap<String, u64>,
    /// Connections that are being made.
    pub connecting: u32,
    /// Each endpoint, in the order of the file.
    pub endpoints: Vec<EndpointBody>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EndpointBody {
    /// Its address.
    #[schema(example = "http://127.0.0.1:3002")]
    pub endpoint: String,
    /// Whether calls go there: its checks do not fail, and it is not ejected.
    pub usable: bool,
    /// How it is by its checks: `unchecked`, `unknown`, `healthy`, `unready` or `unhealthy`.
    #[schema(example = "healthy")]
    pub health: String,
    /// Since when it is so; absent without checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The latest check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_check: Option<HealthCheckBody>,
    /// Checks that passed.
    pub checks_passed: u64,
    /// Checks that failed.
    pub checks_failed: u64,
    /// Until when it is ejected; absent when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ejected_until: Option<String>,
    /// How often it was ejected.
    pub ejections: u64,
    /// Calls with an answer whose status is below 500.
    pub answered: u64,
    /// Calls that failed, by how: `unreachable`, `unanswered`, `server_error`.
    pub failed: BTreeMap<String, u64>,
    /// Calls that went there although it was unfit, because nothing else was fit.
    pub forced: u64,
    /// Calls under way.
    pub in_flight: u64,
    /// Connections opened.
    pub connects: u64,
    /// Lookups of its name that failed.
    pub lookup_failures: u64,
}

/// One health check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HealthCheckBody {
    /// When it ended.
    pub at: String,
    /// How long it took, in ms.
    pub took_ms: f64,
    /// Why it failed; absent when it passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}
