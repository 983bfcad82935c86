//! Where shards are found: workers ask for theirs, readers sum all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{BackendName, RouteName};

use super::calls::{CallStats, CallSummary};
use super::gate::{GateKey, GateStats};
use super::histogram::Histogram;
use super::mirror::MirrorStats;
use super::sessions::SessionStats;
use super::tools::ToolBoard;

/// Whether calls were real or mirrored ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Traffic {
    /// Calls of callers.
    Real,
    /// Copies sent to a shadow; nobody waits for their answers.
    Shadow,
}

/// What one set of counts is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallKey {
    /// The route that took the calls.
    pub route: RouteName,
    /// The backend that answered them.
    pub backend: BackendName,
    /// Real or mirrored.
    pub traffic: Traffic,
}

/// A route, and one of its backends, or none that anybody knows any more.
type SessionKey = (RouteName, Option<BackendName>);
type Sessions = BTreeMap<SessionKey, Arc<SessionStats>>;
type Gates = BTreeMap<GateKey, BTreeMap<usize, Arc<GateStats>>>;
type Shards = BTreeMap<CallKey, BTreeMap<usize, Arc<CallStats>>>;

/// All shards of a process. Workers come here only when a snapshot changes, readers whenever
/// they like; the request path holds its shards and never comes here.
#[derive(Debug, Default)]
pub struct Registry {
    shards: Mutex<Shards>,
    mirrors: Mutex<BTreeMap<RouteName, Arc<MirrorStats>>>,
    gates: Mutex<Gates>,
    sessions: Mutex<Sessions>,
    tools: Mutex<BTreeMap<RouteName, Arc<ToolBoard>>>,
    reverts: Mutex<BTreeMap<RouteName, Arc<Histogram>>>,
}

impl Registry {
    /// The shard of `worker` for `key`, the same one each time it is asked for.
    ///
    /// Only that worker's thread may write to it.
    pub fn calls(&self, worker: usize, key: &CallKey) -> Arc<CallStats> {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(
            shards
                .entry(key.clone())
                .or_default()
                .entry(worker)
                .or_default(),
        )
    }

    /// The sum of all workers for `key`; zeros when nothing was counted.
    pub fn sum(&self, key: &CallKey) -> CallSummary {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = CallSummary::default();
        for shard in shards.get(key).into_iter().flat_map(BTreeMap::values) {
            shard.add_to(&mut sum);
        }
        sum
    }

    /// What became of a route's copies; the same counts for all workers.
    pub fn mirror(&self, route: &RouteName) -> Arc<MirrorStats> {
        let mut mirrors = self.mirrors.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(mirrors.entry(route.clone()).or_default())
    }

    /// What became of the sessions of a route's backend, or of those whose backend nobody knows
    /// any more; the same counts for all workers.
    pub fn sessions(&self, route: &RouteName, backend: Option<&BackendName>) -> Arc<SessionStats> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (route.clone(), backend.cloned());
        Arc::clone(sessions.entry(key).or_default())
    }

    /// Every route and backend whose sessions are counted, in order.
    pub fn all_sessions(&self) -> Vec<(SessionKey, Arc<SessionStats>)> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let each = sessions.iter();
        each.map(|(key, counts)| (key.clone(), Arc::clone(counts)))
            .collect()
    }

    /// The shard of `worker` for what became of those who wanted in at a gate, the same one each
    /// time it is asked for. Only that worker's thread may write to it.
    pub fn gate(&self, worker: usize, key: &GateKey) -> Arc<GateStats> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(
            gates
                .entry(key.clone())
                .or_default()
                .entry(worker)
                .or_default(),
        )
    }

    /// The counts of a route by tool; the same for all workers.
    pub fn tools(&self, route: &RouteName) -> Arc<ToolBoard> {
        let mut tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tools.entry(route.clone()).or_default())
    }

    /// Forgets the counts by tool of routes that are gone.
    pub fn forget_tools_unless(&self, is_there: impl Fn(&RouteName) -> bool) {
        let mut tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        tools.retain(|route, _| is_there(route));
    }

    /// The same, when anything counts there: asking makes none.
    pub fn tools_if_any(&self, route: &RouteName) -> Option<Arc<ToolBoard>> {
        let tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        tools.get(route).map(Arc::clone)
    }

    /// Every route whose tools are counted, in order.
    pub fn all_tools(&self) -> Vec<(RouteName, Arc<ToolBoard>)> {
        let tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        let each = tools.iter();
        each.map(|(route, board)| (route.clone(), Arc::clone(board)))
            .collect()
    }

    /// How long a route's ways back took. Only control may write to it.
    pub fn reverts(&self, route: &RouteName) -> Arc<Histogram> {
        let mut reverts = self.reverts.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(reverts.entry(route.clone()).or_default())
    }

    /// Every route whose ways back are counted, in order.
    pub fn all_reverts(&self) -> Vec<(RouteName, Arc<Histogram>)> {
        let reverts = self.reverts.lock().unwrap_or_else(PoisonError::into_inner);
        let each = reverts.iter();
        each.map(|(route, took)| (route.clone(), Arc::clone(took)))
            .collect()
    }

    /// Every gate and the shards of its workers, in order.
    pub fn gates(&self) -> Vec<(GateKey, Vec<Arc<GateStats>>)> {
        let gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates
            .iter()
            .map(|(key, shards)| (key.clone(), shards.values().cloned().collect()))
            .collect()
    }

    /// The keys that have been counted, in order.
    pub fn keys(&self) -> Vec<CallKey> {
        self.shards
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::model::Outcome;

    use super::*;

    #[test]
    fn workers_count_apart_and_are_summed() {
        let registry = Registry::default();
        let key = CallKey {
            route: "r".parse().unwrap(),
            backend: "b".parse().unwrap(),
            traffic: Traffic::Real,
        };
        for worker in 0..3 {
            let shard = registry.calls(worker, &key);
            shard.begin();
            shard.begin();
            shard.end(Outcome::Success, Duration::from_millis(5));
        }

        let sum = registry.sum(&key);

        assert_eq!(
            (sum.total(), sum.in_flight, sum.count(Outcome::Success)),
            (3, 3, 3)
        );
        assert_eq!(sum.latency.count(), 3);
    }
}
