//! Which arm and endpoint a request goes to when nothing binds it yet.
//!
//! What is unfit is passed over: an endpoint for another one of its backend, an arm without a fit
//! endpoint for the route's other arms, by their weights. When nothing is fit, the request goes
//! where it would have gone: perhaps it works after all, and to try is how that is found out.

use std::rc::Rc;

use crate::model::Role;
use crate::split::{self, rendezvous};
use crate::upstream::Endpoint;

use super::error::ProxyError;
use super::pipeline::Decided;
use super::rehome::Asks;
use super::view::RouteView;
use super::worker::Worker;

/// An arm of a route, and one of its endpoints.
pub(super) type Place = (usize, Rc<Endpoint>);

/// Where a request goes that belongs to no session: by its key, else by draw.
///
/// # Errors
/// [`ProxyError::NoBackend`] when there is nowhere.
pub(super) fn by_caller(route: RouteView, asks: Asks<'_>) -> Result<Decided, ProxyError> {
    let Asks {
        downstream,
        fields,
        principal,
        ..
    } = asks;
    let owner = principal.map(|principal| Rc::clone(&principal.owner));
    let client = route
        .snapshot()
        .forwarding
        .client(downstream.peer.address, fields)
        .address();
    let key = route.route().keys.of_caller(&split::Caller {
        headers: fields,
        client,
        owner: owner.as_deref(),
        claims: principal.map_or(&[][..], |principal| &principal.claims),
    });
    let at = by_split(&downstream.worker, &route, key)?;
    Ok(Decided {
        key,
        owner,
        ..Decided::to(route, at)
    })
}

/// The arm and endpoint by key, or by draw without one.
///
/// # Errors
/// [`ProxyError::NoBackend`] when no arm of the route takes traffic.
pub(super) fn by_split(
    worker: &Worker,
    route: &RouteView,
    key: Option<u64>,
) -> Result<Place, ProxyError> {
    let none = || ProxyError::NoBackend {
        route: route.route().name.clone(),
    };
    let split = &route.route().split;
    let chosen = match key {
        Some(key) => split.by_key(key),
        None => split.by_draw(worker.draw()),
    };
    let mut place = chosen.ok_or_else(none)?;
    if !has_fit(route, place) {
        place = instead(worker, route, key).unwrap_or(place);
    }
    in_arm(worker, route, place, key)
}

/// An arm, and the endpoint in it by key, or by draw without one.
///
/// # Errors
/// [`ProxyError::NoBackend`] when the arm has none.
pub(super) fn in_arm(
    worker: &Worker,
    route: &RouteView,
    place: usize,
    key: Option<u64>,
) -> Result<Place, ProxyError> {
    let none = || ProxyError::NoBackend {
        route: route.route().name.clone(),
    };
    let endpoint = worker.pick_endpoint(takers(route, place), key);
    let endpoint = endpoint.ok_or_else(none)?;
    Ok((place, endpoint))
}

/// The arm of a request whose own has no fit endpoint. A candidate on trial gets more than its
/// share only when nothing else is left.
fn instead(worker: &Worker, route: &RouteView, key: Option<u64>) -> Option<usize> {
    let split = &route.route().split;
    let choose = |among: &dyn Fn(usize) -> bool| match key {
        Some(key) => split.by_key_among(key, among),
        None => split.by_draw_among(worker.draw(), among),
    };
    let place = choose(&|place| !route.is_candidate(place) && has_fit(route, place))
        .or_else(|| choose(&|place| has_fit(route, place)))?;
    metrics::counter!("switchback_arms_passed_over_total").increment(1);
    Some(place)
}

/// The endpoints of an arm that take new traffic. Those of stable that a candidate's have taken
/// over from are still there, and take it again before nobody does.
pub(super) fn takers(route: &RouteView, place: usize) -> &[Rc<Endpoint>] {
    let Some((known, arm)) = route.arm(place) else {
        return &[];
    };
    let is_left =
        |takers: &&[Rc<Endpoint>]| known.role != Some(Role::Stable) || takers.iter().any(is_fit);
    arm.takers().filter(is_left).unwrap_or(&arm.endpoints)
}

/// Whether an arm has a fit endpoint.
pub(super) fn has_fit(route: &RouteView, place: usize) -> bool {
    takers(route, place).iter().any(is_fit)
}

/// Whether an endpoint is dead while another one of the route is fit.
pub(super) fn is_lost(route: &RouteView, endpoint: &Rc<Endpoint>) -> bool {
    let mut places = route.route().split.places_with_weight();
    endpoint.is_dead() && places.any(|place| has_fit(route, place))
}

/// Whether an endpoint may be called, as far as is known.
pub(super) fn is_fit(endpoint: &Rc<Endpoint>) -> bool {
    endpoint.is_usable()
}

