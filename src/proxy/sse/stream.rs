//! The body of a GET stream that is a session, or turns out not to be one.

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};

use crate::mcp::{self, FirstEvent, Format, Replies, Reply, SessionRecord, WholeEvents};
use crate::model::Outcome;
use crate::proxy::answer::{Answer, Relayed, RequestGuard};
use crate::proxy::call::Call;
use crate::proxy::streams::{Kind, StreamEntry};
use crate::proxy::worker::Worker;
use crate::stats::CallStats;
use crate::upstream::{AnswerBody, BodyError};

use super::live::LiveSession;
use super::open::{MAX_BEGIN_BYTES, Opener};

type Given = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

/// A GET stream that is a session, or may be one.
#[derive(Debug)]
pub(in crate::proxy) struct SessionStream {
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Before the end of the first event.
    Begun {
        relayed: Box<Relayed>,
        opener: Box<Opener>,
        begin: BytesMut,
    },
    /// It is no session of this era.
    Other(Box<Relayed>),
    Open(Box<OpenStream>),
    Over,
}

impl SessionStream {
    /// The answer whose body this is.
    pub(in crate::proxy) fn answer(opener: Box<Opener>, relayed: Relayed) -> Answer {
        let phase = Phase::Begun {
            relayed: Box::new(relayed),
            opener,
            begin: BytesMut::new(),
        };
        Answer::Session(Box::new(Self { phase }))
    }

    /// Whether nothing more comes.
    pub(in crate::proxy) fn is_over(&self) -> bool {
        match &self.phase {
            Phase::Over => true,
            Phase::Other(relayed) => relayed.body.is_end_stream(),
            Phase::Begun { .. } | Phase::Open(_) => false,
        }
    }

    pub(in crate::proxy) fn poll(&mut self, cx: &mut Context<'_>) -> Given {
        loop {
            match &mut self.phase {
                Phase::Begun { relayed, begin, .. } => {
                    let connection = Rc::clone(&relayed.guard.connection);
                    let found = std::task::ready!(poll_begin((relayed, begin), cx));
                    if let Some(bytes) = self.find_out(found) {
                        connection.given(bytes.len());
                        return Poll::Ready(Some(Ok(Frame::data(bytes))));
                    }
                }
                Phase::Other(relayed) => return relayed.poll(cx),
                Phase::Open(open) => {
                    let piece = std::task::ready!(open.poll(cx));
                    if piece.is_none() {
                        self.phase = Phase::Over;
                    }
                    return Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))));
                }
                Phase::Over => return Poll::Ready(None),
            }
        }
    }
}

/// What is found out at the beginning.
#[derive(Debug)]
enum Found {
    /// Bytes that belong to no event.
    Nothing(Bytes),
    /// The `endpoint` event, and what came before and behind it.
    Endpoint {
        before: Bytes,
        data: String,
        behind: Bytes,
    },
    /// Something else.
    Other,
    /// The stream is over.
    End,
}

/// Reads on until something is found out.
fn poll_begin(
    (relayed, begin): (&mut Relayed, &mut BytesMut),
    cx: &mut Context<'_>,
) -> Poll<Found> {
    std::task::ready!(relayed.guard.connection.poll_may_give(cx));
    loop {
        let piece = match std::task::ready!(Pin::new(&mut relayed.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(_)) | None => return Poll::Ready(Found::End),
        };
        begin.extend_from_slice(&piece);
        match mcp::first_event(begin) {
            Ok((FirstEvent::Endpoint(data), of)) => {
                let behind = begin.split_off(of.end).freeze();
                let before = begin.split_to(of.start).freeze();
                return Poll::Ready(Found::Endpoint {
                    before,
                    data,
                    behind,
                });
            }
            Ok((FirstEvent::Other, _)) => return Poll::Ready(Found::Other),
            Err(0) if begin.len() > MAX_BEGIN_BYTES => return Poll::Ready(too_long(begin)),
            Err(0) => {}
            Err(complete) => return Poll::Ready(Found::Nothing(begin.split_to(complete).freeze())),
        }
    }
}

/// An event that is not complete where it should be. One that says that it is an endpoint
/// is not passed on: its messages would go elsewhere than its stream comes from.
fn too_long(begin: &[u8]) -> Found {
    let complete = [begin, b"\n\n"].concat();
    match mcp::first_event(&complete) {
        Ok((FirstEvent::Endpoint(data), _)) => Found::Endpoint {
            before: Bytes::new(),
            data,
            behind: Bytes::new(),
        },
        Ok((FirstEvent::Other, _)) | Err(_) => Found::Other,
    }
}

