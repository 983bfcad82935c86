//! A new home for a session whose old one is gone.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use http::Version;
use http::header::HeaderMap;

use crate::deadline::Elapsed;
use crate::mcp::{Home, Session};
use crate::upstream::{self, Endpoint, OpenError, Template};

use super::auth::Principal;
use super::choice;
use super::fields::MCP_SESSION_ID;
use super::head::Head;
use super::pipeline::Downstream;
use super::request;
use super::session::home_tags;
use super::view::RouteView;
use super::worker::Worker;

/// The request that needs the session: its client, credentials and path are the replay's too.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asks<'a> {
    pub(super) downstream: &'a Downstream,
    pub(super) head: &'a Head,
    pub(super) version: Version,
    pub(super) fields: &'a HeaderMap,
    /// Whom its token stands for, where the route asks for one.
    pub(super) principal: Option<&'a Principal>,
}

/// Why a session has no new home.
#[derive(Debug, thiserror::Error)]
pub(super) enum RehomeError {
    /// No backend of the route takes traffic.
    #[error("no backend takes traffic")]
    NoBackend,
    /// The new backend would not have it.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The new backend took longer than a call may wait for its answer.
    #[error("opening the session timed out")]
    Elapsed(#[from] Elapsed),
}

/// Opens a session on the backend that the split gives it now. Nothing has changed when it fails.
pub(super) async fn open_elsewhere(
    worker: &Worker,
    route: &RouteView,
    session: &Arc<Session>,
    asks: Asks<'_>,
) -> Result<Home, RehomeError> {
    let id = asks.fields.get(MCP_SESSION_ID);
    let key = id.map(|id| route.route().keys.hash(id.as_bytes()));
    let at = choice::by_split(worker, route, key).map_err(|_| RehomeError::NoBackend)?;
    let mut sent = asks.fields.clone();
    request::pass_on(asks.downstream, route, asks.head, (asks.version, &mut sent));
    let patience = route.route().patience.head;
    let template = Template {
        target: asks.head.target.clone(),
        fields: sent,
        patience,
    };
    open_at(worker, route, session, at, &template).await
}

/// Opens a session at an arm's endpoint. Nothing has changed when it fails.
pub(super) async fn open_at(
    worker: &Worker,
    route: &RouteView,
    session: &Session,
    (place, endpoint): (usize, Rc<Endpoint>),
    template: &Template,
) -> Result<Home, RehomeError> {
    let (backend, endpoint_tag) =
        home_tags(route, place, &endpoint).ok_or(RehomeError::NoBackend)?;
    let deadline = worker.deadlines().deadline();
    deadline.set(template.patience);
    let opening = upstream::open_session(&endpoint, session.record(), template, worker.deadlines());
    let id = deadline.guard(pin!(opening)).await??;
    let id = id.and_then(|id| id.to_str().ok().map(Into::into));
    Ok(Home {
        backend,
        endpoint: endpoint_tag,
        id,
    })
}
