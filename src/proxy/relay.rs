//! From a backend's answer to ours.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{CONNECTION, CONTENT_LENGTH, Entry, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body::{Body, Frame};

use crate::mcp::{self, Batch, Format, IdReader, Origin, SessionRecord, Wish};
use crate::model::Outcome;
use crate::stats::Listening;
use crate::upstream::{self, AnswerBody};

use super::alone::{self, Minting};
use super::answer::{Answer, Relayed, RequestGuard};
use super::asked;
use super::branch;
use super::call::{Call, Counts};
use super::catalogues;
use super::crowd::Seat;
use super::farewell::Farewell;
use super::fields::{self, MCP_SESSION_ID, Side};
use super::late::Coming;
use super::pipeline::{Decided, Subject};
use super::seals;
use super::session;
use super::sse::{Opener, SessionStream};
use super::streams::{Kind, OfSession, Turn};
use super::watch::{Kept, Watch};
use super::worker::Worker;

const PACKED: &str = "switchback_packed_answers_total";

/// Longest answer that is kept to be read whole, in bytes.
const MAX_KEPT_BYTES: usize = mcp::MAX_BODY_BYTES;

/// What a session's client asks for now, and must still have after a re-homing, is kept.
pub(super) fn note_wishes(worker: &Worker, decided: &Decided, subject: &Subject) {
    if let Some(posted) = &decided.posted {
        posted.note(subject);
    }
    let Some(facts) = &subject.facts else {
        return;
    };
    let session = decided.session.as_ref();
    let id = || match (session, &decided.posted) {
        (Some(session), _) => session.client_id.to_str().ok(),
        (None, Some(posted)) => Some(&*posted.id),
        (None, None) => None,
    };
    if facts.kind == mcp::Kind::Batch {
        let Some(id) = id() else {
            return;
        };
        for wish in Wish::of_batch(facts, subject.kept.as_deref()) {
            match wish {
                Some(wish) => worker.sessions().amend(id, wish),
                None => worker.sessions().misses_wish(),
            }
        }
        return;
    }
    let uri = || facts.uri.clone();
    let wish = if facts.method == mcp::Method::LoggingSetLevel {
        subject.kept.clone().map(Wish::LogLevel)
    } else if facts.method == mcp::Method::ResourcesSubscribe {
        if facts.uri.is_none() && id().is_some() {
            worker.sessions().misses_wish();
        }
        uri().map(Wish::Subscribe)
    } else if facts.method == mcp::Method::ResourcesUnsubscribe {
        uri().map(Wish::Unsubscribe)
    } else {
        None
    };
    if let Some((wish, id)) = wish.and_then(|wish| Some((wish, id()?))) {
        worker.sessions().amend(id, wish);
    }
}

/// Turns a backend's answer into ours, and sees to it that its outcome is found.
pub(super) fn relay(
    worker: &Rc<Worker>,
    mut decided: Decided,
    subject: Subject,
    (response, mut call): (Response<AnswerBody>, Call),
    guard: RequestGuard,
) -> Response<Answer> {
    if let Some(coming) = &subject.late {
        coming.body.forget();
    }
    let (parts, body) = response.into_parts();
    let format = upstream::format_of(&parts.headers);
    let endless = format == Some(Format::EventStream);
    body.pace().answered(endless);
    call.answered(parts.status.as_u16());
    alone::answered(worker, &decided, parts.status);
    let mut fields = parts.headers;
    fields::take_out(&mut fields, Side::Response);
    tell_of_end(&body, &mut fields);
    if !keeps_length(&subject.method, parts.status) {
        fields::check_length(&mut fields, body.size_hint().exact());
    }
    let about = (parts.status, format);
    let opener = Opener::of(worker, (&mut decided, &subject), about);
    let by_status = Outcome::of_status(parts.status.as_u16());
    let mut relayed = Relayed::new((body, call), by_status, guard);
    if decided.route.is_mcp() {
        let sealed = reseal(worker, &decided, &mut fields);
        // Nothing is ever packed or unpacked here: to such an answer nothing can be added, and it
        // tells no more than its head.
        let is_packed = upstream::is_packed(&fields);
        if is_packed {
            metrics::counter!(PACKED).increment(1);
        }
        if let Some(stay) = decided.session.as_mut().and_then(|it| it.stay.take()) {
            let is_read = endless && !is_packed && stay.home().is_some();
            relayed.ids = is_read.then(|| Box::new(IdReader::new(Arc::clone(stay.heard()))));
            // A stream on which a server says what it has to say by itself is no call.
            relayed.stay = Some(stay).filter(|_| subject.method == Method::POST);
        }
        if relayed.stay.is_none() {
            relayed.stay = branch::stay_of(&decided);
        }
        if endless && !is_packed {
            relayed.marker = asked::marker_of(&decided, &mut fields);
        }
        if !is_packed && is_stream_of_session(&subject, format, parts.status) {
            tell_of_new_home(worker, &decided, &mut relayed);
        }
        let (about, told) = ((decided, subject), (format, sealed));
        watch_mcp(worker, about, told, parts.status, &mut relayed);
        if is_packed {
            relayed.watch = None;
            relayed.farewell = None;
        }
    } else if endless {
        relayed.call.becomes_stream(Counts::Yes);
        enter_stream(worker, &decided, &mut relayed, Kind::Plain);
    }
    let answer = match opener {
        Some(opener) => {
            // Its first event gets another length.
            fields.remove(CONTENT_LENGTH);
            SessionStream::answer(opener, relayed)
        }
        None => relayed.begun(),
    };
    let mut ours = Response::new(answer);
    *ours.status_mut() = parts.status;
    *ours.headers_mut() = fitted(fields, endless);
    ours
}

