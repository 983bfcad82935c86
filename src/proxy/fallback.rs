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
    let (held, text) = take(&mut body).await;
    let is_whole = body.is_end_stream();
    let requested = subject
        .facts
        .as_ref()
        .and_then(|facts| facts.claimed.clone());
    let understood = !is_whole || mcp::is_of_requests_era(status, &text);
    let Some(requested) = requested.filter(|_| !understood) else {
        body.put_back(held);
        return Ok((Response::from_parts(parts, body), call));
    };
    call.end(Outcome::of_status(status));
    metrics::counter!("switchback_fallbacks_total").increment(1);
    let route = &decided.route.route().name;
    tracing::debug!(%route, status, "a client is told of the era with sessions");
    Err(ProxyError::OtherEra { requested })
}

/// The frames of a refusal, and what they say; short of its end when it is long or breaks off.
async fn take(body: &mut AnswerBody) -> (VecDeque<Frame<Bytes>>, Vec<u8>) {
    let mut held = VecDeque::new();
    let mut text = Vec::new();
    while text.len() < MAX_REFUSAL_BYTES && !body.is_end_stream() {
        let Some(Ok(frame)) = body.frame().await else {
            break;
        };
        if let Some(piece) = frame.data_ref() {
            text.extend_from_slice(piece);
        }
        held.push_back(frame);
    }
    (held, text)
}
