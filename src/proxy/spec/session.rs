//! The `session` section of a route: what becomes of open sessions when their backend goes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Problems, duration_text};

/// What becomes of a route's open MCP sessions when their backend is shifted away from, reverted,
/// or dies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SessionSpec {
    /// What becomes of the sessions of a backend that is reverted, dies, or has had its time to
    /// drain. Default `rehome`.
    pub on_loss: LossSpec,
    /// How long the open sessions of a backend that gets no new ones may stay there, 0s to 30d:
    /// after a shift to 0, a promotion, an abort; after a revert only with `on_loss: drain`.
    /// Default 1h.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub drain: Duration,
}

/// What becomes of the sessions of a backend that is gone.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum LossSpec {
    /// Their next call opens them at another backend, under the ids that their clients know.
    #[default]
    Rehome,
    /// After a revert they stay as long as the backend answers, until `drain` is over; then they
    /// are re-homed. Those of a dead backend are re-homed at once.
    Drain,
    /// They are answered 404, so that their clients open new ones.
    Sever,
}

impl SessionSpec {
    /// What is beyond the bounds of this section: the path of a field and a sentence, each.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        let month = Duration::from_hours(30 * 24);
        problems.duration("drain", self.drain, Duration::ZERO..=month);
        problems.into_vec()
    }
}

impl Default for SessionSpec {
    fn default() -> Self {
        Self {
            on_loss: LossSpec::Rehome,
            drain: Duration::from_hours(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(value: serde_json::Value) -> Result<SessionSpec, serde_json::Error> {
        serde_json::from_value(value)
    }

    #[test]
    fn nothing_said_is_the_default_and_the_bounds_are_held() {
        assert_eq!(spec(json!({})).unwrap(), SessionSpec::default());
        for (drain, problems) in [("0s", 0), ("30d", 0), ("31d", 1)] {
            let spec = spec(json!({ "on_loss": "sever", "drain": drain })).unwrap();
            assert_eq!(spec.problems().len(), problems, "{drain}");
        }
        assert!(spec(json!({ "on_loss": "keep" })).is_err());
        assert!(spec(json!({ "drains": "1s" })).is_err());
    }
}
