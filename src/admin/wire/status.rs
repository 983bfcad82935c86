//! How things are: the gateway, its routes, its backends.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::{BackendName, Generation, Role, RouteName};

use super::config::ConfigStatusBody;
use super::fitness::FitnessBody;
use super::notify::AlertBody;
use super::rollout::RolloutBody;

/// Everything at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatusBody {
    /// Version of the gateway.
    pub version: String,
    /// Where the process is in its life.
    pub lifecycle: Lifecycle,
    /// Counts changes of weights, rollouts and config; what `If-Match` asks for.
    pub generation: Generation,
    /// When the process started.
    pub started_at: String,
    /// How long it has run.
    pub uptime_seconds: f64,
    /// The config file.
    pub config: ConfigStatusBody,
    /// The state store.
    pub store: StoreBody,
    /// What an operator should know about, in words: a broken file, a store that cannot be
    /// written, a certificate that expires within a week or was replaced by a broken one.
    pub warnings: Vec<String>,
    /// Alerts that fire.
    #[serde(default)]
    pub alerts: Vec<AlertBody>,
    /// Every route, in the order of the file.
    pub routes: Vec<RouteBody>,
}

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// Not yet taking traffic.
    Starting,
    /// Taking traffic.
    Ready,
    /// Finishing what is open, taking nothing new.
    Draining,
}

/// The state store: where weights, rollouts and history are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StoreBody {
    /// Whether the last write is on disk. Traffic flows on when it is not.
    pub healthy: bool,
    /// Since when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Every route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RoutesBody {
    /// What `If-Match` asks for.
    pub generation: Generation,
    /// The routes, in the order of the file.
    pub routes: Vec<RouteBody>,
}

/// One route: who gets its traffic, and how they do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouteBody {
    /// The route's name.
    #[schema(value_type = String, example = "search")]
    pub route: RouteName,
    /// What `If-Match` asks for.
    pub generation: Generation,
    /// What it takes, in words.
    #[schema(example = "any host /mcp")]
    pub matches: String,
    /// What its callers speak: `http` or `mcp`.
    pub protocol: String,
    /// Its backends, in the order of their names.
    pub arms: Vec<ArmBody>,
    /// What its callers show to be let in; absent where nothing is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthBody>,
    /// The backend that its calls are mirrored to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowBody>,
    /// The version that the file asks for, on a route with `promote: auto`, while no rollout to it
    /// has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wish: Option<WishBody>,
    /// The rollout that runs, else the latest one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutBody>,
}

/// A version that the file asks for and that gets the traffic by a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WishBody {
    /// The backend.
    #[schema(value_type = String, example = "search-v2")]
    pub backend: BackendName,
    /// Why its rollout could not start when that was tried last; absent before the first try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What the callers of a route show to be let in: a signed token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuthBody {
    /// Who issues the tokens.
    pub issuer: String,
    /// Whom they may be for.
    pub audiences: Vec<String>,
    /// Scopes that each of them must have.
    pub scopes: Vec<String>,
    /// The keys that they are checked with.
    pub jwks: JwksBody,
}

/// The keys of an issuer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JwksBody {
    /// The file or the URL that they come from.
    pub source: String,
    /// How many are in force; absent before any were read, and then nobody is let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<u64>,
    /// How many of the set cannot be used.
    pub unusable: u64,
    /// When they were last read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at: Option<String>,
    /// How long ago that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<f64>,
    /// Why the latest reading failed, when it did; the keys before stay in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One backend of a route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ArmBody {
    /// The backend's name.
    #[schema(value_type = String, example = "search-v2")]
    pub backend: BackendName,
    /// Relative share of new traffic; 0 for none.
    pub weight: u32,
    /// The same as a percent of the route's new traffic.
    pub percent: f64,
    /// Its part in the rollout that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// What its open sessions may expect.
    pub standing: StandingBody,
    /// Its MCP sessions; absent on a route that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<SessionsBody>,
    /// Its callers of MCP without sessions; absent on a route that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callers: Option<CallersBody>,
    /// Its calls on this route since the process started.
    pub calls: CallsBody,
    /// Its calls on this route that ended in about the last ten seconds.
    pub recent: CallsBody,
}

/// What the open sessions of a backend may expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StandingBody {
    /// They stay, whatever the weight.
    Open,
    /// The backend gets no new ones: they stay until the route's limit.
    Draining,
    /// That limit is over: they leave at their next call.
    Drained,
    /// The backend was reverted: they leave at their next call.
    Reverted,
}

/// MCP sessions, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionsBody {
    /// Recorded ones that live here and stay.
    pub open: u64,
    /// Recorded ones that live here and have to leave: when the route's limit is over, or at
    /// their next call.
    pub draining: u64,
    /// Those that came here from other backends since the process started.
    pub rehomed: u64,
    /// Those that lived here and are gone for their clients since then.
    pub lost: u64,
}

/// Callers of MCP without sessions, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CallersBody {
    /// Those who are held here and stay.
    pub held: u64,
    /// Those who are held here until the route's limit is over.
    pub draining: u64,
    /// Open streams of `subscriptions/listen`.
    pub listening: u64,
}

/// Where a route's calls are mirrored to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ShadowBody {
    /// The backend that gets the copies.
    #[schema(value_type = String, example = "search-v2")]
    pub backend: BackendName,
    /// Share of the eligible calls, in percent.
    pub percent: f64,
    /// The copies since the process started; nobody waited for their answers.
    pub calls: CallsBody,
    /// The copies that ended in about the last ten seconds.
    pub recent: CallsBody,
}

/// Calls, counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CallsBody {
    /// Finished calls.
    pub total: u64,
    /// Finished calls by outcome; outcomes that did not happen are left out.
    pub outcomes: BTreeMap<String, u64>,
    /// Calls under way now.
    pub in_flight: u64,
    /// Streams open now that carry no call.
    pub open_streams: u64,
    /// Mean latency; absent without a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_ms: Option<f64>,
    /// Half of the calls took at most this; absent without a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// 95 of 100 calls took at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_ms: Option<f64>,
    /// 99 of 100 calls took at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
}

/// Every backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BackendsBody {
    /// The state that this is.
    pub generation: Generation,
    /// The backends, in the order of their names.
    pub backends: Vec<BackendBody>,
}

/// One backend: a named version of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BackendBody {
    /// The backend's name.
    #[schema(value_type = String, example = "search-v2")]
    pub backend: BackendName,
    /// Its addresses.
    #[schema(example = json!(["http://127.0.0.1:3002"]))]
    pub endpoints: Vec<String>,
    /// The routes that name it in their split or as their shadow.
    #[schema(value_type = Vec<String>)]
    pub routes: Vec<RouteName>,
    /// Its calls on all routes since the process started, copies left out.
    pub calls: CallsBody,
    /// Its MCP sessions on all routes; absent where no such route has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<SessionsBody>,
    /// How fit it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fitness: Option<FitnessBody>,
}

/// The answer to new weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WeightsReply {
    /// The state with the new weights in force.
    pub generation: Generation,
    /// The route as it is now.
    pub route: RouteBody,
}