impl SessionStream {
    /// Goes on as what the beginning says; gives what can be passed on now.
    fn find_out(&mut self, found: Found) -> Option<Bytes> {
        if let Found::Nothing(bytes) = found {
            return Some(bytes);
        }
        let Phase::Begun {
            mut relayed,
            opener,
            begin,
        } = std::mem::replace(&mut self.phase, Phase::Over)
        else {
            return None;
        };
        match found {
            Found::Endpoint {
                before,
                data,
                behind,
            } => {
                let opened = opener.open(&data)?;
                let behind = VecDeque::from([Frame::data(behind)]);
                relayed.body.put_back(behind);
                let event = [before, opened.event.clone()].concat();
                self.phase = Phase::Open(Box::new(OpenStream::new(&opener, opened.id, *relayed)));
                Some(event.into())
            }
            Found::Other => {
                let begin = VecDeque::from([Frame::data(begin.freeze())]);
                relayed.body.put_back(begin);
                self.phase = Phase::Other(relayed);
                None
            }
            Found::Nothing(_) | Found::End => None,
        }
    }
}

/// A session's stream.
#[derive(Debug)]
struct OpenStream {
    worker: Rc<Worker>,
    session: Arc<LiveSession>,
    source: Source,
    guard: RequestGuard,
}

/// Where what is passed on comes from.
#[derive(Debug)]
struct Source {
    body: AnswerBody,
    call: Call,
    stats: Option<Arc<CallStats>>,
    events: WholeEvents,
    replies: Replies,
    _entry: Option<StreamEntry>,
}

/// What a source gives.
#[derive(Debug)]
enum Piece {
    Events(Bytes),
    /// The server ended the stream.
    End,
    /// It was ended here.
    Ended,
    Broken,
}

impl OpenStream {
    fn new(opener: &Opener, id: Arc<str>, relayed: Relayed) -> Self {
        let worker = Rc::clone(&opener.worker);
        let session = worker.shared().live.enter(id);
        let arm = opener.route.arm(opener.place);
        let entry = arm.map(|(arm, _)| {
            let of = (&opener.route.route().name, &arm.backend);
            let kind = Kind::Live(Arc::clone(&session));
            worker.streams().enter(of, relayed.body.pace(), kind)
        });
        let source = Source {
            body: relayed.body,
            call: relayed.call,
            stats: arm.map(|(_, view)| Arc::clone(&view.stats)),
            events: WholeEvents::new(opener.route.snapshot().limits.event_bytes),
            replies: Replies::new(),
            _entry: entry,
        };
        Self {
            worker,
            session,
            source,
            guard: relayed.guard,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        std::task::ready!(self.guard.connection.poll_may_give(cx));
        let is_crowded = self.guard.connection.is_crowded();
        self.source.body.set_sparing(is_crowded);
        let piece = self.source.poll((&self.worker, &self.session), cx);
        Poll::Ready(match std::task::ready!(piece) {
            Piece::Events(bytes) => {
                self.guard.connection.given(bytes.len());
                Some(bytes)
            }
            Piece::End | Piece::Broken => {
                self.end(Outcome::Broken);
                None
            }
            Piece::Ended => None,
        })
    }

    /// The calls that are under way get no answer any more.
    fn end(&self, outcome: Outcome) {
        let Some(stats) = &self.source.stats else {
            return;
        };
        for call in self.session.take_all() {
            call.end((self.worker.number(), stats), outcome);
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.end(Outcome::Cancelled);
        self.worker.shared().live.leave(&self.session);
        self.worker.sessions().close(self.session.id());
    }
}

impl Source {
    fn poll(
        &mut self,
        (worker, session): (&Worker, &LiveSession),
        cx: &mut Context<'_>,
    ) -> Poll<Piece> {
        loop {
            let piece = match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(_)) => {
                    self.call.end(Outcome::Broken);
                    return Poll::Ready(Piece::Broken);
                }
                None if self.body.pace().is_ending() => return Poll::Ready(Piece::Ended),
                None => return Poll::Ready(Piece::End),
            };
            let opening = self.hear((worker, session), &piece);
            let events = self.events.pass(&piece);
            if let Some(request) = opening {
                remember((worker, session), &request, &events);
            }
            if !events.is_empty() {
                return Poll::Ready(Piece::Events(events));
            }
        }
    }

    /// Counts the calls that are answered; gives the request that opens the session, if that
    /// is one of them.
    fn hear(&mut self, (worker, session): (&Worker, &LiveSession), piece: &[u8]) -> Option<Bytes> {
        let mut opening = None;
        let stats = self.stats.as_deref();
        self.replies.feed(piece, &mut |Reply { key, outcome }| {
            if let (Some(call), Some(stats)) = (session.take(key), stats) {
                call.end((worker.number(), stats), outcome);
            }
            if outcome == Outcome::Success {
                opening = session.opened_by(key).or(opening.take());
            }
        });
        opening
    }
}

/// A session has been opened: keeps how, so that it can be opened again elsewhere.
fn remember((worker, session): (&Worker, &LiveSession), request: &[u8], events: &[u8]) {
    let version = mcp::negotiated_version(Format::EventStream, events);
    if let Ok(Some(version)) = version
        && let Ok(record) = SessionRecord::new(request, &version)
    {
        worker.sessions().open(session.id(), record, worker.tick());
    }
}
