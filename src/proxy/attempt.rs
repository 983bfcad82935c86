//! The tries of one request, from its first to the head of the answer that is passed on.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, Response};

use crate::mcp::{self, Effects, RequestFacts, ToolCatalogue};
use crate::model::Outcome;
use crate::shadow::Twin;
use crate::stats::CallId;
use crate::upstream::{
    self, Again, AnswerBody, Attempt, Kept, LAST_EVENT_ID, MCP_SESSION_ID, Outgoing, Pace, Repeats,
    Template, Unanswered, UpstreamError,
};

use super::behind;
use super::branch::{self, Then};
use super::call::{Call, Latency, Part};
use super::counted::Tally;
use super::error::ProxyError;
use super::lost;
use super::pipeline::{Decided, Subject};
use super::retry::{Failed, Tries};
use super::session::{self, Pinned};
use super::shield;
use super::view::RouteView;
use super::worker::Worker;

/// A backend's answer, and the record of the call that it answers.
pub(super) type Answered = (Response<AnswerBody>, Call);

/// A try that did not succeed.
enum Failure {
    /// No answer came.
    Error(Unanswered),
    /// An answer came that the route would rather have from somewhere else, with the request.
    Answer(Box<Response<AnswerBody>>, Kept),
}

/// Sends a request to where it was decided, and to other places where that fails and may be
/// repaired. `decided` tells afterwards where the answer came from.
pub(super) async fn send(
    worker: &Rc<Worker>,
    (decided, subject): (&mut Decided, &Subject),
    (request, twin): (&mut Outgoing, Option<Twin>),
    pace: &Rc<Pace>,
) -> Result<Answered, ProxyError> {
    behind::tell(worker, (decided, subject), request);
    let repeats = repeats_of(&decided.route, subject);
    let part = part_of(worker, decided, subject);
    let part = part.map(|part| part.called(id_of(request.headers())));
    let late = subject.late.as_ref().map(|coming| &coming.body);
    let mut call = begin(worker, (decided, pace), part)?;
    call.told_by(late);
    if let Some(twin) = twin {
        call.has_twin(twin);
    }
    if shield::covers(worker, decided, subject)
        // A body that is passing through cannot be sent twice.
        && let Some(kept) = Kept::of(request)
    {
        let sending = (request, kept, call);
        let shielded = shield::send(worker, (decided, subject), sending, pace);
        return Box::pin(shielded).await;
    }
    let answer = send_on(worker, decided, &mut call, (request, repeats), pace).await?;
    Ok((answer, call))
}

/// Sends a request whose call has begun, as often as that is needed and sound; `call` is the one that
/// was answered then.
pub(super) async fn send_on(
    worker: &Rc<Worker>,
    decided: &mut Decided,
    call: &mut Call,
    (request, repeats): (&mut Outgoing, Repeats),
    pace: &Rc<Pace>,
) -> Result<Response<AnswerBody>, ProxyError> {
    match attempt(decided, call, (&mut *request, repeats), pace).await {
        Ok(answer) => Ok(answer),
        // Boxed: most requests need no second try, and none has to be large enough for one.
        Err(failure) => {
            let failed = (failure, call);
            Box::pin(try_again(worker, decided, failed, (request, repeats), pace)).await
        }
    }
}

/// Sends a request, if the breaker lets it. It is recorded when that fails.
pub(super) async fn upstream_send(
    decided: &Decided,
    call: &mut Call,
    (request, repeats): (&mut Outgoing, Repeats),
    pace: &Rc<Pace>,
) -> Result<Response<AnswerBody>, Unanswered> {
    let sent = match Attempt::begin(&decided.endpoint) {
        Ok(attempt) => {
            call.carry(attempt);
            upstream::send(&decided.endpoint, request, repeats, pace).await
        }
        Err(error) => Err(error.and(Again::Unsent)),
    };
    sent.inspect_err(|unanswered| {
        if let UpstreamError::Shed { .. } = unanswered.error {
            call.spared();
        }
        call.end(unanswered.error.outcome());
    })
}

