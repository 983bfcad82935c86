//! How much the process takes on at once: places that all workers share.
//!
//! A bound of the whole process, kept without a lock: a worker holds a few places at hand and
//! goes to the shared number only when it has none, or too many.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::listener::{BufferBudget, Buffered};

/// Most places that a worker keeps at hand.
const AT_HAND: u64 = 32;

/// The bounds of the process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Caps {
    shared: Arc<SharedCaps>,
    buffered: BufferBudget,
    workers: usize,
}

/// How much the process takes on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapSizes {
    /// Open connections from downstream.
    pub connections: u32,
    /// Requests under way.
    pub requests: u32,
    /// Open connections from one address, if that is bounded.
    pub connections_per_client: Option<u32>,
    /// Bytes of answers that clients have not read.
    pub buffered_bytes: u64,
}

#[derive(Debug)]
struct SharedCaps {
    sizes: CapSizes,
    connections: AtomicU64,
    requests: AtomicU64,
    /// Workers that have somebody at the door and no place.
    waiting: AtomicU32,
    /// Connections by address; looked at only when one comes or goes, and only if it is bounded.
    clients: Mutex<HashMap<IpAddr, u32>>,
}

impl Caps {
    /// The bounds over so many workers, with nothing taken.
    pub fn new(sizes: CapSizes, workers: usize) -> Self {
        let shared = SharedCaps {
            sizes,
            connections: AtomicU64::new(sizes.connections.into()),
            requests: AtomicU64::new(sizes.requests.into()),
            waiting: AtomicU32::new(0),
            clients: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
            buffered: BufferBudget::new(sizes.buffered_bytes, workers),
            workers,
        }
    }

    /// The part of all places for connections that is taken, or at hand of a worker.
    pub fn connections_taken(&self) -> f64 {
        taken(&self.shared.connections, self.shared.sizes.connections)
    }

    /// The same of requests.
    pub fn requests_taken(&self) -> f64 {
        taken(&self.shared.requests, self.shared.sizes.requests)
    }

    /// What one worker has of it.
    pub(super) fn of_worker(&self, number: usize) -> OfWorker {
        OfWorker {
            connections: Places::new(self, Of::Connections),
            requests: Places::new(self, Of::Requests),
            left: Notify::new(),
            buffered: self.buffered.of_worker(number),
        }
    }

    /// Whether some worker has somebody at the door and no place.
    pub(super) fn is_wanted(&self) -> bool {
        self.shared.waiting.load(Ordering::Relaxed) > 0
    }

    /// Somebody waits at the door while this is held.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(&self.shared.waiting)
    }

    /// Lets a client in, unless it has as many connections as it may have.
    pub(super) fn let_in(&self, client: IpAddr) -> Option<Guest> {
        let Some(most) = self.shared.sizes.connections_per_client else {
            return Some(Guest(None));
        };
        let client = whole(client);
        let mut clients = self.shared.lock();
        let open = clients.entry(client).or_insert(0);
        if *open >= most {
            return None;
        }
        *open += 1;
        Some(Guest(Some((Arc::clone(&self.shared), client))))
    }
}

fn taken(free: &AtomicU64, all: u32) -> f64 {
    let all = f64::from(all.max(1));
    1.0 - (free.load(Ordering::Relaxed) as f64 / all).min(1.0)
}

impl SharedCaps {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, u32>> {
        // A number is whole whatever happened to whoever held the lock.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who counts as one client: of IPv6 the network that one customer gets.
pub(super) fn whole(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
        short @ IpAddr::V4(_) => short,
    }
}

/// Somebody waits at the door.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a AtomicU32);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A client's connection, counted with its others while this is held.
#[derive(Debug)]
pub(super) struct Guest(Option<(Arc<SharedCaps>, IpAddr)>);

impl Drop for Guest {
    fn drop(&mut self) {
        let Some((shared, client)) = self.0.take() else {
            return;
        };
        let mut clients = shared.lock();
        if let Some(open) = clients.get_mut(&client) {
            *open -= 1;
            if *open == 0 {
                clients.remove(&client);
            }
        }
    }
}

/// What one worker has of the bounds.
#[derive(Debug)]
pub(super) struct OfWorker {
    pub(super) connections: Places,
    pub(super) requests: Places,
    /// A connection has left.
    pub(super) left: Notify,
    pub(super) buffered: Rc<Buffered>,
}

/// Which of the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Connections,
    Requests,
}

/// The places of one kind that one worker takes and gives back.
#[derive(Debug)]
pub(super) struct Places {
    shared: Arc<SharedCaps>,
    of: Of,
    at_hand: Cell<u64>,
    /// How many are fetched and brought back at a time. With few places or many workers, one:
    /// what a worker holds, no other can use.
    batch: u64,
}

