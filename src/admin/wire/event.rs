//! What happened, one by one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::tools::ToolsRecordBody;
use crate::model::{Generation, RolloutId, RouteName};

/// One thing that happened, as `/v1/history` lists it and `/v1/events` sends it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventBody {
    /// Grows with each event, through restarts.
    pub sequence: u64,
    /// When it happened.
    pub at: String,
    /// What happened, such as `weights_changed` or `rollout_reverted`.
    #[schema(example = "rollout_reverted")]
    pub kind: String,
    /// The state after it.
    pub generation: Generation,
    /// The route that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub route: Option<RouteName>,
    /// The rollout that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutId>,
    /// Who did it: a person, a pipeline, or a part of the process, such as `judge`.
    pub who: String,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// One sentence for people.
    pub message: String,
    /// The numbers behind it, by its kind: weights, stages, the verdict.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub details: serde_json::Value,
    /// What the tools did on both versions until then; only on MCP routes, and where a rollout has
    /// ended or a stage's time is over: `rollout_advanced`, `rollout_extended`,
    /// `rollout_awaiting_approval`, `rollout_promoted`, `rollout_reverted`, `rollout_aborted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<ToolsRecordBody>,
}

/// Events of the past, latest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistoryBody {
    /// The events.
    pub events: Vec<EventBody>,
}
