//! The `listeners` section of the file.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::access::spec::{Network, address_problems};
use crate::model::Problems;
use crate::tls::spec::ServerTlsSpec;

/// One address that takes traffic in, HTTP/1.1 and HTTP/2 alike, over TLS or in the clear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerSpec {
    /// Address and port to bind, such as `0.0.0.0:8080` or `[::]:8080`. Port 0 takes any free one.
    #[schemars(with = "String")]
    pub address: SocketAddr,
    /// TLS, without which the listener speaks cleartext. Its content may change at any time;
    /// turning it on or off takes a restart. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTlsSpec>,
    /// Addresses and networks that may connect, such as `["10.0.0.0/8"]`; everybody else's
    /// connection is closed at once; 1 to 1,024. What counts is the other end of the
    /// connection, whatever proxies say. Default: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<Network>>,
    /// Addresses and networks whose connections are closed at once, even if allowed; at most
    /// 1,024. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<Network>,
}

impl ListenerSpec {
    /// What is wrong with this section: the path of a field and a sentence, each.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        if let Some(tls) = &self.tls {
            problems.add_all("tls", tls.problems());
        }
        let networks = address_problems(self.allow.as_deref(), &self.deny);
        let tls = problems.into_vec();
        tls.into_iter().chain(networks).collect()
    }
}
