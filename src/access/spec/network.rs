//! Networks, as lists of addresses name them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::Problems;

/// Most networks of one list.
pub const MAX_NETWORKS: usize = 1024;

/// One address, or a network such as `10.0.0.0/8`, of which no address is written in two ways:
/// IPv4 inside IPv6 (`::ffff:10.0.0.0/104`) is IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(IpNet);

impl Network {
    /// The network with what is IPv4 written as IPv4.
    pub fn net(self) -> IpNet {
        self.0
    }
}

impl From<IpNet> for Network {
    fn from(net: IpNet) -> Self {
        let mapped = match net.trunc() {
            IpNet::V6(v6) if v6.prefix_len() >= 96 => v6
                .addr()
                .to_ipv4_mapped()
                .and_then(|v4| Ipv4Net::new(v4, v6.prefix_len() - 96).ok()),
            IpNet::V4(_) | IpNet::V6(_) => None,
        };
        Self(mapped.map_or(net.trunc(), IpNet::V4))
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::from(IpNet::from(address)));
        }
        let wrong =
            || format!("`{text}` is not a network: an address, such as 10.0.0.7 or 10.0.0.0/8");
        let net: IpNet = text.parse().map_err(|_| wrong())?;
        if net.trunc() != net {
            // Whoever wrote it may have meant one address, or another length.
            return Err(format!(
                "`{text}` has an address beyond its length: write `{}` for the network",
                net.trunc()
            ));
        }
        Ok(Self::from(net))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(Error::custom)
    }
}

impl schemars::JsonSchema for Network {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "One address, or a network, such as `10.0.0.7`, `10.0.0.0/8` or `fd00::/8`."
        })
    }
}

/// What is wrong with lists of who is let in and who is not: the name of the field and a
/// sentence, each.
pub fn address_problems(allow: Option<&[Network]>, deny: &[Network]) -> Vec<(String, String)> {
    let mut problems = Problems::default();
    if allow.is_some_and(<[_]>::is_empty) {
        problems.add("allow", "the list is empty, so that nobody would be let in");
    }
    for (field, list) in [("allow", allow.unwrap_or_default()), ("deny", deny)] {
        if list.len() > MAX_NETWORKS {
            let message = format!("a list has at most {MAX_NETWORKS} networks");
            problems.add(field, message);
        }
    }
    problems.into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        text.parse::<Network>().map(|network| network.to_string())
    }

    #[test]
    fn an_address_is_a_network_of_one() {
        assert_eq!(read("10.0.0.7").unwrap(), "10.0.0.7/32");
        assert_eq!(read("::1").unwrap(), "::1/128");
        assert_eq!(read("fd00::/8").unwrap(), "fd00::/8");
    }

    #[test]
    fn ipv4_inside_ipv6_is_ipv4() {
        assert_eq!(read("::ffff:10.0.0.7").unwrap(), "10.0.0.7/32");
        assert_eq!(read("::ffff:10.0.0.0/104").unwrap(), "10.0.0.0/8");
        assert_eq!(read("::/0").unwrap(), "::/0");
    }

    #[test]
    fn what_could_be_meant_otherwise_is_refused() {
        for text in [
            "10.0.0.1/8",
            "fd00::1/8",
            "10.0.0.0/33",
            "10.0.0",
            "",
            "any",
            "10.0.0.0/",
            " 10.0.0.0/8",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read("10.1.2.3/8").unwrap_err().contains("`10.0.0.0/8`"));
    }
}
