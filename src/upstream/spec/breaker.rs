//! The `breaker` part of a backend: what it is spared when it cannot keep up.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Percent, Problems, duration_text};

/// What a backend is spared when it cannot keep up: calls beyond a bound are answered 503 at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerSpec {
    /// Most calls under way at once, over all workers, streams included; 1 to 10,000,000.
    /// Default none.
    pub max_in_flight: Option<u32>,
    /// Most connections being made at once, over all workers, 1 to 1,000,000. Default 10000.
    pub max_connecting: u32,
    /// Opens the breaker when at least this share of the calls within `window` failed: no
    /// connection, no answer, half an answer, or a status of 500 or above. 1 to 100. Default none: never.
    pub failure_percent: Option<Percent>,
    /// Least calls within `window` for that, 1 to 1,000,000. Default 20.
    pub min_calls: u32,
    /// Time over which calls are counted, 1s to 1m in whole seconds. Default 10s.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub window: Duration,
    /// How long the breaker stays open at first, 10ms to 1m. Each time that its probes fail it
    /// stays open twice as long as before. Default 100ms.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub open_time: Duration,
    /// Longest time that it stays open, `open_time` to 10m. Default 200ms, so that a backend that
    /// is back gets its first call soon.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub max_open_time: Duration,
    /// Calls that are let through as probes after that time; when that many have succeeded, and
    /// none has failed, the breaker closes. 1 to 100. Default 2.
    pub probes: u16,
}

impl BreakerSpec {
    /// What is beyond the bounds of this section.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        if let Some(most) = self.max_in_flight {
            problems.number("max_in_flight", most, 1..=10_000_000);
        }
        problems.number("max_connecting", self.max_connecting, 1..=1_000_000);
        if let Some(share) = self.failure_percent {
            problems.number("failure_percent", f64::from(share), 1.0..=100.0);
        }
        problems.number("min_calls", self.min_calls, 1..=1_000_000);
        let (short, long) = (Duration::from_secs(1), Duration::from_mins(1));
        problems.duration("window", self.window, short..=long);
        if self.window.subsec_nanos() != 0 {
            problems.add("window", "`window` must be whole seconds");
        }
        let (short, long) = (Duration::from_millis(10), Duration::from_mins(1));
        problems.duration("open_time", self.open_time, short..=long);
        let longest = Duration::from_mins(10);
        let least = self.open_time.min(longest);
        problems.duration("max_open_time", self.max_open_time, least..=longest);
        problems.number("probes", self.probes, 1..=100);
        problems.into_vec()
    }
}

impl Default for BreakerSpec {
    fn default() -> Self {
        Self {
            max_in_flight: None,
            max_connecting: 10_000,
            failure_percent: None,
            min_calls: 20,
            window: Duration::from_secs(10),
            open_time: Duration::from_millis(100),
            max_open_time: Duration::from_millis(200),
            probes: 2,
        }
    }
}
