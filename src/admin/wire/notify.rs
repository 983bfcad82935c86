//! Who is told of what happens.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::{AlertName, NotifierName};

/// How it stands with one notifier. Counts begin with the process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NotifierBody {
    /// Its name.
    #[schema(value_type = String)]
    pub notifier: NotifierName,
    /// The form in which it is told: `slack`, `json`, `cloudevents` or `log`.
    pub kind: String,
    /// Where, up to the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Whether its messages are signed.
    pub signed: bool,
    /// Notices that wait.
    pub waiting: u64,
    /// Notices that arrived.
    pub sent: u64,
    /// Notices that were given up.
    pub failed: u64,
    /// Notices that were let go of because too many waited.
    pub dropped: u64,
    /// Why the latest attempt failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Every notifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NotifiersBody {
    /// The notifiers, by name.
    pub notifiers: Vec<NotifierBody>,
}

/// What came of a test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NotifierTestBody {
    /// The notifier's name.
    pub notifier: String,
    /// Whether the receiver took it.
    pub arrived: bool,
    /// The status of its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The beginning of its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// How long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<f64>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What came of a test of a hook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HookTestBody {
    /// The hook's name.
    pub hook: String,
    /// Whether such an answer opens a gate.
    pub opens: bool,
    /// The status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The beginning of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// How long it took.
    pub took_ms: f64,
    /// Why there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// An alert that fires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AlertBody {
    /// Its name.
    #[schema(value_type = String)]
    pub alert: AlertName,
    /// What it looks at, such as `error_rate`.
    pub when: String,
    /// What it is about, such as a route.
    pub about: String,
    /// What was read: a part of one, seconds or bytes.
    pub value: f64,
    /// What would be too much.
    pub above: f64,
}
