//! What the data wing runs by: one immutable snapshot, compiled from what control wants.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::access::address::AddressRules;
use crate::access::jwt::KeyCell;
use crate::deadline::Terms;
use crate::listener::spec::ListenerSpec;
use crate::mcp::{BackendTag, EndpointTag, SealKey, Spot};
use crate::model::{BackendName, Generation, OutcomeSet, Role, RouteName, Weight};
use crate::routing::{RouteTable, Rule};
use crate::shadow::spec::ShadowSpec;
use crate::split::{Arm, Keys, Split};
use crate::stats::{MirrorTrial, Trial, Turn};
use crate::tls::BackendTls;
use crate::upstream::spec::BackendSpec;
use crate::upstream::{IntakeBounds, Patience};

use super::client::Forwarding;
use super::guard::Guard;
use super::metadata::{self, Document};
use super::pages::Pages;
use super::rules;
use super::spec::{
    ForwardingSpec, LimitsSpec, LossSpec, ProtocolSpec, RetriesSpec, RouteSpec, ShieldSpec,
    UpgradeSpec,
};

/// What control wants: plain values, from which [`Snapshot::compile`] makes the runtime form.
#[derive(Clone, Debug)]
pub struct Blueprint {
    /// The state that this is.
    pub generation: Generation,
    /// Every backend that an arm or a shadow names.
    pub backends: BTreeMap<BackendName, BackendSpec>,
    /// The routes, in the order of the file.
    pub routes: Vec<RouteBlueprint>,
    /// The listeners that the process has, in the order in which it was started with them.
    pub listeners: Vec<ListenerSpec>,
    /// What backends are told about the client.
    pub forwarding: ForwardingSpec,
    /// Bounds on connections from downstream.
    pub limits: LimitsSpec,
    /// What MCP session ids are sealed with: the current key, then older ones.
    pub session_keys: Vec<SealKey>,
    /// TLS towards backends.
    pub tls: Arc<BackendTls>,
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
    /// Where the route's mirror counts for a rollout whose candidate gets copies alone.
    pub mirror_trial: Option<Arc<MirrorTrial>>,
    /// The way back that its latest rollout is on, while nobody knows how long it took.
    pub turn: Option<Arc<Turn>>,
    /// Where the keys are that callers' tokens are checked with; without any, no token is good.
    pub keys: Option<Arc<KeyCell>>,
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
    /// Places of its endpoints that take new traffic; `None` for all of them.
    pub takers: Option<Vec<usize>>,
}

/// What the open sessions of a backend may expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They stay, whatever the weight.
    Open,
    /// The backend gets no new ones: they stay until the route's limit is over.
    Draining,
    /// That limit is over: they leave at their next call.
    Drained,
    /// The backend was reverted: they leave at their next call.
    Reverted,
}

impl Standing {
    /// Whether who is there may stay.
    pub fn may_stay(self) -> bool {
        match self {
            Self::Open | Self::Draining => true,
            Self::Drained | Self::Reverted => false,
        }
    }
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
    pub(super) table: RouteTable,
    pub(super) routes: Vec<Route>,
    /// What routes say of themselves; in the table after the routes.
    pub(super) documents: Vec<Document>,
    /// In the order of the listeners.
    pub(super) doors: Vec<Door>,
    pub(super) forwarding: Forwarding,
    pub(super) limits: LimitsSpec,
    pub(super) session_keys: Vec<SealKey>,
    pub(super) tls: Arc<BackendTls>,
}

/// Who may connect to a listener.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) address: SocketAddr,
    /// Nothing where everybody may.
    pub(super) rules: Option<AddressRules>,
}

/// A route, ready to be used.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) name: RouteName,
    /// Names the route in the tables of what requests without sessions are bound by.
    pub(super) identity: u64,
    /// Seeds the hashes of callers and values in these tables; the same after a restart.
    pub(super) scope: u64,
    /// The route that its sessions are opened at: itself, or the one that it is a rule of, ...
    pub(super) belongs: RouteName,
    /// ... and what names that in the tables.
    pub(super) family: u64,
    /// What other routes take of its requests, each with the route's place.
    pub(super) rules: Vec<(Rule, usize)>,
    pub(super) protocol: ProtocolSpec,
    /// Nothing where everybody is let in.
    pub(super) guard: Option<Box<Guard>>,
    /// Which web pages may ask.
    pub(super) pages: Pages,
    pub(super) split: Split,
    pub(super) keys: Keys,
    pub(super) arms: Vec<RouteArm>,
    pub(super) trial: Option<Arc<Trial>>,
    pub(super) turn: Option<Arc<Turn>>,
    pub(super) shadow: Option<(ShadowSpec, BackendSpec)>,
    pub(super) mirror_trial: Option<Arc<MirrorTrial>>,
    /// The arm whose word on its tools is taken: stable's, else the heaviest one's.
    pub(super) trusted: usize,
    pub(super) patience: Patience,
    pub(super) intake: IntakeBounds,
    pub(super) upgrades: Box<[UpgradeSpec]>,
    pub(super) retries: RetriesSpec,
    pub(super) shield: Option<ShieldSpec>,
    pub(super) on_loss: LossSpec,
    pub(super) bad_outcomes: OutcomeSet,
}

