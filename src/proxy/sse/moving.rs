//! A session's stream is opened again elsewhere, and the session in it as its client opened it.

use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Uri};
use http_body_util::BodyExt;
use tokio::time::Instant;

use crate::deadline::Elapsed;
use crate::mcp::{
    self, AnswerScanner, FirstEvent, Format, Home, Lists, Replay, ReplayAnswer, ReplayError,
    ReplayReply, SessionRecord, WholeEvents,
};
use crate::proxy::attempt;
use crate::proxy::call::{Call, Counts};
use crate::proxy::choice;
use crate::proxy::pipeline::Decided;
use crate::proxy::retry::Tries;
use crate::proxy::view::RouteView;
use crate::proxy::worker::Worker;
use crate::upstream::{
    self, AnswerBody, Endpoint, LAST_EVENT_ID, Outgoing, Pace, Patience, Repeats, RequestBody,
    Template, UpstreamError,
};

use super::open::{MAX_BEGIN_BYTES, target_at};

/// Most bytes that are read of a stream while the session in it is opened.
const MAX_READ_BYTES: usize = 1024 * 1024;
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// How a session is opened again.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) route: RouteView,
    /// Tells callers apart.
    pub(super) key: u64,
    /// How its stream was asked for.
    pub(super) template: Rc<Template>,
    /// What the session was opened with; nothing of one that was not opened yet.
    pub(super) record: Option<Arc<SessionRecord>>,
}

/// A stream in which the session is open again.
#[derive(Debug)]
pub(super) struct Moved {
    pub(super) route: RouteView,
    pub(super) place: usize,
    pub(super) endpoint: Rc<Endpoint>,
    pub(super) body: AnswerBody,
    pub(super) call: Call,
    /// Where the session lives now.
    pub(super) home: Home,
    /// Where the backend takes its messages.
    pub(super) target: PathAndQuery,
    /// What the server has said meanwhile, for the client.
    pub(super) said: Vec<Bytes>,
}

