//! A snapshot as one worker sees it: with its own connections and its own counters.
//!
//! Made once a snapshot and worker, so that a request finds everything it needs behind one
//! pointer and touches nothing that another worker writes.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use crate::model::{Role, RouteName};
use crate::routing::{Closeness, Rule};
use crate::shadow::{Mirror, MirrorOptions, Tried};
use crate::stats::{CallKey, CallStats, GateKey, GateStats, SessionStats, ToolCounts, Traffic};
use crate::tls::BackendTls;
use crate::upstream::Endpoint;

use super::catalogues::Tools;
use super::metadata::Document;
use super::ready;
use super::rules;
use super::seals::OpenedIds;
use super::snapshot::{Door, Route, RouteArm, Snapshot};
use super::spec::{ProtocolSpec, ShieldSpec};
use super::worker::Worker;

/// A snapshot as one worker sees it.
#[derive(Debug)]
pub(super) struct View {
    pub(super) snapshot: Arc<Snapshot>,
    /// In the order of the snapshot's routes, and of their arms.
    routes: Vec<Vec<ArmView>>,
    /// In the order of the snapshot's routes; only where there is something to count.
    gates: Vec<Option<Arc<GateStats>>>,
    /// In the order of the snapshot's listeners; only where there is something to count.
    doors: Vec<Option<Arc<GateStats>>>,
    /// In the order of the snapshot's routes.
    mirrors: Vec<Option<Rc<Mirror>>>,
    /// In the order of the snapshot's routes.
    opened_ids: Vec<OpenedIds>,
    /// In the order of the snapshot's routes; only where there are tools.
    tools: Vec<Option<ToolCounts>>,
    /// The endpoints that are to have connections ready for new traffic, each once.
    ready: Vec<Rc<Endpoint>>,
}

/// A backend of a route as one worker sees it.
#[derive(Debug)]
pub(super) struct ArmView {
    pub(super) endpoints: Vec<Rc<Endpoint>>,
    /// Those of them that take new traffic, where not all do.
    takers: Option<Vec<Rc<Endpoint>>>,
    pub(super) stats: Arc<CallStats>,
    /// What became of its sessions.
    pub(super) sessions: Arc<SessionStats>,
    /// What the backend says of its tools, where a shadow needs to know.
    pub(super) tools: Option<Tools>,
}

/// One route of a view.
#[derive(Clone, Debug)]
pub(super) struct RouteView {
    view: Rc<View>,
    place: usize,
}

impl View {
    /// A view without connections and counters, to begin with.
    pub(super) fn empty(snapshot: Arc<Snapshot>) -> Self {
        Self {
            snapshot,
            routes: Vec::new(),
            gates: Vec::new(),
            doors: Vec::new(),
            mirrors: Vec::new(),
            opened_ids: Vec::new(),
            tools: Vec::new(),
            ready: Vec::new(),
        }
    }

    /// The view of a worker; connections are taken over from the views before.
    pub(super) fn new(worker: &Worker, snapshot: Arc<Snapshot>) -> Self {
        if worker.number() == 0 {
            let is_there = |name: &RouteName| snapshot.routes.iter().any(|it| it.name == *name);
            worker.shared().registry.forget_tools_unless(is_there);
        }
        let tls = &snapshot.tls;
        let arms = |route: &Route| {
            route
                .arms
                .iter()
                .map(|arm| ArmView::new(worker, route, (arm, tls)))
                .collect()
        };
        let routes: Vec<Vec<ArmView>> = snapshot.routes.iter().map(arms).collect();
        let mirrors = snapshot
            .routes
            .iter()
            .map(|route| mirror_of(worker, route, tls))
            .collect();
        let registry = &worker.shared().registry;
        let counts = |key: &GateKey| registry.gate(worker.number(), key);
        let gate = |route: &Route| {
            let guarded = route.guard.is_some();
            guarded.then(|| counts(&GateKey::Route(route.name.clone())))
        };
        let door = |door: &Door| {
            let guarded = door.rules.is_some();
            guarded.then(|| counts(&GateKey::Listener(door.address)))
        };
        let gates = snapshot.routes.iter().map(gate).collect();
        let doors = snapshot.doors.iter().map(door).collect();
        let opened_ids = snapshot.routes.iter().map(|_| OpenedIds::default());
        let most_tools = snapshot.limits.tools;
        let tools = snapshot.routes.iter();
        let tools = tools.map(|route| tools_of(worker, route, most_tools));
        Self {
            opened_ids: opened_ids.collect(),
            tools: tools.collect(),
            ready: ready_of(&snapshot, &routes),
            snapshot,
            routes,
            gates,
            doors,
            mirrors,
        }
    }

