//! A bounded table of where something belongs, which forgets what is not used.
//!
//! Shared by all workers; neither reading nor writing takes a lock. What comes is a newcomer; what is used
//! again is a regular from then on, and a flood of keys that come once each moves newcomers alone. Each of the
//! two is made of halves: what is used goes to the young one, and when that is full or its time is over it becomes
//! the old one, and the old one goes.
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
    parts: ArcSwap<Parts>,
    bounds: RecentBounds,
    /// The ticks at which the halves of regulars and newcomers were last turned.
    turned: [AtomicU64; 2],
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

/// What of the entries newcomers may have however many regulars there are: one part in so many.
const NEWCOMERS: usize = 8;

#[derive(Clone, Debug, Default)]
struct Halves {
    young: Arc<Half>,
    old: Arc<Half>,
}

impl Halves {
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// The young becomes the old one, and the old one goes.
    fn turned(&self) -> Self {
        Self {
            young: Arc::default(),
            old: Arc::clone(&self.young),
        }
    }
}

#[derive(Debug, Default)]
struct Parts {
    /// What has been used again since it came.
    regulars: Halves,
    newcomers: Halves,
}

impl Parts {
    /// All of it, what is used most first.
    fn all(&self) -> [&Arc<Half>; 4] {
        let Self {
            regulars,
            newcomers,
        } = self;
        [
            &regulars.young,
            &regulars.old,
            &newcomers.young,
            &newcomers.old,
        ]
    }

    fn len(&self) -> usize {
        self.regulars.len() + self.newcomers.len()
    }
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
    fn row(&self, key: u64, is_regular: bool) -> SpotRow {
        let seen = self.seen.load(Ordering::Relaxed);
        self.written.store(seen, Ordering::Relaxed);
        SpotRow {
            key,
            spot: self.spot,
            seen,
            is_regular,
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
            parts: ArcSwap::default(),
            bounds,
            turned: Default::default(),
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
        let parts = self.parts.load();
        let [young, others @ ..] = parts.all();
        let young = young.pin();
        if let Some(entry) = young.get(&key) {
            return self.used(key, entry, tick);
        }
        for (place, half) in others.into_iter().enumerate() {
            let half = half.pin();
            let Some(entry) = half.get(&key) else {
                continue;
            };
            let found = self.used(key, entry, tick)?;
            if young.len() < self.half_of_regulars() {
                // There before it is gone from here: nobody who asks meanwhile misses it. What
                // somebody else has put there meanwhile is newer.
                young.get_or_insert(key, entry.copy());
                half.remove(&key);
                if place > 0 {
                    // It is a regular now, which is worth writing down.
                    self.note(key);
                }
            }
            return Some(found);
        }
        None
    }

    fn used(&self, key: u64, entry: &Entry, tick: u64) -> Option<Spot> {
        let (found, looks_old) = entry.used(tick, self.bounds.idle)?;
        if looks_old {
            self.note(key);
        }
        Some(found)
    }

    /// This belongs here from now on.
    pub fn put(&self, key: u64, spot: Spot, tick: u64) {
        let parts = self.parts.load();
        let halves = parts.all();
        let known = halves.iter().position(|half| half.pin().contains_key(&key));
        let place = match known {
            // Whatever comes again is a regular. Where there is no room it stays where it is.
            Some(place) if parts.regulars.young.len() >= self.half_of_regulars() => place,
            Some(_) => 0,
            None if self.is_full(&parts) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            None => 2,
        };
        for (at, half) in halves.into_iter().enumerate() {
            if at == place {
                half.pin().insert(key, Entry::new(spot, tick));
            } else if known.is_some() {
                half.pin().remove(&key);
            }
        }
        self.note(key);
    }

    /// Whether there is no room for a newcomer. Regulars leave them what they do not need.
    fn is_full(&self, parts: &Parts) -> bool {
        let room = self.bounds.entries.saturating_sub(parts.regulars.len());
        parts.newcomers.young.len() >= room / 2 || parts.newcomers.len() >= room
    }

    fn half_of_regulars(&self) -> usize {
        let entries = self.bounds.entries;
        (entries - entries.div_ceil(NEWCOMERS)) / 2
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
        let parts = self.parts.load();
        let row = |key: &u64| {
            // Before it is read: what changes from here on is noted again.
            changed.remove(key);
            let mut halves = parts.all().into_iter().enumerate();
            halves.find_map(|(place, half)| Some(half.pin().get(key)?.row(*key, place < 2)))
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
        for half in self.parts.load().all() {
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
        let (regulars, mut newcomers): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.is_regular);
        let most = 2 * self.half_of_regulars();
        let regulars = regulars.get(..most).unwrap_or(&regulars);
        newcomers.truncate(self.bounds.entries.saturating_sub(regulars.len()) / 2 * 2);
        let fill = |rows: &[SpotRow], half: usize| {
            let halves = Halves::default();
            for (place, row) in rows.iter().enumerate() {
                let entry = Entry::new(row.spot, seen(row));
                entry.written.store(row.seen, Ordering::Relaxed);
                let half = if place < half {
                    &halves.young
                } else {
                    &halves.old
                };
                half.pin().insert(row.key, entry);
            }
            halves
        };
        let parts = Parts {
            regulars: fill(regulars, self.half_of_regulars()),
            newcomers: fill(&newcomers, newcomers.len().div_ceil(2)),
        };
        for turned in &self.turned {
            turned.store(tick, Ordering::Relaxed);
        }
        let taken = parts.len();
        self.parts.store(Arc::new(parts));
        taken
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
        let parts = self.parts.load();
        let Parts {
            regulars,
            newcomers,
        } = &**parts;
        let [for_regulars, for_newcomers] = &self.turned;
        let no_room = regulars.young.len() >= self.half_of_regulars();
        let turned = self.turned(regulars, (no_room, for_regulars), tick);
        let no_room = self.is_full(&parts);
        let newly = self.turned(newcomers, (no_room, for_newcomers), tick);
        if turned.is_none() && newly.is_none() {
            return;
        }
        self.parts.store(Arc::new(Parts {
            regulars: turned.unwrap_or_else(|| regulars.clone()),
            newcomers: newly.unwrap_or_else(|| newcomers.clone()),
        }));
    }

    /// These halves after a turn, if it is time for one or there is no room in the young one.
    fn turned(
        &self,
        halves: &Halves,
        (is_full, turned): (bool, &AtomicU64),
        tick: u64,
    ) -> Option<Halves> {
        let age = tick.saturating_sub(turned.load(Ordering::Relaxed));
        let is_late = age > self.bounds.idle;
        if halves.len() == 0 || !is_full && !is_late {
            return None;
        }
        if !is_late {
            let lost = halves.old.len() as u64;
            self.dropped.fetch_add(lost, Ordering::Relaxed);
        }
        turned.store(tick, Ordering::Relaxed);
        Some(halves.turned())
    }

    /// How many entries that are not idle belong to each route and backend.
    pub fn counts(&self, tick: u64) -> Counts<(u64, u64), u64> {
        let mut seen = HashSet::new();
        let mut counts = Counts::new();
        for half in self.parts.load().all() {
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
        self.parts.load().len()
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
}

#[cfg(test)]
mod tests;
