//! What copies of calls came to, before the candidate had any traffic.

use serde::{Deserialize, Serialize};

use crate::model::{Percent, RevertReason};

use super::event::Report;
use super::spec::ShadowingSpec;

/// Quantile of latency that is compared.
pub const QUANTILE: f64 = 0.95;
/// Slower by less than this is no slowdown, in seconds: a copy has connections of its own to make.
const SLACK_SECONDS: f64 = 0.020;

/// What the copies of a rollout's stage in the shadow came to, with the limits that it goes by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ShadowReport {
    /// Copies that were answered like the call.
    pub same: u64,
    /// Copies that were answered with another status.
    pub status: u64,
    /// Copies that were answered with the same status and came to another outcome.
    pub outcome: u64,
    /// Copies without an answer of calls that had one, and those for which no endpoint of the
    /// candidate was fit.
    pub unanswered: u64,
    /// Copies of calls that tell nothing: the caller left, or had no answer either.
    pub untold: u64,
    /// Copies that were not sent, since a bound was reached.
    pub dropped: u64,
    /// The 95th percentile of the latency of the calls that were copied; absent while too few are
    /// known. After a restart it is the one of before until enough are known again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_p95_seconds: Option<f64>,
    /// That of their copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_p95_seconds: Option<f64>,
    /// Copies to be compared before anything is concluded.
    pub min_compared: u64,
    /// The percent of them that may differ.
    #[schema(value_type = f64)]
    pub max_difference: Percent,
    /// How many times as long copies may take, at the 95th percentile.
    pub max_slowdown: f64,
}

/// What a report says of the candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShadowFinding {
    /// Too little was compared.
    TooFew,
    /// It answers like stable.
    Alike,
    /// It answers differently too often.
    Different,
    /// It answers too slowly.
    Slow,
}

impl ShadowFinding {
    /// The finding's name in API and log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooFew => "too_few",
            Self::Alike => "alike",
            Self::Different => "different",
            Self::Slow => "slow",
        }
    }
}

impl ShadowReport {
    /// Nothing yet, by these limits.
    pub fn new(spec: &ShadowingSpec) -> Self {
        Self {
            same: 0,
            status: 0,
            outcome: 0,
            unanswered: 0,
            untold: 0,
            dropped: 0,
            call_p95_seconds: None,
            copy_p95_seconds: None,
            min_compared: spec.min_compared,
            max_difference: spec.max_difference,
            max_slowdown: spec.max_slowdown,
        }
    }

    /// Copies that were compared.
    pub fn compared(&self) -> u64 {
        self.same.saturating_add(self.different())
    }

    /// Those that differ.
    pub fn different(&self) -> u64 {
        let answered = self.status.saturating_add(self.outcome);
        answered.saturating_add(self.unanswered)
    }

    /// The percent of the compared ones that differ.
    pub fn difference(&self) -> f64 {
        self.different() as f64 * 100.0 / self.compared().max(1) as f64
    }

    /// How many times as long as the calls the copies take, at the 95th percentile.
    pub fn slowdown(&self) -> Option<f64> {
        let (call, copy) = self.call_p95_seconds.zip(self.copy_p95_seconds)?;
        (call > 0.0).then(|| copy / call)
    }

    /// What it says of the candidate.
    pub fn finding(&self) -> ShadowFinding {
        if self.compared() < self.min_compared.max(1) {
            ShadowFinding::TooFew
        } else if self.difference() > f64::from(self.max_difference) {
            ShadowFinding::Different
        } else if self.is_slow() {
            ShadowFinding::Slow
        } else {
            ShadowFinding::Alike
        }
    }

    /// The same for the rollout.
    pub fn report(&self) -> Report {
        match self.finding() {
            ShadowFinding::TooFew => Report::NotYet,
            ShadowFinding::Alike => Report::Ready,
            ShadowFinding::Different | ShadowFinding::Slow => {
                Report::Failed(RevertReason::ShadowDiverged)
            }
        }
    }

    fn is_slow(&self) -> bool {
        let both = self.call_p95_seconds.zip(self.copy_p95_seconds);
        both.is_some_and(|(call, copy)| {
            copy > call * self.max_slowdown && copy >= call + SLACK_SECONDS
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(same: u64, different: u64) -> ShadowReport {
        ShadowReport {
            same,
            outcome: different,
            ..ShadowReport::new(&ShadowingSpec::default())
        }
    }

    #[test]
    fn it_takes_enough_copies_to_say_anything() {
        assert_eq!(report(0, 0).finding(), ShadowFinding::TooFew);
        assert_eq!(report(0, 99).finding(), ShadowFinding::TooFew);
        assert_eq!(report(100, 0).finding(), ShadowFinding::Alike);
        assert_eq!(report(0, 100).finding(), ShadowFinding::Different);
        let mut none = report(0, 0);
        none.min_compared = 0;
        assert_eq!(none.finding(), ShadowFinding::TooFew);
    }

    #[test]
    fn as_much_as_is_allowed_may_differ_whatever_the_way() {
        assert_eq!(report(99, 1).report(), Report::Ready);
        assert_eq!(
            report(98, 2).report(),
            Report::Failed(RevertReason::ShadowDiverged)
        );
        let each = ShadowReport {
            status: 1,
            unanswered: 1,
            ..report(97, 1)
        };
        assert_eq!((each.compared(), each.different()), (100, 3));
        assert_eq!(each.finding(), ShadowFinding::Different);
        let untold = ShadowReport {
            untold: 1000,
            dropped: 1000,
            ..report(100, 0)
        };
        assert_eq!(untold.finding(), ShadowFinding::Alike);
    }

    #[test]
    fn much_slower_is_slow_and_a_little_in_absolute_terms_is_not() {
        let timed = |call, copy| ShadowReport {
            call_p95_seconds: Some(call),
            copy_p95_seconds: Some(copy),
            ..report(100, 0)
        };

        assert_eq!(timed(0.1, 0.3).finding(), ShadowFinding::Alike);
        assert_eq!(timed(0.1, 0.31).finding(), ShadowFinding::Slow);
        assert_eq!(timed(0.001, 0.020).finding(), ShadowFinding::Alike);
        assert_eq!(timed(0.001, 0.022).finding(), ShadowFinding::Slow);
        assert_eq!(timed(0.1, 0.25).slowdown(), Some(2.5));
    }
}
