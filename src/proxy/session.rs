//! MCP sessions: where a session's request goes, and a new home when the old one is gone.

use std::rc::Rc;
use std::sync::Arc;

use http::header::HeaderMap;
use http::{HeaderValue, Method};

use crate::mcp::asked::HomeMark;
use crate::mcp::{BackendTag, Belongs, EndpointTag, Home, Session, Stay, sealed};
use crate::upstream::{Endpoint, Template};

use super::behind::Elsewhere;
use super::choice::{self, Place};
use super::error::ProxyError;
use super::fields::{MCP_SESSION_ID, Several, only};
use super::lost::{Lost, end_lost, lose};
use super::pipeline::Decided;
use super::rehome::{self, Asks, RehomeError};
use super::seals::OpenedId;
use super::spec::LossSpec;
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
    /// Its new home, if it was opened elsewhere: what it was told there means nothing here.
    pub(super) home: Option<Arc<Home>>,
    /// What is asked where its request goes is told by this, unless that is its first home.
    pub(super) mark: Option<HomeMark>,
    /// Held while the request is under way, where anything is known of the session.
    pub(super) stay: Option<Arc<Stay>>,
}

impl Pinned {
    /// Whether the session's client may have heard this event where the session lives now.
    pub(super) fn has_heard(&self, event: Option<&HeaderValue>) -> bool {
        let stay = self.stay.as_ref().zip(event);
        stay.is_some_and(|(stay, event)| stay.heard().has(event.as_bytes()))
    }
}

/// The session id of a request, if it has one.
///
/// # Errors
/// [`ProxyError::UnknownSession`] for more than one.
pub(super) fn id_of(fields: &HeaderMap) -> Result<Option<&HeaderValue>, ProxyError> {
    only(fields, &MCP_SESSION_ID).map_err(|Several| ProxyError::UnknownSession)
}

/// Where the session of a request lives. One whose home is gone is given a new one first.
///
/// # Errors
/// [`ProxyError::UnknownSession`] for an id that is not ours, for one that another caller was
/// given, and for a session that nothing can carry on.
pub(super) async fn find(
    worker: &Worker,
    route: &RouteView,
    client_id: &HeaderValue,
    asks: Asks<'_>,
) -> Result<Box<Pinned>, ProxyError> {
    let key = route.route().keys.hash(client_id.as_bytes());
    let owner = asks.principal.map(|principal| &principal.owner);
    let opened = open(route, (client_id, key), owner)?;
    let text = &*opened.text;
    let session = worker.sessions().find(text, worker.tick());
    let stay = session.as_ref().map(|session| session.stay());
    let home = stay.as_ref().and_then(|stay| stay.home().cloned());
    let known = match &home {
        Some(home) => home_at(route, home),
        None => opened.at.clone(),
    };
    let ((place, endpoint), home, stay) = match known {
        Some(at) if may_stay(route, &at) => (at, home, stay),
        Some(_) | None => {
            // It is no part of what is under way there.
            drop(stay);
            let lost = Lost {
                id: text,
                session,
                home,
                place: known.map(|(place, _)| place),
            };
            if asks.head.method == Method::DELETE {
                return Err(end_lost(worker, route, &lost));
            }
            // Boxed: few sessions ever move, and no request has to be large enough for it.
            let moved = Box::pin(move_on(worker, route, &lost, asks));
            let (at, home) = moved.await?;
            let stay = lost.session.as_ref().map(|session| session.stay());
            (at, home, stay)
        }
    };
    let backend_id = match &home {
        Some(home) => field_of(home.id.as_deref())?,
        None => Some(opened.backend_id.clone()),
    };
    Ok(Box::new(Pinned {
        place,
        endpoint,
        key,
        client_id: client_id.clone(),
        backend_id,
        mark: home.as_ref().map(|home| home.mark()),
        home,
        stay,
    }))
}

