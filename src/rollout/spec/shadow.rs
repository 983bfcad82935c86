//! The `shadow` part of a plan: copies of calls that the candidate answers before it gets any traffic.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Percent, Problems, duration_text};

/// Copies of calls that the candidate has to answer like stable before it gets any traffic.
///
/// For this stage the route mirrors to the candidate what a route's `shadow` may mirror: calls that
/// change nothing. A copy differs when its status or its outcome is another one than the call's, or
/// when it has no answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShadowingSpec {
    /// Share of the calls without side effects that is copied, in percent, above 0 and at most 100.
    /// Default 100.
    pub percent: Percent,
    /// Shortest time in the stage; paused time does not count. Default 10m.
    #[serde(rename = "for", with = "duration_text")]
    #[schemars(with = "String")]
    pub duration: Duration,
    /// Copies that have to be compared before anything is concluded, 1 to 1,000,000. With fewer when
    /// the time is over `inconclusive` decides. Default 100.
    pub min_compared: u64,
    /// The percent of the compared copies that may differ, 0 to 100; more reverts. Default 1.
    pub max_difference: Percent,
    /// The copies' 95th percentile of latency may be this many times that of the calls that they are
    /// copies of, 1 to 1,000; more reverts, unless it is less than 20 ms more. Default 3.
    pub max_slowdown: f64,
    /// Send the callers' own credentials (`Authorization` and `Cookie`) along. Default false.
    pub credentials: bool,
}

impl Default for ShadowingSpec {
    fn default() -> Self {
        Self {
            percent: Percent::HUNDRED,
            duration: Duration::from_mins(10),
            min_compared: 100,
            max_difference: Percent::whole(1),
            max_slowdown: 3.0,
            credentials: false,
        }
    }
}

impl ShadowingSpec {
    /// What is wrong with the values: the path of each field inside `shadow`, and why.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        if self.percent == Percent::ZERO {
            let message = "`percent` is 0: leave `shadow` out to copy nothing";
            problems.add("percent", message);
        }
        problems.number("min_compared", self.min_compared, 1..=1_000_000);
        problems.number("max_slowdown", self.max_slowdown, 1.0..=1000.0);
        problems.into_vec()
    }
}