/// One try.
async fn attempt(
    decided: &Decided,
    call: &mut Call,
    (request, repeats): (&mut Outgoing, Repeats),
    pace: &Rc<Pace>,
) -> Result<Response<AnswerBody>, Failure> {
    let statuses = &decided.route.route().retries.statuses;
    let kept = match repeats {
        Repeats::Safe if !statuses.is_empty() => Kept::of(request),
        Repeats::Safe | Repeats::Unsent => None,
    };
    let answer = upstream_send(decided, call, (request, repeats), pace).await;
    let answer = answer.map_err(Failure::Error)?;
    match kept {
        Some(kept) if statuses.contains(&answer.status().as_u16()) => {
            Err(Failure::Answer(Box::new(answer), kept))
        }
        _ => Ok(answer),
    }
}

/// Tries a request again until it succeeds, or nothing is left to try.
async fn try_again(
    worker: &Rc<Worker>,
    decided: &mut Decided,
    (mut failure, call): (Failure, &mut Call),
    (request, repeats): (&mut Outgoing, Repeats),
    pace: &Rc<Pace>,
) -> Result<Response<AnswerBody>, ProxyError> {
    let mut tries = Tries::first(call.began(), decided);
    if let (Some(_), true) = (&decided.session, failure.is_refusal())
        && (branch::is_away(decided) || tries.away(worker, decided).is_some())
    {
        let (answer, gone) = go_with_session(worker, decided, request, pace).await?;
        *call = gone;
        return Ok(answer);
    }
    loop {
        let next = failure
            .kind()
            .filter(|_| !pace.is_over())
            .and_then(|failed| tries.next(worker, decided, failed));
        let Some(next) = next else {
            return failure.into_result();
        };
        if let Failure::Answer(answer, kept) = failure {
            call.end(Outcome::of_status(answer.status().as_u16()));
            *request = kept.restore();
        }
        if !next.pause.is_zero() {
            tokio::time::sleep(next.pause).await;
        }
        metrics::counter!("switchback_retries_total").increment(1);
        decided.place = next.place;
        decided.endpoint = next.endpoint;
        pace.again(next.connect_within);
        // The judge hears of first tries alone: a retry is this gateway's doing.
        *call = begin(worker, (decided, pace), None)?;
        match attempt(decided, call, (&mut *request, repeats), pace).await {
            Ok(answer) => return Ok(answer),
            Err(again) => failure = again,
        }
    }
}

/// Takes a session to another place, and its request with it: nobody listens any more where it
/// lived, so that nothing was sent, and nothing of the session is left there.
async fn go_with_session(
    worker: &Rc<Worker>,
    decided: &mut Decided,
    request: &mut Outgoing,
    pace: &Rc<Pace>,
) -> Result<Answered, ProxyError> {
    if branch::come_home(worker, decided, Then::Stay) {
        let home = decided.session.clone().ok_or(ProxyError::UnknownSession)?;
        return follow(worker, decided, (request, home), pace).await;
    }
    if *request.method() == Method::DELETE {
        return Err(lost::forget(worker, decided, request.method()));
    }
    let template = Template::of(request, decided.route.route().patience.head);
    let pinned = session::flee(worker, decided, &template).await?;
    follow(worker, decided, (request, pinned), pace).await
}

/// Sends a request to where its session lives now; nothing of the session is left where it was
/// before.
pub(super) async fn follow(
    worker: &Rc<Worker>,
    decided: &mut Decided,
    (request, pinned): (&mut Outgoing, Box<Pinned>),
    pace: &Rc<Pace>,
) -> Result<Answered, ProxyError> {
    let fields = request.headers_mut();
    match &pinned.backend_id {
        Some(id) => fields.insert(MCP_SESSION_ID, id.clone()),
        None => fields.remove(MCP_SESSION_ID),
    };
    // It names an event of the server that is gone.
    fields.remove(LAST_EVENT_ID);
    (decided.place, decided.endpoint) = (pinned.place, Rc::clone(&pinned.endpoint));
    decided.session = Some(pinned);
    pace.again(Duration::MAX);
    // Like any second try, the judge does not hear of it.
    let mut call = begin(worker, (decided, pace), None)?;
    let sending = (request, Repeats::Unsent);
    match upstream_send(decided, &mut call, sending, pace).await {
        Ok(answer) => Ok((answer, call)),
        Err(unanswered) => Err(unanswered.error.into()),
    }
}

