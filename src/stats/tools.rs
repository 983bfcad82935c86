//! Calls by the tool that they name: the busiest of a route apart, all others together.
//!
//! Names of tools come from the network, so only a bounded number of them has counts of its own: the
//! first that come, until all places are taken. From then on each worker looks for the busiest of
//! the others ([`super::strangers`]), and at intervals one of those takes the place of a name that
//! was called less than half as often in the meantime. The counts of a name that goes are added to
//! those of the others: no call is lost, no count ever falls, and a name that comes back
//! begins at zero.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::BackendName;

use super::calls::{CallStats, CallSummary};

/// The counts of a route by tool. Workers come here when a name is new and every few seconds,
/// readers whenever they like; a call finds its counts in the worker's own [`super::ToolCounts`].
#[derive(Debug, Default)]
pub struct ToolBoard {
    /// Grows whenever other names have counts of their own.
    edition: AtomicU64,
    state: Mutex<State>,
}

/// Fewest calls between two turns for which a name takes the place of another: a flood of names that
/// come once each moves nobody.
const BUSY: u64 = 8;

/// By worker.
type Shards = BTreeMap<usize, Arc<CallStats>>;

#[derive(Debug, Default)]
struct State {
    most: usize,
    places: BTreeMap<Arc<str>, Place>,
    other: BTreeMap<BackendName, Shards>,
    /// Counts of names that had to go, to which calls that are under way are still added.
    leaving: Vec<(BackendName, Arc<CallStats>)>,
    /// What the counts came to that nobody adds to any more.
    left: BTreeMap<BackendName, CallSummary>,
    /// Names without counts of their own that were called since the last turn, and how often at least.
    nominated: BTreeMap<String, u64>,
    replaced: u64,
}

/// A name with counts of its own.
#[derive(Debug, Default)]
struct Place {
    shards: BTreeMap<BackendName, Shards>,
    /// Its calls at the last turn.
    before: u64,
    /// Its calls before it had counts of its own, until the next turn: what it came in for.
    came_with: u64,
}

/// The calls of one tool that one backend answered.
#[derive(Clone, Debug)]
pub struct ToolSum {
    /// The tool; nothing for all that have no counts of their own.
    pub tool: Option<Arc<str>>,
    /// The backend.
    pub backend: BackendName,
    /// Its calls.
    pub calls: CallSummary,
}

impl ToolBoard {
    /// At most so many names have counts of their own from now on.
    pub fn hold_at_most(&self, most: usize) {
        let mut state = self.state();
        if state.most == most {
            return;
        }
        state.most = most;
        while state.places.len() > most && state.drop_least() {}
        drop(state);
        self.turn_page();
    }

    /// Gives a name counts of its own while there is room. Tells whether it has them.
    pub(super) fn enter(&self, tool: &str) -> bool {
        let mut state = self.state();
        if state.places.contains_key(tool) {
            return true;
        }
        if state.places.len() >= state.most {
            return false;
        }
        state.places.insert(tool.into(), Place::default());
        drop(state);
        self.turn_page();
        true
    }

    /// A worker's counts of a tool at a backend, the same ones each time they are asked for; those of
    /// all others for a name that has none.
    pub(super) fn shard(
        &self,
        worker: usize,
        tool: Option<&str>,
        backend: &BackendName,
    ) -> Arc<CallStats> {
        let mut state = self.state();
        let state = &mut *state;
        let place = tool.and_then(|tool| state.places.get_mut(tool));
        let shards = place.map_or(&mut state.other, |place| &mut place.shards);
        let shards = shards.entry(backend.clone()).or_default();
        Arc::clone(shards.entry(worker).or_default())
    }

    /// Names that were called without counts of their own, and how often at least.
    pub(super) fn nominate(&self, names: impl Iterator<Item = (String, u64)>) {
        let mut state = self.state();
        for (name, count) in names {
            if !state.places.contains_key(name.as_str()) {
                *state.nominated.entry(name).or_default() += count;
            }
        }
    }

