//! The `backends` section of the file.

use std::collections::HashSet;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::{Problems, duration_text};
use crate::tls::spec::ClientTlsSpec;

mod address;
mod breaker;
mod ejection;
mod health;
mod reach;

pub use address::{Address, EndpointUrl, EndpointUrlError, Scheme};
pub use breaker::BreakerSpec;
pub use ejection::{EjectionSpec, OutliersSpec};
pub use health::{CheckKind, CheckMethod, HealthSpec, StartupSpec, StatusRange};
pub use reach::{DnsSpec, HostSpec};

/// One named version of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackendSpec {
    /// Addresses of this version, such as `["http://127.0.0.1:3001"]`, `["unix:/run/search.sock"]`
    /// or, over TLS, `["https://search.internal"]`; one to 1,024.
    pub endpoints: Vec<EndpointUrl>,
    /// Longest wait for a connection, 1ms to 5m. Default 3s.
    #[serde(default = "default_connect", with = "duration_text")]
    #[schemars(with = "String")]
    pub connect_timeout: Duration,
    /// Idle connections kept per worker and endpoint, 0 to 65,535. Default 256.
    #[serde(default = "default_max_idle")]
    pub max_idle: u16,
    /// Idle connections kept ready per worker and endpoint, 0 to `max_idle`, made before a call needs
    /// them; over HTTP/2 one is enough. Default 0.
    #[serde(default)]
    pub min_idle: u16,
    /// How long an idle connection is kept, 1s to 24h. Default 90s.
    #[serde(default = "default_idle_timeout", with = "duration_text")]
    #[schemars(with = "String")]
    pub idle_timeout: Duration,
    /// How long an idle connection is trusted with a request that must not be sent twice, 0s to 24h.
    /// Default 3s. Shorter than what the server takes before it closes an idle connection.
    #[serde(default = "default_trust_idle", with = "duration_text")]
    #[schemars(with = "String")]
    pub trust_idle: Duration,
    /// The host that the backend is asked for: `keep` for the one of the request, `endpoint` for the
    /// endpoint's own, or a host such as `search.internal`. Default `keep`.
    #[serde(default)]
    pub host: HostSpec,
    /// How often the names of endpoints are looked up.
    #[serde(default)]
    pub dns: DnsSpec,
    /// Networks that are never connected to, whatever a name says, such as `["169.254.0.0/16"]`; at
    /// most 1,024. Default none.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub deny: Vec<IpNet>,
    /// How endpoints are asked how they are. Default none: they are not asked.
    #[serde(default)]
    pub health: Option<HealthSpec>,
    /// Speak HTTP/2 to the endpoints: agreed on in the handshake over TLS, else taken for granted.
    /// Health checks and upgrades speak HTTP/1.1. Default false.
    #[serde(default)]
    pub http2: bool,
    /// Requests at once on one HTTP/2 connection, 1 to 10,000; fewer if the endpoint wants so.
    /// Default 100.
    #[serde(default = "default_streams")]
    pub http2_streams: u16,
    /// HTTP/2 connections per worker and endpoint, 1 to 64; a further one is opened when those
    /// there have no room. What finds room on none waits for an answer's end. Default 4.
    #[serde(default = "default_connections")]
    pub http2_connections: u16,
    /// Frames that bring no answer forward (interim answers, pings, settings, …) that an HTTP/2
    /// connection may bring at once, 100 to 1,000,000; each frame of a request brings four more, and
    /// a tenth of it comes back each second. An endpoint that sends more loses the connection.
    /// Default 4,000.
    #[serde(default = "default_control_frames")]
    pub http2_control_frames: u32,
    /// How `https://` endpoints are spoken to. Default: by the system's authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTlsSpec>,
    /// When an endpoint that fails calls is left out for a while.
    #[serde(default)]
    pub ejection: EjectionSpec,
    /// What the backend is spared when it cannot keep up.
    #[serde(default)]
    pub breaker: BreakerSpec,
}

impl BackendSpec {
    /// Whether any endpoint is spoken to over TLS.
    pub fn speaks_tls(&self) -> bool {
        let mut endpoints = self.endpoints.iter();
        endpoints.any(|endpoint| endpoint.scheme == Scheme::Https)
    }

    /// What is beyond the bounds of this section: the path of a field and a sentence, each.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        match self.endpoints.len() {
            1..=MAX_ENDPOINTS => {}
            0 => problems.add(
                "endpoints",
                "`endpoints` is empty, but a backend needs at least one",
            ),
            many => problems.add(
                "endpoints",
                format!("{many} endpoints, but a backend has at most {MAX_ENDPOINTS}"),
            ),
        }
        let mut seen = HashSet::new();
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            if !seen.insert(endpoint.folded()) {
                let message = format!("the endpoint {endpoint} appears twice in this backend");
                problems.add(format!("endpoints[{index}]"), message);
            }
        }
        let frames = self.http2_control_frames;
        problems.number("http2_control_frames", frames, 100..=1_000_000);
        if let Some(tls) = &self.tls {
            problems.add_all("tls", tls.problems());
            if !self.speaks_tls() {
                let message = "`tls` is of no use without an `https://` endpoint";
                problems.add("tls", message);
            }
        }
        problems.number("http2_streams", self.http2_streams, 1..=10_000);
        problems.number("http2_connections", self.http2_connections, 1..=64);
        if self.min_idle > self.max_idle {
            let (least, most) = (self.min_idle, self.max_idle);
            let message = format!("`min_idle` is {least}, but `max_idle` keeps at most {most}");
            problems.add("min_idle", message);
        }
        let (short, long) = (Duration::from_millis(1), Duration::from_mins(5));
        problems.duration("connect_timeout", self.connect_timeout, short..=long);
        let (short, long) = (Duration::from_secs(1), Duration::from_hours(24));
        problems.duration("idle_timeout", self.idle_timeout, short..=long);
        problems.duration("trust_idle", self.trust_idle, Duration::ZERO..=long);
        if self.deny.len() > MAX_DENIED {
            let many = self.deny.len();
            let message = format!("{many} networks, but a backend denies at most {MAX_DENIED}");
            problems.add("deny", message);
        }
        problems.add_all("dns", self.dns.problems());
        if let Some(health) = &self.health {
            problems.add_all("health", health.problems());
        }
        problems.add_all("ejection", self.ejection.problems());
        problems.add_all("breaker", self.breaker.problems());
        problems.into_vec()
    }
}

/// Most endpoints of a backend.
const MAX_ENDPOINTS: usize = 1024;
/// Most networks that a backend denies.
const MAX_DENIED: usize = 1024;

fn default_connect() -> Duration {
    Duration::from_secs(3)
}

fn default_streams() -> u16 {
    100
}

fn default_connections() -> u16 {
    4
}

fn default_control_frames() -> u32 {
    4000
}

fn default_max_idle() -> u16 {
    256
}

/// Node.js and uvicorn close after 5 s.
fn default_trust_idle() -> Duration {
    Duration::from_secs(3)
}

fn default_idle_timeout() -> Duration {
    Duration::from_secs(90)
}
