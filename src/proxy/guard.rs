//! Who is let in: at a listener before a byte is read, at a route before anything is decided.

use std::net::IpAddr;
use std::rc::Rc;

use http::header::HeaderMap;

use crate::access::address::AddressRules;
use crate::stats::AuthResult;

use super::auth::{Auth, Principal};
use super::client::{Client, Peer};
use super::error::ProxyError;
use super::snapshot::RouteBlueprint;
use super::view::{RouteView, View};
use super::worker::Worker;

/// What a route asks of its callers.
#[derive(Debug)]
pub(super) struct Guard {
    addresses: Option<AddressRules>,
    auth: Option<Auth>,
}

impl Guard {
    /// The guard of a route, or nothing where everybody is let in.
    pub(super) fn new(blueprint: &RouteBlueprint) -> Option<Box<Self>> {
        let spec = &blueprint.spec;
        let addresses = AddressRules::new(spec.allow.as_deref(), &spec.deny);
        let keys = || blueprint.keys.clone().unwrap_or_default();
        let auth = spec.auth.as_ref();
        let auth = auth.map(|auth| Auth::new(auth, &spec.sticky, keys()));
        let asks = addresses.is_some() || auth.is_some();
        asks.then(|| Box::new(Self { addresses, auth }))
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

/// Lets a request in, and makes of its fields what a backend may see of them; or says why not.
/// Whom a token stands for is told, where the route asks for one.
///
/// # Errors
/// [`ProxyError::Address`] when the client's address is not let in, [`ProxyError::Auth`] when
/// its token is not.
pub(super) fn check(
    worker: &Worker,
    route: &RouteView,
    peer: &Peer,
    fields: &mut HeaderMap,
) -> Result<Option<Rc<Principal>>, ProxyError> {
    let Some(guard) = &route.route().guard else {
        return Ok(None);
    };
    check_address(guard, route, peer, fields)?;
    let Some(auth) = &guard.auth else {
        return Ok(None);
    };
    let admitted = auth.admit(fields, worker.tokens());
    let result = match &admitted {
        Ok(_) => AuthResult::Admitted,
        Err(ProxyError::Auth { result, .. }) => *result,
        Err(_) => AuthResult::Malformed,
    };
    if let Some(stats) = route.gate_stats() {
        stats.count_auth(result);
    }
    admitted.map(Some)
}

/// Whether the client's address is one that the route is open to.
///
/// # Errors
/// [`ProxyError::Address`] when it is not.
pub(super) fn check_route_address(
    route: &RouteView,
    peer: &Peer,
    fields: &HeaderMap,
) -> Result<(), ProxyError> {
    match &route.route().guard {
        Some(guard) => check_address(guard, route, peer, fields),
        None => Ok(()),
    }
}

fn check_address(
    guard: &Guard,
    route: &RouteView,
    peer: &Peer,
    fields: &HeaderMap,
) -> Result<(), ProxyError> {
    if guard.addresses.is_none() {
        return Ok(());
    }
    let client = route.snapshot().forwarding.client(peer.address, fields);
    if guard.admits(client) {
        return Ok(());
    }
    if let Some(stats) = route.gate_stats() {
        stats.refuse_address();
    }
    Err(ProxyError::Address)
}