    /// The route of a request, by its host and its path.
    pub(super) fn route(self: &Rc<Self>, host: &[u8], path: &str) -> Option<RouteView> {
        let place = self.snapshot.table.find(host, path)?;
        (place < self.routes.len()).then(|| RouteView {
            view: Rc::clone(self),
            place,
        })
    }
}

impl View {
    /// The route of this name.
    pub(super) fn named(self: &Rc<Self>, name: &RouteName) -> Option<RouteView> {
        let mut routes = self.snapshot.routes.iter();
        let place = routes.position(|route| route.name == *name)?;
        (place < self.routes.len()).then(|| RouteView {
            view: Rc::clone(self),
            place,
        })
    }

    /// What a route says of itself at this place, and the route.
    pub(super) fn document(
        self: &Rc<Self>,
        host: &[u8],
        path: &str,
    ) -> Option<(RouteView, &Document)> {
        let place = self.snapshot.table.find(host, path)?;
        let place = place.checked_sub(self.snapshot.routes.len())?;
        let document = self.snapshot.documents.get(place)?;
        let route = RouteView {
            view: Rc::clone(self),
            place: document.route,
        };
        (route.place < self.routes.len()).then_some((route, document))
    }

    /// Tells which tools were called that have no counts of their own.
    pub(super) fn report_tools(&self) {
        self.tools.iter().flatten().for_each(ToolCounts::report);
    }

    /// The endpoints that are to have connections ready.
    pub(super) fn ready(&self) -> &[Rc<Endpoint>] {
        &self.ready
    }

    /// What became of the connections to a listener that not everybody may use.
    pub(super) fn door_stats(&self, listener: usize) -> Option<&GateStats> {
        self.doors.get(listener)?.as_deref()
    }
}

impl ArmView {
    fn new(worker: &Worker, route: &Route, (arm, tls): (&RouteArm, &BackendTls)) -> Self {
        let shared = worker.shared();
        let shields_tools = |shield: &ShieldSpec| shield.read_only_tools;
        let wants_tools =
            route.shadow.is_some() || route.shield.as_ref().is_some_and(shields_tools);
        let tools = wants_tools.then(|| shared.catalogues.of(&route.belongs, &arm.backend));
        let key = CallKey {
            route: route.name.clone(),
            backend: arm.backend.clone(),
            traffic: Traffic::Real,
        };
        let endpoints = worker
            .pools()
            .of_backend(&arm.backend, &arm.spec, tls.get(&arm.backend));
        let takers = arm.takers.as_ref().map(|places| {
            let each = places.iter().filter_map(|place| endpoints.get(*place));
            each.cloned().collect()
        });
        Self {
            endpoints,
            takers,
            stats: shared.registry.calls(worker.number(), &key),
            sessions: shared.registry.sessions(&route.name, Some(&arm.backend)),
            tools,
        }
    }
}

impl ArmView {
    /// The endpoints that take new traffic, where not all of them do.
    pub(super) fn takers(&self) -> Option<&[Rc<Endpoint>]> {
        self.takers.as_deref()
    }
}

/// The endpoints of every arm with a share that are to have connections ready, each once.
fn ready_of(snapshot: &Snapshot, routes: &[Vec<ArmView>]) -> Vec<Rc<Endpoint>> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for (route, arms) in snapshot.routes.iter().zip(routes) {
        let arms = route
            .split
            .places_with_weight()
            .filter_map(|place| arms.get(place));
        let new = arms
            .flat_map(ready::of_arm)
            .filter(|it| seen.insert(Rc::as_ptr(it)));
        all.extend(new.cloned());
    }
    all
}

/// A worker's counts of a route by tool.
fn tools_of(worker: &Worker, route: &Route, most: usize) -> Option<ToolCounts> {
    if route.protocol == ProtocolSpec::Http {
        return None;
    }
    let board = worker.shared().registry.tools(&route.name);
    board.hold_at_most(most);
    let backends = route.arms.iter().map(|arm| arm.backend.clone()).collect();
    Some(ToolCounts::new(board, worker.number(), backends))
}

