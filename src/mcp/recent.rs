//! A bounded table of where something belongs, which forgets what is not used.
//!
//! Shared by all workers; neither reading nor writing takes a lock. It is made of two halves: what
//! is used goes to the young one, and when their time is over the young becomes the old one and the old one goes.
//!
//! A table that is written down notes which entries have changed, for whoever does that.

use std::collections::{HashMap as Counts, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use papaya::HashMap;
use xxhash_rust::xxh3::xxh3_64;

use super::spots::SpotRow;

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
    /// The keys of the entries that are not as they were last written down; nothing in a table
    /// that nobody writes down.
    changed: Option<HashMap<u64, ()>>,
    /// Changes that were not noted, since nobody wrote them down.
    unnoted: AtomicU64,
}

/// Into how many parts the time is cut after which an entry is forgotten: one that is used is
/// written down again after one part, so that it does not look as old as what was written.
const REWRITES: u64 = 4;

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
    /// What that was when the entry was last written down.
    written: AtomicU64,
}

impl Entry {
    fn new(spot: Spot, tick: u64) -> Self {
        Self {
            spot,
            seen: AtomicU64::new(tick),
            written: AtomicU64::new(tick),
        }
    }

    fn copy(&self) -> Self {
        Self {
            spot: self.spot,
            seen: AtomicU64::new(self.seen.load(Ordering::Relaxed)),
            written: AtomicU64::new(self.written.load(Ordering::Relaxed)),
        }
    }

    /// The entry is used, if it is not too old for that. Tells, too, whether it looks much older
    /// where it is written down.
    fn used(&self, tick: u64, idle: u64) -> Option<(Spot, bool)> {
        let seen = self.seen.load(Ordering::Relaxed);
        if tick.saturating_sub(seen) > idle {
            return None;
        }
        // Most uses come within the tick of the one before: no store, no shared cache line.
        if seen >= tick {
            return Some((self.spot, false));
        }
        self.seen.store(tick, Ordering::Relaxed);
        let written = self.written.load(Ordering::Relaxed);
        Some((self.spot, tick.saturating_sub(written) > idle / REWRITES))
    }

    /// The entry as it is to be written down now.
    fn row(&self, key: u64) -> SpotRow {
        let seen = self.seen.load(Ordering::Relaxed);
        self.written.store(seen, Ordering::Relaxed);
        SpotRow {
            key,
            spot: self.spot,
            seen,
        }
    }
}

impl Default for Recent {
    /// An empty table for 10,000 entries, each for ten minutes where ticks are seconds.
    fn default() -> Self {
        Self::written_down(RecentBounds {
            entries: 10_000,
            idle: 600,
        })
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
            changed: None,
            unnoted: AtomicU64::new(0),
        }
    }

    /// The same, written down by somebody.
    pub fn written_down(bounds: RecentBounds) -> Self {
        Self {
            changed: Some(HashMap::new()),
            ..Self::new(bounds)
        }
    }

    /// How much it holds.
    pub fn bounds(&self) -> RecentBounds {
        self.bounds
    }

    /// Where this belongs, if that is known. It counts as used now.
    pub fn find(&self, key: u64, tick: u64) -> Option<Spot> {
        let halves = self.halves.load();
        let young = halves.young.pin();
        if let Some(entry) = young.get(&key) {
            let (found, looks_old) = entry.used(tick, self.bounds.idle)?;
            if looks_old {
                self.note(key);
            }
            return Some(found);
        }
        let old = halves.old.pin();
        let entry = old.get(&key)?;
        let (found, looks_old) = entry.used(tick, self.bounds.idle)?;
        if looks_old {
            self.note(key);
        }
        if young.len() < self.half() {
            // There before it is gone from here: nobody who asks meanwhile misses it. What
            // somebody else has put there meanwhile is newer.
            young.get_or_insert(key, entry.copy());
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
        self.note(key);
    }

    /// This entry is not as it was last written down.
    fn note(&self, key: u64) {
        let Some(changed) = &self.changed else {
            return;
        };
        let changed = changed.pin();
        if changed.contains_key(&key) {
            return;
        }
        // Nobody may be writing.
        if changed.len() >= self.bounds.entries {
            self.unnoted.fetch_add(1, Ordering::Relaxed);
            return;
        }
        changed.insert(key, ());
    }

    /// At most so many entries that are not as they were last written down, each told once.
    pub fn take_changed(&self, most: usize) -> Vec<SpotRow> {
        let Some(changed) = &self.changed else {
            return Vec::new();
        };
        let changed = changed.pin();
        let keys: Vec<u64> = changed.keys().take(most).copied().collect();
        let halves = self.halves.load();
        let (young, old) = (halves.young.pin(), halves.old.pin());
        let row = |key: &u64| {
            // Before it is read: what changes from here on is noted again.
            changed.remove(key);
            let entry = young.get(key).or_else(|| old.get(key))?;
            Some(entry.row(*key))
        };
        keys.iter().filter_map(row).collect()
    }

    /// These could not be written down.
    pub fn put_back(&self, rows: &[SpotRow]) {
        for row in rows {
            self.note(row.key);
        }
    }

    /// Nothing is known of what is written down: everything has changed.
    pub fn put_back_all(&self) {
        let halves = self.halves.load();
        for half in [&halves.young, &halves.old] {
            for key in half.pin().keys() {
                self.note(*key);
            }
        }
    }

    /// Takes back what was written down, in that order, into an empty table: of two rows with one
    /// key the later is right. Rows may look older than they are, and are taken for younger.
    /// Tells how many were taken.
    pub fn restore(&self, rows: impl IntoIterator<Item = SpotRow>, tick: u64) -> usize {
        let lag = self.bounds.idle / REWRITES + 1;
        let mut latest: Counts<u64, SpotRow> = Counts::new();
        latest.extend(rows.into_iter().map(|row| (row.key, row)));
        let mut rows: Vec<SpotRow> = latest.into_values().collect();
        let seen = |row: &SpotRow| row.seen.saturating_add(lag).min(tick);
        rows.retain(|row| tick - seen(row) <= self.bounds.idle);
        rows.sort_unstable_by_key(|row| std::cmp::Reverse(row.seen));
        rows.truncate(2 * self.half());
        let halves = Halves::default();
        {
            let (young, old) = (halves.young.pin(), halves.old.pin());
            for (place, row) in rows.iter().enumerate() {
                let half = if place < self.half() { &young } else { &old };
                let entry = Entry::new(row.spot, seen(row));
                entry.written.store(row.seen, Ordering::Relaxed);
                half.insert(row.key, entry);
            }
        }
        self.turned.store(tick, Ordering::Relaxed);
        self.halves.store(Arc::new(halves));
        rows.len()
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

    /// How many entries that are not idle belong to each route and backend.
    pub fn counts(&self, tick: u64) -> Counts<(u64, u64), u64> {
        let halves = self.halves.load();
        let mut seen = HashSet::new();
        let mut counts = Counts::new();
        for half in [&halves.young, &halves.old] {
            for (key, entry) in &half.pin() {
                let age = tick.saturating_sub(entry.seen.load(Ordering::Relaxed));
                if age <= self.bounds.idle && seen.insert(*key) {
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

    /// How many changes were not noted, since nobody wrote them down.
    pub fn unnoted(&self) -> u64 {
        self.unnoted.load(Ordering::Relaxed)
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
mod tests;
