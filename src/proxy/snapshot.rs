//! What the data wing runs by: one immutable snapshot, compiled from what control wants.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::model::{BackendName, Generation, Weight};
use crate::proxy::spec::{ForwardingSpec, LimitsSpec, RouteSpec};
use crate::stats::Trial;
use crate::upstream::spec::BackendSpec;

/// What control wants: plain values, from which [`Snapshot::compile`] makes the runtime form.
#[derive(Clone, Debug)]
pub struct Blueprint {
    /// The state that this is.
    pub generation: Generation,
    /// Every backend that an arm or a shadow names.
    pub backends: BTreeMap<BackendName, BackendSpec>,
    /// The routes, in the order of the file.
    pub routes: Vec<RouteBlueprint>,
    /// What backends are told about the client.
    pub forwarding: ForwardingSpec,
    /// Bounds on connections from downstream.
    pub limits: LimitsSpec,
}

/// One route as control wants it.
#[derive(Clone, Debug)]
pub struct RouteBlueprint {
    /// The route as the file says; its own split is not looked at here.
    pub spec: RouteSpec,
    /// Seeds the choice of a backend by key: the number of the route's latest rollout, so that a
    /// new rollout tries new callers and a weight change moves as few as it can.
    pub seed: u64,
    /// Every backend of the route, with its share of new traffic.
    pub arms: Vec<ArmBlueprint>,
    /// The evidence to gather while a rollout runs.
    pub trial: Option<TrialBlueprint>,
}

/// One backend of a route as control wants it.
#[derive(Clone, Debug)]
pub struct ArmBlueprint {
    /// The backend.
    pub backend: BackendName,
    /// Its share of new traffic.
    pub weight: Weight,
    /// What its open sessions may expect.
    pub standing: Standing,
}

/// What the open sessions of a backend may expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They stay, whatever the weight.
    Open,
    /// The backend was reverted: their next call is re-homed.
    Reverted,
}

/// The evidence to gather while a rollout runs.
#[derive(Clone, Debug)]
pub struct TrialBlueprint {
    /// Where workers write it.
    pub trial: Arc<Trial>,
    /// The version that is trusted.
    pub stable: BackendName,
    /// The version on trial.
    pub candidate: BackendName,
}

/// What the data wing runs by. Immutable; a request keeps the one it started with.
#[derive(Debug)]
pub struct Snapshot {
    /// The state that this is.
    pub generation: Generation,
}

impl Snapshot {
    /// Makes the runtime form of what control wants. The blueprint's specs have been checked
    /// by `config`, so this cannot fail.
    pub fn compile(blueprint: &Blueprint) -> Self {
        Self {
            generation: blueprint.generation,
        }
    }
}

/// Where control publishes and every worker reads.
#[derive(Debug)]
pub struct SnapshotCell {
    current: ArcSwap<Snapshot>,
    workers: Vec<Notify>,
}

impl SnapshotCell {
    /// A cell for this many workers, with its first snapshot.
    pub fn new(workers: usize, first: Snapshot) -> Self {
        Self {
            current: ArcSwap::from_pointee(first),
            workers: (0..workers).map(|_| Notify::new()).collect(),
        }
    }

    /// Control: every request that starts from now on goes by `next`.
    pub fn publish(&self, next: Snapshot) {
        self.current.store(Arc::new(next));
        for worker in &self.workers {
            worker.notify_one();
        }
    }

    /// The snapshot in force.
    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// How many workers read this cell.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }
}
