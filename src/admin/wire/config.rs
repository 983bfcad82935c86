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
    /// The same as a terminal shows it, each with its lines of the file; absent when valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered: Option<String>,
}

/// The config file, as seen from the process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConfigStatusBody {
    /// The file.
    pub file: String,
    /// When the config in force was loaded.
    pub loaded_at: String,
    /// Everything wrong with the file when the latest attempt to load it was refused; empty
    /// when it is in force.
    pub refused: Vec<DiagnosticBody>,
    /// Since when a file without errors waits for the state to be writable; absent when none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_since: Option<String>,
}

/// What a reload did. A refused file is an error with the code `invalid_config`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReloadBody {
    /// The state in force after it.
    pub generation: Generation,
    /// When it was.
    pub at: String,
    /// Whether the file said anything new.
    pub changed: bool,
    /// What an operator should know: weights that were kept, parts that need a restart.
    pub notes: Vec<String>,
}

/// One thing wrong with a config file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiagnosticBody {
    /// For programs: stays the same from release to release.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The file.
    pub file: String,
    /// Line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Column, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
}
