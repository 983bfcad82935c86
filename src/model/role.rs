//! The two roles of a rollout.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A backend's part in a rollout, whatever the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The version that runs and is trusted.
    Stable,
    /// The version on trial.
    Candidate,
}

impl Role {
    /// Both roles, in the order of [`Role::index`].
    pub const BOTH: [Self; 2] = [Self::Stable, Self::Candidate];

    /// 0 for stable, 1 for the candidate: the arm's place in a pair.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The role's name in API, log and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Candidate => "candidate",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
