//! What two versions of a server promise, beside each other.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::BackendName;

/// What the candidate promises, compared with what stable does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContractBody {
    /// The version that is trusted.
    #[schema(value_type = String)]
    pub stable: BackendName,
    /// The version that may follow it.
    #[schema(value_type = String)]
    pub candidate: BackendName,
    /// When they were asked.
    pub at: String,
    /// What came of it.
    pub result: ContractResultBody,
    /// One sentence on it.
    pub summary: String,
    /// Which server could not be asked, and why, where the result is `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
    /// The rollout was started although the route's policy forbids it: its start said so.
    #[serde(default)]
    pub accepted: bool,
    /// How many changes there are of each severity.
    pub counts: ContractCountsBody,
    /// The changes, the worst first: 500 at most, 20 of a rollout.
    pub changes: Vec<ContractChangeBody>,
}

/// What came of comparing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContractResultBody {
    /// Whatever worked goes on working.
    Compatible,
    /// Some calls that worked may fail, or do something else than was expected.
    Risky,
    /// Calls that worked will fail, or answers cannot be read.
    Breaking,
    /// One of the servers could not be asked.
    Unknown,
}

/// How bad a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SeverityBody {
    /// Calls that worked will fail, or answers cannot be read.
    Breaking,
    /// Some calls that worked may fail, or do something else than was expected.
    Risky,
    /// Whatever worked goes on working.
    Compatible,
    /// Words for people and models.
    Info,
}

/// How many changes there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContractCountsBody {
    /// Breaking ones.
    pub breaking: u64,
    /// Risky ones.
    pub risky: u64,
    /// Compatible ones.
    pub compatible: u64,
    /// Words alone.
    pub info: u64,
}

/// One change. Texts of the servers are cut, and without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContractChangeBody {
    /// How bad it is.
    pub severity: SeverityBody,
    /// The rule by which, for programs, such as `argument_required`.
    pub rule: String,
    /// What it is about: `server`, `revision`, `capability`, `tool`, `prompt`, `resource` or
    /// `resource template`.
    pub part: String,
    /// The name of that; empty for the server.
    pub name: String,
    /// The place inside, such as `filter.tags[]`; absent for the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What stable says there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<String>,
    /// What the candidate says there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<String>,
    /// One sentence on it.
    pub message: String,
    /// Why that matters, or does not.
    pub reason: String,
}
