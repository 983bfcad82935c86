//! The sessions that could be re-homed: a bounded table from the client's session id.
//!
//! Routing needs no table, since a sealed id names its home itself. An entry is only needed
//! when that home is gone: it keeps what the session was opened with and, once re-homed,
//! where it lives now. An entry that is evicted costs its session that chance, and one that was
//! re-homed already its new home. Idle ones go first, and before all others those of an owner who
//! holds more than a sixteenth of the table.
//!
//! The table notes which entries have changed, for whoever writes them down ([`super::stored`]).

mod endings;
mod entry;
mod hasher;
mod missed;
mod owners;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use papaya::HashMap;

use crate::model::{BackendName, RouteName};

use super::home::Origin;
use super::record::{SessionRecord, Wish};
use super::streams::StreamCensus;

pub use endings::{Ending, Endings, Fate};
pub use entry::{Branch, Session, Stay};
use hasher::IdHasher;
use missed::Missed;
use owners::{Owners, PARTS};

/// The sessions of all routes, shared by all workers. Looking one up takes no lock.
///
/// `tick` is a coarse clock of the caller's that never goes back, such as seconds since start.
#[derive(Debug)]
pub struct SessionTable {
    sessions: HashMap<Arc<str>, Arc<Session>, BuildHasherDefault<IdHasher>>,
    /// What is held, and in which order it goes; taken to open, amend and close only.
    ledger: Mutex<Ledger>,
    bounds: SessionBounds,
    evicted: AtomicU64,
    crowded_out: AtomicU64,
    homes_evicted: AtomicU64,
    unwritten: AtomicU64,
    unkept: AtomicU64,
    streams: StreamCensus,
    endings: Endings,
    missed: Missed,
}

/// How many sessions of a route live at a backend.
pub type Census = BTreeMap<(RouteName, BackendName), u64>;

/// How much a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionBounds {
    /// Most sessions.
    pub sessions: usize,
    /// Most bytes of records, ids included.
    pub bytes: usize,
    /// Most subscriptions of a session; more are forgotten.
    pub subscriptions: usize,
}

impl SessionBounds {
    /// Bytes of records unless said otherwise: 64 MiB.
    pub const DEFAULT_BYTES: usize = 64 * 1024 * 1024;
    /// Subscriptions of a session unless said otherwise.
    pub const DEFAULT_SUBSCRIPTIONS: usize = 64;
}

impl Default for SessionTable {
    /// An empty table for 10,000 sessions.
    fn default() -> Self {
        Self::new(SessionBounds {
            sessions: 10_000,
            bytes: SessionBounds::DEFAULT_BYTES,
            subscriptions: SessionBounds::DEFAULT_SUBSCRIPTIONS,
        })
    }
}

#[derive(Debug, Default)]
struct Ledger {
    /// The sessions in the order in which they were last put at the back. May name some that
    /// are gone, up to a bound.
    order: VecDeque<Place>,
    owners: Owners,
    bytes: usize,
    opened: u64,
    /// The sessions that are not as they were last written down; those that are gone included.
    changed: HashSet<Arc<str>>,
}

