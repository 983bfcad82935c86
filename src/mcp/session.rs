//! The sessions that could be re-homed: a bounded table from the client's session id.
//!
//! Routing needs no table, since a sealed id names its home itself. An entry is only needed
//! when that home is gone: it keeps what the session was opened with and, once re-homed,
//! where it lives now. An entry that is evicted costs its session that chance, nothing else.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use papaya::HashMap;

use super::record::{SessionRecord, Wish};
use super::sealed::{BackendTag, EndpointTag};

/// Where a re-homed session lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The backend.
    pub backend: BackendTag,
    /// The endpoint.
    pub endpoint: EndpointTag,
    /// The session's id there; `None` when that server opened none.
    pub id: Option<Box<str>>,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    record: ArcSwap<SessionRecord>,
    home: ArcSwapOption<Home>,
    /// Where its failed calls are answered while it lives on a candidate.
    stand_in: ArcSwapOption<Home>,
    gate: tokio::sync::Mutex<()>,
    /// How often a new home was sought in vain; written by the gate's holder.
    failures: AtomicU64,
    /// Tells this session from others that had the same id before.
    serial: u64,
    /// The tick of the last call; written by workers, read at eviction.
    seen: AtomicU64,
}

impl Session {
    fn new(record: SessionRecord, serial: u64, tick: u64) -> Self {
        Self {
            record: ArcSwap::from_pointee(record),
            home: ArcSwapOption::empty(),
            stand_in: ArcSwapOption::empty(),
            gate: tokio::sync::Mutex::new(()),
            failures: AtomicU64::new(0),
            serial,
            seen: AtomicU64::new(tick),
        }
    }

    /// What the session was opened with.
    pub fn record(&self) -> Arc<SessionRecord> {
        self.record.load_full()
    }

    /// Where the session lives now; `None` while it lives where its sealed id says.
    pub fn home(&self) -> Option<Arc<Home>> {
        self.home.load_full()
    }

    /// The session has been opened elsewhere. Called by the holder of the gate alone.
    pub fn set_home(&self, home: impl Into<Arc<Home>>) {
        self.home.store(Some(home.into()));
    }

    /// Where the session was opened a second time, to answer for the backend that it lives on.
    pub fn stand_in(&self) -> Option<Arc<Home>> {
        self.stand_in.load_full()
    }

    /// The session has been opened a second time. Called by the holder of the gate alone.
    pub fn set_stand_in(&self, home: Home) {
        self.stand_in.store(Some(Arc::new(home)));
    }

    /// Held by the caller that re-homes the session while the others wait; each of them looks
    /// at [`Session::home`] again when it gets through.
    pub fn gate(&self) -> &tokio::sync::Mutex<()> {
        &self.gate
    }

    /// How often a new home was sought in vain. Whoever waited at the gate meanwhile need not
    /// seek again.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// No new home was found. Called by the holder of the gate alone.
    pub fn home_failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    fn touch(&self, tick: u64) {
        // Most calls come within the tick of the one before: no store, no shared cache line.
        if self.seen.load(Ordering::Relaxed) < tick {
            self.seen.store(tick, Ordering::Relaxed);
        }
    }
}

/// The sessions of all routes, shared by all workers. Looking one up takes no lock.
///
/// `tick` is a coarse clock of the caller's that never goes back, such as seconds since start.
#[derive(Debug)]
pub struct SessionTable {
    sessions: HashMap<Arc<str>, Arc<Session>>,
    /// What is held, and in which order it goes; taken to open, amend and close only.
    ledger: Mutex<Ledger>,
    bounds: SessionBounds,
    evicted: AtomicU64,
}

/// How much a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionBounds {
    /// Most sessions.
    pub sessions: usize,
    /// Most bytes of records, ids included.
    pub bytes: usize,
}

impl SessionBounds {
    /// Bytes of records unless said otherwise: 64 MiB.
    pub const DEFAULT_BYTES: usize = 64 * 1024 * 1024;
}

#[derive(Debug, Default)]
struct Ledger {
    /// The sessions in the order in which they were last put at the back. May name some that
    /// are gone, up to a bound.
    order: VecDeque<Place>,
    bytes: usize,
    opened: u64,
}

