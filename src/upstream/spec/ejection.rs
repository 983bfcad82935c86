//! The `ejection` part of a backend: endpoints that fail calls are left out for a while.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Percent, Problems, duration_text};

/// When an endpoint that fails calls is left out, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EjectionSpec {
    /// Connections in a row that could not be made, 0 to 1,000; 0 ejects for none. Default 3.
    pub connect_failures: u16,
    /// Calls in a row without the head of an answer (it timed out, or the connection broke), 0 to
    /// 1,000; 0 ejects for none. Default 0.
    pub unanswered: u16,
    /// Answers in a row with a status of 500 or above, 0 to 1,000; 0 ejects for none. Default 0.
    pub server_errors: u16,
    /// Ejects an endpoint that fails more often than the backend's others do. Default none.
    pub outliers: Option<OutliersSpec>,
    /// Largest part of the backend's endpoints that may be out at once, 0 to 100. With 50 the
    /// only endpoint of a backend is never ejected. Default 50.
    pub max_percent: Percent,
    /// How long the first ejection lasts, 100ms to 1h; each one that follows soon lasts twice as
    /// long as the one before, and up to a tenth more by chance. Default 5s.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub time: Duration,
    /// Longest ejection, `time` to 24h. Default 5m.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub max_time: Duration,
}

/// When an endpoint fails more often than the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OutliersSpec {
    /// Time over which calls are counted, 1s to 10m. Default 10s.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub interval: Duration,
    /// Least calls of the endpoint, and of the others together, in that time; 10 to 1,000,000.
    /// Default 50.
    pub min_calls: u32,
    /// By how many points of a hundred the endpoint's share of failed calls is above that of the
    /// others together, 1 to 100. Default 20.
    pub points: Percent,
}

impl EjectionSpec {
    /// What is beyond the bounds of this section.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        for (field, value) in [
            ("connect_failures", self.connect_failures),
            ("unanswered", self.unanswered),
            ("server_errors", self.server_errors),
        ] {
            problems.number(field, value, 0..=1000);
        }
        let (short, long) = (Duration::from_millis(100), Duration::from_hours(1));
        problems.duration("time", self.time, short..=long);
        let longest = Duration::from_hours(24);
        problems.duration("max_time", self.max_time, self.time.min(longest)..=longest);
        if let Some(outliers) = &self.outliers {
            problems.add_all("outliers", outliers.problems());
        }
        problems.into_vec()
    }
}

impl OutliersSpec {
    fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        let (short, long) = (Duration::from_secs(1), Duration::from_mins(10));
        problems.duration("interval", self.interval, short..=long);
        problems.number("min_calls", self.min_calls, 10..=1_000_000);
        problems.number("points", self.points.fraction() * 100.0, 1.0..=100.0);
        problems.into_vec()
    }
}

impl Default for EjectionSpec {
    fn default() -> Self {
        Self {
            connect_failures: 3,
            unanswered: 0,
            server_errors: 0,
            outliers: None,
            max_percent: Percent::whole(50),
            time: Duration::from_secs(5),
            max_time: Duration::from_mins(5),
        }
    }
}

impl Default for OutliersSpec {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            min_calls: 50,
            points: Percent::whole(20),
        }
    }
}
