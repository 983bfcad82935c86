//! MCP sessions: where a session's request goes, and a new home when the old one is gone.

use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;
use http::header::HeaderMap;

use crate::mcp::{BackendTag, Belongs, EndpointTag, Home, Session, sealed};
use crate::upstream::{Endpoint, Template};

use super::choice;
use super::error::ProxyError;
use super::fields::{MCP_SESSION_ID, Several, only};
use super::pipeline::Decided;
use super::rehome::{self, Asks};
use super::snapshot::Standing;
use super::view::RouteView;
use super::worker::Worker;

/// Where a session's request goes.
#[derive(Clone, Debug)]
pub(super) struct Pinned {
    /// The arm of the route.
    pub(super) place: usize,
    pub(super) endpoint: Rc<Endpoint>,
    /// Tells callers apart for the judge.
    pub(super) key: u64,
    /// The session's id as the client knows it.
    pub(super) client_id: HeaderValue,
    /// Its id as the backend knows it; a re-homed session may have none.
    pub(super) backend_id: Option<HeaderValue>,
    /// The session was opened elsewhere: what it was told there means nothing here.
    pub(super) rehomed: bool,
}

/// The one session id of a request.
///
/// # Errors
/// [`ProxyError::UnknownSession`] for none, or more than one.
fn id_of(fields: &HeaderMap) -> Result<&HeaderValue, ProxyError> {
    match only(fields, &MCP_SESSION_ID) {
        Ok(Some(id)) => Ok(id),
        Ok(None) | Err(Several) => Err(ProxyError::UnknownSession),
    }
}

/// Where the session of a request lives. One whose home is gone is given a new one first.
///
/// # Errors
/// [`ProxyError::UnknownSession`] for an id that is not ours, for one that another caller was
/// given, and for a session that nothing can carry on.
pub(super) async fn find(
    worker: &Worker,
    route: &RouteView,
    asks: Asks<'_>,
) -> Result<Box<Pinned>, ProxyError> {
    let client_id = id_of(asks.fields)?;
    let text = client_id.to_str().map_err(|_| ProxyError::UnknownSession)?;
    let keys = &route.snapshot().session_keys;
    let belongs = Belongs {
        route: &route.route().name,
        owner: asks.principal.map(|principal| &*principal.owner),
    };
    let opened = sealed::open(keys, belongs, text).map_err(|_| ProxyError::UnknownSession)?;
    let session = worker.sessions().find(text, worker.tick());
    let mut home = session.as_ref().and_then(|session| session.home());
    let first = match &home {
        Some(home) => home_at(route, home),
        None => lives_at(route, opened.key, (opened.backend, opened.endpoint)),
    };
    let place = match (first, session) {
        // What is dead holds no session; but if no other server takes it, this one is tried.
        (Some(place), Some(session)) if choice::is_lost(route, &place.1) => {
            match move_to_new_home(worker, route, &session, home.as_ref(), asks).await {
                Ok(()) => {
                    home = session.home();
                    home.as_ref().and_then(|home| home_at(route, home))
                }
                Err(_) => Some(place),
            }
        }
        (Some(place), _) => Some(place),
        (None, None) => None,
        (None, Some(session)) => {
            move_to_new_home(worker, route, &session, home.as_ref(), asks).await?;
            home = session.home();
            home.as_ref().and_then(|home| home_at(route, home))
        }
    };
    let (place, endpoint) = place.ok_or(ProxyError::UnknownSession)?;
    let id = match &home {
        Some(home) => home.id.as_deref(),
        None => Some(opened.id),
    };
    let backend_id = id
        .map(HeaderValue::from_str)
        .transpose()
        .map_err(|_| ProxyError::UnknownSession)?;
    Ok(Box::new(Pinned {
        place,
        endpoint,
        key: route.route().keys.hash(client_id.as_bytes()),
        client_id: client_id.clone(),
        backend_id,
        rehomed: home.is_some(),
    }))
}

/// One caller opens the session elsewhere; those that come meanwhile wait for it.
async fn move_to_new_home(
    worker: &Worker,
    route: &RouteView,
    session: &Arc<Session>,
    old: Option<&Arc<Home>>,
    asks: Asks<'_>,
) -> Result<(), ProxyError> {
    let failures = session.failures();
    let _gate = session.gate().lock().await;
    if session.home().as_ref() != old {
        return Ok(());
    }
    if session.failures() != failures {
        // Else each of those who wait would wait for one more failure than the one before.
        return Err(ProxyError::UnknownSession);
    }
    if let Some(known) = session
        .stand_in()
        .filter(|known| home_at(route, known).is_some())
    {
        session.set_home(known);
        metrics::counter!("switchback_sessions_rehomed_total").increment(1);
        return Ok(());
    }
    match rehome::open_elsewhere(worker, route, session, asks).await {
        Ok(home) => {
            session.set_home(home);
            metrics::counter!("switchback_sessions_rehomed_total").increment(1);
            Ok(())
        }
        Err(error) => {
            session.home_failed();
            metrics::counter!("switchback_sessions_lost_total").increment(1);
            tracing::warn!(route = %route.route().name, error = &error as &dyn std::error::Error, "a session could not be re-homed");
            Err(ProxyError::UnknownSession)
        }
    }
}

