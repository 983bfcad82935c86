//! Metrics that applications push.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::{BackendName, MetricName, RouteName};

/// What an application found out about calls of a route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"route": "search", "values": [
    {"metric": "liked", "backend": "search-v2", "value": false, "key": "user-17"},
    {"metric": "tokens", "request_id": "6f1c2a", "value": 812}
]}))]
pub struct PushBody {
    /// The route.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    pub route: RouteName,
    /// One to 1,000 values. They are taken in all together, or none of them is.
    #[schema(min_items = 1, max_items = 1000)]
    pub values: Vec<MetricValueBody>,
}

/// One value of one metric, about one call: either of a backend, or the one with a request id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricValueBody {
    /// The metric, as a plan names it.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    pub metric: MetricName,
    /// The backend that answered the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    pub backend: Option<BackendName>,
    /// The request's `x-request-id`, else its `traceparent`: 1 to 64 letters, digits and `-_.:/+=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 64)]
    pub request_id: Option<String>,
    /// An answer or a number, by the kind of the metric.
    pub value: ValueBody,
    /// What tells callers apart, 1 to 256 bytes: of a caller one bad answer, or one number, counts a
    /// minute. Without it each counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub key: Option<String>,
}

/// An answer to a question with two, or a number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged, expecting = "true, false or a number")]
pub enum ValueBody {
    /// Of a metric of the kind `yes_no`.
    Answer(bool),
    /// 0 to 1e12; of `yes_no` 0 or 1.
    Number(f64),
}

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PushedBody {
    /// Values that the judge of a rollout has taken in.
    pub counted: u64,
    /// Values that no judge waits for: no rollout runs whose plan names the metric, or none of its
    /// calls are judged yet, or the backend is neither stable nor the candidate.
    pub unjudged: u64,
}
