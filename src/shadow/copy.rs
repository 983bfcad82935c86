//! One copy of a call, from its sending to the end of its answer.

use std::rc::Rc;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, COOKIE, HeaderMap, HeaderName, HeaderValue,
};
use http::uri::PathAndQuery;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::BodyExt;

use crate::mcp::{AnswerScanner, Format};
use crate::model::Outcome;
use crate::stats::MirrorDrop;
use crate::upstream::{
    self, AnswerBody, Endpoint, MCP_SESSION_ID, Pace, Patience, Repeats, RequestBody, Template,
};

use super::mirror::Mirror;
use super::session::{self, RealSession};

/// Longest part of a copy's answer that is read, in bytes: a shadow that sends without end would
/// keep the worker busy. A longer answer is told by its status alone.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// Marks a copy, so that a server can tell.
const MARK: HeaderName = HeaderName::from_static("x-switchback-shadow");

/// The call that a copy is made of.
#[derive(Clone, Debug)]
pub struct Original {
    /// Its method.
    pub method: Method,
    /// Its target.
    pub target: PathAndQuery,
    /// The fields that the real backend gets.
    pub fields: HeaderMap,
    /// The MCP session that it belongs to.
    pub session: Option<RealSession>,
    /// The answer's outcome is inside its body.
    pub json_rpc: bool,
}

impl Original {
    fn template(&self, mirror: &Mirror) -> Template {
        let mut fields = self.fields.clone();
        fields.remove(CONTENT_LENGTH);
        fields.insert(MARK, HeaderValue::from_static("true"));
        if !mirror.parts.spec.credentials {
            fields.remove(AUTHORIZATION);
            fields.remove(COOKIE);
        }
        Template {
            target: self.target.clone(),
            fields,
            patience: mirror.parts.spec.timeout,
        }
    }
}

/// What a copy came to: its status, 0 without an answer, and its outcome.
type Ended = (u16, Outcome);

/// Sends a copy and reads its answer to the end; the caller bounds the time.
///
/// # Errors
/// [`MirrorDrop`] when the copy could not be sent at all.
pub(super) async fn send(
    mirror: &Mirror,
    endpoint: &Rc<Endpoint>,
    original: Original,
    pieces: Vec<Bytes>,
) -> Result<Ended, MirrorDrop> {
    let mut template = original.template(mirror);
    template.fields.remove(MCP_SESSION_ID);
    if let Some(real) = &original.session {
        let now = (&mirror.parts.deadlines, mirror.tick());
        let id =
            session::session_at(endpoint, &mirror.parts.sessions, real, &template, now).await?;
        if let Some(id) = id {
            template.fields.insert(MCP_SESSION_ID, id);
        }
    }
    let mut request = Request::new(RequestBody::whole(upstream::join(pieces.iter())));
    *request.method_mut() = original.method;
    *request.uri_mut() = Uri::from(template.target);
    *request.headers_mut() = template.fields;
    let mut request = request.into();
    let pace = Rc::new(Pace::new(
        &mirror.parts.deadlines,
        Patience::even(mirror.parts.spec.timeout),
    ));
    match upstream::send(endpoint, &mut request, Repeats::Unsent, &pace).await {
        Ok(response) => {
            let (parts, body) = response.into_parts();
            let readable = original.json_rpc && !parts.headers.contains_key(CONTENT_ENCODING);
            let format = upstream::format_of(&parts.headers).filter(|_| readable);
            let status = parts.status.as_u16();
            if let (StatusCode::NOT_FOUND, Some(real)) = (parts.status, &original.session) {
                session::forget(endpoint, &mirror.parts.sessions, real);
            }
            Ok((status, drain(body, status, format).await))
        }
        Err(unanswered) => Ok((0, unanswered.error.outcome())),
    }
}

/// Reads an answer to its end, or to the response inside it, and names its outcome.
async fn drain(mut body: AnswerBody, status: u16, format: Option<Format>) -> Outcome {
    let by_status = Outcome::of_status(status);
    let mut scanner = format.map(AnswerScanner::new);
    let mut left_bytes = MAX_ANSWER_BYTES;
    body.pace().answered(false);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Outcome::Broken;
        };
        let length = frame.data_ref().map_or(0, Bytes::len);
        let Some(left) = left_bytes.checked_sub(length) else {
            return by_status;
        };
        left_bytes = left;
        if let (Some(scanner), Some(piece)) = (&mut scanner, frame.data_ref()) {
            scanner.feed(piece);
            if scanner.response_seen() && format == Some(Format::EventStream) {
                break;
            }
        }
    }
    match scanner {
        Some(scanner) if by_status == Outcome::Success => scanner.outcome(),
        Some(_) | None => by_status,
    }
}
