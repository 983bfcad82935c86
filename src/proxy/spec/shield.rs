//! The `shield` section of a route.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Problems, duration_text};

/// Answers a candidate's failed calls from stable, within the same request: only calls that
/// change nothing, and only while a rollout runs. The judge still counts them against the
/// candidate; the caller never sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShieldSpec {
    /// How long the candidate has for a call before stable is asked, 10ms to 5m. Default 10s.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub patience: Duration,
    /// Most bytes of an answer that are held back until it is known how the call went, 1,024 to
    /// 16,777,216; a longer answer is passed on from there. Default 1,048,576.
    pub hold_bytes: usize,
    /// Shield calls of MCP tools, too, that stable annotates with `readOnlyHint: true`. Such a
    /// call may then reach two servers, once each. Default false.
    pub read_only_tools: bool,
}

const KIB: usize = 1024;

impl ShieldSpec {
    /// What is beyond the bounds of this section: the path of a field and a sentence, each.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        let bounds = Duration::from_millis(10)..=Duration::from_mins(5);
        problems.duration("patience", self.patience, bounds);
        problems.number("hold_bytes", self.hold_bytes, KIB..=16 * KIB * KIB);
        problems.into_vec()
    }
}

impl Default for ShieldSpec {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(10),
            hold_bytes: KIB * KIB,
            read_only_tools: false,
        }
    }
}
