//! Opening a session again on another backend, by replaying how it was opened.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response};
use http_body_util::BodyExt;

use crate::mcp::{
    AnswerScanner, Format, Home, Replay, ReplayAnswer, ReplayError, ReplayReply, Session,
};
use crate::upstream::{self, AnswerBody, Pace, RequestBody, UpstreamError};

use super::fields::{self, MCP_SESSION_ID, Side};
use super::head::Head;
use super::session::home_tags;
use super::view::RouteView;
use super::worker::Worker;

const MCP_PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const BOTH_FORMATS: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Longest answer to a replayed request that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// The request that needs the session: its credentials and its path are the replay's too.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asks<'a> {
    pub(super) head: &'a Head,
    pub(super) fields: &'a HeaderMap,
}

/// Why a session could not be opened elsewhere.
#[derive(Debug, thiserror::Error)]
pub(super) enum RehomeError {
    /// No backend of the route takes traffic.
    #[error("no backend takes traffic")]
    NoBackend,
    /// The new backend could not be reached, or broke off.
    #[error("reaching the new backend")]
    Upstream(#[from] UpstreamError),
    /// Its answer broke off, stalled, or was too long.
    #[error("reading the new backend's answer")]
    Answer,
    /// Its answer is not what the session needs.
    #[error("replaying how the session was opened")]
    Replay(#[from] ReplayError),
}

/// Opens a session on another backend of the route. Nothing has changed when it fails.
pub(super) async fn open_elsewhere(
    worker: &Worker,
    route: &RouteView,
    session: &Arc<Session>,
    asks: Asks<'_>,
) -> Result<Home, RehomeError> {
    let key = asks
        .fields
        .get(MCP_SESSION_ID)
        .map(|id| route.route().keys.hash(id.as_bytes()));
    let (place, endpoint) =
        super::choice::by_split(worker, route, key).map_err(|_| RehomeError::NoBackend)?;
    let (backend_tag, endpoint_tag) =
        home_tags(route, place, &endpoint).ok_or(RehomeError::NoBackend)?;
    let mut replay = Replay::new(session.record());
    let mut id: Option<HeaderValue> = None;
    while let Some(step) = replay.request() {
        let timing = Rc::new(Pace::new(
            worker.deadlines(),
            route.route().response_head_timeout,
            route.route().idle_timeout,
        ));
        let opens = step.answer == ReplayAnswer::Session;
        let request = request_of(
            asks,
            step.body,
            (!opens).then_some((replay.version(), id.as_ref())),
        );
        let response = upstream::send(&endpoint, request, &timing).await?;
        if opens {
            id = response.headers().get(MCP_SESSION_ID).cloned();
        }
        let (status, format, body) = read(response, step.answer).await?;
        replay.accept(ReplayReply {
            status,
            format,
            body: &body,
        })?;
    }
    let id = id.and_then(|id| id.to_str().ok().map(Into::into));
    Ok(Home {
        backend: backend_tag,
        endpoint: endpoint_tag,
        id,
    })
}

/// A request of the replay; all but the first carry the version and the new session's id.
fn request_of(
    asks: Asks<'_>,
    body: Bytes,
    open: Option<(&str, Option<&HeaderValue>)>,
) -> Request<RequestBody> {
    let mut sent = fields::passed_on(asks.fields.clone(), Side::Request);
    for own in [
        MCP_SESSION_ID,
        MCP_PROTOCOL_VERSION,
        http::header::ACCEPT_ENCODING,
    ] {
        sent.remove(own);
    }
    sent.remove("last-event-id");
    sent.insert(HOST, asks.head.host.clone());
    sent.insert(CONTENT_TYPE, JSON);
    sent.insert(ACCEPT, BOTH_FORMATS);
    if let Some((version, id)) = open {
        if let Ok(version) = HeaderValue::from_str(version) {
            sent.insert(MCP_PROTOCOL_VERSION, version);
        }
        if let Some(id) = id {
            sent.insert(MCP_SESSION_ID, id.clone());
        }
    }
    let mut request = Request::new(RequestBody::whole(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from(asks.head.target.clone());
    *request.headers_mut() = sent;
    request
}

/// The answer to a request of the replay, as far as the replay needs it.
async fn read(
    response: Response<AnswerBody>,
    wants: ReplayAnswer,
) -> Result<(u16, Option<Format>, Vec<u8>), RehomeError> {
    let status = response.status().as_u16();
    let kind = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let format = kind.and_then(Format::of_content_type);
    let mut body = response.into_body();
    body.pace().answered(false);
    let mut bytes = Vec::new();
    let mut scanner = format.map(AnswerScanner::new);
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(|_| RehomeError::Answer)?.into_data() else {
            continue;
        };
        if bytes.len() + piece.len() > MAX_ANSWER_BYTES {
            return Err(RehomeError::Answer);
        }
        bytes.extend_from_slice(&piece);
        let answered = scanner.as_mut().is_some_and(|scanner| {
            scanner.feed(&piece);
            scanner.response_seen()
        });
        // An event stream may stay open behind its answer; a JSON body ends by itself.
        if answered && format == Some(Format::EventStream) && wants != ReplayAnswer::Accepted {
            break;
        }
    }
    Ok((status, format, bytes))
}
