//! Wall-clock times for people to read; nothing is decided by them but cooldowns, rests after reverts,
//! and what calendars say.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment on the wall clock, to the millisecond; as text, RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    unix_ms: u64,
}

impl Timestamp {
    /// Latest moment that has a text: the end of the year 9999.
    const LATEST_MS: u64 = 253_402_300_799_999;

    /// The present moment.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// This moment, or that many later.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Self {
            unix_ms: self.unix_ms.saturating_add(ms).min(Self::LATEST_MS),
        }
    }

    /// That many earlier; never before the wall clock's own beginning.
    #[must_use]
    pub fn before(self, wait: Duration) -> Self {
        let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Self {
            unix_ms: self.unix_ms.saturating_sub(ms),
        }
    }

    /// Whole seconds since 1970.
    pub fn unix_seconds(self) -> u64 {
        self.unix_ms / 1000
    }

    /// How long after `earlier` this is; zero when it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.unix_ms.saturating_sub(earlier.unix_ms))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        Self {
            unix_ms: unix_ms.min(Self::LATEST_MS),
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_millis(timestamp.unix_ms)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis(SystemTime::from(*self)).fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let time = humantime::parse_rfc3339(&text).map_err(serde::de::Error::custom)?;
        Ok(Self::from(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_its_text() {
        let moment = Timestamp {
            unix_ms: 1_790_000_000_123,
        };

        let text = serde_json::to_string(&moment).unwrap();

        assert_eq!(text, "\"2026-09-21T14:13:20.123Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>(&text).unwrap(), moment);
    }

    #[test]
    fn moments_that_no_calendar_has_are_cut() {
        let late = Timestamp::now().after(Duration::MAX);

        assert_eq!(late.to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Timestamp::now().since(late), Duration::ZERO);
    }
}