/// A session's place in the order.
#[derive(Debug)]
struct Place {
    id: Arc<str>,
    serial: u64,
    /// The tick at which it was put at the back.
    since: u64,
}

/// How many sessions that were used since they were queued are passed over per eviction.
const SECOND_CHANCES: usize = 16;

impl SessionTable {
    /// An empty table.
    pub fn new(bounds: SessionBounds) -> Self {
        Self {
            sessions: HashMap::new(),
            ledger: Mutex::default(),
            bounds,
            evicted: AtomicU64::new(0),
        }
    }

    /// A session was opened under this id. Old idle sessions make room for it.
    pub fn open(&self, id: &str, record: SessionRecord, tick: u64) -> Arc<Session> {
        let id: Arc<str> = id.into();
        let size = cost(&id, &record);
        let mut ledger = self.ledger();
        ledger.opened += 1;
        let serial = ledger.opened;
        let session = Arc::new(Session::new(record, serial, tick));
        let before = self.sessions.pin().get(&*id).cloned();
        if let Some(before) = before {
            ledger.bytes -= cost(&id, &before.record.load());
        }
        self.sessions.pin().insert(id.clone(), session.clone());
        ledger.bytes += size;
        ledger.order.push_back(Place {
            id,
            serial,
            since: tick,
        });
        self.make_room(&mut ledger);
        session
    }

    /// The session of this id, which is used now.
    pub fn find(&self, id: &str, tick: u64) -> Option<Arc<Session>> {
        let session = self.sessions.pin().get(id).cloned()?;
        session.touch(tick);
        Some(session)
    }

    /// The client of this session asked for something that a re-homed one must still have.
    pub fn amend(&self, id: &str, wish: Wish) {
        let mut ledger = self.ledger();
        let Some(session) = self.sessions.pin().get(id).cloned() else {
            return;
        };
        let before = session.record.load_full();
        let after = before.with(wish);
        ledger.bytes = ledger.bytes + after.size_bytes() - before.size_bytes();
        session.record.store(Arc::new(after));
        self.make_room(&mut ledger);
    }

    /// The session of this id is over.
    pub fn close(&self, id: &str) {
        let mut ledger = self.ledger();
        self.remove(&mut ledger, id);
    }

    /// How many sessions are held.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether no session is held.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// How many sessions made room for others.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // The ledger holds sums and an order, both usable whatever interrupted their holder.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, ledger: &mut Ledger, id: &str) -> bool {
        let sessions = self.sessions.pin();
        let Some(session) = sessions.remove(id) else {
            return false;
        };
        let size = cost(id, &session.record.load());
        ledger.bytes = ledger.bytes.saturating_sub(size);
        true
    }

    fn make_room(&self, ledger: &mut Ledger) {
        while self.sessions.len() > self.bounds.sessions || ledger.bytes > self.bounds.bytes {
            let Some(id) = self.oldest_idle(ledger) else {
                break;
            };
            if self.remove(ledger, &id) {
                self.evicted.fetch_add(1, Ordering::Relaxed);
            }
        }
        // Closed sessions leave their ids behind; never more of them than live ones may be.
        if ledger.order.len() > self.bounds.sessions.saturating_mul(2) {
            ledger.order.retain(|place| self.at(place).is_some());
        }
    }

    /// The session of this place, unless it is gone.
    fn at(&self, place: &Place) -> Option<Arc<Session>> {
        let session = self.sessions.pin().get(&*place.id).cloned()?;
        (session.serial == place.serial).then_some(session)
    }

    /// The id at the front of the order, after those used since they were queued have gone to
    /// the back. The last one looked at is given up whatever its age, so that this ends.
    fn oldest_idle(&self, ledger: &mut Ledger) -> Option<Arc<str>> {
        let mut chances = SECOND_CHANCES;
        while let Some(mut place) = ledger.order.pop_front() {
            let Some(session) = self.at(&place) else {
                continue;
            };
            let seen = session.seen.load(Ordering::Relaxed);
            if seen <= place.since || chances == 0 {
                return Some(place.id);
            }
            chances -= 1;
            place.since = seen;
            ledger.order.push_back(place);
        }
        None
    }
}

/// The bytes that an entry counts for.
fn cost(id: &str, record: &SessionRecord) -> usize {
    id.len() + record.size_bytes()
}

#[cfg(test)]
mod tests;