/// One of the endpoints that are allowed: by rendezvous for a key, else the idler of two drawn
/// ones (Mitzenmacher, "The power of two choices", 2001).
pub(super) fn pick(
    endpoints: &[Rc<Endpoint>],
    key: Option<u64>,
    allowed: impl Fn(&Rc<Endpoint>) -> bool,
    draw: impl Fn() -> u64,
) -> Option<&Rc<Endpoint>> {
    match (endpoints, key) {
        ([], _) => None,
        ([only], _) => allowed(only).then_some(only),
        (several, Some(key)) => several
            .iter()
            .filter(|endpoint| allowed(endpoint))
            .max_by_key(|endpoint| rendezvous(key, endpoint.name().as_bytes())),
        (several, None) => {
            let drawn = [draw(), draw()].map(|draw| {
                let place = (draw % several.len() as u64) as usize;
                several.get(place).filter(|endpoint| allowed(endpoint))
            });
            match drawn {
                [Some(first), Some(second)] => {
                    let second_is_idler = second.in_flight() < first.in_flight();
                    Some(if second_is_idler { second } else { first })
                }
                [Some(one), None] | [None, Some(one)] => Some(one),
                [None, None] => {
                    let fit = || several.iter().filter(|endpoint| allowed(endpoint));
                    let count = fit().count().max(1) as u64;
                    fit().nth((draw() % count) as usize)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;

    use crate::upstream::{Attempt, Pools};

    use super::*;

    fn endpoints(count: usize) -> Vec<Rc<Endpoint>> {
        let urls: Vec<String> = (1..=count)
            .map(|n| format!("http://127.0.0.1:{n}"))
            .collect();
        let spec = serde_json::from_value(serde_json::json!({ "endpoints": urls })).unwrap();
        Pools::default().of_backend(&"b".parse().unwrap(), &spec, None)
    }

    fn draws(seed: u64) -> impl Fn() -> u64 {
        let state = Cell::new(seed);
        move || {
            state.set(
                state
                    .get()
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1),
            );
            state.get() >> 33
        }
    }

    /// How often each endpoint is picked when only some are allowed.
    fn picked(keyed: bool, allowed: &[usize]) -> BTreeMap<String, usize> {
        let endpoints = endpoints(5);
        let draw = draws(7);
        let mut counts = BTreeMap::new();
        for n in 0..5_000 {
            let is_allowed = |endpoint: &Rc<Endpoint>| {
                allowed
                    .iter()
                    .any(|at| Rc::ptr_eq(endpoint, &endpoints[*at]))
            };
            let key = keyed.then(|| u64::wrapping_mul(n, 0x9E37_79B9_7F4A_7C15));
            if let Some(picked) = pick(&endpoints, key, is_allowed, &draw) {
                *counts.entry(picked.name().to_string()).or_default() += 1;
            }
        }
        counts
    }

    #[test]
    fn what_is_not_allowed_is_never_picked_and_the_rest_share() {
        for keyed in [false, true] {
            for allowed in [&[0, 1, 2, 3, 4][..], &[1, 3], &[4]] {
                let counts = picked(keyed, allowed);

                let share = 5_000 / allowed.len();
                assert_eq!(counts.len(), allowed.len(), "{counts:?}");
                assert!(
                    counts
                        .values()
                        .all(|count| count.abs_diff(share) < share / 4),
                    "{keyed} {allowed:?} {counts:?}"
                );
            }
            assert_eq!(picked(keyed, &[]), BTreeMap::new());
        }
    }

    #[test]
    fn a_key_keeps_its_endpoint_while_others_come_and_go() {
        let endpoints = endpoints(4);
        for key in (0..500u64).map(|n| u64::wrapping_mul(n, 0x9E37_79B9_7F4A_7C15)) {
            let all = pick(&endpoints, Some(key), |_| true, || 0).unwrap();
            let gone = &endpoints[2];
            let then = pick(&endpoints, Some(key), |e| !Rc::ptr_eq(e, gone), || 0).unwrap();

            assert!(Rc::ptr_eq(all, then) || Rc::ptr_eq(all, gone));
        }
    }

    #[test]
    fn of_two_the_idler_is_picked() {
        let endpoints = endpoints(2);
        let _busy: Vec<Attempt> = (0..3)
            .map(|_| Attempt::begin(&endpoints[0]).unwrap())
            .collect();
        let seen = Cell::new(0);
        let both = || {
            seen.set(seen.get() + 1);
            u64::from(seen.get() % 2 == 0)
        };

        let picked = pick(&endpoints, None, |_| true, both).unwrap();

        assert_eq!(picked.name(), endpoints[1].name());
    }
}
