//! What the API is asked to do.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

use crate::model::{BackendName, PlanName, Weight, duration_text};

use super::NAME_PATTERN;

/// New weights for a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"weights": {"search-v1": 95, "search-v2": 5}, "reason": "first taste"}))]
pub struct WeightsBody {
    /// Relative shares, 0 to 1,000,000. Backends of the route that are left out keep theirs.
    #[serde(deserialize_with = "each_once")]
    #[schema(schema_with = shares)]
    pub weights: BTreeMap<BackendName, u32>,
    /// Why; up to 1,024 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Shares by the names of backends, each within its bounds.
fn shares() -> Schema {
    let share = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0))
        .maximum(Some(Weight::MAX.share()));
    let name = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(NAME_PATTERN));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property_names(Some(name))
        .additional_properties(Some(share))
        .into()
}

/// A rollout to start on a route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"to": "search-v2", "stages": [{"percent": 10, "for": "5m"}], "reason": "release 2"}))]
pub struct StartRolloutBody {
    /// The candidate: a backend of the route.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    pub to: BackendName,
    /// The plan to follow. Default: the route's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    pub plan: Option<PlanName>,
    /// Stages to climb instead of the plan's; one to 32 with growing percents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 32)]
    pub stages: Option<Vec<StageRequest>>,
    /// Why; up to 1,024 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Start although the candidate was reverted a moment ago and is in its cooldown.
    #[serde(default)]
    pub force: bool,
    /// Start although the candidate breaks what stable promises, or one of them cannot be asked,
    /// where the route's `contract` is a gate; kept in the history.
    #[serde(default)]
    pub accept_contract: bool,
    /// Wait for no window of the plan's schedule, neither at the start nor later: for emergencies; kept
    /// in the history.
    #[serde(default)]
    pub ignore_schedule: bool,
}

/// One stage to climb.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StageRequest {
    /// The candidate's share of new traffic, above 0 and at most 99; 100 in the last stage stands for
    /// a bake with the plan's hold-back.
    #[schema(exclusive_minimum = 0, maximum = 100)]
    pub percent: f64,
    /// Shortest time in the stage, with its unit.
    #[serde(rename = "for", with = "duration_text")]
    #[schema(value_type = String, example = "5m", pattern = "^([1-9][0-9]{0,4}(ms|s|m|h)( |$))+$")]
    pub duration: Duration,
    /// Wait for an `approve` before the next stage.
    #[serde(default)]
    pub approve: bool,
}

/// Which earlier version to go back to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({"to": "search-v1", "reason": "customers complain"}))]
pub struct RevertBody {
    /// A backend that was stable or promoted on the route; it gets all new traffic. Default: what
    /// the latest rollout went away from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    pub to: Option<BackendName>,
    /// Why; up to 1,024 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Why a rollout is acted on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({"reason": "seen enough"}))]
pub struct ActBody {
    /// Why; up to 1,024 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An item of a rollout's checklist to tick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"item": "backup", "note": "of 9:00"}))]
pub struct CheckItemBody {
    /// Its name.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    pub item: String,
    /// What there is to note, up to 1,024 bytes; a budget is let pass only with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What can be done to a rollout: the last part of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RolloutAction {
    /// Stay at the present share.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Let it pass a stage that waits for a person.
    Approve,
    /// Give the candidate everything now.
    Promote,
    /// End it without blame: stable takes all, the candidate's sessions stay.
    Abort,
    /// Switch back: stable takes all, the candidate's sessions move.
    Revert,
}

impl RolloutAction {
    /// Every action.
    pub const ALL: [Self; 6] = [
        Self::Pause,
        Self::Resume,
        Self::Approve,
        Self::Promote,
        Self::Abort,
        Self::Revert,
    ];

    /// The action's name in paths.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Approve => "approve",
            Self::Promote => "promote",
            Self::Abort => "abort",
            Self::Revert => "revert",
        }
    }
}

/// Reads weights, refusing a backend that is named twice: which of the two was meant?
fn each_once<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<BackendName, u32>, D::Error> {
    struct EachOnce;

    impl<'de> Visitor<'de> for EachOnce {
        type Value = BTreeMap<BackendName, u32>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("weights by backend, such as {\"search-v1\": 95, \"search-v2\": 5}")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut weights = BTreeMap::new();
            while let Some((backend, weight)) = map.next_entry::<BackendName, u32>()? {
                if weights.insert(backend.clone(), weight).is_some() {
                    let message = format!("backend `{backend}` is named twice");
                    return Err(serde::de::Error::custom(message));
                }
            }
            Ok(weights)
        }
    }

    from.deserialize_map(EachOnce)
}
