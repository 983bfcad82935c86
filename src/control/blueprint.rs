//! From what is desired to what the data wing runs by.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::spec::ConfigSpec;
use crate::listener::spec::ListenerSpec;
use crate::mcp::SealKey;
use crate::model::RouteName;
use crate::proxy::snapshot::{ArmBlueprint, Blueprint, RouteBlueprint, TrialBlueprint};
use crate::proxy::spec::{ProtocolSpec, RouteSpec};
use crate::stats::Turn;
use crate::tls::BackendTls;

use super::desired::{Desired, RouteState};
use super::drains;
use super::evidence::{Assignment, Evidence};
use super::keys::KeyRing;
use super::rolling;
use super::shadowing::{self, Shadowings};
use super::timestamp::Timestamp;

/// What the data wing is to run by.
pub(super) fn draw(
    (desired, at): (&Desired, Timestamp),
    (file, listeners, keys): (&ConfigSpec, &[ListenerSpec], &KeyRing),
    (evidence, turns, shadowings): (
        &BTreeMap<RouteName, Evidence>,
        &BTreeMap<RouteName, Arc<Turn>>,
        &Shadowings,
    ),
    (seal_keys, tls): (Vec<SealKey>, &Arc<BackendTls>),
) -> Blueprint {
    let routes = file.routes.iter().filter_map(|spec| {
        let state = desired.routes.get(&spec.name)?;
        let mut drawn = draw_route((spec, file), (state, at), evidence.get(&spec.name));
        let auth = spec.auth.as_ref();
        drawn.keys = auth.and_then(|auth| keys.cell(&auth.jwt.jwks));
        drawn.turn = turns.get(&spec.name).cloned();
        drawn.mirror_trial = shadowings.trial_of(&spec.name);
        Some(drawn)
    });
    Blueprint {
        generation: desired.generation,
        backends: file.backends.clone(),
        routes: routes.collect(),
        listeners: listeners.iter().map(|had| as_now(had, file)).collect(),
        forwarding: file.forwarding.clone(),
        limits: file.limits.clone(),
        session_keys: seal_keys,
        tls: Arc::clone(tls),
    }
}

/// A listener that the process was started with, with the lists of addresses that the file has
/// for it now. Its socket outlives a file that no longer names it, and so do its lists.
fn as_now(had: &ListenerSpec, file: &ConfigSpec) -> ListenerSpec {
    let now = file.listeners.iter().find(|now| now.address == had.address);
    now.unwrap_or(had).clone()
}

fn draw_route(
    (spec, file): (&RouteSpec, &ConfigSpec),
    (state, at): (&RouteState, Timestamp),
    evidence: Option<&Evidence>,
) -> RouteBlueprint {
    let arms = state.now.iter().map(|(backend, weight)| ArmBlueprint {
        backend: backend.clone(),
        weight: *weight,
        standing: drains::standing(spec, state, backend, at),
        takers: file
            .backends
            .get(backend)
            .and_then(|of| rolling::takers(state, backend, of)),
    });
    let trial = evidence.and_then(|evidence| {
        let run = state.running()?;
        Some(TrialBlueprint {
            trial: evidence.current()?.clone(),
            stable: run.stable.clone(),
            candidate: run.candidate.clone(),
        })
    });
    RouteBlueprint {
        spec: RouteSpec {
            shadow: shadowing::in_force(spec, state),
            ..spec.clone()
        },
        seed: state.seed,
        arms: arms.collect(),
        trial,
        mirror_trial: None,
        turn: None,
        keys: None,
    }
}

/// How a route assigns its requests.
pub(super) fn assignment(spec: &RouteSpec) -> Assignment {
    match (spec.protocol, spec.sticky.is_empty()) {
        (ProtocolSpec::Http, true) => Assignment::Drawn,
        (ProtocolSpec::Mcp, _) | (ProtocolSpec::Http, false) => Assignment::Pinned,
    }
}
