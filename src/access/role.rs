//! What a caller may do, in four steps.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a caller of the admin API may do. Each role may do what those before it may.
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
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks at everything but the audit log, and changes nothing.
    Viewer,
    /// Pushes metrics about calls, on the routes of its scope: what an application needs.
    Reporter,
    /// Shifts weights and drives rollouts, on the routes of its scope.
    Deployer,
    /// Does everything: also reads the config file again, and the audit log.
    Admin,
}

impl Role {
    /// Every role, the weakest first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Reporter, Self::Deployer, Self::Admin];

    /// The role's name in the file, in the API and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Reporter => "reporter",
            Self::Deployer => "deployer",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_role_is_above_an_earlier_one() {
        assert!(Role::ALL.is_sorted());
        assert!(Role::Admin > Role::Deployer && Role::Deployer > Role::Reporter);
    }
}
