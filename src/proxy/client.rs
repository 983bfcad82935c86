//! Who is asking: the client's address, and what backends are told of it.

use std::net::IpAddr;

use http::header::{HeaderMap, HeaderValue, VIA};
use ipnet::IpNet;

use super::fields::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use super::spec::ForwardingSpec;

/// Our name in `Via`; what comes before it is the version that the request came in.
const VIA_US: HeaderValue = HeaderValue::from_static("1.1 switchback");
/// Addresses of `X-Forwarded-For` that are looked at, from the right.
const MAX_HOPS: usize = 32;

/// What backends are told about clients.
#[derive(Clone, Debug)]
pub(super) struct Forwarding {
    x_forwarded: bool,
    via: bool,
    trusted: Box<[IpNet]>,
}

impl Forwarding {
    pub(super) fn new(spec: &ForwardingSpec) -> Self {
        Self {
            x_forwarded: spec.x_forwarded,
            via: spec.via,
            trusted: spec.trusted_proxies.as_slice().into(),
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted
            .iter()
            .any(|network| network.contains(&address))
    }

    /// The client's address: the peer's, or what trusted proxies tell, the nearest address
    /// that is not one of theirs.
    pub(super) fn client(&self, peer: IpAddr, fields: &HeaderMap) -> IpAddr {
        if self.trusted.is_empty() || !self.trusts(peer) {
            return peer;
        }
        let values = fields.get_all(X_FORWARDED_FOR).iter().collect::<Vec<_>>();
        let hops = values
            .iter()
            .rev()
            .flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
        let mut client = peer;
        for hop in hops.take(MAX_HOPS) {
            let Some(address) = std::str::from_utf8(hop)
                .ok()
                .and_then(|text| text.trim().parse().ok())
            else {
                break;
            };
            client = address;
            if !self.trusts(address) {
                break;
            }
        }
        client
    }

    /// What is believed of the forwarding fields that a request came with.
    pub(super) fn believed(&self, peer: &Peer, fields: &HeaderMap) -> Came {
        if self.trusts(peer.address) {
            Came::read(fields)
        } else {
            Came::default()
        }
    }

    /// Writes the forwarding fields of a request into those that go to the backend.
    pub(super) fn write(
        &self,
        peer: &Peer,
        believed: Came,
        host: &HeaderValue,
        sent: &mut HeaderMap,
    ) {
        if self.via {
            sent.append(VIA, VIA_US);
        }
        if !self.x_forwarded {
            for name in [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST] {
                sent.remove(name);
            }
            return;
        }
        let chain = match believed.chain {
            Some(chain) => {
                HeaderValue::from_bytes(&[&chain[..], b", ", peer.text.as_bytes()].concat())
                    .unwrap_or_else(|_| peer.text.clone())
            }
            None => peer.text.clone(),
        };
        sent.insert(X_FORWARDED_FOR, chain);
        sent.insert(
            X_FORWARDED_PROTO,
            believed.proto.unwrap_or(HeaderValue::from_static("http")),
        );
        sent.insert(
            X_FORWARDED_HOST,
            believed.host.unwrap_or_else(|| host.clone()),
        );
    }
}

/// The forwarding fields that a request came with.
#[derive(Clone, Debug, Default)]
pub(super) struct Came {
    chain: Option<Vec<u8>>,
    proto: Option<HeaderValue>,
    host: Option<HeaderValue>,
}

impl Came {
    /// Reads the fields, if there are any.
    fn read(fields: &HeaderMap) -> Self {
        let mut chain: Option<Vec<u8>> = None;
        for value in fields.get_all(X_FORWARDED_FOR) {
            match &mut chain {
                Some(chain) => chain.extend([b", ", value.as_bytes()].concat()),
                None => chain = Some(value.as_bytes().to_vec()),
            }
        }
        Self {
            chain,
            proto: fields.get(X_FORWARDED_PROTO).cloned(),
            host: fields.get(X_FORWARDED_HOST).cloned(),
        }
    }
}

/// The other end of a connection, its address already written out.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) address: IpAddr,
    text: HeaderValue,
}

impl Peer {
    pub(super) fn new(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let text = HeaderValue::from_str(&address.to_string());
        Self {
            address,
            text: text.unwrap_or(HeaderValue::from_static("unknown")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarding(trusted: &[&str]) -> Forwarding {
        Forwarding::new(&ForwardingSpec {
            trusted_proxies: trusted.iter().map(|net| net.parse().unwrap()).collect(),
            ..ForwardingSpec::default()
        })
    }

    fn came(chain: &str) -> HeaderMap {
        HeaderMap::from_iter([(X_FORWARDED_FOR, chain.parse().unwrap())])
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn nobody_is_believed_by_default() {
        assert_eq!(
            forwarding(&[]).client(ip("9.9.9.9"), &came("1.1.1.1")),
            ip("9.9.9.9")
        );
    }

    #[test]
    fn the_nearest_untrusted_address_is_the_client() {
        let forwarding = forwarding(&["10.0.0.0/8"]);

        assert_eq!(
            forwarding.client(ip("10.0.0.1"), &came("6.6.6.6, 1.1.1.1, 10.2.2.2")),
            ip("1.1.1.1")
        );
        assert_eq!(
            forwarding.client(ip("10.0.0.1"), &came("rubbish, 10.2.2.2")),
            ip("10.2.2.2")
        );
        assert_eq!(
            forwarding.client(ip("11.0.0.1"), &came("1.1.1.1")),
            ip("11.0.0.1")
        );
    }

    #[test]
    fn the_chain_is_extended_for_trusted_peers_and_replaced_for_others() {
        let host = HeaderValue::from_static("h");
        let written = |peer: &str| {
            let mut sent = HeaderMap::new();
            let fields = came("1.1.1.1");
            let (forwarding, peer) = (forwarding(&["10.0.0.0/8"]), Peer::new(ip(peer)));
            forwarding.write(&peer, forwarding.believed(&peer, &fields), &host, &mut sent);
            sent[X_FORWARDED_FOR].to_str().unwrap().to_owned()
        };

        assert_eq!(written("10.0.0.1"), "1.1.1.1, 10.0.0.1");
        assert_eq!(written("11.0.0.1"), "11.0.0.1");
    }
}
