//! Why a rollout stands as it does.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{EventBody, RolloutBody};

/// Why a rollout stands as it does: the record that decided, or the latest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhyBody {
    /// The rollout; its `verdict` is the record.
    pub rollout: RolloutBody,
    /// The event that ended it; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<EventBody>,
    /// From the decision to switch back to the moment new requests went to stable, in µs; absent
    /// unless it was switched back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actuation_us: Option<u64>,
    /// The same in sentences, the most important first.
    pub lines: Vec<String>,
    /// What happened, oldest first; the latest 1,000 events.
    pub events: Vec<EventBody>,
}
