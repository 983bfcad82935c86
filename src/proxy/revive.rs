//! A session that its own server has forgotten, as one does that was restarted: opened again there,
//! and its request sent once more.
//!
//! A server that does not know a session has done nothing of what it was asked in it. Most
//! clients do not open another session when they are told 404, so it is done for them.

use std::rc::Rc;

use http::{Method, Response, StatusCode};

use crate::mcp;
use crate::model::Outcome;
use crate::upstream::{Kept, Outgoing, Pace, Template};

use super::attempt::{self, Answered};
use super::branch::{self, Then};
use super::error::ProxyError;
use super::fallback::{self, End, Taken};
use super::lost;
use super::pipeline::{Decided, Subject};
use super::session;
use super::spec::LossSpec;
use super::worker::Worker;

/// What is needed to send a session's request again, if its session could be opened again.
pub(super) fn keep(decided: &Decided, request: &Outgoing) -> Option<Kept> {
    let pinned = decided.session.as_ref()?;
    let may_be_opened = (pinned.stay.is_some() || branch::is_away(decided))
        && decided.route.route().on_loss != LossSpec::Sever
        && *request.method() != Method::DELETE;
    may_be_opened.then(|| Kept::of(request))?
}

/// Whether an answer may say that its server does not know the session.
pub(super) fn may_be_needed(decided: &Decided, subject: &Subject, status: StatusCode) -> bool {
    let refuses = matches!(status, StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST);
    let opens = || {
        let facts = subject.facts.as_ref();
        facts.is_some_and(|facts| facts.opens_session())
    };
    refuses && decided.session.is_some() && !opens()
}

/// Whether an answer says that its server does not know the session.
fn is_needed(subject: &Subject, status: u16, text: &[u8]) -> bool {
    if subject.method == Method::GET {
        return mcp::is_unknown_session_of_stream(status, text);
    }
    mcp::is_unknown_session(status, text)
}

/// Passes an answer on, unless it says that its server does not know the session: then that is
/// opened again, and the request sent once more.
///
/// # Errors
/// [`ProxyError::UnknownSession`] where that cannot be done, [`ProxyError::Ended`] where the
/// session was to end anyway.
pub(super) async fn see_to(
    worker: &Rc<Worker>,
    (decided, subject, kept): (&mut Decided, &Subject, Option<Kept>),
    (response, mut call): Answered,
    pace: &Rc<Pace>,
) -> Result<Answered, ProxyError> {
    let (parts, mut body) = response.into_parts();
    let status = parts.status.as_u16();
    body.pace().answered(false);
    call.answered(status);
    let Taken { held, text, end } = fallback::take(&mut body).await;
    if end != End::Whole || !is_needed(subject, status, &text) {
        body.put_back(held);
        return Ok((Response::from_parts(parts, body), call));
    }
    call.end(Outcome::of_status(status));
    // It may have turned out to be too long.
    let kept = kept.filter(Kept::is_whole);
    if branch::come_home(worker, decided, Then::Again) {
        // It is the second session that is gone, of which the client knows nothing.
        let none = || ProxyError::NoStandIn {
            route: decided.route.route().name.clone(),
        };
        let (kept, home) = kept.zip(decided.session.clone()).ok_or_else(none)?;
        let mut request = kept.restore();
        return attempt::follow(worker, decided, (&mut request, home), pace).await;
    }
    let Some(kept) = kept else {
        return Err(lost::forget(worker, decided, &subject.method));
    };
    let mut request = kept.restore();
    let template = Template::of(&request, decided.route.route().patience.head);
    let pinned = session::reopen(worker, decided, &template).await?;
    attempt::follow(worker, decided, (&mut request, pinned), pace).await
}
