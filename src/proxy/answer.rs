//! The body of an answer on its way to the client, watched to its end.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::listener::Connection;
use crate::mcp::asked::AskedMarker;
use crate::mcp::{Format, IdReader, Stay};
use crate::model::Outcome;
use crate::upstream::{AnswerBody, BodyError};

use super::call::Call;
use super::crowd::Seat;
use super::door::Turn;
use super::farewell::Farewell;
use super::fields;
use super::sse::SessionStream;
use super::streams::StreamEntry;
use super::watch::Watch;
use super::worker::Worker;

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Answer {
    /// Made here; `None` once it is sent.
    Local(Option<Bytes>),
    /// A backend's; boxed, since it lives for long and is moved about at first.
    Relayed(Box<Relayed>),
    /// A backend's stream that is a session over HTTP+SSE, or may be one.
    Session(Box<SessionStream>),
}

/// A backend's answer, whose end is the end of a call.
#[derive(Debug)]
pub(super) struct Relayed {
    pub(super) body: AnswerBody,
    pub(super) call: Call,
    /// What the head of the answer says.
    pub(super) by_status: Outcome,
    /// Looks for the outcome inside the answer.
    pub(super) watch: Option<(Format, Box<Watch>)>,
    /// Keeps an event stream where a revert and the worker's end find it.
    pub(super) stream: Option<StreamEntry>,
    /// The stay of its session that the call is a part of.
    pub(super) stay: Option<Arc<Stay>>,
    /// Notes the events of a stream at a session's new home.
    pub(super) ids: Option<Box<IdReader>>,
    /// Marks what a stream asks that comes from another home than its session's first.
    pub(super) marker: Option<Box<AskedMarker>>,
    /// The place of an event stream among those of its client.
    pub(super) seat: Option<Seat>,
    /// What is said at the end of a stream that is ended here.
    pub(super) farewell: Option<Box<Farewell>>,
    /// Why the answer breaks off, once what came before has been written.
    pub(super) cut: Option<BodyError>,
    /// Told when the answer is over, so that the connection's idle time begins.
    pub(super) guard: RequestGuard,
}

/// A request that is under way on a connection; ends when dropped.
#[derive(Debug)]
pub(super) struct RequestGuard {
    pub(super) connection: Rc<Connection>,
    /// Its place among all requests, if there was one.
    turn: Option<Turn>,
}

impl RequestGuard {
    pub(super) fn new(worker: &Rc<Worker>, connection: &Rc<Connection>) -> Self {
        connection.request_begins();
        Self {
            connection: Rc::clone(connection),
            turn: Turn::take(worker),
        }
    }

    /// Whether there was a place for the request.
    pub(super) fn is_let_in(&self) -> bool {
        self.turn.is_some()
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.connection.request_ends();
    }
}

impl Answer {
    /// An answer made here.
    pub(super) fn local(bytes: Bytes) -> Self {
        Self::Local(Some(bytes))
    }

    /// No body.
    pub(super) fn nothing() -> Self {
        Self::Local(None)
    }
}

impl Relayed {
    /// An answer that nobody looks at yet.
    pub(super) fn new(
        (body, call): (AnswerBody, Call),
        by_status: Outcome,
        guard: RequestGuard,
    ) -> Box<Self> {
        Box::new(Self {
            body,
            call,
            by_status,
            watch: None,
            stream: None,
            ids: None,
            marker: None,
            stay: None,
            seat: None,
            farewell: None,
            cut: None,
            guard,
        })
    }

