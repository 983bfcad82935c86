//! One connection to an endpoint that speaks HTTP/2, and its streams.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};
use http::{Method, Request, Response};
use http_body::Body;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

use crate::upstream::body::RequestBody;
use crate::upstream::chatter::Chatter;
use crate::upstream::http1::MAX_HEAD_BYTES;
use crate::upstream::outgoing::Outgoing;
use crate::upstream::socket::Socket;

use super::Multiplexed;
use super::pulse::Pulse;
use super::room::Room;
use super::sending::Sending;

/// Bytes of an answer that an endpoint may send ahead, a stream.
const WINDOW_BYTES: u32 = 64 * 1024;
/// Bytes of a request that wait for the socket, a stream.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Streams that were given up and are known for so long, a connection: what still comes on one is stepped over, and on a
/// stream that is not known a fault of the endpoint's, of which a connection has a thousand.
const RESET_STREAMS: usize = 10_000;
const RESET_FOR: Duration = Duration::from_secs(30);
/// What short frames may cost that wait for clients, for each stream: `h2` reckons 256 bytes a frame, less its own, so
/// that a window of frames as short as 16 bytes may wait, such as events are.
const FRAMES_BYTES: usize = 1024 * 1024;
/// Largest window that there is (RFC 9113, 6.9.1).
const MAX_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// One connection.
#[derive(Debug)]
pub(in crate::upstream) struct Shared {
    /// It is asked whether the connection takes requests; those go over copies, each of which would let no
    /// other pass while its own stream waits.
    requests: RefCell<SendRequest<Bytes>>,
    streams: Cell<usize>,
    /// Streams at once: the backend's own bound, or what the endpoint takes if that is less. Until it has said that
    /// on this connection, it is what it has said on another.
    most: Cell<usize>,
    room: Rc<Room>,
    idle_since: Cell<Instant>,
    has_answered: Cell<bool>,
    has_ended: Cell<bool>,
    /// Something has come.
    is_heard: Cell<bool>,
    /// That has, or it has ended.
    word: Notify,
}

/// One stream, for as long as anybody uses it: what is left of its request then is not sent.
#[derive(Debug)]
pub(in crate::upstream) struct Stream {
    shared: Rc<Shared>,
    is_sent: Cell<bool>,
    /// What passes the body on, if that takes time.
    upload: OnceCell<AbortHandle>,
}

impl Shared {
    /// A connection over a socket that has just connected, one of `connections`.
    pub(in crate::upstream) async fn new(
        socket: Socket,
        connections: &Multiplexed,
    ) -> Result<Rc<Self>, h2::Error> {
        let (bounds, room) = (connections.bounds, &connections.room);
        let bound = usize::from(bounds.streams);
        let most = bound.min(room.streams());
        let all = WINDOW_BYTES.saturating_mul(u32::from(bounds.streams));
        let socket = Chatter::new(socket, bounds.control_frames);
        let heard = socket.heard();
        let (requests, mut connection) = Builder::new()
            .enable_push(false)
            .initial_max_send_streams(most)
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(all.min(MAX_WINDOW_BYTES))
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .max_concurrent_reset_streams(RESET_STREAMS)
            .reset_stream_duration(RESET_FOR)
            .data_frame_budget(bound.saturating_mul(FRAMES_BYTES))
            .max_header_list_size(MAX_HEAD_BYTES as u32)
            .handshake(socket)
            .await?;
        let begun = heard.get();
        let pulse = Pulse::new(connection.ping_pong(), Rc::clone(&heard));
        let shared = Rc::new(Self {
            requests: RefCell::new(requests),
            streams: Cell::default(),
            most: Cell::new(most),
            room: Rc::clone(room),
            idle_since: Cell::new(Instant::now()),
            has_answered: Cell::default(),
            has_ended: Cell::default(),
            is_heard: Cell::default(),
            word: Notify::new(),
        });
        // It ends when the endpoint leaves, or when nobody here has requests for it any more.
        let watched = Watched {
            shared: Rc::downgrade(&shared),
            room: Rc::clone(room),
            bound,
            begun,
            heard,
            is_leaving: false,
        };
        spawn_local(run(connection, pulse, watched));
        Ok(shared)
    }

    /// How many streams are open.
    pub(super) fn streams(&self) -> usize {
        self.streams.get()
    }

    /// Whether one more may be.
    pub(super) fn has_room(&self) -> bool {
        self.streams.get() < self.most.get()
    }

    /// How long nobody has used it, if nobody does.
    pub(super) fn idle_for(&self, now: Instant) -> Option<Duration> {
        let is_idle = self.streams.get() == 0;
        is_idle.then(|| now.duration_since(self.idle_since.get()))
    }

    /// Whether it has brought an answer.
    pub(super) fn has_answered(&self) -> bool {
        self.has_answered.get()
    }

    /// It has.
    pub(super) fn answers(&self) {
        self.has_answered.set(true);
    }

