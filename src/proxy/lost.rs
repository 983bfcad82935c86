//! Sessions whose home is gone, and what is told and counted of those that have no other.

use std::sync::Arc;

use http::Method;

use crate::mcp::{Home, Session};

use super::error::ProxyError;
use super::pipeline::Decided;
use super::session;
use super::spec::LossSpec;
use super::view::RouteView;
use super::worker::Worker;

/// A session whose home is gone.
pub(super) struct Lost<'a> {
    /// Its id as the client knows it.
    pub(super) id: &'a str,
    pub(super) session: Option<Arc<Session>>,
    /// Where it was re-homed before, if it was.
    pub(super) home: Option<Arc<Home>>,
    /// The arm that it lives on, if the route still has that.
    pub(super) place: Option<usize>,
}

/// A session is gone for its client. It is counted once, and what was
/// opened in its name elsewhere ends, too.
pub(super) fn lose(worker: &Worker, route: &RouteView, lost: &Lost<'_>) {
    let is_news = match &lost.session {
        Some(known) => known.lose(),
        None => worker.sessions().miss(lost.id),
    };
    if !is_news {
        return;
    }
    if let Some(known) = &lost.session {
        worker.sessions().part(known);
    }
    if let Some((_, arm)) = lost.place.and_then(|place| route.arm(place)) {
        arm.sessions.lose_one();
        return;
    }
    let origin = lost.session.as_ref().and_then(|known| known.origin());
    let backend = match &lost.home {
        Some(home) => Some(&home.backend),
        None => origin.map(|origin| &origin.backend),
    };
    let registry = &worker.shared().registry;
    registry.sessions(&route.route().name, backend).lose_one();
}

/// Ends a session whose home is gone: nothing is left there, and it is opened nowhere for that.
pub(super) fn end_lost(worker: &Worker, route: &RouteView, lost: &Lost<'_>) -> ProxyError {
    if lost.session.is_none() || route.route().on_loss == LossSpec::Sever {
        lose(worker, route, lost);
        return ProxyError::UnknownSession;
    }
    worker.sessions().abandon(lost.id);
    ProxyError::Ended
}

/// What a client is told of a session that its server does not know, or that was to end there
/// while nobody listens. One that was to end has, and nothing is left of it.
pub(super) fn forget(worker: &Worker, decided: &Decided, method: &Method) -> ProxyError {
    let Some(pinned) = &decided.session else {
        return ProxyError::UnknownSession;
    };
    let lost = Lost {
        id: pinned.client_id.to_str().unwrap_or_default(),
        session: session::record_of(worker, pinned),
        home: pinned.home.clone(),
        place: Some(pinned.place),
    };
    if *method == Method::DELETE {
        return end_lost(worker, &decided.route, &lost);
    }
    lose(worker, &decided.route, &lost);
    ProxyError::UnknownSession
}
