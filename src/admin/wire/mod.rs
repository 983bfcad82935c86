//! What the admin API says and hears: plain types that both sides of the wire share.
//!
//! The server writes them, the command line reads them, and the OpenAPI document is made of
//! their schemas. Nothing here knows `control`: conversions live outside this folder.
//!
//! Numbers carry their unit in their name: `_seconds`, `_ms` (milliseconds, for latencies),
//! `_bytes`. Moments (`at`, `_at`) are RFC 3339 texts in UTC. What is sent to the API refuses
//! unknown fields; what comes from it may grow new ones, and readers pass over those.

mod audit;
mod config;
mod contract;
mod error;
mod estimate;
mod event;
mod fitness;
mod metrics;
mod notify;
mod replay;
mod request;
mod rollout;
mod status;
mod tools;
mod verdict;
mod why;

pub use audit::{AuditBody, AuditEntryBody};
pub use config::{ConfigBody, ConfigCheckBody, ConfigStatusBody, DiagnosticBody, ReloadBody};
pub use contract::{
    ContractBody, ContractChangeBody, ContractCountsBody, ContractResultBody, SeverityBody,
};
pub use error::{ErrorBody, ErrorCode, ErrorReply};
pub use estimate::{EstimateBody, StageEstimateBody};
pub use event::{EventBody, HistoryBody};
pub use fitness::{EndpointBody, FitnessBody, HealthCheckBody};
pub use metrics::{MetricValueBody, PushBody, PushedBody, ValueBody};
pub use notify::{AlertBody, HookTestBody, NotifierBody, NotifierTestBody, NotifiersBody};
pub use replay::{ReplayBody, ReplayedBody, SaidBody};
pub use request::{
    ActBody, CheckItemBody, RevertBody, RolloutAction, StageRequest, StartRolloutBody, WeightsBody,
};
pub use rollout::{
    ArmEvidenceBody, CheckBody, ClosedBody, DecisionBody, GateBody, ItemBody, RolloutBody,
    RolloutState, RolloutsBody, ShadowReportBody, StageBody, VerdictBody,
};
pub use status::{
    ArmBody, AuthBody, BackendBody, BackendsBody, CallersBody, CallsBody, JwksBody, Lifecycle,
    RouteBody, RoutesBody, SessionsBody, ShadowBody, StandingBody, StatusBody, StoreBody,
    WeightsReply, WishBody,
};
pub use tools::{
    ToolArmBody, ToolArmRecordBody, ToolBody, ToolRecordBody, ToolsBody, ToolsRecordBody,
    ToolsSinceBody,
};

pub use verdict::{PassBody, RolloutVerdictBody, WebhookBody};
pub use why::WhyBody;

/// Carries who asks for a change: up to 128 printable ASCII characters. Without it a change
/// is put down to the address that it came from.
pub const WHO_FIELD: &str = "x-switchback-who";

/// What names of routes, backends and plans look like.
pub(super) const NAME_PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$";
