//! A bounded table of where something belongs, which forgets what is not used.
//!
//! Shared by all workers; neither reading nor writing takes a lock. It is made of two halves: what
//! is used goes to the young one, and when their time is over the young becomes the old one and the old one goes.

use std::collections::{HashMap as Counts, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use papaya::HashMap;
use xxhash_rust::xxh3::xxh3_64;

/// Where something belongs. Names are told by their hashes, so that an entry has one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The route.
    pub route: u64,
    /// The backend; [`Spot::ANY`] when it is known to belong to several.
    pub backend: u64,
    /// The endpoint, or [`Spot::ANY`].
    pub endpoint: u64,
}

impl Spot {
    /// In place of a name: not one that is known.
    pub const ANY: u64 = 0;

    /// How a name is told here.
    pub fn identity(name: &str) -> u64 {
        xxh3_64(name.as_bytes()).max(1)
    }

    /// What both say.
    fn common(self, other: Self) -> Self {
        if self.backend != other.backend {
            return Self {
                backend: Self::ANY,
                endpoint: Self::ANY,
                ..self
            };
        }
        let same = self.endpoint == other.endpoint;
        let endpoint = if same { self.endpoint } else { Self::ANY };
        Self { endpoint, ..self }
    }
}

/// How much a table holds, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentBounds {
    /// Most entries; none with 0.
    pub entries: usize,
    /// How many ticks an entry is kept that is not used.
    pub idle: u64,
}

/// The table. `tick` is a coarse clock of the caller's that never goes back, the same for all.
#[derive(Debug)]
pub struct Recent {
    halves: ArcSwap<Halves>,
    bounds: RecentBounds,
    /// The tick at which the halves were last turned.
    turned: AtomicU64,
    /// Entries that were not idle and had to go, and those that found no room.
    dropped: AtomicU64,
}

type Half = HashMap<u64, Entry>;

#[derive(Debug, Default)]
struct Halves {
    young: Arc<Half>,
    old: Arc<Half>,
}

#[derive(Debug)]
struct Entry {
    spot: Spot,
    /// The tick of the last use.
    seen: AtomicU64,
}

impl Entry {
    fn new(spot: Spot, tick: u64) -> Self {
        Self {
            spot,
            seen: AtomicU64::new(tick),
        }
    }

    fn copy(&self) -> Self {
        Self {
            spot: self.spot,
            seen: AtomicU64::new(self.seen.load(Ordering::Relaxed)),
        }
    }

    /// The entry is used, if it is not too old for that.
    fn used(&self, tick: u64, idle: u64) -> Option<Spot> {
        let seen = self.seen.load(Ordering::Relaxed);
        if tick.saturating_sub(seen) > idle {
            return None;
        }
        // Most uses come within the tick of the one before: no store, no shared cache line.
        if seen < tick {
            self.seen.store(tick, Ordering::Relaxed);
        }
        Some(self.spot)
    }
}

