//! Which calls are copied to a route's shadow: those that change nothing.

use http::Method;
use http::header::HeaderMap;

use crate::mcp::Effects;
use crate::shadow::{Original, RealSession, Twin};
use crate::upstream::Copy;

use super::head::Head;
use super::pipeline::{Decided, Subject};
use super::view::RouteView;
use super::worker::Worker;

/// Begins a copy of a request, if its route has a shadow, the request changes nothing, and it
/// is in the mirrored share.
pub(super) fn begin(
    worker: &Worker,
    decided: &Decided,
    subject: &Subject,
    (head, sent, length): (&Head, &HeaderMap, Option<u64>),
) -> (Option<Copy>, Option<Twin>) {
    let Some(mirror) = decided.route.mirror() else {
        return (None, None);
    };
    if !mirror.wants(worker.draw())
        || goes_to_shadow(decided)
        || means_one_server(subject)
        // Its session is one of HTTP+SSE, which the shadow has none of.
        || decided.posted.is_some()
        || !changes_nothing(&decided.route, subject)
    {
        return (None, None);
    }
    let session = match &decided.session {
        None => None,
        // A session that was opened before this process began cannot be opened at the shadow.
        Some(session) => match real_session(worker, session.client_id.to_str().ok()) {
            Some(real) => Some(real),
            None => return (None, None),
        },
    };
    let original = Original {
        method: head.method.clone(),
        target: head.target.clone(),
        fields: sent.clone(),
        session,
        json_rpc: decided.route.is_mcp(),
    };
    mirror.begin(original, length, worker.draw()).unzip()
}

fn real_session(worker: &Worker, id: Option<&str>) -> Option<RealSession> {
    let id = id?;
    let session = worker.sessions().find(id, worker.tick())?;
    Some(RealSession {
        id: id.into(),
        record: session.record(),
    })
}

/// Whether the request brings a value back to the server that made it: the shadow's is another.
fn means_one_server(subject: &Subject) -> bool {
    let facts = subject.facts.as_ref();
    facts.is_some_and(|facts| facts.tie.is_some())
}

/// Whether the shadow answers the real call itself.
fn goes_to_shadow(decided: &Decided) -> bool {
    let shadow = decided
        .route
        .route()
        .shadow
        .as_ref()
        .map(|(spec, _)| &spec.backend);
    decided
        .route
        .arm(decided.place)
        .map(|(arm, _)| &arm.backend)
        == shadow
}

/// Whether a request is free of side effects, as far as that can be known.
fn changes_nothing(route: &RouteView, subject: &Subject) -> bool {
    if !route.is_mcp() {
        return matches!(subject.method, Method::GET | Method::HEAD | Method::OPTIONS);
    }
    let tools = route
        .arm(route.route().trusted)
        .and_then(|(_, arm)| arm.tools.as_ref());
    let (Some(facts), Some(tools)) = (&subject.facts, tools) else {
        return false;
    };
    Effects::of(facts, &tools.load()) == Effects::None
}
