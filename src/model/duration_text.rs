//! Durations as people write them in files: `"30s"`, `"5m"`, `"1h 30m"`.
//!
//! For use with `#[serde(with = "crate::model::duration_text")]`; the schema of such a field is a string.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

/// Longest accepted duration; far from overflow when added to any clock.
const MAX: Duration = Duration::from_hours(366 * 24);

/// Writes a duration as text.
pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_duration(*duration))
}

/// Reads a duration from text with a unit, at most a year.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    parse(&text).map_err(serde::de::Error::custom)
}

/// Reads a duration from text with a unit, at most a year; the error is a sentence.
pub fn parse(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|_| {
        format!("`{text}` is not a duration: a number with a unit, such as 30s, 5m or 250ms")
    })?;
    if duration > MAX {
        return Err(format!("`{text}` is longer than a year"));
    }
    Ok(duration)
}

/// The same for a field that may be absent.
pub mod option {
    use super::{Deserialize, Deserializer, Duration, Serializer};

    /// Writes a duration as text, or nothing.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::serialize(duration, to),
            None => to.serialize_none(),
        }
    }

    /// Reads a duration from text with a unit, or nothing.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else {
            return Ok(None);
        };
        super::parse(&text)
            .map(Some)
            .map_err(serde::de::Error::custom)
    }
}
