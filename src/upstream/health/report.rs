//! What health checks have found out of one endpoint, to be shown.

use std::time::Duration;

/// How an endpoint is, by its checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HealthState {
    /// Nobody asks.
    #[default]
    Unchecked,
    /// No check has come to a conclusion.
    Unknown,
    /// Its checks pass.
    Healthy,
    /// It lives, but wants no new traffic.
    Unready,
    /// Its checks fail.
    Unhealthy,
}

impl HealthState {
    /// The state's name in API, events and log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Unready => "unready",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What health checks have found out of one endpoint. Times are counted from the beginning of the
/// process's conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthReport {
    /// How it is.
    pub state: HealthState,
    /// Since when.
    pub since: Duration,
    /// The latest check.
    pub last: Option<CheckReport>,
    /// Checks that passed, and that failed.
    pub checks: (u64, u64),
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// When it ended.
    pub at: Duration,
    /// How long it took.
    pub took: Duration,
    /// Why it failed, in words; `None` when it passed.
    pub failure: Option<String>,
}