/// One backend of a route, ready to be used.
#[derive(Debug)]
pub(super) struct RouteArm {
    pub(super) backend: BackendName,
    /// Names the backend in the tables of what requests without sessions are bound by.
    pub(super) identity: u64,
    /// Its endpoints, named in the same way and in their order.
    pub(super) endpoints: Vec<u64>,
    pub(super) spec: BackendSpec,
    pub(super) standing: Standing,
    /// Places of its endpoints that take new traffic, at least one; `None` for all of them.
    pub(super) takers: Option<Vec<usize>>,
    /// Its part in the rollout that is running, if it has one.
    pub(super) role: Option<Role>,
    /// In the order of the snapshot's session keys; empty where sessions are not sealed.
    pub(super) tags: Vec<ArmTags>,
}

/// How an arm and its endpoints are named in sealed ids.
#[derive(Debug)]
pub(super) struct ArmTags {
    pub(super) backend: BackendTag,
    /// In the order of the backend's endpoints.
    pub(super) endpoints: Vec<EndpointTag>,
}

impl Snapshot {
    /// Makes the runtime form of what control wants. The blueprint's specs have been checked
    /// by `config`, so this cannot fail; an arm or a shadow whose backend is missing is left out.
    pub fn compile(blueprint: &Blueprint) -> Self {
        let bases = rules::bases(&blueprint.routes);
        let route = |(route, base): (&RouteBlueprint, &Option<usize>)| match base
            .and_then(|base| blueprint.routes.get(base))
        {
            Some(base) => Route::compile(&rules::inherit(route, base), blueprint),
            None => Route::compile(route, blueprint),
        };
        let routes = blueprint.routes.iter().zip(&bases);
        let mut routes: Vec<Route> = routes.map(route).collect();
        rules::link(&mut routes, &blueprint.routes, &bases);
        let specs = || blueprint.routes.iter().map(|route| &route.spec);
        let (places, documents): (Vec<_>, _) = metadata::documents(specs()).into_iter().unzip();
        Self {
            generation: blueprint.generation,
            table: RouteTable::new(specs().map(|spec| &spec.matches).chain(&places)),
            documents,
            routes,
            doors: blueprint.listeners.iter().map(Door::new).collect(),
            forwarding: Forwarding::new(&blueprint.forwarding),
            limits: blueprint.limits.clone(),
            session_keys: blueprint.session_keys.clone(),
            tls: Arc::clone(&blueprint.tls),
        }
    }
}

impl Door {
    fn new(spec: &ListenerSpec) -> Self {
        Self {
            address: spec.address,
            rules: AddressRules::new(spec.allow.as_deref(), &spec.deny),
        }
    }
}

/// How long and how slow the body of a request may be.
fn intake_of(spec: &RouteSpec, limits: &LimitsSpec) -> IntakeBounds {
    IntakeBounds {
        max_bytes: spec.max_body.unwrap_or(u64::MAX),
        terms: Terms {
            pause: limits.body_stall,
            grace: limits.body_grace,
            rate: limits.body_rate,
        },
    }
}

/// How long a call may take.
fn patience_of(spec: &RouteSpec) -> Patience {
    Patience {
        head: spec.response_head_timeout,
        idle: spec.idle_timeout,
        total: spec.total_timeout,
    }
}

impl Route {
    fn compile(blueprint: &RouteBlueprint, whole: &Blueprint) -> Self {
        let backends = &whole.backends;
        let spec = &blueprint.spec;
        let known = blueprint
            .arms
            .iter()
            .filter_map(|arm| Some((arm, backends.get(&arm.backend)?)));
        let (choices, arms) = known
            .map(|(arm, backend)| {
                let ready = RouteArm {
                    backend: arm.backend.clone(),
                    identity: Spot::identity(arm.backend.as_str()),
                    endpoints: identities(backend),
                    spec: backend.clone(),
                    standing: arm.standing,
                    takers: takers_of(arm, backend),
                    role: role_of(blueprint, &arm.backend),
                    tags: tags_of(spec.protocol, &whole.session_keys, &arm.backend, backend),
                };
                (Arm::new(&arm.backend, arm.weight), ready)
            })
            .unzip();
        let arms: Vec<RouteArm> = arms;
        let trusted = trusted_place(&arms, &blueprint.arms, backends);
        let shadow = spec
            .shadow
            .as_ref()
            .and_then(|shadow| Some((shadow.clone(), backends.get(&shadow.backend)?.clone())));
        Self {
            name: spec.name.clone(),
            identity: Spot::identity(spec.name.as_str()),
            // The state's own key is the last one, and no change of keys takes it away.
            scope: (whole.session_keys.last()).map_or(0, |key| key.scope(&spec.name)),
            belongs: spec.name.clone(),
            family: (whole.session_keys.last()).map_or(0, |key| key.scope(&spec.name)),
            rules: Vec::new(),
            protocol: spec.protocol,
            guard: Guard::new(blueprint),
            pages: Pages::new(spec),
            split: Split::new(choices),
            keys: Keys::new(&spec.sticky, blueprint.seed),
            arms,
            trial: blueprint
                .trial
                .as_ref()
                .map(|trial| Arc::clone(&trial.trial)),
            turn: blueprint.turn.clone(),
            shadow,
            mirror_trial: blueprint.mirror_trial.clone(),
            trusted,
            patience: patience_of(spec),
            intake: intake_of(spec, &whole.limits),
            upgrades: spec.upgrades.as_slice().into(),
            retries: spec.retries.clone(),
            shield: spec.shield.clone(),
            on_loss: spec.session.on_loss,
            bad_outcomes: spec.bad(),
        }
    }
}

