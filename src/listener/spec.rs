//! The `listeners` section of the file.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// One address that takes traffic in, HTTP/1.1 and cleartext HTTP/2 alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerSpec {
    /// Address and port to bind, such as `0.0.0.0:8080` or `[::]:8080`. Port 0 takes any free one.
    #[schemars(with = "String")]
    pub address: SocketAddr,
}