/// Opens the id of a session, unless that was done before.
fn open(
    route: &RouteView,
    (id, hash): (&HeaderValue, u64),
    owner: Option<&Rc<str>>,
) -> Result<Rc<OpenedId>, ProxyError> {
    let ids = route.opened_ids().ok_or(ProxyError::UnknownSession)?;
    if let Some(known) = ids.find(hash, id.as_bytes(), owner) {
        return Ok(known);
    }
    let text = id.to_str().map_err(|_| ProxyError::UnknownSession)?;
    let belongs = Belongs {
        route: &route.route().belongs,
        owner: owner.map(|owner| &**owner),
    };
    let keys = &route.snapshot().session_keys;
    let opened = sealed::open(keys, belongs, text).map_err(|_| ProxyError::UnknownSession)?;
    let backend_id = HeaderValue::from_str(opened.id).map_err(|_| ProxyError::UnknownSession)?;
    let at = sealed_at(route, (opened.backend, opened.endpoint, opened.key));
    let opened = OpenedId::new((text, owner), at, backend_id);
    Ok(ids.keep(hash, opened))
}

pub(super) fn field_of(id: Option<&str>) -> Result<Option<HeaderValue>, ProxyError> {
    let field = id.map(HeaderValue::from_str).transpose();
    field.map_err(|_| ProxyError::UnknownSession)
}

/// Whether a session may stay where it is: its backend has not had to give its sessions up, and
/// its endpoint lives, or nothing else does.
pub(super) fn may_stay(route: &RouteView, (place, endpoint): &Place) -> bool {
    let arm = route.arm(*place);
    arm.is_some_and(|(arm, _)| arm.standing.may_stay()) && !choice::is_lost(route, endpoint)
}

/// Gives a session another home, where the route wants that and it can be done.
async fn move_on(
    worker: &Worker,
    route: &RouteView,
    lost: &Lost<'_>,
    asks: Asks<'_>,
) -> Result<(Place, Option<Arc<Home>>), ProxyError> {
    let session = lost.session.as_ref();
    let session = session.filter(|_| route.route().on_loss != LossSpec::Sever);
    let moved = match session {
        None => Err(ProxyError::UnknownSession),
        Some(session) => {
            let open = rehome::open_elsewhere(worker, route, session, asks);
            move_to_new_home(worker, route, (lost.id, session, lost.home.as_ref()), open).await
        }
    };
    let home = session.and_then(|session| session.home());
    let at = home.as_ref().and_then(|home| home_at(route, home));
    let at = at.filter(|at| moved.is_ok() && may_stay(route, at));
    let Some(at) = at else {
        lose(worker, route, lost);
        return Err(ProxyError::UnknownSession);
    };
    Ok((at, home))
}

/// One caller opens the session elsewhere; those that come meanwhile wait for it.
async fn move_to_new_home(
    worker: &Worker,
    route: &RouteView,
    (id, session, old): (&str, &Arc<Session>, Option<&Arc<Home>>),
    open: impl Future<Output = Result<Home, RehomeError>>,
) -> Result<(), ProxyError> {
    let known_or_opened = async {
        let stays = |home: &Arc<Home>| home_at(route, home).is_some_and(|at| may_stay(route, &at));
        match session.whole_stand_in().filter(stays) {
            Some(home) => Ok(home),
            None => open.await.map(Arc::new),
        }
    };
    if let Some(home) = open_once(worker, route, (id, session, old), known_or_opened).await? {
        let registry = &worker.shared().registry;
        let backend = Some(&home.backend);
        registry.sessions(&route.route().name, backend).rehome_one();
    }
    Ok(())
}