impl Recent {
    /// An empty table.
    pub fn new(bounds: RecentBounds) -> Self {
        Self {
            halves: ArcSwap::default(),
            bounds,
            turned: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Where this belongs, if that is known. It counts as used now.
    pub fn find(&self, key: u64, tick: u64) -> Option<Spot> {
        let halves = self.halves.load();
        let young = halves.young.pin();
        if let Some(entry) = young.get(&key) {
            return entry.used(tick, self.bounds.idle);
        }
        let old = halves.old.pin();
        let entry = old.get(&key)?;
        let found = entry.used(tick, self.bounds.idle)?;
        if young.len() < self.half() {
            // There before it is gone from here: nobody who asks meanwhile misses it.
            young.insert(key, entry.copy());
            old.remove(&key);
        }
        Some(found)
    }

    /// This belongs here from now on.
    pub fn put(&self, key: u64, spot: Spot, tick: u64) {
        let halves = self.halves.load();
        let young = halves.young.pin();
        if young.len() >= self.half() && !young.contains_key(&key) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        young.insert(key, Entry::new(spot, tick));
        halves.old.pin().remove(&key);
    }

    /// This belongs here too. What belongs to several backends belongs to none.
    pub fn add(&self, key: u64, spot: Spot, tick: u64) {
        let spot = match self.find(key, tick) {
            Some(known) if known == spot => return,
            Some(known) => known.common(spot),
            None => spot,
        };
        self.put(key, spot, tick);
    }

    /// Makes room, when it is time to or there is none. Called now and then, by one thread.
    pub fn sweep(&self, tick: u64) {
        let halves = self.halves.load();
        let is_full = halves.young.len() >= self.half();
        let age = tick.saturating_sub(self.turned.load(Ordering::Relaxed));
        let is_empty = halves.young.is_empty() && halves.old.is_empty();
        if is_empty || !is_full && age <= self.bounds.idle {
            return;
        }
        if is_full && age <= self.bounds.idle {
            let lost = halves.old.len() as u64;
            self.dropped.fetch_add(lost, Ordering::Relaxed);
        }
        self.turned.store(tick, Ordering::Relaxed);
        self.halves.store(Arc::new(Halves {
            young: Arc::default(),
            old: Arc::clone(&halves.young),
        }));
    }

    /// How many entries belong to each route and backend, idle ones included until they are forgotten.
    pub fn counts(&self) -> Counts<(u64, u64), usize> {
        let halves = self.halves.load();
        let mut seen = HashSet::new();
        let mut counts = Counts::new();
        for half in [&halves.young, &halves.old] {
            for (key, entry) in &half.pin() {
                if seen.insert(*key) {
                    let spot = entry.spot;
                    *counts.entry((spot.route, spot.backend)).or_default() += 1;
                }
            }
        }
        counts
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        let halves = self.halves.load();
        halves.young.len() + halves.old.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many entries the bound has cost.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn half(&self) -> usize {
        self.bounds.entries / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: usize, idle: u64) -> Recent {
        Recent::new(RecentBounds { entries, idle })
    }

    fn spot(backend: u64, endpoint: u64) -> Spot {
        Spot {
            route: 1,
            backend,
            endpoint,
        }
    }

    fn backend_of(table: &Recent, key: u64, tick: u64) -> Option<u64> {
        table.find(key, tick).map(|spot| spot.backend)
    }

    #[test]
    fn what_is_used_stays_and_what_is_idle_goes() {
        let table = table(100, 10);
        table.put(1, spot(5, 0), 0);
        table.put(2, spot(6, 0), 0);

        for tick in (5..100).step_by(5) {
            table.sweep(tick);
            assert_eq!(backend_of(&table, 1, tick), Some(5), "tick {tick}");
        }
        assert_eq!(backend_of(&table, 2, 100), None);
        assert_eq!((table.len(), table.dropped()), (1, 0));
    }

    #[test]
    fn idle_entries_are_gone_at_once_though_they_are_still_held() {
        let table = table(100, 10);
        table.put(1, spot(5, 0), 0);

        assert_eq!(backend_of(&table, 1, 10), Some(5));
        assert_eq!(backend_of(&table, 1, 21), None);
        table.put(1, spot(6, 0), 21);
        assert_eq!(backend_of(&table, 1, 22), Some(6));
    }

    #[test]
    fn the_bound_holds_and_says_what_it_costs() {
        let table = table(10, 1_000);
        for key in 0..100 {
            table.put(key, spot(5, 0), 1);
        }
        assert_eq!((table.len(), table.dropped()), (5, 95));

        table.sweep(2);
        for key in 100..200 {
            table.put(key, spot(5, 0), 2);
        }
        assert_eq!((table.len(), table.dropped()), (10, 190));
        table.sweep(3);

        assert_eq!((table.len(), table.dropped()), (5, 195));
        assert_eq!(table.counts(), Counts::from([((1, 5), 5)]));
    }

    #[test]
    fn a_table_for_nothing_holds_nothing() {
        let table = table(0, 10);
        table.put(1, spot(5, 0), 0);
        table.sweep(1);

        assert_eq!(table.find(1, 0), None);
    }

    #[test]
    fn what_several_made_belongs_to_what_they_have_in_common() {
        let table = table(100, 10);
        table.add(1, spot(5, 8), 0);
        assert_eq!(table.find(1, 0).unwrap(), spot(5, 8));
        table.add(1, spot(5, 9), 0);
        assert_eq!(table.find(1, 0).unwrap(), spot(5, Spot::ANY));
        table.add(1, spot(6, 9), 0);
        assert_eq!(table.find(1, 0).unwrap(), spot(Spot::ANY, Spot::ANY));
        table.add(1, spot(5, 8), 0);

        assert_eq!(table.find(1, 0).unwrap().backend, Spot::ANY);
    }
}
