//! The evidence of a rollout, weighed again.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::judge::Verdict;
use crate::model::RolloutId;

/// What the judge says now to what it was told then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReplayBody {
    /// The rollout.
    #[schema(value_type = String, example = "r-1")]
    pub rollout: RolloutId,
    /// Whether every decision was found again.
    pub same: bool,
    /// Every step that evidence led to and that the history still has, oldest first.
    pub decisions: Vec<ReplayedBody>,
}

/// One decision, then and now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReplayedBody {
    /// The number of the event in the history.
    pub sequence: u64,
    /// When, in RFC 3339.
    pub at: String,
    /// `rollout_advanced`, `rollout_promoted` or `rollout_reverted`.
    pub kind: String,
    /// How many batches of evidence were weighed again, the latest before the decision.
    pub batches: usize,
    /// What was decided then.
    pub then: SaidBody,
    /// What this version of the judge decides.
    pub now: SaidBody,
    /// Whether both are the same.
    pub same: bool,
}

/// What a judge said.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SaidBody {
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The evidence that the candidate is worse.
    pub e_value: f64,
}