/// The mirror of a route that has a shadow.
fn mirror_of(worker: &Worker, route: &Route, tls: &BackendTls) -> Option<Rc<Mirror>> {
    let (spec, backend) = route.shadow.as_ref()?;
    let shared = worker.shared();
    let key = CallKey {
        route: route.name.clone(),
        backend: spec.backend.clone(),
        traffic: Traffic::Shadow,
    };
    Some(Rc::new(Mirror::new(MirrorOptions {
        spec: spec.clone(),
        endpoints: worker
            .shadow_pools()
            .of_backend(&spec.backend, backend, tls.get(&spec.backend)),
        calls: shared.registry.calls(worker.number(), &key),
        stats: shared.registry.mirror(&route.name),
        tried: route.mirror_trial.clone().map(|trial| Tried {
            trial,
            worker: worker.number(),
        }),
        budget: shared.shadows.budget(&route.name),
        sessions: Arc::clone(&shared.shadows.sessions),
        deadlines: worker.deadlines().clone(),
        began: worker.began(),
    })))
}

impl RouteView {
    /// The snapshot that the route is of.
    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.view.snapshot
    }

    /// Whether something was published since the route's request began.
    pub(super) fn is_older_than(&self, view: &Rc<View>) -> bool {
        !Rc::ptr_eq(&self.view, view)
    }

    /// The route as control wants it.
    #[expect(
        clippy::indexing_slicing,
        reason = "`View::route` has checked the place"
    )]
    pub(super) fn route(&self) -> &Route {
        &self.view.snapshot.routes[self.place]
    }

    /// Whether other routes take some of its requests.
    pub(super) fn has_rules(&self) -> bool {
        !self.route().rules.is_empty()
    }

    /// The route of the rule that takes a request most closely.
    pub(super) fn rule(&self, takes: impl Fn(&Rule) -> Option<Closeness>) -> Option<Self> {
        let place = rules::closest(&self.route().rules, takes)?;
        (place < self.view.routes.len()).then(|| Self {
            view: Rc::clone(&self.view),
            place,
        })
    }

    /// Whether one of its rules is called so.
    pub(super) fn has_rule(&self, name: &RouteName) -> bool {
        let routes = &self.view.snapshot.routes;
        let rules = self.route().rules.iter();
        let mut rules = rules.filter_map(|(_, place)| routes.get(*place));
        rules.any(|rule| rule.name == *name)
    }

    /// Whether the route's callers speak MCP.
    pub(super) fn is_mcp(&self) -> bool {
        self.route().protocol == ProtocolSpec::Mcp
    }

    /// What became of the requests of a route that not everybody may use.
    pub(super) fn gate_stats(&self) -> Option<&GateStats> {
        self.view.gates.get(self.place)?.as_deref()
    }

    /// The session ids that were opened here.
    pub(super) fn opened_ids(&self) -> Option<&OpenedIds> {
        self.view.opened_ids.get(self.place)
    }

    /// The route's mirror, if it has one.
    pub(super) fn mirror(&self) -> Option<&Rc<Mirror>> {
        self.view.mirrors.get(self.place)?.as_ref()
    }

    /// This worker's counts of the route by tool, if its callers speak MCP.
    pub(super) fn tools(&self) -> Option<&ToolCounts> {
        self.view.tools.get(self.place)?.as_ref()
    }

    /// Whether an arm is the candidate of the rollout that runs.
    pub(super) fn is_candidate(&self, place: usize) -> bool {
        let arm = self.route().arms.get(place);
        arm.is_some_and(|arm| arm.role == Some(Role::Candidate))
    }

    /// Calls of this worker that have ended on the route.
    pub(super) fn calls(&self) -> u64 {
        let arms = self.view.routes.get(self.place).into_iter().flatten();
        arms.map(|arm| arm.stats.ended()).sum()
    }

    /// One backend of the route; places come from the route's own split.
    pub(super) fn arm(&self, place: usize) -> Option<(&RouteArm, &ArmView)> {
        let arms = self.view.routes.get(self.place)?;
        Some((self.route().arms.get(place)?, arms.get(place)?))
    }
}
