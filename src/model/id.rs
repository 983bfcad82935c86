//! Identities that control hands out: generations of state and rollouts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Counts published states; grows by one with every change and survives restarts.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One attempt at shipping a version; shown as `r-17`.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "r-17")]
pub struct RolloutId(pub u64);

/// Why a text is not a rollout's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the id of a rollout, which looks like r-17")]
pub struct RolloutIdError {
    /// The refused text.
    pub text: String,
}

impl fmt::Display for RolloutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r-{}", self.0)
    }
}

impl FromStr for RolloutId {
    type Err = RolloutIdError;

    fn from_str(text: &str) -> Result<Self, RolloutIdError> {
        let refused = || RolloutIdError {
            text: text.chars().take(64).collect(),
        };
        let number = text.strip_prefix("r-").ok_or_else(refused)?;
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refused());
        }
        number.parse().map(Self).map_err(|_| refused())
    }
}

impl TryFrom<String> for RolloutId {
    type Error = RolloutIdError;

    fn try_from(text: String) -> Result<Self, RolloutIdError> {
        text.parse()
    }
}

impl From<RolloutId> for String {
    fn from(id: RolloutId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_id_survives_its_text() {
        assert_eq!(RolloutId(17).to_string().parse(), Ok(RolloutId(17)));
        for text in ["17", "r-", "r-+1", "r-99999999999999999999", "R-1"] {
            assert!(text.parse::<RolloutId>().is_err(), "{text}");
        }
    }
}
