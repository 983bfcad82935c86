//! The `windows` section of the file, and the timed weights of a route.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Cron, Zone};
use crate::model::{BackendName, Problems, Weight, duration_text};

/// Most windows of a file.
pub const MAX_WINDOWS: usize = 64;
/// Most timed splits of a route.
pub const MAX_TIMED: usize = 32;

/// A time that comes round, in which rollouts may begin their stages, or may not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowSpec {
    /// When it opens, as five fields like those of cron: minute, hour, day of the month, month,
    /// weekday; such as `0 9 * * mon-fri`.
    #[schemars(with = "String")]
    pub open: Cron,
    /// How long it stays open from then, 1m to 30d. Times that overlap are one.
    #[serde(rename = "for", with = "duration_text")]
    #[schemars(with = "String")]
    pub lasting: Duration,
    /// The IANA time zone whose clocks `open` is about, such as `Europe/Berlin`. Default `UTC`.
    #[serde(default)]
    #[schemars(with = "String")]
    pub timezone: Zone,
}

impl WindowSpec {
    /// What is beyond the bounds of this section: the path of a field and a sentence, each.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        let (short, long) = (Duration::from_mins(1), Duration::from_hours(30 * 24));
        problems.duration("for", self.lasting, short..=long);
        problems.into_vec()
    }
}

/// Weights that come into force at times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimedSplitSpec {
    /// When, as five fields like those of cron: minute, hour, day of the month, month, weekday; such
    /// as `0 20 * * *`.
    #[schemars(with = "String")]
    pub at: Cron,
    /// The IANA time zone whose clocks `at` is about, such as `Europe/Berlin`. Default `UTC`.
    #[serde(default)]
    #[schemars(with = "String")]
    pub timezone: Zone,
    /// Relative shares by backend of the route's split; at least one, not all 0. Backends that are
    /// left out keep theirs.
    pub split: BTreeMap<BackendName, Weight>,
}
