//! Until when a token is good: a moment on the wall clock.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The moment from which a token is good no more; as text, RFC 3339 with any offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expiry(SystemTime);

/// Why a text is not a moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a moment in RFC 3339, such as 2027-01-31T18:00:00Z")]
pub struct ExpiryError {
    /// The refused text, cut to its first 40 characters.
    text: String,
}

impl Expiry {
    /// Whether it is over at `now`.
    pub fn is_over(self, now: SystemTime) -> bool {
        now >= self.0
    }

    /// How long it is good from `now`; zero when it is over.
    pub fn left(self, now: SystemTime) -> Duration {
        self.0.duration_since(now).unwrap_or_default()
    }
}

impl FromStr for Expiry {
    type Err = ExpiryError;

    fn from_str(text: &str) -> Result<Self, ExpiryError> {
        parse(text).map(Self).ok_or_else(|| ExpiryError {
            text: text.chars().take(40).filter(|c| !c.is_control()).collect(),
        })
    }
}

/// Reads the date and time with humantime, which knows `Z` alone, and applies the offset.
fn parse(text: &str) -> Option<SystemTime> {
    if !text.is_ascii() || text.len() > 40 {
        return None;
    }
    let text = text.to_ascii_uppercase();
    if text.ends_with('Z') {
        return humantime::parse_rfc3339(&text).ok();
    }
    let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let two = |digits: &str, most: u64| -> Option<u64> {
        let plain = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        let number = digits.parse().ok()?;
        (plain && number <= most).then_some(number)
    };
    let away = Duration::from_secs(two(hours, 23)? * 3600 + two(minutes, 59)? * 60);
    let local = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    match offset.as_bytes().first()? {
        b'+' => local.checked_sub(away),
        b'-' => local.checked_add(away),
        _ => None,
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_seconds(self.0).fmt(f)
    }
}

impl Serialize for Expiry {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Expiry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_may_have_any_offset() {
        for text in [
            "2027-01-31T18:00:00Z",
            "2027-01-31t18:00:00z",
            "2027-01-31T20:30:00+02:30",
            "2027-01-31T10:00:00-08:00",
            "2027-01-31T18:00:00.000Z",
        ] {
            let moment: Expiry = text.parse().unwrap();
            assert_eq!(moment.to_string(), "2027-01-31T18:00:00Z", "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "2027-01-31",
            "2027-01-31T18:00:00",
            "2027-02-31T18:00:00Z",
            "2027-01-31T18:00:00+24:00",
            "2027-01-31T18:00:00+2:00",
            "2027-01-31T18:00:00+-2:00",
            "tomorrow",
            "é",
            "2027-01-31T18:00:00Zé",
            "1",
        ] {
            assert!(text.parse::<Expiry>().is_err(), "{text}");
        }
    }

    #[test]
    fn it_is_over_from_its_moment_on() {
        let moment: Expiry = "2027-01-31T18:00:00Z".parse().unwrap();
        let before = moment.0 - Duration::from_millis(1);

        assert!(!moment.is_over(before) && moment.is_over(moment.0));
        assert_eq!(moment.left(before), Duration::from_millis(1));
        assert_eq!(
            moment.left(moment.0 + Duration::from_secs(9)),
            Duration::ZERO
        );
    }
}
