//! Who is at the other end of a connection, as far as the connection tells.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::tls::PeerNames;

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Where it is.
    pub(super) remote: Remote,
    /// The address of ours that it came to.
    pub(super) local: SocketAddr,
    /// What a page of ours has in front of its address: `http://` or `https://`.
    pub(super) scheme: &'static str,
    /// The names in its certificate, which has been checked; nothing when it showed none.
    pub(super) names: Option<PeerNames>,
}

/// Where a caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remote {
    /// At this address.
    Address(SocketAddr),
    /// On this machine, as this user, who could open the API's socket.
    User(u32),
}

impl Peer {
    /// A connection in clear text.
    pub(super) fn plain(remote: SocketAddr, local: SocketAddr) -> Self {
        Self {
            remote: Remote::Address(remote),
            local,
            scheme: "http://",
            names: None,
        }
    }

    /// A connection to the API's path.
    pub(super) fn user(user: u32) -> Self {
        Self {
            remote: Remote::User(user),
            local: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
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

    /// Its address without the port; IPv4 inside IPv6 as IPv4. A user of this machine has that of
    /// loopback.
    pub(super) fn ip(&self) -> IpAddr {
        match self.remote {
            Remote::Address(address) => address.ip().to_canonical(),
            Remote::User(_) => Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// Where it is, without what changes from call to call.
    pub(super) fn place(&self) -> String {
        match self.remote {
            Remote::Address(_) => self.ip().to_string(),
            Remote::User(user) => format!("uid {user}"),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.remote {
            Remote::Address(address) => address.fmt(f),
            Remote::User(user) => write!(f, "unix:uid={user}"),
        }
    }
}
