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
