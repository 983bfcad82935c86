//! The whole file: the sections of every room, put together.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::access::spec::{
    AuditSpec, CertificateGrantSpec, FailuresSpec, MAX_NAMES, Network, TokenSpec, address_problems,
    grant_problems, is_host, is_origin,
};
use crate::calendar::spec::WindowSpec;
use crate::hooks::spec::HookSpec;
use crate::listener::spec::ListenerSpec;
use crate::model::{
    AdminAddress, BackendName, HookName, NotifierName, OutcomeSet, PlanName, Problems, RouteName,
    WindowName,
};
use crate::notify::spec::{AlertSpec, NotifierSpec};
use crate::proxy::spec::{ForwardingSpec, LimitsSpec, RouteSpec};
use crate::rollout::spec::PlanSpec;
use crate::store::spec::StateSpec;
use crate::tls::spec::ServerTlsSpec;
use crate::upstream::spec::BackendSpec;

/// A config file. It owns topology and policy; weights, rollouts and pauses belong to the
/// admin API and live in the state folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigSpec {
    /// Addresses that take traffic in; at least one.
    pub listeners: Vec<ListenerSpec>,
    /// Where the admin API listens, and who may ask it.
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
    /// Who is told of what happens, at most 64. Default: nobody.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notifiers: BTreeMap<NotifierName, NotifierSpec>,
    /// Rules about how things are, at most 256. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<AlertSpec>,
    /// Who is asked, and what is run, along the rollouts of the plans that name it; at most 64.
    /// Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hooks: BTreeMap<HookName, HookSpec>,
    /// Times that come round, in which the rollouts of the plans that name them may begin their
    /// stages, or may not; at most 64. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub windows: BTreeMap<WindowName, WindowSpec>,
}

impl ConfigSpec {
    /// Which outcomes count against the backends of a route; the default of one that is not there.
    pub fn bad_outcomes(&self, route: &RouteName) -> OutcomeSet {
        let spec = self.routes.iter().find(|spec| spec.name == *route);
        spec.map_or(OutcomeSet::BAD, RouteSpec::bad)
    }
}

/// Where the admin API listens, and who may ask it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSpec {
    /// Address and port, or a socket such as `unix:/run/switchback/admin.sock`, which is made with
    /// mode 0600; a relative path starts at the config file's folder. Any but a loopback address
    /// needs TLS, and tokens or client certificates; a path takes no TLS. Default
    /// `127.0.0.1:9900`.
    #[schemars(with = "String")]
    pub address: AdminAddress,
    /// TLS, without which the API speaks cleartext. Its content may change at any time; turning
    /// it on or off takes a restart. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTlsSpec>,
    /// Who may ask, at most 256. Without any, and without `certificates`, whoever reaches a
    /// loopback address may do everything. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<TokenSpec>,
    /// What callers with a client certificate may do, at most 256; needs `tls.client_ca`.
    /// Without any, and without `tokens`, whoever shows a certificate may do everything.
    /// Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateGrantSpec>,
    /// Networks that connections are taken from, 1 to 1,024, such as `10.0.0.0/8`.
    /// Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<Network>>,
    /// Networks that no connection is taken from, at most 1,024; they go before `allow`.
    /// Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<Network>,
    /// Names besides those of loopback and the address itself that a request's `Host` may
    /// have, at most 64, such as `gateway.example.com`; with a port they are good with that
    /// port alone. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Web pages besides the API's own that may ask, at most 64, such as
    /// `https://dashboard.example.com`. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// How often callers may fail to say who they are.
    pub failures: FailuresSpec,
    /// Where it is written down who changed what.
    pub audit: AuditSpec,
}

impl Default for AdminSpec {
    fn default() -> Self {
        Self {
            address: AdminAddress::Port(SocketAddr::from(([127, 0, 0, 1], 9900))),
            tls: None,
            tokens: Vec::new(),
            certificates: Vec::new(),
            allow: None,
            deny: Vec::new(),
            hosts: Vec::new(),
            origins: Vec::new(),
            failures: FailuresSpec::default(),
            audit: AuditSpec::default(),
        }
    }
}

impl AdminSpec {
    /// What is beyond the bounds of this section: the path of a field and a sentence, each.
    /// Whether it would expose the API is told elsewhere.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        if let Some(tls) = &self.tls {
            problems.add_all("tls", tls.problems());
        }
        let networks = address_problems(self.allow.as_deref(), &self.deny);
        for (field, message) in grant_problems(&self.tokens, &self.certificates)
            .into_iter()
            .chain(networks)
        {
            problems.add(field, message);
        }
        for (field, count, most) in [
            ("hosts", self.hosts.len(), MAX_NAMES),
            ("origins", self.origins.len(), MAX_NAMES),
        ] {
            if count > most {
                problems.add(field, format!("there are at most {most}, not {count}"));
            }
        }
        for (index, host) in self.hosts.iter().enumerate() {
            if !is_host(host) {
                let message = "not a host, such as `gateway.example.com` or `10.0.0.7:9900`";
                problems.add(format!("hosts[{index}]"), message);
            }
        }
        for (index, origin) in self.origins.iter().enumerate() {
            if !is_origin(origin) {
                let message = "not an origin, such as `https://dashboard.example.com`";
                problems.add(format!("origins[{index}]"), message);
            }
        }
        problems.add_all("failures", self.failures.problems());
        problems.add_all("audit", self.audit.problems());
        problems.into_vec()
    }
}
