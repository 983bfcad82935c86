//! Who changed what, and who was refused.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One call, as the audit log has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntryBody {
    /// Grows with each entry, through restarts.
    pub sequence: u64,
    /// When it was answered.
    pub at: String,
    /// Who asked: the name of their token, or `anonymous@` and where from: `loopback` or an address.
    #[schema(example = "ci")]
    pub who: String,
    /// Their role, when they were let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The address and port that they asked from.
    pub source: String,
    /// The name that they gave themselves, which nobody has checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<String>,
    /// The method.
    pub method: String,
    /// The path with its name left out, such as `/v1/routes/{route}/weights`; `-` when the API
    /// has no such path.
    pub path: String,
    /// The name in the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// How things were: generation, weights, the rollout's state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub before: Option<serde_json::Value>,
    /// How things are after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub after: Option<serde_json::Value>,
    /// The answer's status; absent when the caller left before there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The refusal's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Refused calls before this one that were not written down, since there were too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub omitted: Option<u64>,
}

/// A page of the audit log, latest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditBody {
    /// The entries.
    pub entries: Vec<AuditEntryBody>,
}
