//! Which routes a grant is for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest pattern, in bytes: a route's name and a few stars.
const PATTERN_MAX_BYTES: usize = 80;

/// One entry of a grant's `routes`: a route's name, in which `*` stands for any run of
/// characters, also for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(String);

/// Why a text is not a pattern of route names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the name of a route, nor a pattern of names such as `shop-*`: letters, digits, `-`, `_`, `.` and `*`, at most 80"
)]
pub struct ScopeError;

impl Scope {
    /// Whether it names this route.
    pub fn covers(&self, route: &str) -> bool {
        covers(self.0.as_bytes(), route.as_bytes())
    }

    /// The name, when it has no star.
    pub fn exact(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(&self.0)
    }
}

/// The usual walk with one place to go back to, so that the time is at most the product of
/// the lengths, both of which are small.
fn covers(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while read < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                back = Some((at, read));
                at += 1;
            }
            Some(byte) if name.get(read) == Some(byte) => {
                at += 1;
                read += 1;
            }
            Some(_) | None => {
                let Some((star, from)) = back else {
                    return false;
                };
                back = Some((star, from + 1));
                at = star + 1;
                read = from + 1;
            }
        }
    }
    pattern.iter().skip(at).all(|byte| *byte == b'*')
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'*');
        if text.is_empty() || text.len() > PATTERN_MAX_BYTES || !text.bytes().all(plain) {
            return Err(ScopeError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(pattern: &str, name: &str) -> bool {
        pattern.parse::<Scope>().unwrap().covers(name)
    }

    #[test]
    fn a_star_is_any_run_of_characters() {
        for (pattern, name) in [
            ("*", "anything"),
            ("search", "search"),
            ("shop-*", "shop-"),
            ("shop-*", "shop-eu-1"),
            ("*-eu", "shop-eu"),
            ("a*b*c", "a-b-b-c"),
            ("**", "x"),
        ] {
            assert!(covers(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("search", "search2"),
            ("search", "Search"),
            ("shop-*", "shop"),
            ("*-eu", "shop-eu-1"),
            ("a*b", "a-c"),
        ] {
            assert!(!covers(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = "*a".repeat(40);

        assert!(!covers(&pattern, &"a".repeat(39)));
        assert!(covers(&pattern, &"a".repeat(63)));
    }

    #[test]
    fn what_could_be_no_name_is_refused() {
        for text in ["", "a b", "a/b", "é", "[a]", "a?", &"x".repeat(81)] {
            assert_eq!(text.parse::<Scope>(), Err(ScopeError), "{text}");
        }
    }
}
