//! Time zones by their names.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Least likeness (Jaro-Winkler, 0 to 1) of a name that is worth suggesting.
const LIKE: f64 = 0.8;

/// A time zone of the IANA database, such as `Europe/Berlin`. Default `UTC`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    name: String,
    rules: TimeZone,
}

/// There is no such zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no time zone `{name}`; {hint}")]
pub struct ZoneError {
    /// The refused text, cut to its first 63 characters.
    pub name: String,
    /// What may have been meant.
    pub hint: String,
}

impl Zone {
    /// What the zone's clocks show.
    pub(super) fn civil(&self, at: Timestamp) -> DateTime {
        self.rules.to_datetime(at)
    }

    /// Whether nobody turns the zone's clocks as near to a moment as this.
    pub(super) fn is_steady(&self, at: Timestamp, near: SignedDuration) -> bool {
        let ends = [at.checked_sub(near), at.checked_add(near)];
        let [Ok(before), Ok(after)] = ends else {
            return false;
        };
        self.rules.to_offset(before) == self.rules.to_offset(after)
    }

    /// When the zone's clocks show something: once, or twice when they are put back. What they
    /// skip counts as much later as they are put forward.
    pub(super) fn moments(&self, civil: DateTime) -> impl Iterator<Item = Timestamp> {
        let (first, second) = match self.rules.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => (offset, None),
            AmbiguousOffset::Gap { before, .. } => (before, None),
            AmbiguousOffset::Fold { before, after } => (before, Some(after)),
        };
        let offsets = [Some(first), second].into_iter().flatten();
        offsets.filter_map(move |offset| offset.to_timestamp(civil).ok())
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self {
            name: "UTC".to_owned(),
            rules: TimeZone::UTC,
        }
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, ZoneError> {
        let rules = TimeZone::get(text).map_err(|_| unknown(text))?;
        let name = rules.iana_name().unwrap_or(text).to_owned();
        Ok(Self { name, rules })
    }
}

fn unknown(text: &str) -> ZoneError {
    let likeness = |name: &str| strsim::jaro_winkler(&text.to_lowercase(), &name.to_lowercase());
    let known = jiff::tz::db().available();
    let nearest = known
        .map(|name| (likeness(name.as_str()), name))
        .filter(|(like, _)| *like >= LIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    ZoneError {
        name: text.chars().take(63).collect(),
        hint: match nearest {
            Some((_, name)) => format!("did you mean `{name}`?"),
            None => "write it as the IANA database does, such as `Europe/Berlin`".to_owned(),
        },
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.name)
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A moment as this room counts; the farthest one where there is none.
pub(super) fn timestamp(at: SystemTime) -> Timestamp {
    Timestamp::try_from(at).unwrap_or(Timestamp::MAX)
}
