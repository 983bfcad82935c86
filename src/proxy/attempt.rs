//! The tries of one request, from its first to the head of the answer that is passed on.

use std::rc::Rc;
use std::sync::Arc;

use http::{Method, Request, Response};

use crate::mcp::{Effects, RequestFacts, ToolCatalogue};
use crate::model::Outcome;
use crate::shadow::Twin;
use crate::upstream::{self, AnswerBody, Attempt, Kept, Pace, Repeats, RequestBody, Unanswered};

use super::call::{Call, Latency, Part};
use super::error::ProxyError;
use super::pipeline::{Decided, Subject};
use super::retry::{Failed, Tries};
use super::shield;
use super::view::RouteView;
use super::worker::Worker;

/// A backend's answer, and the record of the call that it answers.
pub(super) type Answered = (Response<AnswerBody>, Call);

/// A try that did not succeed, and the request where it may be tried again.
enum Failure {
    /// No answer came.
    Error(Box<Unanswered>),
    /// An answer came that the route would rather have from somewhere else.
    Answer(Box<Answered>, Option<Kept>),
}

/// Sends a request to where it was decided, and to other places where that fails and may be
/// repaired. `decided` tells afterwards where the answer came from.
pub(super) async fn send(
    worker: &Rc<Worker>,
    (decided, subject): (&mut Decided, &Subject),
    (request, twin): (Request<RequestBody>, Option<Twin>),
    pace: &Rc<Pace>,
) -> Result<Answered, ProxyError> {
    let repeats = repeats_of(&decided.route, subject);
    let part = part_of(worker, decided, subject);
    let call = begin(worker, decided, part)?.with_twin(twin);
    if shield::covers(worker, decided, subject) {
        let shielded = shield::send(worker, (decided, subject), (request, call), pace);
        return Box::pin(shielded).await;
    }
    let began = call.began();
    match attempt(decided, call, (request, repeats), pace).await {
        Ok(answered) => Ok(answered),
        // Boxed: most requests need no second try, and none has to be large enough for one.
        Err(failure) => {
            let tries = Tries::first(began, decided);
            Box::pin(try_again(worker, decided, (failure, repeats, tries), pace)).await
        }
    }
}

/// One try, whose failure is the caller's.
pub(super) async fn send_once(
    decided: &Decided,
    mut call: Call,
    request: Request<RequestBody>,
    pace: &Rc<Pace>,
) -> Result<Answered, ProxyError> {
    match upstream::send(&decided.endpoint, request, Repeats::Unsent, pace).await {
        Ok(answer) => Ok((answer, call)),
        Err(unanswered) => {
            call.end(unanswered.error.outcome());
            Err(unanswered.error.into())
        }
    }
}

/// One try. It is recorded when it fails.
async fn attempt(
    decided: &Decided,
    mut call: Call,
    (request, repeats): (Request<RequestBody>, Repeats),
    pace: &Rc<Pace>,
) -> Result<Answered, Failure> {
    match Attempt::begin(&decided.endpoint) {
        Ok(attempt) => call.carry(attempt),
        Err(error) => {
            call.end(error.outcome());
            return Err(Failure::Error(Unanswered::unsent(error, request)));
        }
    }
    let statuses = &decided.route.route().retries.statuses;
    let kept = match repeats {
        Repeats::Safe if !statuses.is_empty() => Kept::of(&request),
        Repeats::Safe | Repeats::Unsent => None,
    };
    match upstream::send(&decided.endpoint, request, repeats, pace).await {
        Ok(answer) if kept.is_some() && statuses.contains(&answer.status().as_u16()) => {
            Err(Failure::Answer(Box::new((answer, call)), kept))
        }
        Ok(answer) => Ok((answer, call)),
        Err(unanswered) => {
            call.end(unanswered.error.outcome());
            Err(Failure::Error(unanswered))
        }
    }
}

/// Tries a request again until it succeeds, or nothing is left to try.
async fn try_again(
    worker: &Rc<Worker>,
    decided: &mut Decided,
    (mut failure, repeats, mut tries): (Failure, Repeats, Tries),
    pace: &Rc<Pace>,
) -> Result<Answered, ProxyError> {
    loop {
        let Some(failed) = failure.kind() else {
            return failure.into_result();
        };
        let Some(next) = tries.next(worker, decided, failed) else {
            return failure.into_result();
        };
        let Some(request) = failure.give_up() else {
            return Err(ProxyError::Body);
        };
        if !next.pause.is_zero() {
            tokio::time::sleep(next.pause).await;
        }
        metrics::counter!("switchback_retries_total").increment(1);
        decided.place = next.place;
        decided.endpoint = next.endpoint;
        pace.again(next.connect_within);
        // The judge hears of first tries alone: a retry is this gateway's doing.
        let call = begin(worker, decided, None)?;
        match attempt(decided, call, (request, repeats), pace).await {
            Ok(answered) => return Ok(answered),
            Err(again) => failure = again,
        }
    }
}

impl Failure {
    /// What kind of failure this is, if another try is sound.
    fn kind(&self) -> Option<Failed> {
        match self {
            Self::Error(unanswered) => unanswered.request.as_ref().map(|_| {
                if unanswered.is_unsent {
                    Failed::Unsent
                } else {
                    Failed::Unanswered
                }
            }),
            Self::Answer(_, kept) => kept.as_ref().map(|_| Failed::Refused),
        }
    }

    /// The failure as the caller gets it.
    fn into_result(self) -> Result<Answered, ProxyError> {
        match self {
            Self::Error(unanswered) => Err(unanswered.error.into()),
            Self::Answer(answered, _) => Ok(*answered),
        }
    }

    /// The request to be tried again; an answer is recorded, and dropped.
    fn give_up(&mut self) -> Option<Request<RequestBody>> {
        match self {
            Self::Error(unanswered) => unanswered.request.take(),
            Self::Answer(answered, kept) => {
                let (answer, call) = &mut **answered;
                call.end(Outcome::of_status(answer.status().as_u16()));
                kept.take().map(Kept::restore)
            }
        }
    }
}

/// Whether a request changes nothing, so that a server may see it twice. A tool may do anything,
/// whatever it says of itself.
fn repeats_of(route: &RouteView, subject: &Subject) -> Repeats {
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
fn part_of(worker: &Worker, decided: &Decided, subject: &Subject) -> Option<Part> {
    let (arm, _) = decided.route.arm(decided.place)?;
    let (trial, role) = decided.route.route().trial.as_ref().zip(arm.role)?;
    Some(Part {
        trial: Arc::clone(trial),
        worker: worker.number(),
        role,
        key: decided.key,
        latency: latency_of(&decided.route, subject),
    })
}

/// Records that a call begins where `decided` says; with no part in a rollout the judge does
/// not hear of it.
pub(super) fn begin(
    worker: &Worker,
    decided: &Decided,
    part: Option<Part>,
) -> Result<Call, ProxyError> {
    let none = || ProxyError::NoBackend {
        route: decided.route.route().name.clone(),
    };
    let (_, view) = decided.route.arm(decided.place).ok_or_else(none)?;
    Ok(Call::begin(&view.stats, part, worker.open_calls()))
}

/// Of MCP only messages within a session that want an answer tell how fast a backend is.
fn latency_of(route: &RouteView, subject: &Subject) -> Latency {
    let tells = match &subject.facts {
        Some(facts) => !facts.opens_session() && facts.expects_answer(),
        None => !route.is_mcp() || subject.method == Method::POST,
    };
    if tells {
        Latency::Tells
    } else {
        Latency::TellsNothing
    }
}