/// Why a session has no new home.
#[derive(Debug, thiserror::Error)]
pub(super) enum MoveError {
    /// No backend of the route takes traffic.
    #[error("no backend takes traffic")]
    NoBackend,
    /// The new backend could not be reached, or broke off.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// What it answers is no stream of this era.
    #[error("the new backend opens no stream with an endpoint event of its own")]
    NoStream,
    /// Its stream broke off, or said too much.
    #[error("reading the new backend's stream")]
    Stream,
    /// It would not have the session.
    #[error("replaying how the session was opened")]
    Replay(#[from] ReplayError),
    /// It may stay after all.
    #[error("the session may stay where it is")]
    Unneeded,
    /// Nothing is left to open it with, or its route wants it to end.
    #[error("nothing is left to open the session with")]
    Lost,
    /// It took longer than a call may wait for its answer.
    #[error("opening the session timed out")]
    Elapsed(#[from] Elapsed),
}

impl MoveError {
    /// Whether another place may do better: nothing but the session itself comes of its opening.
    fn may_differ_elsewhere(&self) -> bool {
        match self {
            Self::Upstream(_) | Self::Stream | Self::Elapsed(_) => true,
            Self::NoBackend | Self::NoStream | Self::Replay(_) | Self::Unneeded | Self::Lost => {
                false
            }
        }
    }
}

/// Opens the session where the split wants it now, and where that cannot be, elsewhere. A server
/// that is dying may still take a connection.
pub(super) async fn move_on(worker: Rc<Worker>, plan: Plan) -> Result<Moved, MoveError> {
    let at = choice::by_split(&worker, &plan.route, Some(plan.key));
    let (place, endpoint) = at.map_err(|_| MoveError::NoBackend)?;
    let mut decided = Decided {
        key: Some(plan.key),
        ..Decided::to(plan.route.clone(), (place, endpoint))
    };
    let mut tries = Tries::first(Instant::now(), &decided);
    loop {
        match open_at(&worker, &plan, &decided).await {
            Err(error) if error.may_differ_elsewhere() => {
                // Every place is tried once at most.
                let next = tries.next_away(&worker, &decided);
                (decided.place, decided.endpoint) = next.ok_or(error)?;
            }
            done => return done,
        }
    }
}

async fn open_at(worker: &Rc<Worker>, plan: &Plan, decided: &Decided) -> Result<Moved, MoveError> {
    let deadline = worker.deadlines().deadline();
    deadline.set(plan.template.patience);
    deadline.guard(pin!(open(worker, plan, decided))).await?
}

async fn open(worker: &Rc<Worker>, plan: &Plan, decided: &Decided) -> Result<Moved, MoveError> {
    let (arm, _) = decided
        .route
        .arm(decided.place)
        .ok_or(MoveError::NoBackend)?;
    let template = &*plan.template;
    let patience = decided.route.route().patience;
    let pace = Rc::new(Pace::new(worker.deadlines(), patience));
    let call = attempt::begin(worker, (decided, &pace), None);
    let mut call = call.map_err(|_| MoveError::NoBackend)?;
    call.becomes_stream(Counts::No);
    let mut request = request_of(template, Method::GET, (&template.target, None));
    let sending = (&mut request, Repeats::Safe);
    let sent = attempt::upstream_send(decided, &mut call, sending, &pace).await;
    let answer = sent.map_err(|unanswered| unanswered.error)?;
    call.answered(answer.status().as_u16());
    let is_stream = upstream::format_of(answer.headers()) == Some(Format::EventStream);
    if !answer.status().is_success() || !is_stream || upstream::is_packed(answer.headers()) {
        return Err(MoveError::NoStream);
    }
    pace.answered(true);
    let mut stream = Reading::new(answer.into_body());
    let data = stream.endpoint().await?;
    let at = (&decided.route, decided.place, &decided.endpoint);
    let target = target_at(at, template, &data).ok_or(MoveError::NoStream)?;
    let lists = match &plan.record {
        Some(record) => {
            let post = (worker, decided, &target);
            replay(post, template, (Arc::clone(record), &mut stream)).await?
        }
        None => Lists::NONE,
    };
    let home = Home {
        backend: arm.backend.clone(),
        endpoint: Arc::clone(decided.endpoint.name()),
        id: None,
        lists,
        way: None,
    };
    Ok(Moved {
        route: decided.route.clone(),
        place: decided.place,
        endpoint: Rc::clone(&decided.endpoint),
        call,
        home,
        target,
        said: std::mem::take(&mut stream.said),
        body: stream.into_body(),
    })
}

/// Opens the session in a new stream. Gives the lists of whose changes the server says that it tells.
async fn replay(
    (worker, decided, target): (&Rc<Worker>, &Decided, &PathAndQuery),
    template: &Template,
    (record, stream): (Arc<SessionRecord>, &mut Reading),
) -> Result<Lists, MoveError> {
    let mut replay = Replay::new(record);
    while let Some(step) = replay.request() {
        let mut request = request_of(template, Method::POST, (target, Some(step.body)));
        let patience = Patience::even(template.patience);
        let pace = Rc::new(Pace::new(worker.deadlines(), patience));
        let sent = upstream::send(&decided.endpoint, &mut request, Repeats::Unsent, &pace).await;
        let answer = sent.map_err(|unanswered| unanswered.error)?;
        let mut status = answer.status().as_u16();
        drop(answer);
        let mut body = Bytes::new();
        if step.answer != ReplayAnswer::Accepted && (200..300).contains(&status) {
            body = stream.response().await?;
            status = 200;
        }
        replay.accept(ReplayReply {
            status,
            format: Some(Format::EventStream),
            body: &body,
        })?;
    }
    Ok(replay.lists())
}

/// A request for a new stream, or one that is sent to it.
fn request_of(
    template: &Template,
    method: Method,
    (target, body): (&PathAndQuery, Option<Bytes>),
) -> Outgoing {
    let mut sent: HeaderMap = template.fields.clone();
    for own in [LAST_EVENT_ID, ACCEPT_ENCODING, CONTENT_LENGTH] {
        sent.remove(own);
    }
    sent.insert(ACCEPT, EVENTS);
    let body = match body {
        Some(body) => {
            sent.insert(CONTENT_TYPE, JSON);
            RequestBody::whole(body)
        }
        None => RequestBody::Empty,
    };
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from(target.clone());
    *request.headers_mut() = sent;
    request.into()
}

/// A new stream, while it is read for what concerns the opening. Each byte is looked at a few times,
/// in however small pieces an event comes.
struct Reading {
    body: AnswerBody,
    /// What is not complete of it.
    coming: WholeEvents,
    /// What is.
    begin: BytesMut,
    /// How much has been read.
    read: usize,
    /// Events that are for the client.
    said: Vec<Bytes>,
}

impl Reading {
    fn new(body: AnswerBody) -> Self {
        Self {
            body,
            // It is bounded by how much is read at all.
            coming: WholeEvents::new(usize::MAX),
            begin: BytesMut::new(),
            read: 0,
            said: Vec::new(),
        }
    }

    /// The data of the `endpoint` event.
    async fn endpoint(&mut self) -> Result<String, MoveError> {
        loop {
            match mcp::first_event(&self.begin) {
                Ok((FirstEvent::Endpoint(data), of)) => {
                    drop(self.begin.split_to(of.end));
                    return Ok(data);
                }
                Ok((FirstEvent::Other, _)) => return Err(MoveError::NoStream),
                Err(complete) => drop(self.begin.split_to(complete)),
            }
            if self.begin.len() + self.coming.held_bytes() > MAX_BEGIN_BYTES {
                return Err(MoveError::NoStream);
            }
            self.read_on().await?;
        }
    }

    /// The next event that holds a response; those before it are the client's.
    async fn response(&mut self) -> Result<Bytes, MoveError> {
        loop {
            match mcp::first_event(&self.begin) {
                Ok((_, of)) => {
                    let event = self.begin.split_to(of.end).freeze();
                    let mut scanner = AnswerScanner::new(Format::EventStream);
                    scanner.feed(&event);
                    if scanner.response_seen() {
                        return Ok(event);
                    }
                    let event = mcp::without_endpoints(event);
                    self.said.extend((!event.is_empty()).then_some(event));
                }
                Err(complete) => {
                    drop(self.begin.split_to(complete));
                    self.read_on().await?;
                }
            }
        }
    }

    async fn read_on(&mut self) -> Result<(), MoveError> {
        let frame = self.body.frame().await.ok_or(MoveError::Stream)?;
        let piece = frame.map_err(|_| MoveError::Stream)?.into_data();
        let piece = piece.unwrap_or_default();
        self.read += piece.len();
        if self.read > MAX_READ_BYTES {
            return Err(MoveError::Stream);
        }
        self.begin.extend_from_slice(&self.coming.pass(&piece));
        Ok(())
    }

    /// The stream, with what was read and not used.
    fn into_body(mut self) -> AnswerBody {
        self.begin.extend_from_slice(&self.coming.rest());
        let rest = VecDeque::from([http_body::Frame::data(self.begin.freeze())]);
        self.body.put_back(rest);
        self.body
    }
}
