//! What a client tells the calls that stayed behind when its session moved, and those that a rule
//! led elsewhere.
//!
//! Such a call ends where it is. Until then the client may take it back, by a message of its own, which
//! goes where the session lives now; it is sent to where its calls are, too. A server passes over the
//! end of a call that it does not know. Where the session is open a second time, that hears of
//! notifications, and of the session's end. What a client answers goes to whoever asked, and only
//! there ([`super::asked`]).

use std::rc::Rc;

use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};
use tokio::task::spawn_local;

use crate::mcp::{Kind, Method, RequestFacts};
use crate::upstream::{self, Endpoint, Kept, MCP_SESSION_ID, Outgoing, Pace, Patience, Repeats};

use super::branch;
use super::pipeline::{Decided, Subject};
use super::session;
use super::worker::Worker;

/// Another place than that where its session lives, to which a message is sent.
#[derive(Clone, Debug)]
pub(super) struct Elsewhere {
    pub(super) endpoint: Rc<Endpoint>,
    /// The session's id there.
    pub(super) id: Option<HeaderValue>,
    /// Where its messages go there; nothing for where the message itself says.
    pub(super) target: Option<PathAndQuery>,
}

/// Sends a message to the calls of its session that are under way elsewhere, and to where the session was
/// opened a second time, as far as it may be meant for them. Nobody waits for what comes of it.
pub(super) fn tell(
    worker: &Rc<Worker>,
    (decided, subject): (&Decided, &Subject),
    request: &Outgoing,
) {
    let ends = subject.method == http::Method::DELETE;
    let is_notice = subject.facts.as_deref().is_some_and(is_notice);
    if decided.session.is_none() || !ends && !is_notice {
        return;
    }
    let mut places = branch::led_to(worker, decided);
    if is_notice {
        places.extend(session::left_behind(worker, decided));
    }
    // One that came slowly may be on its way to such a place itself.
    let own = decided.session.as_ref();
    let own = own.and_then(|pinned| pinned.backend_id.as_ref());
    places.retain(|to| !Rc::ptr_eq(&to.endpoint, &decided.endpoint) || to.id.as_ref() != own);
    for to in places {
        let Some(copy) = Kept::of(request).map(Kept::restore) else {
            return;
        };
        send(worker, decided, (copy, to));
    }
}

/// Sends a message to another place. Nobody waits for what comes of it.
pub(super) fn send(worker: &Worker, decided: &Decided, (mut request, to): (Outgoing, Elsewhere)) {
    let fields = request.headers_mut();
    match to.id {
        Some(id) => fields.insert(MCP_SESSION_ID, id),
        None => fields.remove(MCP_SESSION_ID),
    };
    if let Some(target) = to.target {
        *request.uri_mut() = Uri::from(target);
    }
    metrics::counter!("switchback_messages_left_behind_total").increment(1);
    let patience = Patience::even(decided.route.route().patience.head);
    let pace = Rc::new(Pace::new(worker.deadlines(), patience));
    let endpoint = to.endpoint;
    spawn_local(async move {
        // The call itself shows whether it was heard.
        let _ = upstream::send(&endpoint, &mut request, Repeats::Unsent, &pace).await;
    });
}

/// Whether a message notifies servers of something, and not one of them alone.
pub(super) fn is_notice(facts: &RequestFacts) -> bool {
    match facts.kind {
        Kind::Notification => !matches!(facts.method, Method::Initialized | Method::Progress),
        Kind::Request | Kind::Response => false,
        Kind::Batch => facts.members.iter().all(is_notice),
    }
}
