//! The whole file: the sections of every room, put together.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::listener::spec::ListenerSpec;
use crate::model::{BackendName, PlanName};
use crate::proxy::spec::{ForwardingSpec, LimitsSpec, RouteSpec};
use crate::rollout::spec::PlanSpec;
use crate::store::spec::StateSpec;
use crate::upstream::spec::BackendSpec;

/// A config file. It owns topology and policy; weights, rollouts and pauses belong to the
/// admin API and live in the state folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigSpec {
    /// Addresses that take traffic in; at least one.
    pub listeners: Vec<ListenerSpec>,
    /// Where the admin API listens.
    #[serde(default)]
    pub admin: AdminSpec,
    /// Where weights, rollouts and history are kept.
    #[serde(default)]
    pub state: StateSpec,
    /// Worker threads, 1 to 256. Default: one a core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<u16>,
    /// Bounds on every connection from downstream.
    #[serde(default)]
    pub limits: LimitsSpec,
    /// What backends are told about the client.
    #[serde(default)]
    pub forwarding: ForwardingSpec,
    /// Named versions of servers.
    pub backends: BTreeMap<BackendName, BackendSpec>,
    /// What to do with which requests.
    pub routes: Vec<RouteSpec>,
    /// Recipes of rollouts.
    #[serde(default)]
    pub plans: BTreeMap<PlanName, PlanSpec>,
}

/// Where the admin API listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSpec {
    /// Address and port. Only loopback addresses are accepted, since the API has neither TLS
    /// nor tokens. Default `127.0.0.1:9900`.
    #[schemars(with = "String")]
    pub address: SocketAddr,
}

impl Default for AdminSpec {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 9900)),
        }
    }
}
