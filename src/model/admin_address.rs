//! Where the admin API is: a port, or a socket in the file system.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What an address in the file system begins with.
const UNIX: &str = "unix:";

/// Where the admin API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// At an address and a port.
    Port(SocketAddr),
    /// At a socket with this path, which is open to one user.
    Path(PathBuf),
}

/// The text is neither an address and a port nor `unix:` and a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an address such as 127.0.0.1:9900, nor a path such as unix:/run/switchback/admin.sock"
)]
pub struct AdminAddressError;

impl AdminAddress {
    /// Whether nobody on another machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Port(address) => address.ip().to_canonical().is_loopback(),
            Self::Path(_) => true,
        }
    }

    /// The port, if it is one.
    pub fn port(&self) -> Option<SocketAddr> {
        match self {
            Self::Port(address) => Some(*address),
            Self::Path(_) => None,
        }
    }
}

impl FromStr for AdminAddress {
    type Err = AdminAddressError;

    fn from_str(text: &str) -> Result<Self, AdminAddressError> {
        match text.strip_prefix(UNIX) {
            Some(path) if path.is_empty() || path.contains('\0') => Err(AdminAddressError),
            Some(path) => Ok(Self::Path(path.into())),
            None => text.parse().map(Self::Port).map_err(|_| AdminAddressError),
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(address) => address.fmt(f),
            Self::Path(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl Serialize for AdminAddress {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AdminAddress {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_port_or_a_path() {
        for text in [
            "127.0.0.1:9900",
            "[::1]:9900",
            "unix:/run/a.sock",
            "unix:a.sock",
        ] {
            let address: AdminAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert!(address.is_local());
        }
        for text in [
            "",
            "unix:",
            "unix:a\0b",
            "9900",
            "localhost:9900",
            "/run/a.sock",
        ] {
            assert_eq!(
                text.parse::<AdminAddress>(),
                Err(AdminAddressError),
                "{text}"
            );
        }
        assert!(!"0.0.0.0:9900".parse::<AdminAddress>().unwrap().is_local());
    }
}
