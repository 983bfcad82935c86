//! How the tools of a route do.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::{BackendName, RouteName};

use super::status::CallsBody;

/// The tools that a route's callers call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ToolsBody {
    /// The route's name.
    #[schema(value_type = String, example = "search")]
    pub route: RouteName,
    /// The busiest tools, the one with the most calls first, up to `limits.tools` of the file; last,
    /// as `_other`, what all others came to, if there was any.
    pub tools: Vec<ToolBody>,
    /// How often a tool that was counted apart made room for a busier one since the process started;
    /// its calls are among those of `_other` since then.
    pub replaced: u64,
}

/// One tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ToolBody {
    /// Its name: letters, digits and ASCII punctuation, at most 128 bytes. `_other` stands for
    /// all that are not counted apart.
    #[schema(example = "find_files")]
    pub tool: String,
    /// Its calls by backend, in the order of their names; backends without any are left out.
    pub arms: Vec<ToolArmBody>,
}

/// The calls of one tool that one backend answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ToolArmBody {
    /// The backend's name.
    #[schema(value_type = String, example = "search-v2")]
    pub backend: BackendName,
    /// The calls since the process started.
    pub calls: CallsBody,
}

/// What the tools of a route did on both versions of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ToolsRecordBody {
    /// What this is about.
    pub of: ToolsSinceBody,
    /// When that began; no earlier than the process, whose counts begin at zero.
    pub since: String,
    /// At most 16 tools, the one with the most calls first: the busiest, those that fail more often
    /// on the candidate, and those that take longer there. Last, as `_other`, what all others came
    /// to, if there was any.
    pub tools: Vec<ToolRecordBody>,
}

/// Since when calls are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToolsSinceBody {
    /// Since the stage, or the warm-up, began.
    Stage,
    /// Since the rollout began.
    Rollout,
}

/// One tool on both versions of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ToolRecordBody {
    /// Its name, or `_other`.
    #[schema(example = "find_files")]
    pub tool: String,
    /// Its calls on the version that is trusted.
    pub stable: ToolArmRecordBody,
    /// Its calls on the version on trial.
    pub candidate: ToolArmRecordBody,
}

/// The calls of one tool that one version answered in that time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ToolArmRecordBody {
    /// Calls that ended.
    pub calls: u64,
    /// Those that count against the version.
    pub errors: u64,
    /// Half of the calls took at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// 99 of 100 calls took at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
}