impl Places {
    fn new(caps: &Caps, of: Of) -> Self {
        let size = match of {
            Of::Connections => caps.shared.sizes.connections,
            Of::Requests => caps.shared.sizes.requests,
        };
        let share = u64::from(size) / (16 * caps.workers.max(1) as u64);
        Self {
            shared: Arc::clone(&caps.shared),
            of,
            at_hand: Cell::new(0),
            batch: share.min(AT_HAND),
        }
    }

    /// Takes a place, if one is free.
    pub(super) fn take(&self) -> bool {
        let at_hand = self.at_hand.get();
        if at_hand > 0 {
            self.at_hand.set(at_hand - 1);
            return true;
        }
        let fetched = self.fetch();
        self.at_hand.set(fetched.saturating_sub(1));
        fetched > 0
    }

    /// Gives a place back.
    pub(super) fn give(&self) {
        let at_hand = self.at_hand.get() + 1;
        if at_hand > 2 * self.batch {
            self.at_hand.set(self.batch);
            self.free()
                .fetch_add(at_hand - self.batch, Ordering::Relaxed);
        } else {
            self.at_hand.set(at_hand);
        }
    }

    /// Fetches some, as far as there are any.
    fn fetch(&self) -> u64 {
        let wanted = self.batch.max(1);
        let left = |free: u64| (free > 0).then(|| free.saturating_sub(wanted));
        let before = self
            .free()
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        before.map_or(0, |free| free.min(wanted))
    }

    fn free(&self) -> &AtomicU64 {
        match self.of {
            Of::Connections => &self.shared.connections,
            Of::Requests => &self.shared.requests,
        }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.free().fetch_add(self.at_hand.get(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(requests: u32, per_client: Option<u32>) -> Caps {
        let sizes = CapSizes {
            connections: 1,
            requests,
            connections_per_client: per_client,
            buffered_bytes: 0,
        };
        Caps::new(sizes, 4)
    }

    #[test]
    fn there_are_never_more_taken_than_there_are() {
        for size in [1, 2, 10, 100, 1000, 10_000] {
            let caps = caps(size, None);
            let workers: Vec<_> = (0..4).map(|_| Places::new(&caps, Of::Requests)).collect();

            let taken = (0..5 * size as usize)
                .filter(|n| workers[n % 4].take())
                .count();

            assert!(taken <= size as usize);
            assert_eq!(taken, size as usize, "and every one of them can be");
        }
    }

    #[test]
    fn what_one_worker_keeps_at_hand_is_a_small_part() {
        let caps = caps(1000, None);
        let (idle, busy) = (
            Places::new(&caps, Of::Requests),
            Places::new(&caps, Of::Requests),
        );
        (0..200).for_each(|_| assert!(idle.take()));
        (0..200).for_each(|_| idle.give());

        let taken = (0..1000).filter(|_| busy.take()).count();

        assert!(taken >= 900, "{taken}");
    }

    #[test]
    fn places_come_back() {
        let caps = caps(3, None);
        let places = Places::new(&caps, Of::Requests);
        for _ in 0..100 {
            assert!(places.take() && places.take() && places.take() && !places.take());
            (0..3).for_each(|_| places.give());
        }
    }

    #[test]
    fn a_client_has_so_many_connections_and_no_more() {
        let caps = caps(1, Some(2));
        let address = |text: &str| text.parse::<IpAddr>().unwrap();

        let first = caps.let_in(address("10.0.0.1"));
        let second = caps.let_in(address("::ffff:10.0.0.1"));

        assert!(first.is_some() && second.is_some());
        assert!(caps.let_in(address("10.0.0.1")).is_none());
        let other = caps.let_in(address("10.0.0.2"));
        assert!(other.is_some());
        drop(first);
        assert!(caps.let_in(address("10.0.0.1")).is_some());
    }

    #[test]
    fn the_addresses_of_one_network_are_one_client() {
        let caps = caps(1, Some(1));
        let _first = caps.let_in("2001:db8::1".parse().unwrap());

        assert!(caps.let_in("2001:db8::2".parse().unwrap()).is_none());
        assert!(caps.let_in("2001:db8:0:1::1".parse().unwrap()).is_some());
    }

    #[test]
    fn nobody_is_remembered_who_has_left() {
        let caps = caps(1, Some(1));

        drop(caps.let_in("10.0.0.1".parse().unwrap()));

        assert!(caps.shared.lock().is_empty());
    }
}
