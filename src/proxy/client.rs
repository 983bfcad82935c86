//! Who is asking: the client's address, and what backends are told of it.

use std::net::IpAddr;
use std::rc::Rc;

use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue, VIA};

use crate::access::address::AddressSet;
use crate::access::spec::Network;
use crate::upstream::{Asker, Told};

use super::fields::{Word, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use super::hops;
use super::spec::{ClientFieldSpec, ForwardingSpec};

/// Our name in `Via`; what comes before it is the version that the request came in.
const VIA_US: HeaderValue = HeaderValue::from_static("1.1 switchback");
/// Addresses of a chain of proxies that are looked at, from the right.
const MAX_HOPS: usize = 32;

/// What backends are told about clients.
#[derive(Clone, Debug)]
pub(super) struct Forwarding {
    x_forwarded: bool,
    via: bool,
    client_field: ClientFieldSpec,
    trusted: AddressSet,
}

/// Where a request comes from, as far as that can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// From this address.
    At(IpAddr),
    /// From somewhere beyond this trusted proxy, whose own word on it cannot be read.
    Beyond(IpAddr),
}

impl Client {
    /// The address, or the nearest that is known.
    pub(super) fn address(self) -> IpAddr {
        match self {
            Self::At(address) | Self::Beyond(address) => address,
        }
    }
}

impl Forwarding {
    pub(super) fn new(spec: &ForwardingSpec) -> Self {
        let trusted = spec.trusted_proxies.iter().copied();
        Self {
            x_forwarded: spec.x_forwarded,
            via: spec.via,
            client_field: spec.client_field,
            trusted: AddressSet::new(trusted.map(Network::from)),
        }
    }

    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        !self.trusted.is_empty() && self.trusted.contains(address)
    }

    /// Where a request comes from: the peer's address, or what trusted proxies tell, the nearest
    /// address that is not one of theirs. What is further away is a stranger's word, and
    /// never looked at.
    pub(super) fn client(&self, peer: IpAddr, fields: &HeaderMap) -> Client {
        if !self.trusts(peer) {
            return Client::At(peer);
        }
        let (name, read): (_, fn(&[u8]) -> _) = match self.client_field {
            ClientFieldSpec::XForwardedFor => (X_FORWARDED_FOR, hops::plain),
            ClientFieldSpec::Forwarded => (FORWARDED, hops::forwarded),
        };
        let values = fields.get_all(name).iter().rev();
        let hops = values
            .flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            // An empty element of a list says nothing (RFC 9110, 5.6.1), but is counted.
            .enumerate()
            .filter(|(_, hop)| !hop.is_empty());
        let mut client = peer;
        for (place, hop) in hops {
            let address = if place < MAX_HOPS { read(hop) } else { None };
            let Some(address) = address else {
                return Client::Beyond(client);
            };
            client = address.to_canonical();
            if !self.trusts(client) {
                break;
            }
        }
        Client::At(client)
    }

    /// What a peer's word is worth.
    pub(super) fn word_of(&self, peer: &Peer) -> Word {
        if self.trusts(peer.address) {
            Word::Believed
        } else {
            Word::Doubted
        }
    }

    /// What is believed of the forwarding fields that a request came with.
    pub(super) fn believed(&self, peer: &Peer, fields: &HeaderMap) -> Came {
        if self.trusts(peer.address) {
            Came::read(fields, self.client_field)
        } else {
            Came::default()
        }
    }

    /// Writes the forwarding fields of a request into those that go to the backend, or says what is
    /// to be told beside them.
    pub(super) fn write(
        &self,
        peer: &Peer,
        believed: Came,
        host: &HeaderValue,
        sent: &mut HeaderMap,
    ) -> Option<Told> {
        if self.via {
            sent.append(VIA, VIA_US);
        }
        let says_nothing = believed.says_nothing();
        if let Some(mut chain) = believed.forwarded {
            let hop = match peer.address {
                IpAddr::V4(v4) => format!(", for={v4}"),
                IpAddr::V6(v6) => format!(", for=\"[{v6}]\""),
            };
            chain.extend_from_slice(hop.as_bytes());
            if let Ok(chain) = HeaderValue::from_bytes(&chain) {
                sent.insert(FORWARDED, chain);
            }
        }
        if !self.x_forwarded {
            for name in [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST] {
                sent.remove(name);
            }
            return None;
        }
        if says_nothing {
            return Some(Told::new(&peer.asker, host));
        }
        let address = peer.asker.address();
        let chain = match believed.chain {
            Some(chain) => {
                HeaderValue::from_bytes(&[&chain[..], b", ", address.as_bytes()].concat())
                    .unwrap_or_else(|_| address.clone())
            }
            None => address.clone(),
        };
        sent.insert(X_FORWARDED_FOR, chain);
        sent.insert(
            X_FORWARDED_PROTO,
            believed
                .proto
                .unwrap_or_else(|| peer.asker.scheme().clone()),
        );
        sent.insert(
            X_FORWARDED_HOST,
            believed.host.unwrap_or_else(|| host.clone()),
        );
        None
    }
}

/// The forwarding fields that a request came with.
#[derive(Clone, Debug, Default)]
pub(super) struct Came {
    chain: Option<Vec<u8>>,
    proto: Option<HeaderValue>,
    host: Option<HeaderValue>,
    forwarded: Option<Vec<u8>>,
}

impl Came {
    /// Whether none of the fields came that are rewritten with what is known here.
    fn says_nothing(&self) -> bool {
        self.chain.is_none() && self.proto.is_none() && self.host.is_none()
    }

    /// Reads the fields, if there are any. `Forwarded` counts only where proxies write it:
    /// whoever passes on what a stranger wrote would vouch for it.
    fn read(fields: &HeaderMap, client_field: ClientFieldSpec) -> Self {
        Self {
            chain: joined(fields, &X_FORWARDED_FOR),
            proto: fields.get(X_FORWARDED_PROTO).cloned(),
            host: fields.get(X_FORWARDED_HOST).cloned(),
            forwarded: match client_field {
                ClientFieldSpec::Forwarded => joined(fields, &FORWARDED),
                ClientFieldSpec::XForwardedFor => None,
            },
        }
    }
}

/// All values of a field as one list.
fn joined(fields: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let mut values = fields.get_all(name).iter().map(HeaderValue::as_bytes);
    let mut list = values.next()?.to_vec();
    for value in values {
        list.extend_from_slice(b", ");
        list.extend_from_slice(value);
    }
    Some(list)
}

/// The other end of a connection, its address already written out.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) address: IpAddr,
    /// The same as backends are told.
    asker: Rc<Asker>,
}

impl Peer {
    /// The other end of a connection that speaks `http` or `https`.
    pub(super) fn new(address: IpAddr, scheme: &'static str) -> Self {
        let address = address.to_canonical();
        let text = HeaderValue::from_str(&address.to_string());
        let text = text.unwrap_or(HeaderValue::from_static("unknown"));
        let asker = Asker::new(text, HeaderValue::from_static(scheme));
        Self {
            address,
            asker: Rc::new(asker),
        }
    }
}

#[cfg(test)]
mod tests;
