//! The `rolling` part of a plan: the candidate's endpoints take over from stable's in batches.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::{Problems, duration_text, number_or_text};

/// How the candidate's endpoints take over from stable's, batch by batch.
///
/// In each stage so many more endpoints of the candidate take new traffic, the first ones in the order
/// of the file, and its percent is their part of all of its endpoints. As large a part of stable's
/// takes no new traffic any more; they are left as they are, so that the way back is at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RollingSpec {
    /// Endpoints of the candidate that begin together: a number, 1 to 1,000, or a percent of all of
    /// them such as `25%`, rounded up. At most 100 batches may come of it. Default 1.
    pub batch: BatchSpec,
    /// Shortest time that each batch is judged for. Default 1m.
    #[serde(rename = "for", with = "duration_text")]
    #[schemars(with = "String")]
    pub duration: Duration,
    /// Time between two health checks of an endpoint, 100ms to 1h. They ask what the backend's `health`
    /// says, and where it has none, whether there is a connection. Default 5s.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub health_interval: Duration,
    /// Checks in a row that an endpoint has to pass before it takes traffic, 1 to 100. Default 3.
    pub healthy_threshold: u16,
    /// Checks in a row that an endpoint with traffic may not fail, 1 to 100. Default 3.
    pub unhealthy_threshold: u16,
    /// Longest time until an endpoint has passed these checks, from the moment that it is waited for,
    /// 1s to 24h; paused time does not count. Default 10m.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub healthy_within: Duration,
    /// Endpoints of the candidate that may not become healthy, or not stay so, 0 to 1,000. They take no
    /// traffic; one more reverts. Default 0.
    pub max_failures: u32,
}

/// How many endpoints begin together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchSpec {
    /// So many.
    Count(u32),
    /// This percent of all, rounded up.
    Percent(u32),
}

/// Most batches of a rollout.
pub(in crate::rollout) const MAX_BATCHES: usize = 100;

impl BatchSpec {
    /// How many of so many endpoints begin together.
    fn of(self, endpoints: usize) -> usize {
        let size = match self {
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Self::Percent(percent) => {
                let percent = usize::try_from(percent).unwrap_or(100);
                endpoints.saturating_mul(percent).div_ceil(100)
            }
        };
        size.max(1)
    }
}

impl FromStr for BatchSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no number from 1 to 1000, and no percent such as 25%");
        let batch = match text.trim().strip_suffix('%') {
            Some(percent) => Self::Percent(percent.trim().parse().map_err(|_| wrong())?),
            None => Self::Count(text.trim().parse().map_err(|_| wrong())?),
        };
        match batch {
            Self::Count(1..=1000) | Self::Percent(1..=100) => Ok(batch),
            Self::Count(_) | Self::Percent(_) => Err(wrong()),
        }
    }
}

impl Serialize for BatchSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for BatchSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number_or_text::read(deserializer)
    }
}

impl fmt::Display for BatchSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl schemars::JsonSchema for BatchSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "BatchSpec".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["integer", "string"], "minimum": 1, "maximum": 1000 })
    }
}

impl Default for RollingSpec {
    fn default() -> Self {
        Self {
            batch: BatchSpec::Count(1),
            duration: Duration::from_mins(1),
            health_interval: Duration::from_secs(5),
            healthy_threshold: 3,
            unhealthy_threshold: 3,
            healthy_within: Duration::from_mins(10),
            max_failures: 0,
        }
    }
}

impl RollingSpec {
    /// How many of so many endpoints take traffic in each stage; growing, the last one all of them.
    pub(in crate::rollout) fn batches(&self, endpoints: usize) -> Vec<usize> {
        let endpoints = endpoints.max(1);
        let size = self.batch.of(endpoints);
        let before_last = (1..).map(|batch| size.saturating_mul(batch));
        let before_last = before_last.take_while(|taken| *taken < endpoints);
        before_last.chain([endpoints]).collect()
    }

    /// What is wrong with the values: the path of each field inside `rolling`, and why.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        let (short, long) = (Duration::from_millis(100), Duration::from_hours(1));
        problems.duration("health_interval", self.health_interval, short..=long);
        problems.number("healthy_threshold", self.healthy_threshold, 1..=100);
        problems.number("unhealthy_threshold", self.unhealthy_threshold, 1..=100);
        let (short, long) = (Duration::from_secs(1), Duration::from_hours(24));
        problems.duration("healthy_within", self.healthy_within, short..=long);
        problems.number("max_failures", self.max_failures, 0..=1000);
        problems.into_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(batch: &str, endpoints: usize) -> Vec<usize> {
        let batch = batch.parse().unwrap();
        let spec = RollingSpec {
            batch,
            ..RollingSpec::default()
        };
        spec.batches(endpoints)
    }

    #[test]
    fn batches_grow_to_all_endpoints() {
        assert_eq!(batches("1", 3), [1, 2, 3]);
        assert_eq!(batches("2", 5), [2, 4, 5]);
        assert_eq!(batches("7", 5), [5]);
        assert_eq!(batches("25%", 4), [1, 2, 3, 4]);
        assert_eq!(batches("25%", 10), [3, 6, 9, 10], "rounded up");
        assert_eq!(batches("1%", 3), [1, 2, 3]);
        assert_eq!(batches("100%", 3), [3]);
        assert_eq!(batches("1", 0), [1]);
    }

    #[test]
    fn a_batch_is_a_number_or_a_percent() {
        let read = |json: &str| serde_json::from_str::<BatchSpec>(json);
        assert_eq!(read("2").unwrap(), BatchSpec::Count(2));
        assert_eq!(read("\"2\"").unwrap(), BatchSpec::Count(2));
        assert_eq!(read("\"25%\"").unwrap(), BatchSpec::Percent(25));
        for wrong in [
            "0",
            "1001",
            "\"0%\"",
            "\"101%\"",
            "\"%\"",
            "\"\"",
            "-1",
            "1.5",
            "\"a lot\"",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let text = serde_json::to_string(&[BatchSpec::Count(2), BatchSpec::Percent(25)]).unwrap();
        assert_eq!(text, r#"[2,"25%"]"#);
    }

    #[test]
    fn what_is_out_of_bounds_is_told() {
        assert_eq!(RollingSpec::default().problems(), []);
        let text = r#"{"health_interval": "1ms", "healthy_threshold": 0, "unhealthy_threshold": 0,
            "healthy_within": "0s", "max_failures": 9999}"#;
        let spec: RollingSpec = serde_json::from_str(text).unwrap();

        let problems = spec.problems();

        let fields: Vec<_> = problems.iter().map(|(field, _)| field.as_str()).collect();
        let wanted = [
            "health_interval",
            "healthy_threshold",
            "unhealthy_threshold",
            "healthy_within",
            "max_failures",
        ];
        assert_eq!(fields, wanted);
    }
}