/// A session's place in the order.
#[derive(Clone, Debug)]
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
            sessions: HashMap::default(),
            ledger: Mutex::default(),
            bounds,
            evicted: AtomicU64::new(0),
            crowded_out: AtomicU64::new(0),
            homes_evicted: AtomicU64::new(0),
            unwritten: AtomicU64::new(0),
            unkept: AtomicU64::new(0),
            streams: StreamCensus::default(),
            endings: Endings::default(),
            missed: Missed::default(),
        }
    }

    /// A session was opened under this id, for this process alone. Old idle sessions make room
    /// for it.
    pub fn open(&self, id: &str, record: SessionRecord, tick: u64) -> Arc<Session> {
        self.enter(id, record, None, tick)
    }

    /// A client's session was opened under this id; it is to be written down.
    pub fn open_at(
        &self,
        id: &str,
        record: SessionRecord,
        origin: Origin,
        tick: u64,
    ) -> Arc<Session> {
        let session = self.enter(id, record, Some(origin), tick);
        self.note(id);
        session
    }

    /// A session as it was written down.
    pub(super) fn restore(
        &self,
        id: &str,
        record: SessionRecord,
        origin: Origin,
        seen: u64,
    ) -> Arc<Session> {
        self.enter(id, record, Some(origin), seen)
    }

    fn enter(
        &self,
        id: &str,
        record: SessionRecord,
        origin: Option<Origin>,
        tick: u64,
    ) -> Arc<Session> {
        let id: Arc<str> = id.into();
        let size = cost(&id, &record);
        let mut ledger = self.ledger();
        ledger.opened += 1;
        let serial = ledger.opened;
        let session = Arc::new(Session::new(record, origin, serial, tick));
        let before = self.sessions.pin().get(&*id).cloned();
        if let Some(before) = before {
            self.endings.add(before.leave());
            let size = cost(&id, &before.record.load());
            ledger.bytes -= size;
            let owned = (before.owner(), self.charge(size));
            ledger
                .owners
                .remove(owned, |place| self.at(place).is_some());
        }
        self.sessions.pin().insert(id.clone(), session.clone());
        ledger.bytes += size;
        let place = Place {
            id,
            serial,
            since: tick,
        };
        ledger.order.push_back(place.clone());
        ledger.owners.add(session.owner(), place, self.charge(size));
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
        self.rewrite(id, |before| {
            let wanted = wish.clone();
            let after = before.with(wish, self.bounds.subscriptions);
            if !after.has(&wanted) {
                self.misses_wish();
            }
            after
        });
    }

    /// The client opened its open session anew, where it lives. Tells whether it is known.
    pub fn reopen(&self, id: &str, record: &SessionRecord) -> bool {
        self.rewrite(id, |_| record.clone())
    }

    fn rewrite(&self, id: &str, change: impl FnOnce(&SessionRecord) -> SessionRecord) -> bool {
        let mut ledger = self.ledger();
        let Some(session) = self.sessions.pin().get(id).cloned() else {
            return false;
        };
        let before = session.record.load_full();
        let after = change(&before);
        if after == *before {
            return true;
        }
        let (less, more) = (cost(id, &before), cost(id, &after));
        ledger.bytes = ledger.bytes + more - less;
        let (less, more) = (self.charge(less), self.charge(more));
        ledger.owners.recharge(session.owner(), less, more);
        session.record.store(Arc::new(after));
        self.note_in(&mut ledger, &session, id);
        self.make_room(&mut ledger);
        true
    }

    /// The session of this id is not as it was last written down.
    pub fn note(&self, id: &str) {
        let mut ledger = self.ledger();
        if let Some(session) = self.sessions.pin().get(id) {
            self.note_in(&mut ledger, session, id);
        }
    }

    fn note_in(&self, ledger: &mut Ledger, session: &Session, id: &str) {
        if session.origin.is_none() || ledger.changed.contains(id) {
            return;
        }
        // Nobody may be writing; then rows of sessions that are gone are left to their age.
        if ledger.changed.len() > self.bounds.sessions.saturating_mul(2) {
            self.unwritten.fetch_add(1, Ordering::Relaxed);
            return;
        }
        ledger.changed.insert(id.into());
    }

    /// At most so many ids of sessions that are not as they were last written down, each told
    /// once.
    pub fn take_changed(&self, most: usize) -> Vec<Arc<str>> {
        let mut ledger = self.ledger();
        if ledger.changed.len() <= most {
            return std::mem::take(&mut ledger.changed).into_iter().collect();
        }
        let some: Vec<_> = ledger.changed.iter().take(most).cloned().collect();
        for id in &some {
            ledger.changed.remove(id);
        }
        some
    }

    /// These could not be written down.
    pub fn put_back(&self, ids: impl IntoIterator<Item = Arc<str>>) {
        self.ledger().changed.extend(ids);
    }

    /// Nothing is known of what is written down: everything has changed.
    pub fn put_back_all(&self) {
        let mut ledger = self.ledger();
        for (id, session) in &self.sessions.pin() {
            if session.origin.is_some() {
                ledger.changed.insert(Arc::clone(id));
            }
        }
    }

    /// The session of this id, if it is to be written down, and nothing more is known of it.
    pub(super) fn look(&self, id: &str) -> Option<Arc<Session>> {
        let session = self.sessions.pin().get(id).cloned()?;
        session.written.store(session.seen(), Ordering::Relaxed);
        session.origin.is_some().then_some(session)
    }

    /// Drops what was last used before the tick `since`, and has those written down anew that
    /// were used since they were, so that they do not look older than they are.
    pub fn sweep(&self, since: u64, rewrite_after: u64) {
        let mut old = Vec::new();
        let mut used = Vec::new();
        for (id, session) in &self.sessions.pin() {
            let (seen, written) = (session.seen(), session.written.load(Ordering::Relaxed));
            if seen < since {
                old.push(Arc::clone(id));
            } else if seen.saturating_sub(written) > rewrite_after {
                used.push(Arc::clone(id));
            }
        }
        for id in &old {
            self.abandon(id);
        }
        for id in &used {
            self.note(id);
        }
    }

    /// Where the sessions live.
    pub fn census(&self) -> Census {
        let mut census = Census::new();
        for (_, session) in &self.sessions.pin() {
            let origin = session.origin.as_ref().filter(|it| !it.is_stream);
            let Some(origin) = origin else {
                continue;
            };
            let home = session.home();
            let backend = home.as_ref().map_or(&origin.backend, |home| &home.backend);
            let key = (origin.route.clone(), backend.clone());
            *census.entry(key).or_default() += 1;
        }
        self.streams.add_to(&mut census);
        census
    }

    /// The sessions that are streams of their own, and are in no other table.
    pub fn streams(&self) -> &StreamCensus {
        &self.streams
    }

    /// The session of this id is over, and its servers know.
    pub fn close(&self, id: &str) {
        let mut ledger = self.ledger();
        self.remove(&mut ledger, id);
    }

    /// The session of this id is over, and its servers are to be told.
    pub fn abandon(&self, id: &str) {
        let mut ledger = self.ledger();
        if let Some(session) = self.remove(&mut ledger, id) {
            self.endings.add(session.leave());
        }
    }

    /// A session is lost for its client: what was opened besides its home is to end.
    pub fn part(&self, session: &Session) {
        self.endings.add(session.part());
    }

    /// The session of this id, of which nothing is known, is lost for its client. Tells whether that
    /// is news.
    pub fn miss(&self, id: &str) -> bool {
        self.missed.add(id)
    }

    /// What is to end because the session that it was opened for has ended.
    pub fn endings(&self) -> &Endings {
        &self.endings
    }

    /// How many sessions are held.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether no session is held.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// A client's wish is too long, or one too many, to be kept.
    pub fn misses_wish(&self) {
        self.unkept.fetch_add(1, Ordering::Relaxed);
    }

    /// How many sessions made room for others.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// How many of them were of an owner who held too much.
    pub fn crowded_out(&self) -> u64 {
        self.crowded_out.load(Ordering::Relaxed)
    }

    /// How many of them had been re-homed, so that their sessions are lost.
    pub fn homes_evicted(&self) -> u64 {
        self.homes_evicted.load(Ordering::Relaxed)
    }

    /// How many changes were not noted, since nobody wrote them down.
    pub fn unwritten(&self) -> u64 {
        self.unwritten.load(Ordering::Relaxed)
    }

    /// How many wishes were too long, or one too many, to be kept.
    pub fn unkept(&self) -> u64 {
        self.unkept.load(Ordering::Relaxed)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // The ledger holds sums and an order, both usable whatever interrupted their holder.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, ledger: &mut Ledger, id: &str) -> Option<Arc<Session>> {
        let session = self.sessions.pin().remove(id).cloned()?;
        let size = cost(id, &session.record.load());
        ledger.bytes = ledger.bytes.saturating_sub(size);
        let owned = (session.owner(), self.charge(size));
        ledger
            .owners
            .remove(owned, |place| self.at(place).is_some());
        self.note_in(ledger, &session, id);
        Some(session)
    }

    fn make_room(&self, ledger: &mut Ledger) {
        while self.sessions.len() > self.bounds.sessions || ledger.bytes > self.bounds.bytes {
            let Some(id) = self.next_to_go(ledger) else {
                break;
            };
            if let Some(session) = self.remove(ledger, &id) {
                let has_home = session.home().is_some();
                self.evicted.fetch_add(1, Ordering::Relaxed);
                self.homes_evicted
                    .fetch_add(has_home.into(), Ordering::Relaxed);
                self.endings.add(session.leave());
            }
        }
        // Closed sessions leave their ids behind; never more of them than live ones may be.
        if ledger.order.len() > self.bounds.sessions.saturating_mul(2) {
            ledger.order.retain(|place| self.at(place).is_some());
        }
    }

    /// What a session counts for among those of its owner: at least its part of the bytes.
    fn charge(&self, size: usize) -> usize {
        size.max(self.bounds.bytes / self.bounds.sessions.max(1))
    }

    /// Whose record makes room: one of the owner who holds most, if that is too much, else the
    /// one that is idle for longest.
    fn next_to_go(&self, ledger: &mut Ledger) -> Option<Arc<str>> {
        let share = self.bounds.bytes / PARTS;
        let crowded = ledger.owners.crowded(share);
        if let Some(id) = crowded.and_then(|order| self.oldest_idle(order)) {
            self.crowded_out.fetch_add(1, Ordering::Relaxed);
            return Some(id);
        }
        self.oldest_idle(&mut ledger.order)
    }

    /// The session of this place, unless it is gone.
    fn at(&self, place: &Place) -> Option<Arc<Session>> {
        let session = self.sessions.pin().get(&*place.id).cloned()?;
        (session.serial == place.serial).then_some(session)
    }

    /// The id at the front of the order, after those used since they were queued have gone to
    /// the back. The last one looked at is given up whatever its age, so that this ends.
    fn oldest_idle(&self, order: &mut VecDeque<Place>) -> Option<Arc<str>> {
        let mut chances = SECOND_CHANCES;
        while let Some(mut place) = order.pop_front() {
            let Some(session) = self.at(&place) else {
                continue;
            };
            let seen = session.seen.load(Ordering::Relaxed);
            if seen <= place.since || chances == 0 {
                return Some(place.id);
            }
            chances -= 1;
            place.since = seen;
            order.push_back(place);
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
