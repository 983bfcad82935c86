//! Opening an MCP session on an endpoint, by replaying how it was opened elsewhere.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap,
    HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;

use crate::deadline::Deadlines;
use crate::mcp::{
    AnswerScanner, Format, Lists, Replay, ReplayAnswer, ReplayError, ReplayReply, SessionRecord,
};

use super::answer::{AnswerBody, format_of};
use super::body::RequestBody;
use super::endpoint::Endpoint;
use super::error::UpstreamError;
use super::kept::Repeats;
use super::link::send;
use super::outgoing::Outgoing;
use super::pace::{Pace, Patience};

/// The id of an MCP session.
pub const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// The revision of the protocol that a message is written in.
pub const MCP_PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The last event of a stream that its client has.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const BOTH_FORMATS: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Longest answer to a replayed request that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// Longest wait for a server to end a session that nobody uses.
const FAREWELL: Duration = Duration::from_secs(1);

/// Fields of a client's request that say what that request is, or what it belongs to, and so
/// nothing of a replayed one.
const ITS_OWN: [HeaderName; 12] = [
    MCP_SESSION_ID,
    MCP_PROTOCOL_VERSION,
    HeaderName::from_static("mcp-method"),
    HeaderName::from_static("mcp-name"),
    LAST_EVENT_ID,
    ACCEPT_ENCODING,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    CONNECTION,
    UPGRADE,
    HeaderName::from_static("content-digest"),
];

/// What every request of a replay has in common.
#[derive(Clone, Debug)]
pub struct Template {
    /// The path that the server takes MCP at.
    pub target: PathAndQuery,
    /// Host, credentials and whatever else the client sends with each of its calls.
    pub fields: HeaderMap,
    /// Longest wait for the head of an answer, and inside of its body.
    pub patience: Duration,
}

impl Template {
    /// What a request that was about to be sent has in common with those of a replay.
    pub fn of(request: &Outgoing, patience: Duration) -> Self {
        let target = request.uri().path_and_query();
        Self {
            target: target.map_or_else(|| PathAndQuery::from_static("/"), PathAndQuery::clone),
            fields: request.fields(),
            patience,
        }
    }
}

/// Why a session could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The server could not be reached, or broke off.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// Its answer broke off, stalled, or was too long.
    #[error("reading the answer to a replayed request")]
    Answer,
    /// Its answer is not what the session needs.
    #[error("replaying how the session was opened")]
    Replay(#[from] ReplayError),
}

/// A session that was opened by a replay.
#[derive(Clone, Debug)]
pub struct OpenedSession {
    /// Its id, if the server gave one.
    pub id: Option<HeaderValue>,
    /// The lists of whose changes the server says that it tells.
    pub lists: Lists,
}

/// Opens a session like the recorded one.
///
/// # Errors
/// [`OpenError`]; the server is then asked to end a session that was half open. One that does not
/// even answer is left to its own time-out.
pub async fn open_session(
    endpoint: &Rc<Endpoint>,
    record: Arc<SessionRecord>,
    template: &Template,
    deadlines: &Deadlines,
) -> Result<OpenedSession, OpenError> {
    let mut replay = Replay::new(record);
    let mut id = None;
    let replayed = play(endpoint, (&mut replay, &mut id), template, deadlines).await;
    if let (Err(OpenError::Replay(why)), Some(_)) = (&replayed, &id) {
        let version = if let ReplayError::Version { offered, .. } = why {
            offered
        } else {
            replay.version()
        };
        let _ = end_session(endpoint, (version, id.as_ref()), template, deadlines).await;
    }
    replayed?;
    let lists = replay.lists();
    Ok(OpenedSession { id, lists })
}

/// Sends what a replay consists of. The new session's id is told as soon as it is known.
async fn play(
    endpoint: &Rc<Endpoint>,
    (replay, id): (&mut Replay, &mut Option<HeaderValue>),
    template: &Template,
    deadlines: &Deadlines,
) -> Result<(), OpenError> {
    while let Some(step) = replay.request() {
        let opens = step.answer == ReplayAnswer::Session;
        let open = (!opens).then_some((replay.version(), id.as_ref()));
        let mut request = request_of(template, step.body, open);
        let pace = Rc::new(Pace::new(deadlines, Patience::even(template.patience)));
        let sent = send(endpoint, &mut request, Repeats::Unsent, &pace).await;
        let response = sent.map_err(|unanswered| unanswered.error)?;
        if opens {
            *id = response.headers().get(MCP_SESSION_ID).cloned();
        }
        let (status, format, body) = read(response, step.answer).await?;
        replay.accept(ReplayReply {
            status,
            format,
            body: &body,
        })?;
    }
    Ok(())
}

/// Asks a server to end a session, by its version and id, and gives the status of its answer.
///
/// # Errors
/// [`UpstreamError`] where it does not answer within a second.
pub async fn end_session(
    endpoint: &Rc<Endpoint>,
    session: (&str, Option<&HeaderValue>),
    template: &Template,
    deadlines: &Deadlines,
) -> Result<StatusCode, UpstreamError> {
    let mut request = request_of(template, Bytes::new(), Some(session));
    *request.method_mut() = Method::DELETE;
    request.headers_mut().remove(CONTENT_TYPE);
    let patience = Patience::even(FAREWELL.min(template.patience));
    let pace = Rc::new(Pace::new(deadlines, patience));
    let sent = send(endpoint, &mut request, Repeats::Unsent, &pace).await;
    let answer = sent.map_err(|unanswered| unanswered.error)?;
    Ok(answer.status())
}

/// A request of the replay; all but the first carry the version and the new session's id.
fn request_of(
    template: &Template,
    body: Bytes,
    open: Option<(&str, Option<&HeaderValue>)>,
) -> Outgoing {
    let mut sent = template.fields.clone();
    for own in &ITS_OWN {
        sent.remove(own);
    }
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
    *request.uri_mut() = Uri::from(template.target.clone());
    *request.headers_mut() = sent;
    request.into()
}

/// The answer to a request of the replay, as far as the replay needs it.
async fn read(
    response: Response<AnswerBody>,
    wants: ReplayAnswer,
) -> Result<(u16, Option<Format>, Vec<u8>), OpenError> {
    let status = response.status().as_u16();
    let format = format_of(response.headers());
    let mut body = response.into_body();
    body.pace().answered(false);
    let mut bytes = Vec::new();
    if wants == ReplayAnswer::Accepted && format == Some(Format::EventStream) {
        // Its body does not matter, and may never end.
        return Ok((status, format, bytes));
    }
    let mut scanner = format.map(AnswerScanner::new);
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(|_| OpenError::Answer)?.into_data() else {
            continue;
        };
        if bytes.len() + piece.len() > MAX_ANSWER_BYTES {
            return Err(OpenError::Answer);
        }
        bytes.extend_from_slice(&piece);
        let answered = scanner.as_mut().is_some_and(|scanner| {
            scanner.feed(&piece);
            scanner.response_seen()
        });
        // An event stream may stay open behind its answer; a JSON body ends by itself.
        if answered && format == Some(Format::EventStream) {
            break;
        }
    }
    Ok((status, format, bytes))
}
