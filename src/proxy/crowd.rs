//! How many event streams one client holds open: those that end only when somebody ends them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Method;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::mcp;
use crate::model::Limit;

use super::error::ProxyError;
use super::pipeline::Subject;
use super::places;
use super::rehome::Asks;
use super::view::RouteView;
use super::worker::Worker;

/// The open streams of every client, over all workers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Crowd(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    most: u32,
    /// Secret, so that nobody can choose whom they are taken for.
    hashes: RandomState,
    /// Looked at only when a stream opens or ends.
    open: Mutex<HashMap<u64, u32>>,
}

/// A client's stream, counted with their others while this is held.
#[derive(Debug)]
pub(super) struct Seat {
    counts: Arc<Counts>,
    client: u64,
}

impl Crowd {
    /// Nobody yet, where each may have so many.
    pub fn new(most: u32) -> Self {
        Self(Arc::new(Counts {
            most,
            hashes: RandomState::new(),
            open: Mutex::default(),
        }))
    }

    /// A place for one more stream of this client.
    fn seat(&self, client: u64) -> Option<Seat> {
        let mut counts = self.0.lock();
        let open = counts.entry(client).or_insert(0);
        if *open >= self.0.most {
            return None;
        }
        *open += 1;
        Some(Seat {
            counts: Arc::clone(&self.0),
            client,
        })
    }

    /// Who counts as one client: whom the token stands for, else the address.
    fn client(&self, owner: Option<&str>, address: IpAddr) -> u64 {
        match owner {
            Some(owner) => self.0.hashes.hash_one(owner),
            None => self.0.hashes.hash_one(places::whole(address)),
        }
    }
}

impl Counts {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, u32>> {
        // A number is whole whatever happened to whoever held the lock.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        if let Some(open) = counts.get_mut(&self.client) {
            *open -= 1;
            if *open == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

/// Gives a request the place of the stream that it asks for, and notes whose the session is that it
/// opens.
///
/// # Errors
/// [`ProxyError::Crowded`] when its client has as many streams as they may have.
pub(super) fn let_in(
    worker: &Worker,
    (route, subject): (&RouteView, &mut Subject),
    asks: Asks<'_>,
) -> Result<(), ProxyError> {
    subject.seat = seat(worker, (route, subject), asks)?;
    subject.opener = opener(route, subject, asks);
    Ok(())
}

/// A place for the stream that a request asks for, if it asks for one.
fn seat(
    worker: &Worker,
    (route, subject): (&RouteView, &Subject),
    asks: Asks<'_>,
) -> Result<Option<Seat>, ProxyError> {
    if !route.is_mcp() || !asks_for_stream(subject) {
        return Ok(None);
    }
    take(worker, client_of(worker, route, asks)).map(Some)
}

fn take(worker: &Worker, client: u64) -> Result<Seat, ProxyError> {
    worker.shared().crowd.seat(client).ok_or_else(|| {
        Limit::StreamsPerClient.hit();
        ProxyError::Crowded
    })
}

/// Who asks, among those who have streams.
pub(super) fn client_of(worker: &Worker, route: &RouteView, asks: Asks<'_>) -> u64 {
    let peer = asks.downstream.peer.address;
    let client = route.snapshot().forwarding.client(peer, asks.fields);
    let owner = asks.principal.map(|principal| &*principal.owner);
    worker.shared().crowd.client(owner, client.address())
}

/// The same as [`let_in`] where it was not known before the answer what was asked for.
///
/// # Errors
/// [`ProxyError::Crowded`] in the same way: the stream ends before it is passed on.
pub(super) fn let_in_late(worker: &Worker, subject: &mut Subject) -> Result<(), ProxyError> {
    let late = subject.late.as_ref();
    let client = late.and_then(|coming| coming.client);
    if let Some(client) = client.filter(|_| subject.seat.is_none() && asks_for_stream(subject)) {
        subject.seat = Some(take(worker, client)?);
    }
    Ok(())
}

/// Whose the session is that a request opens: whom the token stands for, else the address. The same in
/// the next process, and nobody who finds it written down can tell from it who that is.
fn opener(route: &RouteView, subject: &Subject, asks: Asks<'_>) -> u64 {
    let facts = subject.facts.as_ref();
    if !facts.is_some_and(|facts| facts.opens_session()) {
        return 0;
    }
    let secret = route.route().family;
    if let Some(principal) = asks.principal {
        return xxh3_64_with_seed(principal.owner.as_bytes(), secret);
    }
    let peer = asks.downstream.peer.address;
    let client = route.snapshot().forwarding.client(peer, asks.fields);
    let address = places::whole(client.address()).to_string();
    xxh3_64_with_seed(address.as_bytes(), secret)
}

fn asks_for_stream(subject: &Subject) -> bool {
    let listens = || {
        let facts = subject.facts.as_ref();
        facts.is_some_and(|facts| facts.method == mcp::Method::SubscriptionsListen)
    };
    subject.method == Method::GET || listens()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_so_many_places_and_gets_them_back() {
        let crowd = Crowd::new(2);
        let address = |text: &str| crowd.client(None, text.parse().unwrap());
        let (one, other) = (address("10.0.0.1"), address("10.0.0.2"));

        let first = crowd.seat(one).unwrap();
        let _second = crowd.seat(one).unwrap();
        assert!(crowd.seat(one).is_none());
        assert!(crowd.seat(other).is_some());
        drop(first);

        assert!(crowd.seat(one).is_some());
        assert_eq!(crowd.0.lock().len(), 1, "nobody is remembered for nothing");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client_and_an_owner_whoever_has_the_token() {
        let crowd = Crowd::new(1);
        let of = |owner, address: &str| crowd.client(owner, address.parse().unwrap());

        assert_eq!(of(None, "2001:db8::1"), of(None, "2001:db8::2"));
        assert_ne!(of(None, "2001:db8::1"), of(None, "2001:db8:0:1::1"));
        assert_eq!(of(Some("ann"), "10.0.0.1"), of(Some("ann"), "10.0.0.2"));
        assert_ne!(of(Some("ann"), "10.0.0.1"), of(Some("bob"), "10.0.0.1"));
    }
}