/// One caller opens the session, and is told where; those that come meanwhile wait for it.
async fn open_once(
    worker: &Worker,
    route: &RouteView,
    (id, session, old): (&str, &Arc<Session>, Option<&Arc<Home>>),
    open: impl Future<Output = Result<Arc<Home>, RehomeError>>,
) -> Result<Option<Arc<Home>>, ProxyError> {
    let failures = session.failures();
    let _gate = session.gate().lock().await;
    if session.home().as_ref() != old {
        return Ok(None);
    }
    if session.failures() != failures {
        // Else each of those who wait would wait for one more failure than the one before.
        return Err(ProxyError::UnknownSession);
    }
    if session.is_held_off(worker.tick()) {
        metrics::counter!("switchback_rehomings_held_off_total").increment(1);
        return Err(ProxyError::UnknownSession);
    }
    match open.await {
        Ok(home) => {
            session.set_home(Arc::clone(&home));
            worker.sessions().note(id);
            Ok(Some(home))
        }
        Err(error) => {
            session.home_failed(worker.tick());
            let (route, error) = (&route.route().name, &error as &dyn std::error::Error);
            tracing::warn!(%route, error, "a session could not be re-homed");
            Err(ProxyError::UnknownSession)
        }
    }
}

/// Takes the session of a request to another place, since nobody listens where it lived, and tells
/// where it lives now.
///
/// # Errors
/// [`ProxyError::UnknownSession`] where nothing can carry it on.
pub(super) async fn flee(
    worker: &Worker,
    decided: &Decided,
    template: &Template,
) -> Result<Box<Pinned>, ProxyError> {
    let (route, pinned) = (&decided.route, &decided.session);
    let pinned = pinned.as_ref().ok_or(ProxyError::UnknownSession)?;
    let id = pinned.client_id.to_str();
    let id = id.map_err(|_| ProxyError::UnknownSession)?;
    let lost = Lost {
        id,
        session: record_of(worker, pinned),
        home: pinned.home.clone(),
        place: Some(pinned.place),
    };
    let session = lost.session.as_ref();
    let session = session.filter(|_| route.route().on_loss != LossSpec::Sever);
    let moved = match session {
        None => Err(ProxyError::UnknownSession),
        Some(session) => {
            let open = rehome::open_away(worker, decided, session, template);
            move_to_new_home(worker, route, (id, session, lost.home.as_ref()), open).await
        }
    };
    let now = session.filter(|_| moved.is_ok());
    if let Some(now) = now.and_then(|session| pinned_at_home(route, pinned, session)) {
        return Ok(now);
    }
    lose(worker, route, &lost);
    Err(ProxyError::UnknownSession)
}

/// A session as it is at its new home.
fn pinned_at_home(route: &RouteView, before: &Pinned, session: &Session) -> Option<Box<Pinned>> {
    let home = session.home()?;
    let (place, endpoint) = home_at(route, &home)?;
    Some(Box::new(Pinned {
        place,
        endpoint,
        key: before.key,
        client_id: before.client_id.clone(),
        backend_id: field_of(home.id.as_deref()).ok()?,
        mark: Some(home.mark()),
        home: Some(home),
        stay: Some(session.stay()),
    }))
}

/// Opens the session of a request again where it lives, since the server there does not know it
/// any more, or elsewhere if nobody listens there by now.
///
/// # Errors
/// [`ProxyError::UnknownSession`] where nothing can carry it on.
pub(super) async fn reopen(
    worker: &Worker,
    decided: &Decided,
    template: &Template,
) -> Result<Box<Pinned>, ProxyError> {
    let (route, pinned) = (&decided.route, &decided.session);
    let pinned = pinned.as_ref().ok_or(ProxyError::UnknownSession)?;
    let id = pinned.client_id.to_str().unwrap_or_default();
    // Its client may have ended it meanwhile.
    let session = record_of(worker, pinned).ok_or(ProxyError::UnknownSession)?;
    let open = rehome::open_again(worker, decided, &session, template);
    let known = (id, &session, pinned.home.as_ref());
    let opened = open_once(worker, route, known, open).await;
    if let Ok(Some(_)) = opened {
        metrics::counter!("switchback_sessions_reopened_total").increment(1);
    }
    let now = opened
        .ok()
        .and_then(|_| pinned_at_home(route, pinned, &session));
    now.ok_or_else(|| {
        let lost = Lost {
            id,
            session: Some(Arc::clone(&session)),
            home: pinned.home.clone(),
            place: Some(pinned.place),
        };
        lose(worker, route, &lost);
        ProxyError::UnknownSession
    })
}

