//! The config file, as it is and as it might be.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::Generation;

/// The config in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConfigBody {
    /// The state that this is.
    pub generation: Generation,
    /// The whole file with its defaults filled in and without any secret. Its shape is the
    /// one of `switchback schema`.
    #[schema(value_type = Object)]
    pub config: serde_json::Value,
}

/// What one look at a config file found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConfigCheckBody {
    /// Whether the file could be put in force.
    pub valid: bool,
    /// Everything wrong with it.
    pub diagnostics: Vec<DiagnosticBody>,
}

/// What the latest reload did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReloadBody {
    /// When it was.
    pub at: String,
    /// Whether the file is in force now; a broken one changes nothing.
    pub success: bool,
    /// Everything wrong with the file.
    pub diagnostics: Vec<DiagnosticBody>,
    /// What an operator should know: weights that were kept, parts that need a restart.
    pub notes: Vec<String>,
}

/// One thing wrong with a config file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiagnosticBody {
    /// For programs: stays the same from release to release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The place in the document, such as `routes[0].split`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Column, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// The whole of it, as a terminal shows it: snippet and all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered: Option<String>,
}
