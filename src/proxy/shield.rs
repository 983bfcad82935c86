//! The shield: a candidate's failed call is answered by stable within the same request.
//!
//! The answer of the candidate is held back, up to a bound, until it is known how the call went.
//! What is in it counts against the candidate all the same; only the caller is spared.

use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;

use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{Method, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;

use crate::mcp::{AnswerScanner, Batch, Effects, Format};
use crate::model::Outcome;
use crate::upstream::{
    self, AnswerBody, BodyError, Kept, MCP_SESSION_ID, Outgoing, Pace, Repeats, Template,
};

use super::attempt::{self, Answered};
use super::call::Call;
use super::choice;
use super::error::ProxyError;
use super::pipeline::{Decided, Subject};
use super::session;
use super::snapshot::Route;
use super::spec::ShieldSpec;
use super::view::RouteView;
use super::worker::Worker;

/// The longest connect of a call to stable; the endpoint's own bound is shorter as a rule.
const CONNECT_WITHIN: std::time::Duration = std::time::Duration::MAX;

/// What holding a piece costs, however short it is, in bytes.
const PIECE_BYTES: usize = 128;

/// How a call went, as far as that is known before its answer is passed on.
enum Held {
    /// Well, or nobody knows yet; the answer is whole.
    Fine(Box<Response<AnswerBody>>),
    /// Badly.
    Bad(Outcome),
}

/// Whether a call is shielded: it goes to a candidate on trial, and changes nothing.
pub(super) fn covers(worker: &Worker, decided: &Decided, subject: &Subject) -> bool {
    let route = &decided.route;
    let Some(spec) = &route.route().shield else {
        return false;
    };
    let session = decided.session.as_ref();
    route.is_candidate(decided.place)
        && !decided.is_tied()
        && is_safe(spec, decided, subject)
        && session.is_none_or(|pinned| session::record_of(worker, pinned).is_some())
}

fn is_safe(spec: &ShieldSpec, decided: &Decided, subject: &Subject) -> bool {
    let route = &decided.route;
    if !route.is_mcp() {
        return matches!(subject.method, Method::GET | Method::HEAD | Method::OPTIONS);
    }
    let Some(facts) = subject
        .facts
        .as_ref()
        .filter(|_| subject.method == Method::POST)
    else {
        return false;
    };
    // Nothing but the session itself comes of its opening, and the one that failed is nobody's.
    if facts.opens_session() || attempt::only_reads(facts) {
        return true;
    }
    let tools = route
        .arm(route.route().trusted)
        .and_then(|(_, arm)| arm.tools.as_ref());
    spec.read_only_tools
        && tools.is_some_and(|tools| Effects::of(facts, &tools.load()) == Effects::None)
}

/// Sends a request to the candidate, and to stable when that goes badly. `decided` tells
/// afterwards where the answer came from.
pub(super) async fn send(
    worker: &Rc<Worker>,
    (decided, subject): (&mut Decided, &Subject),
    (request, kept, mut call): (&mut Outgoing, Kept, Call),
    pace: &Rc<Pace>,
) -> Result<Answered, ProxyError> {
    let route = decided.route.clone();
    let Some(spec) = &route.route().shield else {
        let sending = (request, attempt::repeats_of(&route, subject));
        let answer = attempt::send_on(worker, decided, &mut call, sending, pace).await?;
        return Ok((answer, call));
    };
    let deadline = worker.deadlines().deadline();
    deadline.set(spec.patience);
    let first = try_candidate((decided, subject), (&mut call, request), spec, pace);
    let held = deadline.guard(pin!(first)).await;
    let outcome = match held {
        Ok(Held::Fine(answer)) => return Ok((*answer, call)),
        Ok(Held::Bad(outcome)) => outcome,
        Err(_elapsed) => Outcome::Timeout,
    };
    call.end(outcome);
    let name = || route.route().name.to_string();
    metrics::counter!("switchback_shielded_total", "route" => name()).increment(1);
    tracing::debug!(route = %route.route().name, ?outcome, "a candidate's call is answered by stable");
    ask_stable(worker, (decided, subject), kept.restore(), pace).await
}

async fn try_candidate(
    (decided, subject): (&Decided, &Subject),
    (call, request): (&mut Call, &mut Outgoing),
    spec: &ShieldSpec,
    pace: &Rc<Pace>,
) -> Held {
    let route = decided.route.route();
    let sending = (request, Repeats::Unsent);
    let sent = attempt::upstream_send(decided, call, sending, pace).await;
    let answer = match sent {
        Ok(answer) => answer,
        Err(unanswered) => return Held::Bad(unanswered.error.outcome()),
    };
    call.answered(answer.status().as_u16());
    let by_status = Outcome::of_status(answer.status().as_u16());
    if is_bad(route, by_status) {
        return Held::Bad(by_status);
    }
    let format = upstream::format_of(answer.headers());
    let scanner = match format {
        Some(format) if tells_outcome(&decided.route, subject, &answer) => {
            let facts = subject.facts.as_ref();
            let batch = facts.and_then(|facts| Batch::of(facts));
            Some(AnswerScanner::new(format).to_batch(batch))
        }
        // Nobody knows when it ends.
        Some(Format::EventStream) => return Held::Fine(Box::new(answer)),
        Some(Format::Json) | None => None,
    };
    hold(answer, scanner, spec.hold_bytes, |outcome| {
        is_bad(route, outcome)
    })
    .await
}

/// Whether the outcome of a call stands inside its answer.
fn tells_outcome(route: &RouteView, subject: &Subject, answer: &Response<AnswerBody>) -> bool {
    let facts = subject.facts.as_ref();
    route.is_mcp()
        && answer.status().is_success()
        && answer.status() != StatusCode::ACCEPTED
        && !answer.headers().contains_key(CONTENT_ENCODING)
        && facts.is_none_or(|facts| facts.expects_answer())
}

fn is_bad(route: &Route, outcome: Outcome) -> bool {
    route.bad_outcomes.contains(outcome)
}

/// Reads an answer until it is known how the call went, its end, or the bound.
async fn hold(
    answer: Response<AnswerBody>,
    mut scanner: Option<AnswerScanner>,
    cap_bytes: usize,
    is_bad: impl Fn(Outcome) -> bool,
) -> Held {
    let (parts, mut body) = answer.into_parts();
    body.pace().answered(false);
    let mut held: VecDeque<Frame<Bytes>> = VecDeque::new();
    let mut held_bytes = 0;
    while held_bytes < cap_bytes && !body.is_end_stream() {
        let frame = match body.frame().await {
            None => break,
            Some(Ok(frame)) => frame,
            Some(Err(BodyError::Stalled)) => return Held::Bad(Outcome::Timeout),
            Some(Err(BodyError::Broken(_) | BodyError::Reset)) => {
                let is_clients = body.pace().client_fault().is_some();
                return Held::Bad(if is_clients {
                    Outcome::Cancelled
                } else {
                    Outcome::Broken
                });
            }
        };
        if let Some(piece) = frame.data_ref() {
            held_bytes += piece.len() + PIECE_BYTES;
            if let Some(scanner) = &mut scanner {
                scanner.feed(piece);
            }
        }
        held.push_back(frame);
        if scanner.as_ref().is_some_and(AnswerScanner::response_seen) {
            break;
        }
    }
    let outcome = match scanner {
        Some(scanner) if scanner.response_seen() => scanner.worst(),
        Some(scanner) if body.is_end_stream() => Some(scanner.outcome()),
        Some(_) | None => None,
    };
    if let Some(outcome) = outcome.filter(|outcome| is_bad(*outcome)) {
        return Held::Bad(outcome);
    }
    body.put_back(held);
    Held::Fine(Box::new(Response::from_parts(parts, body)))
}

/// Sends the request to stable; what comes of it is what the caller gets.
async fn ask_stable(
    worker: &Rc<Worker>,
    (decided, subject): (&mut Decided, &Subject),
    mut request: Outgoing,
    pace: &Rc<Pace>,
) -> Result<Answered, ProxyError> {
    let (arm, endpoint) = match &mut decided.session {
        None => {
            let trusted = decided.route.route().trusted;
            choice::in_arm(worker, &decided.route, trusted, decided.key)?
        }
        Some(pinned) => {
            let template = Template::of(&request, decided.route.route().patience.head);
            let at = session::stand_in(worker, &decided.route, pinned, &template).await?;
            let fields = request.headers_mut();
            match &pinned.backend_id {
                Some(id) => fields.insert(MCP_SESSION_ID, id.clone()),
                None => fields.remove(MCP_SESSION_ID),
            };
            at
        }
    };
    decided.place = arm;
    decided.endpoint = endpoint;
    pace.again(CONNECT_WITHIN);
    let mut call = attempt::begin(worker, (decided, pace), None)?;
    // With stable's other endpoints behind it, as if it had been asked at first.
    let repeats = attempt::repeats_of(&decided.route, subject);
    let sending = (&mut request, repeats);
    let answer = attempt::send_on(worker, decided, &mut call, sending, pace).await?;
    Ok((answer, call))
}