/// Where calls of a request's session are under way though it has moved since, and its ids there.
pub(super) fn left_behind(worker: &Worker, decided: &Decided) -> Vec<Elsewhere> {
    let place = |stay: Arc<Stay>| match stay.home() {
        None => first_place(decided),
        Some(home) => elsewhere(&decided.route, home),
    };
    let pinned = decided.session.as_ref();
    let session = pinned.and_then(|pinned| record_of(worker, pinned));
    let former = session.map(|session| session.former());
    former.into_iter().flatten().filter_map(place).collect()
}

/// Where a request's session was opened at first, as its id says.
pub(super) fn first_place(decided: &Decided) -> Option<Elsewhere> {
    let pinned = decided.session.as_ref()?;
    let id = (&pinned.client_id, pinned.key);
    let opened = open(&decided.route, id, decided.owner.as_ref()).ok()?;
    let (_, endpoint) = opened.at.clone()?;
    Some(Elsewhere {
        endpoint,
        id: Some(opened.backend_id.clone()),
        target: None,
    })
}

/// A home of a session as a place to send to.
pub(super) fn elsewhere(route: &RouteView, home: &Home) -> Option<Elsewhere> {
    let (_, endpoint) = home_at(route, home)?;
    let id = field_of(home.id.as_deref()).ok()?;
    Some(Elsewhere {
        endpoint,
        id,
        target: None,
    })
}

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
            let record = session.record();
            let opened = rehome::open_at(worker, route, Arc::clone(&record), at, template).await;
            let home = opened.inspect_err(|error| {
                tracing::debug!(error = error as &dyn std::error::Error, "no stand-in");
            });
            session.set_stand_in(home.map_err(|_| none())?, record);
        }
        known = known_stand_in(route, &session);
    }
    let (at, home) = known.ok_or_else(none)?;
    let id = home.id.as_deref().map(HeaderValue::from_str).transpose();
    pinned.backend_id = id.map_err(|_| none())?;
    pinned.mark = Some(home.mark());
    // It is under way there, and no more where the session lives.
    pinned.stay = Some(Arc::new(Stay::at(home)));
    Ok(at)
}

fn known_stand_in(route: &RouteView, session: &Session) -> Option<(Place, Arc<Home>)> {
    let home = session.stand_in()?;
    let at = home_at(route, &home).filter(|at| may_stay(route, at));
    at.map(|at| (at, home))
}

/// What is known of how a session was opened; nothing of one whose record made room for others.
pub(super) fn record_of(worker: &Worker, pinned: &Pinned) -> Option<Arc<Session>> {
    let id = pinned.client_id.to_str().ok()?;
    worker.sessions().find(id, worker.tick())
}

/// The arm and endpoint of a session's new home, if the route has them.
pub(super) fn home_at(route: &RouteView, home: &Home) -> Option<Place> {
    let arms = &route.route().arms;
    let place = arms.iter().position(|arm| arm.backend == home.backend)?;
    let (_, view) = route.arm(place)?;
    let mut endpoints = view.endpoints.iter();
    let endpoint = endpoints.find(|endpoint| *endpoint.name() == home.endpoint)?;
    Some((place, Rc::clone(endpoint)))
}

/// The arm and endpoint that a sealed id names, if the route has them; tags are of the key at this place.
pub(super) fn sealed_at(
    route: &RouteView,
    (backend, endpoint, key): (BackendTag, EndpointTag, usize),
) -> Option<Place> {
    let arms = &route.route().arms;
    let place = arms.iter().position(|arm| {
        let tags = arm.tags.get(key);
        tags.is_some_and(|known| known.backend == backend)
    })?;
    let (arm, view) = route.arm(place)?;
    let known = arm.tags.get(key)?;
    let mut endpoints = known.endpoints.iter();
    let endpoint = endpoints.position(|known| *known == endpoint)?;
    Some((place, Rc::clone(view.endpoints.get(endpoint)?)))
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
