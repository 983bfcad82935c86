//! Which arm and endpoint a request goes to when nothing binds it yet.

use std::rc::Rc;

use crate::upstream::Endpoint;

use super::error::ProxyError;
use super::view::RouteView;
use super::worker::Worker;

/// The arm and endpoint by key, or by draw without one.
///
/// # Errors
/// [`ProxyError::NoBackend`] when no arm of the route takes traffic.
pub(super) fn by_split(
    worker: &Worker,
    route: &RouteView,
    key: Option<u64>,
) -> Result<(usize, Rc<Endpoint>), ProxyError> {
    let none = || ProxyError::NoBackend {
        route: route.route().name.clone(),
    };
    let split = &route.route().split;
    let chosen = match key {
        Some(key) => split.by_key(key),
        None => split.by_draw(worker.draw()),
    };
    let place = chosen.ok_or_else(none)?;
    let (_, arm) = route.arm(place).ok_or_else(none)?;
    let endpoint = worker.pick_endpoint(&arm.endpoints, key).ok_or_else(none)?;
    Ok((place, endpoint))
}
