//! Backends that get no new sessions: how long their open ones stay.

use crate::config::spec::ConfigSpec;
use crate::model::BackendName;
use crate::proxy::snapshot::Standing;
use crate::proxy::spec::{LossSpec, ProtocolSpec, RouteSpec};

use super::actor::Control;
use super::desired::{Desired, RouteState};
use super::timestamp::Timestamp;

/// What the open sessions of a route's backend may expect.
pub(super) fn standing(
    spec: &RouteSpec,
    state: &RouteState,
    backend: &BackendName,
    at: Timestamp,
) -> Standing {
    let reverted = state.reverted.contains(backend);
    let ended = if reverted {
        Standing::Reverted
    } else {
        Standing::Drained
    };
    let stays = !reverted || spec.session.on_loss == LossSpec::Drain;
    match (spec.protocol, state.idle.get(backend)) {
        (ProtocolSpec::Mcp, Some(since)) if stays => {
            if at.since(*since) < spec.session.drain {
                Standing::Draining
            } else {
                ended
            }
        }
        (_, _) if reverted => Standing::Reverted,
        (ProtocolSpec::Http | ProtocolSpec::Mcp, _) => Standing::Open,
    }
}

/// When the next backend will have had its time.
fn next_end(desired: &Desired, file: &ConfigSpec, at: Timestamp) -> Option<Timestamp> {
    let routes = file.routes.iter();
    let ends = routes.flat_map(|spec| {
        let state = desired.routes.get(&spec.name);
        let idle = state.into_iter().flat_map(move |state| {
            let drains = move |backend: &BackendName| {
                standing(spec, state, backend, at) == Standing::Draining
            };
            state
                .idle
                .iter()
                .filter(move |(backend, _)| drains(backend))
        });
        idle.map(|(_, since)| since.after(spec.session.drain))
    });
    ends.min()
}

impl Control {
    /// What is published now is what holds at this moment.
    pub(super) fn is_publishing(&mut self) {
        self.published_at = Timestamp::now();
        self.drain_at = next_end(&self.desired, self.config.spec(), self.published_at);
    }

    /// Publishes anew when a backend has had its time.
    pub(super) fn end_drains(&mut self) {
        if self.drain_at.is_some_and(|at| Timestamp::now() >= at) {
            self.publish();
        }
    }
}