/// An arm of a route, and an endpoint of it.
type Place = (usize, Rc<Endpoint>);

/// Where a session's call is answered when its own backend failed: at the arm that the route
/// trusts, where the session is opened a second time, once. The session then goes by its id there.
pub(super) async fn stand_in(
    worker: &Worker,
    route: &RouteView,
    pinned: &mut Pinned,
    template: &Template,
) -> Result<Place, ProxyError> {
    let none = || ProxyError::NoStandIn {
        route: route.route().name.clone(),
    };
    let session = record_of(worker, pinned).ok_or_else(none)?;
    let mut known = known_stand_in(route, &session);
    if known.is_none() {
        let _gate = session.gate().lock().await;
        if known_stand_in(route, &session).is_none() {
            let at = choice::in_arm(worker, route, route.route().trusted, Some(pinned.key))?;
            let opened = rehome::open_at(worker, route, &session, at, template).await;
            let home = opened.inspect_err(|error| {
                tracing::debug!(error = error as &dyn std::error::Error, "no stand-in");
            });
            session.set_stand_in(home.map_err(|_| none())?);
        }
        known = known_stand_in(route, &session);
    }
    let (at, home) = known.ok_or_else(none)?;
    let id = home.id.as_deref().map(HeaderValue::from_str).transpose();
    pinned.backend_id = id.map_err(|_| none())?;
    Ok(at)
}

fn known_stand_in(route: &RouteView, session: &Session) -> Option<(Place, Arc<Home>)> {
    let home = session.stand_in()?;
    home_at(route, &home).map(|at| (at, home))
}

/// What is known of how a session was opened; nothing of one that is older than this process.
pub(super) fn record_of(worker: &Worker, pinned: &Pinned) -> Option<Arc<Session>> {
    let id = pinned.client_id.to_str().ok()?;
    worker.sessions().find(id, worker.tick())
}

/// The arm and endpoint of a session's new home, if it may stay there. The key that named the
/// home was the current one then, and may be an older one now.
fn home_at(route: &RouteView, home: &Home) -> Option<Place> {
    (0..route.snapshot().session_keys.len())
        .find_map(|key| lives_at(route, key, (home.backend, home.endpoint)))
}

/// The arm and endpoint of these tags, if the session may stay there.
fn lives_at(route: &RouteView, key: usize, tags: (BackendTag, EndpointTag)) -> Option<Place> {
    let arms = &route.route().arms;
    let place = arms.iter().position(|arm| {
        arm.tags
            .get(key)
            .is_some_and(|known| known.backend == tags.0)
    })?;
    let (arm, view) = route.arm(place)?;
    if arm.standing == Standing::Reverted {
        return None;
    }
    let known = arm.tags.get(key)?;
    let endpoint = known
        .endpoints
        .iter()
        .position(|endpoint| *endpoint == tags.1)?;
    Some((place, Rc::clone(view.endpoints.get(endpoint)?)))
}

/// The id of a session that a backend has just opened, as its client is to know it.
pub(super) fn seal(decided: &Decided, id: &HeaderValue) -> Option<HeaderValue> {
    let route = &decided.route;
    let tags = home_tags(route, decided.place, &decided.endpoint)?;
    let key = route.snapshot().session_keys.first()?;
    let belongs = Belongs {
        route: &route.route().name,
        owner: decided.owner.as_deref(),
    };
    let sealed = sealed::seal(key, belongs, tags, id.to_str().ok()?).ok()?;
    HeaderValue::from_str(&sealed).ok()
}

/// How an arm and an endpoint are named by the current key.
pub(super) fn home_tags(
    route: &RouteView,
    place: usize,
    endpoint: &Rc<Endpoint>,
) -> Option<(BackendTag, EndpointTag)> {
    let (arm, view) = route.arm(place)?;
    let known = arm.tags.first()?;
    let at = view
        .endpoints
        .iter()
        .position(|candidate| Rc::ptr_eq(candidate, endpoint))?;
    Some((known.backend, *known.endpoints.get(at)?))
}