    /// An answer without a body is over as soon as it begins.
    pub(super) fn begun(mut self: Box<Self>) -> Answer {
        if self.body.is_end_stream() {
            self.end();
        }
        Answer::Relayed(self)
    }

    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(error) = self.cut.take() {
            return Poll::Ready(Some(Err(error)));
        }
        if self.is_said() {
            return Poll::Ready(None);
        }
        std::task::ready!(self.guard.connection.poll_may_give(cx));
        self.body.set_sparing(self.guard.connection.is_crowded());
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(piece) = frame.data_ref() {
                    self.guard.connection.given(piece.len());
                    self.pass(piece);
                }
                if self.body.is_end_stream() {
                    self.end();
                }
            }
            None => {
                self.end();
                if let Some(last) = self.last_words() {
                    return Poll::Ready(Some(Ok(Frame::data(last))));
                }
            }
            Some(Err(error)) => self.call.end(self.blame(error)),
        }
        match frame {
            // What a session's stream says next, it says after a reconnect: half an event is none.
            Some(Err(_)) if self.is_of_session() => Poll::Ready(None),
            Some(Err(error)) => self.cut(error, cx),
            Some(Ok(frame)) if self.marker.is_some() => self.mark(passed_on(frame), cx),
            Some(Ok(frame)) => Poll::Ready(Some(Ok(passed_on(frame)))),
            None => Poll::Ready(self.rest()),
        }
    }

    /// Whether everything has been said that is said behind the answer's own end.
    fn is_said(&self) -> bool {
        let farewell = self.farewell.as_ref();
        farewell.is_some_and(|last| last.is_said())
            || self.marker.as_ref().is_some_and(|marker| marker.is_over())
    }

    /// A piece of the answer with its questions marked, once an event of it is complete.
    fn mark(
        &mut self,
        frame: Frame<Bytes>,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (Some(marker), Some(piece)) = (&mut self.marker, frame.data_ref()) else {
            return Poll::Ready(Some(Ok(frame)));
        };
        let whole = marker.pass(piece);
        if whole.is_empty() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(whole))))
    }

    /// What was held for an event that never was complete.
    fn rest(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        let rest = self.marker.as_mut()?.end();
        (!rest.is_empty()).then(|| Ok(Frame::data(rest)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.marker {
            Some(marker) => marker.is_over(),
            None => self.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.marker {
            // Marks make it longer.
            Some(_) => SizeHint::new(),
            None => self.body.size_hint(),
        }
    }

    fn is_of_session(&self) -> bool {
        let stream = self.stream.as_ref();
        stream.is_some_and(StreamEntry::is_of_session)
    }

    /// Breaks the answer off at the next poll. hyper writes what it holds in between; told at
    /// once, it would drop the head too, and a client whose connection ends without a byte may
    /// take its request for unread and send it again.
    fn cut<T>(&mut self, error: BodyError, cx: &Context<'_>) -> Poll<T> {
        self.cut = Some(error);
        self.guard.connection.breaks_off();
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// How an answer that breaks off counts. One that began before the request's body was
    /// complete breaks when the client's body does.
    fn blame(&self, error: &BodyError) -> Outcome {
        match error {
            _ if self.body.pace().client_fault().is_some() => Outcome::Cancelled,
            // The whole took too long, and the client has not sent all of its own part.
            BodyError::Stalled if self.body.pace().is_awaiting_client() => Outcome::Cancelled,
            BodyError::Stalled => Outcome::Timeout,
            BodyError::Broken(_) | BodyError::Reset => Outcome::Broken,
        }
    }

    /// What is left to say at the end, if it was this gateway that ended the answer.
    fn last_words(&mut self) -> Option<Bytes> {
        let farewell = self.farewell.as_mut()?;
        self.body.pace().is_ending().then(|| farewell.words())?
    }

    fn pass(&mut self, piece: &Bytes) {
        if let Some(farewell) = &mut self.farewell {
            farewell.pass(piece);
        }
        if let Some(ids) = &mut self.ids {
            ids.feed(piece);
        }
        let Some((format, watch)) = &mut self.watch else {
            return;
        };
        if let Some(outcome) = watch.pass(*format, piece, &mut self.call) {
            self.watch = None;
            self.call.end(outcome);
        }
    }

    fn end(&mut self) {
        drop(self.stay.take());
        let found = self.watch.take();
        let found = found.and_then(|(format, watch)| watch.end(format, &mut self.call));
        self.call.end(found.unwrap_or(self.by_status));
    }
}

/// A piece as it is passed on: trailers lose what only a head may say (RFC 9110, 6.5.1).
fn passed_on(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            fields::take_out_of_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(data) => data,
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Local(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Relayed(relayed) => relayed.poll(cx),
            Self::Session(session) => session.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Local(bytes) => bytes.is_none(),
            Self::Relayed(relayed) => relayed.is_end_stream(),
            Self::Session(session) => session.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Local(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Relayed(relayed) => relayed.size_hint(),
            Self::Session(_) => SizeHint::new(),
        }
    }
}
