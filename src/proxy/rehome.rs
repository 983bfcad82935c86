//! A new home for a session whose old one is gone.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use http::Version;
use http::header::{HOST, HeaderMap, HeaderValue};
use tokio::time::Instant;

use crate::deadline::Elapsed;
use crate::mcp::{Home, Session, SessionRecord, Way};
use crate::upstream::{self, Endpoint, OpenError, Template};

use super::auth::Principal;
use super::choice;
use super::fields::MCP_SESSION_ID;
use super::head::Head;
use super::pipeline::{Decided, Downstream};
use super::request;
use super::retry::Tries;
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
    /// The new backend's id for the session cannot be a session's.
    #[error("the server's session id is not in visible ASCII")]
    Id,
    /// The new backend took longer than a call may wait for its answer.
    #[error("opening the session timed out")]
    Elapsed(#[from] Elapsed),
}

impl RehomeError {
    /// Whether nobody listens where it was tried.
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Open(OpenError::Upstream(error)) if error.is_refusal())
    }
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
    let template = template_of(route, asks);
    let first = open_at(worker, route, session.record(), at.clone(), &template).await;
    match first {
        Err(error) if error.is_refusal() => {
            let decided = Decided {
                key,
                ..Decided::to(route.clone(), at)
            };
            let elsewhere = open_away(worker, &decided, session, &template).await;
            elsewhere.map_err(|_| error)
        }
        done => done,
    }
}

/// What the replay has in common with the request that needs it.
pub(super) fn template_of(route: &RouteView, asks: Asks<'_>) -> Template {
    let mut sent = asks.fields.clone();
    let told = request::pass_on(asks.downstream, route, asks.head, (asks.version, &mut sent));
    if let Some(told) = told {
        told.put_into(&mut sent);
    }
    Template {
        target: asks.head.target.clone(),
        fields: sent,
        patience: route.route().patience.head,
    }
}

/// Opens a session anywhere but where it was decided, since nobody listens there: at the first
/// place where somebody does.
pub(super) async fn open_away(
    worker: &Worker,
    decided: &Decided,
    session: &Session,
    template: &Template,
) -> Result<Home, RehomeError> {
    let mut tries = Tries::first(Instant::now(), decided);
    let mut last = RehomeError::NoBackend;
    // Every place is tried once at most.
    while let Some(to) = tries.next_away(worker, decided) {
        match open_at(worker, &decided.route, session.record(), to, template).await {
            Err(error) if error.is_refusal() => last = error,
            done => return done,
        }
    }
    Err(last)
}

/// Opens a session anew where it lives, or anywhere else when nobody listens there.
pub(super) async fn open_again(
    worker: &Worker,
    decided: &Decided,
    session: &Session,
    template: &Template,
) -> Result<Arc<Home>, RehomeError> {
    let (route, record) = (&decided.route, session.record());
    let here = open_at(worker, route, record, decided.at(), template).await;
    let home = match here {
        Err(error) if error.is_refusal() => open_away(worker, decided, session, template).await,
        done => done,
    };
    home.map(Arc::new)
}

/// How the session was asked for, to end it when nobody asks any more.
fn way_of(template: &Template) -> Option<Box<Way>> {
    let host = template.fields.get(HOST);
    let host = host.map(HeaderValue::to_str).transpose().ok()?;
    Way::new(template.target.path(), host).map(Box::new)
}

/// Opens a session like the recorded one at an arm's endpoint. Nothing has changed when it fails.
pub(super) async fn open_at(
    worker: &Worker,
    route: &RouteView,
    record: Arc<SessionRecord>,
    (place, endpoint): (usize, Rc<Endpoint>),
    template: &Template,
) -> Result<Home, RehomeError> {
    let (arm, _) = route.arm(place).ok_or(RehomeError::NoBackend)?;
    let deadline = worker.deadlines().deadline();
    deadline.set(template.patience);
    let opening = upstream::open_session(&endpoint, record, template, worker.deadlines());
    let opened = deadline.guard(pin!(opening)).await??;
    let text = |id: HeaderValue| id.to_str().map(Into::into);
    let id = opened.id.map(text).transpose();
    let id = id.map_err(|_| {
        metrics::counter!("switchback_session_ids_refused_total").increment(1);
        RehomeError::Id
    })?;
    Ok(Home {
        backend: arm.backend.clone(),
        endpoint: Arc::clone(endpoint.name()),
        id,
        lists: opened.lists,
        way: way_of(template),
    })
}
