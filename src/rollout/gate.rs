//! Gates: where a rollout asks others whether it may go on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A place where a rollout can be held up. A stage is left in a fixed order: its time and its
/// evidence, a person's approval, [`Gate::ConfirmAdvance`], then [`Gate::PreStage`] of the next
/// stage or [`Gate::PrePromote`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// Before anything changes. A refusal aborts the rollout.
    ConfirmStart,
    /// Before a stage is entered; before the warm-up, where that is the first stage's.
    PreStage,
    /// Before a stage that has passed is left.
    ConfirmAdvance,
    /// Before the candidate gets all of the traffic because the last stage has passed.
    PrePromote,
}

impl Gate {
    /// Every gate.
    pub const ALL: [Self; 4] = [
        Self::ConfirmStart,
        Self::PreStage,
        Self::ConfirmAdvance,
        Self::PrePromote,
    ];

    /// The gate's name in file, API and log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfirmStart => "confirm_start",
            Self::PreStage => "pre_stage",
            Self::ConfirmAdvance => "confirm_advance",
            Self::PrePromote => "pre_promote",
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One question to whoever keeps a gate. The same question may be asked more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The gate.
    pub gate: Gate,
    /// Place of a stage, from 0: the one to enter of [`Gate::ConfirmStart`] and
    /// [`Gate::PreStage`], the one to leave of the others.
    pub stage: usize,
}

/// What whoever keeps a gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Go on.
    Opened,
    /// Do not go on.
    Refused,
}
