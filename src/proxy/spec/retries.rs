//! The `retries` section of a route.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Problems, duration_text};

/// When a request that failed is sent again: only what had no effect, or can have none. What
/// was not sent at all may be anything; what was sent is a GET, HEAD or OPTIONS without a
/// passing body or an MCP call that only reads, never a `tools/call`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetriesSpec {
    /// Most tries after the first, 0 to 5. Default 2.
    pub attempts: u8,
    /// Statuses of an answer that are tried again, 500 to 599; at most 16. Default: none, an
    /// answer is passed on.
    pub statuses: Vec<u16>,
    /// Retries of a worker as a share of the route's calls, in percent, 0 to 100. Default 20.
    pub budget_percent: u8,
    /// Retries of a worker that are always allowed, a second, 0 to 1,000. Default 10.
    pub budget_floor: u16,
    /// Wait before the second retry elsewhere, and before any at the same endpoint, which only an
    /// answer with one of `statuses` gets; doubled each time, and shortened by up to a half at
    /// random; 1ms to 10s. Default 25ms.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub backoff: Duration,
    /// No retry begins later than this after the request's first try, 1ms to 5m; one that begins
    /// when it is nearly over has 250 ms to connect. Default 3s.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub within: Duration,
}

/// Most statuses that are tried again.
const MAX_STATUSES: usize = 16;

impl RetriesSpec {
    /// What is beyond the bounds of this section: the path of a field and a sentence, each.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        problems.number("attempts", usize::from(self.attempts), 0..=5);
        if self.statuses.len() > MAX_STATUSES {
            problems.add("statuses", format!("at most {MAX_STATUSES} statuses"));
        }
        for (index, status) in self.statuses.iter().enumerate() {
            if !(500..=599).contains(status) {
                let message = format!("{status} is not a server's error, 500 to 599");
                problems.add(format!("statuses[{index}]"), message);
            }
        }
        problems.number("budget_percent", usize::from(self.budget_percent), 0..=100);
        problems.number("budget_floor", usize::from(self.budget_floor), 0..=1000);
        let short = Duration::from_millis(1);
        problems.duration("backoff", self.backoff, short..=Duration::from_secs(10));
        problems.duration("within", self.within, short..=Duration::from_mins(5));
        problems.into_vec()
    }
}

impl Default for RetriesSpec {
    fn default() -> Self {
        Self {
            attempts: 2,
            statuses: Vec::new(),
            budget_percent: 20,
            budget_floor: 10,
            backoff: Duration::from_millis(25),
            within: Duration::from_secs(3),
        }
    }
}
