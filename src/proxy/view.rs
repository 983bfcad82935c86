//! A snapshot as one worker sees it: with its own connections and its own counters.
//!
//! Made once a snapshot and worker, so that a request finds everything it needs behind one
//! pointer and touches nothing that another worker writes.

use std::rc::Rc;
use std::sync::Arc;

use crate::stats::{CallKey, CallStats, Traffic};
use crate::upstream::{Endpoint, Pools};

use super::catalogues::Tools;
use super::snapshot::{Route, RouteArm, Snapshot};
use super::spec::ProtocolSpec;
use super::worker::Shared;

/// A snapshot as one worker sees it.
#[derive(Debug)]
pub(super) struct View {
    pub(super) snapshot: Arc<Snapshot>,
    /// In the order of the snapshot's routes, and of their arms.
    routes: Vec<Vec<ArmView>>,
}

/// A backend of a route as one worker sees it.
#[derive(Debug)]
pub(super) struct ArmView {
    pub(super) endpoints: Vec<Rc<Endpoint>>,
    pub(super) stats: Arc<CallStats>,
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
        }
    }

    /// The view of a worker; connections are taken over from the views before.
    pub(super) fn new(
        worker: usize,
        snapshot: Arc<Snapshot>,
        pools: &Pools,
        shared: &Shared,
    ) -> Self {
        let arm = |route: &Route, arm: &RouteArm| {
            let (route_name, backend) = (route.name.clone(), arm.backend.clone());
            let tools = route
                .shadow
                .as_ref()
                .map(|_| shared.catalogues.of(&route_name, &backend));
            let key = CallKey {
                route: route_name,
                backend,
                traffic: Traffic::Real,
            };
            ArmView {
                endpoints: pools.of_backend(&arm.backend, &arm.spec),
                stats: shared.registry.calls(worker, &key),
                tools,
            }
        };
        let arms = |route: &Route| route.arms.iter().map(|of| arm(route, of)).collect();
        let routes = snapshot.routes.iter().map(arms).collect();
        Self { snapshot, routes }
    }

    /// The route of a request, by its host in lower case and its path.
    pub(super) fn route(self: &Rc<Self>, host: &str, path: &str) -> Option<RouteView> {
        let place = self.snapshot.table.find(host, path)?;
        (place < self.routes.len()).then(|| RouteView {
            view: Rc::clone(self),
            place,
        })
    }
}

impl RouteView {
    /// The snapshot that the route is of.
    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.view.snapshot
    }

    /// The route as control wants it.
    #[expect(
        clippy::indexing_slicing,
        reason = "`View::route` has checked the place"
    )]
    pub(super) fn route(&self) -> &Route {
        &self.view.snapshot.routes[self.place]
    }

    /// Whether the route's callers speak MCP.
    pub(super) fn is_mcp(&self) -> bool {
        self.route().protocol == ProtocolSpec::Mcp
    }

    /// One backend of the route; places come from the route's own split.
    pub(super) fn arm(&self, place: usize) -> Option<(&RouteArm, &ArmView)> {
        let arms = self.view.routes.get(self.place)?;
        Some((self.route().arms.get(place)?, arms.get(place)?))
    }
}