impl Snapshot {
    /// A worker goes by this snapshot from now on.
    pub(super) fn in_force(&self, worker: usize) {
        let turns = self.routes.iter().filter_map(|route| route.turn.as_ref());
        turns.for_each(|turn| turn.in_force(worker));
    }
}

/// The part of a backend in the rollout that runs.
fn role_of(blueprint: &RouteBlueprint, backend: &BackendName) -> Option<Role> {
    let trial = blueprint.trial.as_ref()?;
    match backend {
        name if *name == trial.stable => Some(Role::Stable),
        name if *name == trial.candidate => Some(Role::Candidate),
        _ => None,
    }
}

/// The arm whose word is taken: stable's, else the heaviest one's.
fn trusted_place(
    arms: &[RouteArm],
    wanted: &[ArmBlueprint],
    backends: &BTreeMap<BackendName, BackendSpec>,
) -> usize {
    let stable = arms.iter().position(|arm| arm.role == Some(Role::Stable));
    let heaviest = || {
        let known = wanted
            .iter()
            .filter(|arm| backends.contains_key(&arm.backend));
        let heaviest = known.enumerate().max_by_key(|(_, arm)| arm.weight);
        heaviest.map(|(place, _)| place)
    };
    stable.or_else(heaviest).unwrap_or(0)
}

/// The endpoints that take new traffic, unless there would be none.
fn takers_of(arm: &ArmBlueprint, backend: &BackendSpec) -> Option<Vec<usize>> {
    let mut takers = arm.takers.clone()?;
    takers.retain(|place| *place < backend.endpoints.len());
    (!takers.is_empty()).then_some(takers)
}

fn identities(backend: &BackendSpec) -> Vec<u64> {
    let endpoints = backend.endpoints.iter();
    endpoints
        .map(|endpoint| Spot::identity(&endpoint.to_string()))
        .collect()
}

fn tags_of(
    protocol: ProtocolSpec,
    keys: &[SealKey],
    name: &BackendName,
    backend: &BackendSpec,
) -> Vec<ArmTags> {
    if protocol == ProtocolSpec::Http {
        return Vec::new();
    }
    let tags = |key: &SealKey| ArmTags {
        backend: key.backend_tag(name),
        endpoints: backend
            .endpoints
            .iter()
            .map(|endpoint| key.endpoint_tag(&endpoint.to_string()))
            .collect(),
    };
    keys.iter().map(tags).collect()
}

/// Where control publishes and every worker reads.
#[derive(Debug)]
pub struct SnapshotCell {
    current: ArcSwap<Snapshot>,
    /// How often something was published: what a request compares, without touching `current`.
    published: AtomicU64,
    workers: Vec<Notify>,
}

impl SnapshotCell {
    /// A cell for this many workers, with its first snapshot.
    pub fn new(workers: usize, first: Snapshot) -> Self {
        Self {
            current: ArcSwap::from_pointee(first),
            published: AtomicU64::new(0),
            workers: (0..workers).map(|_| Notify::new()).collect(),
        }
    }

    /// Control: every request that starts from now on goes by `next`.
    pub fn publish(&self, next: Snapshot) {
        self.current.store(Arc::new(next));
        self.published.fetch_add(1, Ordering::Release);
        for worker in &self.workers {
            worker.notify_one();
        }
    }

    /// The snapshot in force.
    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// How often something was published, to be compared with an earlier reading.
    pub(super) fn edition(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// Waits until something was published after the last such wait of `worker`.
    pub(super) async fn published(&self, worker: usize) {
        match self.workers.get(worker) {
            Some(notify) => notify.notified().await,
            None => std::future::pending().await,
        }
    }

    /// How many workers read this cell.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }
}