impl Failure {
    /// Whether nobody listens where it was tried.
    fn is_refusal(&self) -> bool {
        match self {
            Self::Error(unanswered) => {
                unanswered.again == Again::Unsent && unanswered.error.is_refusal()
            }
            Self::Answer(..) => false,
        }
    }

    /// What kind of failure this is, if another try is sound.
    fn kind(&self) -> Option<Failed> {
        match self {
            // Another endpoint would need a descriptor, too.
            Self::Error(unanswered) if unanswered.error.is_own() => None,
            Self::Error(unanswered) => match unanswered.again {
                Again::Unsent => Some(Failed::Unsent),
                Again::Sent => Some(Failed::Unanswered),
                Again::Never => None,
            },
            Self::Answer(..) => Some(Failed::Refused),
        }
    }

    /// The failure as the caller gets it.
    fn into_result(self) -> Result<Response<AnswerBody>, ProxyError> {
        match self {
            Self::Error(unanswered) => Err(unanswered.error.into()),
            Self::Answer(answer, _) => Ok(*answer),
        }
    }
}

/// Whether a request changes nothing, so that a server may see it twice. A tool may do anything,
/// whatever it says of itself.
pub(super) fn repeats_of(route: &RouteView, subject: &Subject) -> Repeats {
    let is_safe = match subject.method {
        Method::GET | Method::HEAD | Method::OPTIONS => true,
        Method::POST if route.is_mcp() => {
            let facts = subject.facts.as_ref();
            facts.is_some_and(|facts| only_reads(facts))
        }
        _ => false,
    };
    if is_safe {
        Repeats::Safe
    } else {
        Repeats::Unsent
    }
}

/// Whether a message is one that the protocol calls reading, which no tool's call is.
pub(super) fn only_reads(facts: &RequestFacts) -> bool {
    Effects::of(facts, &ToolCatalogue::default()) == Effects::None
}

/// What the judge is to see of a call.
pub(super) fn part_of(worker: &Worker, decided: &Decided, subject: &Subject) -> Option<Part> {
    let (arm, _) = decided.route.arm(decided.place)?;
    let route = decided.route.route();
    if let Some(turn) = &route.turn {
        turn.assigned(&arm.backend);
    }
    let (trial, role) = route.trial.as_ref().zip(arm.role)?;
    Some(Part {
        trial: Arc::clone(trial),
        worker: worker.number(),
        role,
        key: decided.key,
        id: None,
        latency: latency_of(&decided.route, subject),
    })
}

/// The id that a caller gave a request, for finding it again.
fn id_of(fields: &HeaderMap) -> Option<CallId> {
    const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
    const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
    let of = |name: HeaderName| CallId::new(fields.get(name)?.as_bytes());
    of(REQUEST_ID).or_else(|| of(TRACE_PARENT))
}

/// Records that a call begins where `decided` says; with no part in a rollout the judge does
/// not hear of it.
pub(super) fn begin(
    worker: &Worker,
    (decided, pace): (&Decided, &Rc<Pace>),
    part: Option<Part>,
) -> Result<Call, ProxyError> {
    let none = || ProxyError::NoBackend {
        route: decided.route.route().name.clone(),
    };
    let (_, view) = decided.route.arm(decided.place).ok_or_else(none)?;
    let tally = Tally::begin(&view.stats, (&decided.counted, decided.place));
    Ok(Call::begin(tally, pace, part, worker.open_calls()))
}

/// Whether the latency of a message tells how fast a backend is.
pub(super) fn tells(facts: &RequestFacts) -> bool {
    let is_stream = facts.method == mcp::Method::SubscriptionsListen;
    !facts.opens_session() && facts.expects_answer() && !is_stream
}

/// Of MCP only messages within a session that want an answer tell how fast a backend is.
fn latency_of(route: &RouteView, subject: &Subject) -> Latency {
    if subject.late.is_some() {
        return Latency::MayTell;
    }
    let tells = match &subject.facts {
        Some(facts) => tells(facts),
        None => !route.is_mcp() || subject.method == Method::POST,
    };
    if tells {
        Latency::Tells
    } else {
        Latency::TellsNothing
    }
}