    /// Control, every few seconds: names that were busier than others since the last time take
    /// their places.
    pub fn turn(&self) {
        let mut state = self.state();
        state.fold();
        let mut nominated: Vec<_> = std::mem::take(&mut state.nominated).into_iter().collect();
        nominated.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let mut changed = false;
        for (name, count) in nominated {
            if state.places.contains_key(name.as_str()) {
                // It found room since.
                continue;
            }
            if !state.make_room(count) {
                break;
            }
            let place = Place {
                came_with: count,
                ..Place::default()
            };
            state.places.insert(name.into(), place);
            changed = true;
        }
        for place in state.places.values_mut() {
            (place.before, place.came_with) = (place.calls(), 0);
        }
        drop(state);
        if changed {
            self.turn_page();
        }
    }

    /// How often a name took the place of another.
    pub fn replaced(&self) -> u64 {
        self.state().replaced
    }

    /// All counts, by tool and backend, those of all others last.
    pub fn sums(&self) -> Vec<ToolSum> {
        let state = self.state();
        let mut sums = Vec::new();
        for (tool, place) in &state.places {
            for (backend, shards) in &place.shards {
                sums.push(ToolSum {
                    tool: Some(Arc::clone(tool)),
                    backend: backend.clone(),
                    calls: sum_of(shards.values(), CallSummary::default()),
                });
            }
        }
        let mut others: BTreeMap<_, _> = state.left.clone();
        for (backend, shards) in &state.other {
            let left = others.entry(backend.clone()).or_default();
            *left = sum_of(shards.values(), std::mem::take(left));
        }
        for (backend, shard) in &state.leaving {
            shard.add_to(others.entry(backend.clone()).or_default());
        }
        sums.extend(others.into_iter().map(|(backend, calls)| ToolSum {
            tool: None,
            backend,
            calls,
        }));
        sums
    }

    /// Grows whenever other names have counts of their own.
    pub(super) fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }

    /// The names that have counts of their own, and whether there is room for more.
    pub(super) fn names(&self) -> (Vec<Arc<str>>, bool) {
        let state = self.state();
        let names = state.places.keys().map(Arc::clone).collect();
        (names, state.places.len() < state.most)
    }

    fn turn_page(&self) {
        self.edition.fetch_add(1, Ordering::Release);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sum_of<'a>(
    shards: impl Iterator<Item = &'a Arc<CallStats>>,
    mut sum: CallSummary,
) -> CallSummary {
    for shard in shards {
        shard.add_to(&mut sum);
    }
    sum
}

impl Place {
    fn calls(&self) -> u64 {
        let shards = self.shards.values().flat_map(BTreeMap::values);
        shards.map(|shard| shard.ended()).sum()
    }

    fn lately(&self) -> u64 {
        self.came_with + self.calls().saturating_sub(self.before)
    }
}

impl State {
    /// Whether there is room for a name with so many calls since the last turn: one that had less
    /// than half as many goes for it.
    fn make_room(&mut self, calls: u64) -> bool {
        if self.places.len() < self.most {
            return true;
        }
        let least = self.places.values().map(Place::lately).min();
        let is_busier = |least: u64| calls > least.saturating_mul(2) && calls >= BUSY;
        if !least.is_some_and(is_busier) {
            return false;
        }
        self.replaced += 1;
        self.drop_least()
    }

    fn drop_least(&mut self) -> bool {
        let least = self.places.iter().min_by_key(|(_, place)| place.lately());
        let Some(name) = least.map(|(name, _)| Arc::clone(name)) else {
            return false;
        };
        let shards = self.places.remove(&name).unwrap_or_default().shards;
        for (backend, shards) in shards {
            let leaving = shards.into_values();
            self.leaving
                .extend(leaving.map(|shard| (backend.clone(), shard)));
        }
        true
    }

    /// Adds up what nobody writes to any more.
    fn fold(&mut self) {
        let left = &mut self.left;
        self.leaving.retain(|(backend, shard)| {
            if Arc::strong_count(shard) > 1 {
                return true;
            }
            shard.add_to(left.entry(backend.clone()).or_default());
            false
        });
    }
}

#[cfg(test)]
mod tests;
