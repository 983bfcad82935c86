//! The `state` section of the file.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where weights, rollouts, history and keys are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StateSpec {
    /// Folder of the embedded store, made when it is missing; relative to the config file's
    /// folder. Default `./switchback-state`.
    pub file: PathBuf,
}

impl StateSpec {
    /// What is beyond the bounds of this section: the path of a field and a sentence, each.
    pub fn problems(&self) -> Vec<(String, String)> {
        if self.file.as_os_str().is_empty() {
            return vec![("file".to_owned(), "`file` is empty".to_owned())];
        }
        Vec::new()
    }
}

impl Default for StateSpec {
    fn default() -> Self {
        Self {
            file: PathBuf::from("./switchback-state"),
        }
    }
}