/// An answer that overtakes its request says that the connection ends: nothing is read of the request once it
/// is over. One of unknown length may be a conversation, which the request ends first.
fn tell_of_end(body: &AnswerBody, fields: &mut HeaderMap) {
    if !body.pace().is_sent() && body.size_hint().exact().is_some() {
        fields.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// The fields of an answer; those of a stream, whose map is there for as long, in one without more room.
fn fitted(fields: HeaderMap, endless: bool) -> HeaderMap {
    if !endless {
        return fields;
    }
    let mut fitted = HeaderMap::with_capacity(fields.keys_len());
    fitted.extend(fields);
    fitted
}

/// Tells the client its session's id: the one that it knows, or a new one, sealed.
fn reseal(worker: &Worker, decided: &Decided, fields: &mut HeaderMap) -> Option<HeaderValue> {
    let Entry::Occupied(mut field) = fields.entry(MCP_SESSION_ID) else {
        return None;
    };
    let id = field.get();
    let known = match &decided.session {
        // Its era has no sessions: the client could do nothing with it.
        _ if decided.alone.is_some() => None,
        Some(session) if session.backend_id.as_ref() == Some(id) => Some(session.client_id.clone()),
        Some(_) | None => seals::seal(worker, decided, id),
    };
    match &known {
        // In the place of all of them, if there are several.
        Some(known) => field.insert(known.clone()),
        None => field.remove(),
    };
    known
}

/// Looks for the outcome where MCP has it, and keeps what a session is opened with.
fn watch_mcp(
    worker: &Rc<Worker>,
    (decided, mut subject): (Decided, Subject),
    (format, session_id): (Option<Format>, Option<HeaderValue>),
    status: StatusCode,
    relayed: &mut Relayed,
) {
    let fine = status.is_success();
    match subject.method {
        Method::GET if is_stream_of_session(&subject, format, status) => {
            relayed.call.becomes_stream(Counts::No);
            let (kind, is_surplus) = kind_of(worker, &decided);
            open_stream(worker, &decided, relayed, (kind, subject.seat.take()));
            if is_surplus {
                worker.streams().end_surplus();
            }
        }
        Method::DELETE if fine => {
            if let Some(Ok(id)) = decided
                .session
                .as_ref()
                .map(|session| session.client_id.to_str())
            {
                worker.sessions().close(id);
            }
        }
        Method::POST if fine && status != StatusCode::ACCEPTED => {
            let facts = subject.facts.as_ref();
            let requests = facts.map_or(1, |facts| facts.requests());
            let batch = facts.and_then(|facts| Batch::of(facts));
            if let (Some(Format::EventStream), Some(end)) = (format, Farewell::of(&subject)) {
                relayed.call.becomes_stream(Counts::No);
                relayed.farewell = Some(end);
                let listening = listening(&decided);
                let kind = Kind::Alone(listening);
                open_stream(worker, &decided, relayed, (kind, subject.seat.take()));
            } else if let (1.., Some(format)) = (requests, format) {
                let minting = Minting::of(worker, &decided, (&subject, format));
                let late = subject.late.as_ref().and_then(Coming::unheard);
                let kept = keep(worker, &decided, subject, session_id);
                let watch = Watch::new((format, batch), kept, minting).before(late);
                relayed.watch = Some((format, watch));
            }
        }
        _ => {}
    }
}

/// Whether an answer is the stream on which a server says what it has to say by itself.
fn is_stream_of_session(subject: &Subject, format: Option<Format>, status: StatusCode) -> bool {
    let is_stream = format == Some(Format::EventStream);
    subject.method == Method::GET && status.is_success() && is_stream
}

/// The same for a stream that a revert ends, and one may have come while it was being opened.
fn open_stream(
    worker: &Worker,
    decided: &Decided,
    relayed: &mut Relayed,
    (kind, seat): (Kind, Option<Seat>),
) {
    enter_stream(worker, decided, relayed, kind);
    relayed.seat = seat;
    let view = worker.view();
    if decided.route.is_older_than(&view) {
        worker.streams().end_homeless(&view.snapshot);
    }
}

/// Keeps an event stream where a revert and the worker's end find it.
fn enter_stream(worker: &Worker, decided: &Decided, relayed: &mut Relayed, kind: Kind) {
    if let Some((arm, _)) = decided.route.arm(decided.place) {
        let of = (&decided.route.route().name, &arm.backend);
        let entry = worker.streams().enter(of, relayed.body.pace(), kind);
        relayed.stream = Some(entry);
    }
}

/// Counts a client that listens, as long as it does.
fn listening(decided: &Decided) -> Option<Listening> {
    let (_, arm) = decided.route.arm(decided.place)?;
    Some(Listening::begin(&arm.sessions))
}

/// Whose a GET stream is, and whether it is one too many.
fn kind_of(worker: &Worker, decided: &Decided) -> (Kind, bool) {
    let pinned = decided.session.as_deref();
    let session = pinned.and_then(|pinned| session::record_of(worker, pinned));
    let most = decided.route.snapshot().limits.streams_per_session;
    let turn = session.map(|session| Turn::begin(session, most.into()));
    let is_surplus = turn.as_ref().is_some_and(|(_, is_surplus)| *is_surplus);
    let kind = Kind::Session(Box::new(OfSession {
        endpoint: Rc::clone(&decided.endpoint),
        turn: turn.map(|(turn, _)| turn),
        home: pinned.and_then(|pinned| pinned.home.clone()),
    }));
    (kind, is_surplus)
}

/// The first stream at a session's new home begins with the news that its lists may differ.
fn tell_of_new_home(worker: &Worker, decided: &Decided, relayed: &mut Relayed) {
    let moved = decided.session.as_deref().filter(|p| p.home.is_some());
    let Some(pinned) = moved else {
        return;
    };
    // An answer whose length is known has no room for more.
    if relayed.body.size_hint().exact().is_some() {
        return;
    }
    let untold = session::record_of(worker, pinned).map(|session| session.take_untold());
    let Some(lists) = untold.filter(|lists| !lists.is_empty()) else {
        return;
    };
    if let Ok(id) = pinned.client_id.to_str() {
        worker.sessions().note(id);
    }
    let news = Frame::data(lists.events());
    relayed.body.put_back(VecDeque::from([news]));
}

/// What is to be kept of an answer, if anything is.
fn keep(
    worker: &Rc<Worker>,
    decided: &Decided,
    subject: Subject,
    session_id: Option<HeaderValue>,
) -> Option<Kept> {
    let facts = subject.facts?;
    if facts.opens_session() {
        let (opened_with, id) = (subject.kept?, session_id?);
        let (arm, _) = decided.route.arm(decided.place)?;
        let origin = Origin {
            route: decided.route.route().name.clone(),
            backend: arm.backend.clone(),
            is_stream: false,
            owner: subject.opener,
        };
        let worker = Rc::clone(worker);
        let is_open = decided.session.is_some();
        let reader = move |format, body: &[u8]| {
            let opened = (&*opened_with, is_open);
            remember(&worker, (opened, origin), &id, (format, body));
        };
        return Some(Kept::new(MAX_KEPT_BYTES, reader));
    }
    if facts.method != mcp::Method::ToolsList {
        return None;
    }
    let (_, arm) = decided.route.arm(decided.place)?;
    let tools = arm.tools.clone()?;
    let reader = move |format, body: &[u8]| catalogues::learn(&tools, format, body);
    Some(Kept::new(MAX_KEPT_BYTES, reader))
}

/// A session has been opened: keeps how, so that it can be opened again elsewhere. One that was
/// open already stays where it lives.
fn remember(
    worker: &Worker,
    ((opened_with, is_open), origin): ((&[u8], bool), Origin),
    id: &HeaderValue,
    (format, body): (Format, &[u8]),
) {
    let version = mcp::negotiated_version(format, body);
    if let (Ok(Some(version)), Ok(id)) = (version, id.to_str())
        && let Ok(record) = SessionRecord::new(opened_with, &version)
    {
        let sessions = worker.sessions();
        if !is_open || !sessions.reopen(id, &record) {
            sessions.open_at(id, record, origin, worker.tick());
        }
    }
}

/// Whether an answer has a length and no body (RFC 9110, 8.6).
fn keeps_length(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD || status == StatusCode::NOT_MODIFIED
}