    /// Waits until something has come, which begins with what the endpoint takes.
    pub(in crate::upstream) async fn heard(&self) -> Result<(), h2::Error> {
        loop {
            if self.is_closed() {
                return Err(self.fault().unwrap_or(Reason::CONNECT_ERROR.into()));
            }
            if self.is_heard.get() {
                return Ok(());
            }
            self.word.notified().await;
        }
    }

    /// Whether no further request can go over it.
    pub(super) fn is_closed(&self) -> bool {
        self.has_ended.get() || self.fault().is_some()
    }

    /// Why none can.
    fn fault(&self) -> Option<h2::Error> {
        let mut cx = Context::from_waker(Waker::noop());
        match self.requests.borrow_mut().poll_ready(&mut cx) {
            Poll::Ready(Err(error)) => Some(error),
            Poll::Ready(Ok(())) | Poll::Pending => None,
        }
    }
}

impl Stream {
    /// One more on a connection that has room for it.
    pub(super) fn on(shared: &Rc<Shared>) -> Self {
        shared.streams.set(shared.streams.get() + 1);
        Self {
            shared: Rc::clone(shared),
            is_sent: Cell::default(),
            upload: OnceCell::new(),
        }
    }

    /// Its connection.
    pub(super) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    /// Whether anything of the request may be on its way; until then it is in its place.
    pub(super) fn is_sent(&self) -> bool {
        self.is_sent.get()
    }

    /// Sends a request, and waits for the head of the answer.
    pub(super) async fn ask(
        &self,
        request: &mut Outgoing,
    ) -> Result<Response<RecvStream>, h2::Error> {
        if let Some(error) = self.shared.fault() {
            return Err(error);
        }
        let answer = poll_fn(|cx| Poll::Ready(self.send(request, cx))).await?;
        answer.await
    }

    fn send(
        &self,
        request: &mut Outgoing,
        cx: &mut Context<'_>,
    ) -> Result<ResponseFuture, h2::Error> {
        self.is_sent.set(true);
        let mut requests = self.shared.requests.borrow().clone();
        let (mut head, body) = request.take().into_parts();
        put_length(&head.method, &body, &mut head.headers);
        let ends = body.is_end_stream();
        let (answer, stream) = requests.send_request(Request::from_parts(head, ()), ends)?;
        if !ends {
            let mut sending = Sending::new(body, stream);
            // Most are sent at once, and need no task.
            if Pin::new(&mut sending).poll(cx).is_pending() {
                let _ = self.upload.set(spawn_local(sending).abort_handle());
            }
        }
        Ok(answer)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.get() {
            upload.abort();
        }
        let shared = &self.shared;
        shared.streams.set(shared.streams.get().saturating_sub(1));
        shared.idle_since.set(Instant::now());
        shared.room.freed();
    }
}

/// Says how long a body is, where that is known and not said.
fn put_length(method: &Method, body: &RequestBody, fields: &mut HeaderMap) {
    let Some(length) = body.size_hint().exact() else {
        return;
    };
    let may_have_none = matches!(*method, Method::GET | Method::HEAD | Method::DELETE);
    if (length > 0 || !may_have_none) && !fields.contains_key(CONTENT_LENGTH) {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// A connection as its task sees it; once that ends, however it does, those who wait are told.
struct Watched {
    shared: Weak<Shared>,
    room: Rc<Room>,
    bound: usize,
    begun: Instant,
    /// When something came last.
    heard: Rc<Cell<Instant>>,
    is_leaving: bool,
}

impl Watched {
    /// The connection has moved, and the endpoint `takes` so many streams. Whether anything is expected of it: once
    /// nobody has requests for it any more, that it takes what was written, behind which the connection ends.
    fn moved(&mut self, takes: usize) -> bool {
        let Some(shared) = self.shared.upgrade() else {
            return true;
        };
        let most = self.bound.min(takes);
        if most != shared.most.get() {
            self.room.takes(takes);
            let before = shared.most.replace(most);
            if most > before {
                self.room.freed();
            }
        }
        if !shared.is_heard.get() && self.heard.get() > self.begun {
            shared.is_heard.set(true);
            shared.word.notify_one();
        }
        // Who comes sees that the endpoint is leaving; who waits has to be told.
        if !self.is_leaving && self.room.is_waited_for() && shared.is_closed() {
            self.is_leaving = true;
            self.room.lost();
        }
        shared.streams() > 0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.has_ended.set(true);
            shared.word.notify_one();
        }
        self.room.lost();
    }
}

/// Moves a connection along until it ends.
async fn run(
    mut connection: Connection<Chatter<Socket>, Bytes>,
    mut pulse: Pulse,
    mut watched: Watched,
) {
    let ended = poll_fn(|cx| {
        if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(ended);
        }
        let is_awaited = watched.moved(connection.max_concurrent_send_streams());
        let is_silent = pulse.poll(cx, is_awaited);
        is_silent.map(|()| Err(Reason::CONNECT_ERROR.into()))
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP/2 connection to an endpoint ended");
    }
}
