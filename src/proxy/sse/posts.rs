//! The messages of a session: where they go, and what is known of the calls in them.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Method, Request};

use crate::mcp::{Belongs, Kind, RequestFacts, sealed};
use crate::model::Outcome;
use crate::proxy::attempt::{self, Answered};
use crate::proxy::call::{Counts, Part};
use crate::proxy::error::ProxyError;
use crate::proxy::head::{self, Head};
use crate::proxy::pipeline::{Decided, Subject};
use crate::proxy::rehome::Asks;
use crate::proxy::retry::Place;
use crate::proxy::session;
use crate::proxy::view::RouteView;
use crate::proxy::worker::Worker;
use crate::stats::CallStats;
use crate::upstream::{Pace, Repeats, RequestBody};

use super::live::LiveSession;

/// What a message URL begins its query with. Clients of some SDKs look for this name.
pub(super) const PARAMETER: &str = "session_id=";

/// A message of a session.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct Posted {
    /// The session as its client knows it.
    pub(in crate::proxy) id: Box<str>,
    /// Tells callers apart.
    pub(in crate::proxy) key: u64,
    /// Where the backend takes the session's messages.
    pub(in crate::proxy) target: PathAndQuery,
    /// Nothing where the session's stream is another process's.
    live: Option<Arc<LiveSession>>,
}

/// The sealed part of a message's URL, if it is one of those that are given out here, or looks like it.
pub(in crate::proxy) fn message_of<'a>(route: &RouteView, head: &'a Head) -> Option<&'a str> {
    let sealed = head.target.query()?.strip_prefix(PARAMETER)?;
    let is_message = head.method == Method::POST && sealed::may_be_sealed_target(sealed);
    (is_message && route.is_mcp()).then_some(sealed)
}

/// Where a message goes: to the endpoint that its session's stream comes from.
///
/// # Errors
/// [`ProxyError::UnknownSession`] for a URL that is not ours, or that another caller was given,
/// and for a session whose backend is gone.
pub(in crate::proxy) fn find(
    worker: &Worker,
    route: &RouteView,
    (sealed, asks): (&str, Asks<'_>),
) -> Result<(Place, Box<Posted>), ProxyError> {
    let belongs = Belongs {
        route: &route.route().name,
        owner: asks.principal.map(|principal| &*principal.owner),
    };
    let keys = &route.snapshot().session_keys;
    let unknown = || ProxyError::UnknownSession;
    let opened = sealed::open_target(keys, belongs, sealed).map_err(|_| unknown())?;
    let target = target_of(opened.target).ok_or_else(unknown)?;
    let at = session::sealed_at(route, (opened.backend, opened.endpoint, opened.key));
    let at = at.filter(|at| session::may_stay(route, at));
    let posted = Posted {
        id: sealed.into(),
        key: route.route().keys.hash(sealed.as_bytes()),
        target,
        live: worker.shared().live.find(sealed),
    };
    Ok((at.ok_or_else(unknown)?, Box::new(posted)))
}

/// A target as it can be sent on: one that two servers could read differently is none.
pub(super) fn target_of(target: String) -> Option<PathAndQuery> {
    let target = PathAndQuery::try_from(target).ok()?;
    head::is_plain(&target).then_some(target)
}

impl Posted {
    /// Keeps what opens a session.
    pub(in crate::proxy) fn note(&self, subject: &Subject) {
        if let (Some(live), Some(facts), Some(kept)) = (&self.live, &subject.facts, &subject.kept)
            && facts.opens_session()
            && let Some(id) = &facts.id
        {
            // Copied: the piece that came in keeps the whole buffer alive that it was read into.
            live.opens_with(id.key(), Bytes::copy_from_slice(kept));
        }
    }
}

/// Sends a message, once, and counts the calls in it that fail here; how the others went is told by
/// the stream.
pub(in crate::proxy) async fn send(
    worker: &Rc<Worker>,
    (decided, subject): (&mut Decided, &Subject),
    request: Request<RequestBody>,
    pace: &Rc<Pace>,
) -> Result<Answered, ProxyError> {
    let mut call = attempt::begin(worker, (decided, pace), None)?;
    // It is no call of its own: those in it are counted apart.
    call.becomes_stream(Counts::No);
    let mut sent = Sent::new(worker, decided, subject);
    let sending = (request, Repeats::Unsent);
    let answered = attempt::send_on(worker, decided, call, sending, pace).await;
    match &answered {
        Ok((answer, _)) if answer.status().is_success() => sent.open.clear(),
        Ok((answer, _)) => sent.end(Outcome::of_status(answer.status().as_u16())),
        Err(ProxyError::Upstream(error)) => sent.end(error.outcome()),
        Err(_) => sent.end(Outcome::Unreachable),
    }
    answered
}

/// The calls of a message on its way. Dropped before it has arrived they count as cancelled.
struct Sent {
    worker: Rc<Worker>,
    live: Option<Arc<LiveSession>>,
    stats: Option<Arc<CallStats>>,
    open: Vec<u64>,
}

impl Sent {
    fn new(worker: &Rc<Worker>, decided: &Decided, subject: &Subject) -> Self {
        let live = decided
            .posted
            .as_ref()
            .and_then(|posted| posted.live.clone());
        let arm = decided.route.arm(decided.place);
        let part = attempt::part_of(worker, decided, subject);
        let open = match (&live, &subject.facts) {
            (Some(live), Some(facts)) => begin(live, facts, part.as_ref()),
            _ => Vec::new(),
        };
        Self {
            worker: Rc::clone(worker),
            live,
            stats: arm.map(|(_, view)| Arc::clone(&view.stats)),
            open,
        }
    }

    fn end(&mut self, outcome: Outcome) {
        let (Some(live), Some(stats)) = (&self.live, &self.stats) else {
            return;
        };
        for key in self.open.drain(..) {
            if let Some(call) = live.take(key) {
                call.end((self.worker.number(), stats), outcome);
            }
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.end(Outcome::Cancelled);
    }
}

/// The calls in a message begin.
fn begin(live: &LiveSession, facts: &RequestFacts, part: Option<&Part>) -> Vec<u64> {
    let single = std::slice::from_ref(facts);
    let messages = if facts.kind == Kind::Batch {
        &facts.members
    } else {
        single
    };
    let requests = messages.iter().filter(|one| one.kind == Kind::Request);
    let ids = requests.filter_map(|one| one.id.as_ref());
    ids.filter_map(|id| live.begin(id, part.cloned())).collect()
}
