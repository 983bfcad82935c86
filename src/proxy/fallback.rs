//! A backend that does not speak of the era without sessions, and a client that thinks it does.
//!
//! Such a client learned the new era from another version, which was reverted since, or has only
//! a part of the traffic. What servers of the old era say to it differs from one to the
//! next; here it is made the one answer after which every client opens a session.

use std::collections::VecDeque;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;

use crate::mcp;
use crate::model::Outcome;
use crate::upstream::AnswerBody;

use super::alone;
use super::attempt::Answered;
use super::error::ProxyError;
use super::pipeline::{Decided, Subject};
use super::worker::Worker;

/// Longest refusal that is read, in bytes.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;

/// Whether an answer may be that of a backend that only speaks of the era with sessions: a refusal
/// of a request that is right in its own era.
pub(super) fn may_be_needed(
    worker: &Worker,
    (decided, subject): (&Decided, &Subject),
    status: StatusCode,
) -> bool {
    let refuses = matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_ACCEPTABLE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY
    );
    refuses
        && decided.alone.is_some()
        && subject.method == Method::POST
        && subject.facts.as_ref().is_some_and(|facts| {
            // The headers were compared with it.
            facts.kind == mcp::Kind::Request && facts.claimed.is_some()
        })
        && !alone::is_understood(worker, decided)
}

/// Passes a refusal on, if its backend understood what it refuses.
///
/// # Errors
/// [`ProxyError::OtherEra`] when it did not.
pub(super) async fn read(
    (decided, subject): (&Decided, &Subject),
    (response, mut call): Answered,
) -> Result<Answered, ProxyError> {
    let (parts, mut body) = response.into_parts();
    let status = parts.status.as_u16();
    body.pace().answered(false);
    call.answered(status);
    let Taken { held, text, end } = take(&mut body).await;
    let requested = subject
        .facts
        .as_ref()
        .and_then(|facts| facts.claimed.clone());
    let (understood, outcome) = match end {
        End::Whole => (
            mcp::is_of_requests_era(status, &text),
            Outcome::of_status(status),
        ),
        End::Later => (true, Outcome::of_status(status)),
        // Half of it could not be passed on as if it were all; the status says enough.
        End::Broken => (false, Outcome::Broken),
    };
    let Some(requested) = requested.filter(|_| !understood) else {
        body.put_back(held);
        return Ok((Response::from_parts(parts, body), call));
    };
    call.end(outcome);
    metrics::counter!("switchback_fallbacks_total").increment(1);
    let route = &decided.route.route().name;
    tracing::debug!(%route, status, "a client is told of the era with sessions");
    Err(ProxyError::OtherEra { requested })
}

/// A refusal, as far as it was read.
pub(super) struct Taken {
    pub(super) held: VecDeque<Frame<Bytes>>,
    pub(super) text: Vec<u8>,
    pub(super) end: End,
}

/// How far a refusal was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// To its end.
    Whole,
    /// There is more than is read.
    Later,
    /// It broke off, or nothing came for too long.
    Broken,
}

/// Reads a refusal, up to a bound.
pub(super) async fn take(body: &mut AnswerBody) -> Taken {
    let mut taken = Taken {
        held: VecDeque::new(),
        text: Vec::new(),
        end: end_of(body),
    };
    while taken.text.len() < MAX_REFUSAL_BYTES && taken.end == End::Later {
        match body.frame().await {
            // Without a length the end is told only by a frame that is none.
            None => taken.end = End::Whole,
            Some(Err(_)) => taken.end = End::Broken,
            Some(Ok(frame)) => {
                if let Some(piece) = frame.data_ref() {
                    taken.text.extend_from_slice(piece);
                }
                taken.held.push_back(frame);
                taken.end = end_of(body);
            }
        }
    }
    taken
}

fn end_of(body: &AnswerBody) -> End {
    if body.is_end_stream() {
        End::Whole
    } else {
        End::Later
    }
}
