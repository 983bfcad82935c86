//! The `shadow` part of a route.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{BackendName, Percent, Problems, duration_text};

/// Which share of a route's side-effect-free calls is mirrored, and to which backend.
///
/// Mirrored are GET, HEAD and OPTIONS requests; on an MCP route the list and read methods and
/// calls of tools that stable annotates with `readOnlyHint: true`. Everything else counts as
/// having side effects and is never mirrored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShadowSpec {
    /// The backend that gets the copies; its answers are read and thrown away.
    pub backend: BackendName,
    /// Share of the eligible calls, in percent, above 0 and at most 100. Default 100.
    #[serde(default = "everything")]
    pub percent: Percent,
    /// Longest mirrored body, in bytes, 0 to 16,777,216; a call with a longer one is not
    /// mirrored. Default 262,144.
    #[serde(default = "default_body")]
    pub max_body_bytes: usize,
    /// Copies under way at once, over all workers, 1 to 10,000. Default 64.
    #[serde(default = "default_in_flight")]
    pub max_in_flight: usize,
    /// Bytes of copied bodies held at once, over all workers, from `max_body_bytes` to
    /// 1,073,741,824. Default 16,777,216.
    #[serde(default = "default_bytes")]
    pub max_bytes: usize,
    /// Longest time for a mirrored call, from its start to the end of its answer, 1ms to 10m.
    /// Default 10s.
    #[serde(default = "default_timeout", with = "duration_text")]
    #[schemars(with = "String")]
    pub timeout: Duration,
    /// Send the callers' own credentials (`Authorization` and `Cookie`) along. Default false.
    #[serde(default)]
    pub credentials: bool,
}

impl ShadowSpec {
    /// What is beyond the bounds of this section: the path of a field and a sentence, each.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        if self.percent == Percent::ZERO {
            let message = "`percent` is 0: leave `shadow` out to mirror nothing";
            problems.add("percent", message);
        }
        problems.number("max_body_bytes", self.max_body_bytes, 0..=16 * MIB);
        problems.number("max_in_flight", self.max_in_flight, 1..=10_000);
        let least = self.max_body_bytes.clamp(1, 16 * MIB);
        problems.number("max_bytes", self.max_bytes, least..=1024 * MIB);
        let longest = Duration::from_mins(10);
        problems.duration("timeout", self.timeout, Duration::from_millis(1)..=longest);
        problems.into_vec()
    }
}

const MIB: usize = 1024 * 1024;

fn everything() -> Percent {
    Percent::HUNDRED
}

fn default_body() -> usize {
    256 * 1024
}

fn default_in_flight() -> usize {
    64
}

fn default_bytes() -> usize {
    16 * 1024 * 1024
}

fn default_timeout() -> Duration {
    Duration::from_secs(10)
}
