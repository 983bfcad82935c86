//! What a client says to the calls that stayed behind when its session moved, and to those that a rule
//! led elsewhere.
//!
//! Such a call ends where it is. Until then its server may ask the client something, and the client
//! may take the call back. Either comes as a message of its own, which goes where the session
//! lives now; it is sent to where its calls are, too. A server that did not ask passes over an
//! answer, as it does over the end of a call that it does not know. Where a rule has opened the
//! session a second time, that hears of notifications, and of the session's end. Not of answers: both
//! servers number what they ask, and one could take the other's.

use std::rc::Rc;

use http::Request;
use tokio::task::spawn_local;

use crate::mcp::{Kind, Method, RequestFacts};
use crate::upstream::{self, Kept, MCP_SESSION_ID, Pace, Patience, Repeats, RequestBody};

use super::branch;
use super::pipeline::{Decided, Subject};
use super::session;
use super::worker::Worker;

/// Sends a message to the calls of its session that are under way elsewhere, and to where the session was
/// opened a second time, as far as it may be meant for them. Nobody waits for what comes of it.
pub(super) fn tell(
    worker: &Rc<Worker>,
    (decided, subject): (&Decided, &Subject),
    request: &Request<RequestBody>,
) {
    let facts = subject.facts.as_deref();
    let ends = subject.method == http::Method::DELETE;
    let is_about_calls = facts.is_some_and(is_about_calls);
    if decided.session.is_none() || !ends && !is_about_calls {
        return;
    }
    let mut places = Vec::new();
    if is_about_calls {
        places = session::left_behind(worker, decided);
    }
    if ends || facts.is_some_and(is_notice) {
        places.extend(branch::led_to(worker, decided));
    }
    let patience = Patience::even(decided.route.route().patience.head);
    for (endpoint, id) in places {
        let Some(mut copy) = Kept::of(request).map(Kept::restore) else {
            return;
        };
        let fields = copy.headers_mut();
        match id {
            Some(id) => fields.insert(MCP_SESSION_ID, id),
            None => fields.remove(MCP_SESSION_ID),
        };
        metrics::counter!("switchback_messages_left_behind_total").increment(1);
        let pace = Rc::new(Pace::new(worker.deadlines(), patience));
        spawn_local(async move {
            // The call itself shows whether it was heard.
            let _ = upstream::send(&endpoint, &mut copy, Repeats::Unsent, &pace).await;
        });
    }
}

/// Whether a message may be about calls that are under way: it answers a server, or notifies it of
/// anything but a session's opening.
fn is_about_calls(facts: &RequestFacts) -> bool {
    match facts.kind {
        Kind::Response => true,
        Kind::Notification => facts.method != Method::Initialized,
        Kind::Request => false,
        Kind::Batch => facts.members.iter().all(is_about_calls),
    }
}

/// Whether a message notifies a server of something.
fn is_notice(facts: &RequestFacts) -> bool {
    match facts.kind {
        Kind::Notification => facts.method != Method::Initialized,
        Kind::Request | Kind::Response => false,
        Kind::Batch => facts.members.iter().all(is_notice),
    }
}
