//! Relative shares and parts of a hundred: two types, never mixed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A backend's relative share of a split. Zero means "no new traffic".
///
/// Shares are relative: 1 and 3 split like 25 and 75.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(try_from = "u32", into = "u32")]
#[schemars(extend("maximum" = 1_000_000))]
pub struct Weight(u32);

/// Why a number is not a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightError {
    /// The share exceeds [`Weight::MAX`].
    #[error("weight {share} is larger than {}", Weight::MAX.0)]
    TooLarge {
        /// The refused share.
        share: u32,
    },
}

impl Weight {
    /// Largest accepted share; keeps the sum of a split far from overflow.
    pub const MAX: Self = Self(1_000_000);
    /// No new traffic.
    pub const ZERO: Self = Self(0);

    /// Accepts a share between zero and [`Weight::MAX`].
    ///
    /// # Errors
    /// [`WeightError::TooLarge`] when `share` exceeds [`Weight::MAX`].
    pub fn new(share: u32) -> Result<Self, WeightError> {
        if share > Self::MAX.0 {
            return Err(WeightError::TooLarge { share });
        }
        Ok(Self(share))
    }

    /// The share as a number.
    pub fn share(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Weight {
    type Error = WeightError;

    fn try_from(share: u32) -> Result<Self, WeightError> {
        Self::new(share)
    }
}

impl From<Weight> for u32 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A part of a hundred, with a resolution of one hundredth of a percent.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(try_from = "f64", into = "f64")]
#[schemars(with = "f64", extend("minimum" = 0, "maximum" = 100))]
pub struct Percent(u16);

/// Why a number is not a percent.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum PercentError {
    /// The number is not between 0 and 100.
    #[error("{percent} is not a percent: between 0 and 100")]
    OutOfRange {
        /// The refused number.
        percent: f64,
    },
}

impl Percent {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// All of it.
    pub const HUNDRED: Self = Self(Self::PARTS);
    /// Hundredths of a percent in a whole.
    const PARTS: u16 = 10_000;

    /// Accepts a number between 0 and 100, rounded to hundredths.
    ///
    /// # Errors
    /// [`PercentError::OutOfRange`] for anything else, not-a-number included.
    pub fn new(percent: f64) -> Result<Self, PercentError> {
        if !(0.0..=100.0).contains(&percent) {
            return Err(PercentError::OutOfRange { percent });
        }
        Ok(Self((percent * 100.0).round() as u16))
    }

    /// This many of a hundred; more than that is all of it.
    pub const fn whole(percent: u8) -> Self {
        let percent = if percent > 100 { 100 } else { percent };
        Self(percent as u16 * 100)
    }

    /// The share of one that this is: 0.0 to 1.0.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(Self::PARTS)
    }

    /// Two weights, stable's and the candidate's, that give the candidate this share.
    pub fn as_weights(self) -> (Weight, Weight) {
        (
            Weight(u32::from(Self::PARTS - self.0)),
            Weight(u32::from(self.0)),
        )
    }
}

impl TryFrom<f64> for Percent {
    type Error = PercentError;

    fn try_from(percent: f64) -> Result<Self, PercentError> {
        Self::new(percent)
    }
}

impl From<Percent> for f64 {
    fn from(percent: Percent) -> Self {
        f64::from(percent.0) / 100.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(*self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percent_and_its_rest_make_a_whole() {
        for hundredths in 0..=10_000u16 {
            let (stable, candidate) = Percent(hundredths).as_weights();

            assert_eq!(stable.share() + candidate.share(), 10_000);
        }
    }

    #[test]
    fn numbers_outside_their_range_are_refused() {
        assert!(Weight::new(1_000_001).is_err());
        for percent in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
            assert!(Percent::new(percent).is_err());
        }
    }
}
