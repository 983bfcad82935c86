//! Who is let in: at a listener before a byte is read, at a route before anything is decided.

use std::net::IpAddr;

use http::header::HeaderMap;

use crate::access::address::AddressRules;

use super::client::{Client, Peer};
use super::error::ProxyError;
use super::spec::RouteSpec;
use super::view::{RouteView, View};

/// What a route asks of its callers.
#[derive(Debug)]
pub(super) struct Guard {
    addresses: Option<AddressRules>,
}

impl Guard {
    /// The guard of a route, or nothing where everybody is let in.
    pub(super) fn new(spec: &RouteSpec) -> Option<Box<Self>> {
        let addresses = AddressRules::new(spec.allow.as_deref(), &spec.deny);
        addresses.is_some().then(|| Box::new(Self { addresses }))
    }

    /// Whether the client's address is let in. One that cannot be told is not.
    fn admits(&self, client: Client) -> bool {
        match (&self.addresses, client) {
            (None, _) => true,
            (Some(rules), Client::At(address)) => rules.admits(address),
            (Some(_), Client::Beyond(_)) => false,
        }
    }
}

/// Whether a connection from this address is let in by the listener at this place of the list
/// that the process was started with.
pub(super) fn admits_connection(view: &View, listener: usize, peer: IpAddr) -> bool {
    let Some(door) = view.snapshot.doors.get(listener) else {
        return true;
    };
    let refused = door.rules.as_ref().is_some_and(|rules| !rules.admits(peer));
    if refused && let Some(stats) = view.door_stats(listener) {
        stats.refuse_address();
    }
    !refused
}

/// Lets a request in, or says why not.
///
/// # Errors
/// [`ProxyError::Address`] when the client's address is not let in.
pub(super) fn check(route: &RouteView, peer: &Peer, fields: &HeaderMap) -> Result<(), ProxyError> {
    let Some(guard) = &route.route().guard else {
        return Ok(());
    };
    let client = route.snapshot().forwarding.client(peer.address, fields);
    if !guard.admits(client) {
        if let Some(stats) = route.gate_stats() {
            stats.refuse_address();
        }
        return Err(ProxyError::Address);
    }
    Ok(())
}
