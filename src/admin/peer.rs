//! Who is at the other end of a connection, as far as the connection tells.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::tls::PeerNames;

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Its address.
    pub(super) remote: SocketAddr,
    /// The address of ours that it came to.
    pub(super) local: SocketAddr,
    /// What a page of ours has in front of its address: `http://` or `https://`.
    pub(super) scheme: &'static str,
    /// The names in its certificate, which has been checked; nothing when it showed none.
    pub(super) names: Option<PeerNames>,
}

impl Peer {
    /// A connection in clear text.
    pub(super) fn plain(remote: SocketAddr, local: SocketAddr) -> Self {
        Self {
            remote,
            local,
            scheme: "http://",
            names: None,
        }
    }

    /// The same connection over TLS, with what its certificate says.
    pub(super) fn secured(self, names: Option<PeerNames>) -> Self {
        Self {
            scheme: "https://",
            names,
            ..self
        }
    }

    /// Its address without the port; IPv4 inside IPv6 as IPv4.
    pub(super) fn ip(&self) -> IpAddr {
        self.remote.ip().to_canonical()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.remote.fmt(f)
    }
}
