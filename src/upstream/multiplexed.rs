//! Connections to an endpoint that speaks HTTP/2: few, each shared by many requests.
//!
//! A connection is a task of the worker, unlike one of HTTP/1.1, since no single request could move
//! it along for the others. Its streams are as independent as can be: the window of the
//! connection holds the windows of all of its streams, so that a client which reads slowly stalls
//! its own stream alone. Dropping the future of an answer, or the answer, resets its stream.

use std::cell::{Cell, RefCell};
use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout};

use super::answer::AnswerBody;
use super::authority::{put_authority, take_authority};
use super::chatter::Chatter;
use super::endpoint::Endpoint;
use super::error::UpstreamError;
use super::framing;
use super::http1::MAX_HEAD_BYTES;
use super::intake::ClientFault;
use super::kept::{Kept, Repeats};
use super::link::{Again, Unanswered};
use super::outgoing::Outgoing;
use super::pace::Pace;
use super::passage::{LocalExecutor, Passage, Passing};
use super::shortage;
use super::socket::Socket;
use super::spec::BackendSpec;

/// Bytes of an answer that an endpoint may send ahead, a stream.
const WINDOW_BYTES: u32 = 64 * 1024;
/// Bytes of a request that wait for an endpoint to take them, a stream.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Time without a sign of life from the endpoint after which it is asked for one, and after
/// which it is given up; only while streams are open.
const PING_AFTER: Duration = Duration::from_secs(10);
const PING_WITHIN: Duration = Duration::from_secs(10);
/// How often a request that came back unsent is given to a connection.
const TRIES: usize = 3;

/// Bounds on the connections to one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Streams at once, a connection.
    streams: u16,
    /// Connections at once.
    connections: u16,
    /// Frames that bring no answer forward.
    control_frames: u32,
}

impl Bounds {
    /// The bounds for a backend that speaks HTTP/2; nothing for others.
    pub(super) fn of(spec: &BackendSpec) -> Option<Self> {
        spec.http2.then_some(Self {
            streams: spec.http2_streams,
            connections: spec.http2_connections,
            control_frames: spec.http2_control_frames,
        })
    }
}

/// The connections to one endpoint.
#[derive(Debug)]
pub(super) struct Multiplexed {
    bounds: Bounds,
    open: RefCell<Vec<Rc<Shared>>>,
    /// The connection that is being made, by its number.
    opening: Cell<Option<u64>>,
    opened: Notify,
    attempts: Cell<u64>,
    /// Why the latest attempt that failed did, by its number.
    failure: RefCell<Option<Failure>>,
    /// The endpoint refuses streams, again and again: nothing is repeated before it answers.
    refuses: Cell<bool>,
}

/// Why an attempt to connect failed.
#[derive(Debug)]
struct Failure {
    attempt: u64,
    why: String,
    is_own: bool,
}

impl Failure {
    /// The same for somebody else who waited for the attempt.
    fn shared(&self) -> io::Error {
        let error = io::Error::new(io::ErrorKind::NotConnected, self.why.clone());
        if self.is_own {
            shortage::own(error)
        } else {
            error
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Shared {
    requests: SendRequest<Passing>,
    streams: Cell<u16>,
    idle_since: Cell<Instant>,
    /// It has brought an answer.
    answered: Cell<bool>,
}

/// One stream, for as long as anybody uses it: what is left of its request then is not sent.
#[derive(Debug)]
pub(super) struct Stream {
    shared: Rc<Shared>,
    upload: Passage,
}

impl Stream {
    fn on(shared: &Rc<Shared>) -> Self {
        shared.streams.set(shared.streams.get().saturating_add(1));
        Self {
            shared: Rc::clone(shared),
            upload: Passage::default(),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.upload.stop();
        let left = self.shared.streams.get().saturating_sub(1);
        self.shared.streams.set(left);
        self.shared.idle_since.set(Instant::now());
    }
}

impl Shared {
    /// A connection over a socket that has just connected.
    pub(super) async fn new(socket: Socket, bounds: Bounds) -> hyper::Result<Rc<Self>> {
        let all = WINDOW_BYTES.saturating_mul(u32::from(bounds.streams));
        let (requests, wire) = http2::Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_WITHIN)
            .initial_max_send_streams(usize::from(bounds.streams))
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(all.min(MAX_WINDOW_BYTES))
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .max_header_list_size(MAX_HEAD_BYTES as u32)
            .handshake(TokioIo::new(Chatter::new(socket, bounds.control_frames)))
            .await?;
        // It ends when the endpoint leaves, or when nobody here has requests for it any more.
        spawn_local(async move {
            if let Err(error) = wire.await {
                tracing::debug!(%error, "an HTTP/2 connection to an endpoint ended");
            }
        });
        Ok(Rc::new(Self {
            requests,
            streams: Cell::default(),
            idle_since: Cell::new(Instant::now()),
            answered: Cell::new(false),
        }))
    }
}

/// Largest window that there is (RFC 9113, 6.9.1).
const MAX_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// Told when an attempt to connect ends, however it does.
struct Opening<'a>(&'a Multiplexed);

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.opening.set(None);
        self.0.opened.notify_waiters();
    }
}

impl Multiplexed {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            open: RefCell::default(),
            opening: Cell::default(),
            opened: Notify::new(),
            attempts: Cell::default(),
            failure: RefCell::default(),
            refuses: Cell::default(),
        }
    }

    pub(super) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Forgets connections that have been idle for too long, or that the endpoint has closed; they
    /// end when their last stream does.
    pub(super) fn sweep(&self, now: Instant, idle_timeout: Duration) {
        self.open.borrow_mut().retain(|shared| {
            let idle = now.duration_since(shared.idle_since.get());
            !shared.requests.is_closed() && (shared.streams.get() > 0 || idle < idle_timeout)
        });
    }

    /// A request has ended so on a connection; whether it may go to this endpoint once more. Nothing
    /// is `repeated` twice, apart from what the endpoint has not seen.
    fn ended(&self, shared: &Rc<Shared>, end: End, (was_used, repeated): (bool, bool)) -> bool {
        match end {
            // Another connection may have it.
            End::Unsent | End::Left => true,
            End::Refused if repeated => {
                self.refuses.set(true);
                false
            }
            End::Refused => !self.refuses.get(),
            End::Reset => false,
            End::Broken => {
                // Whether it has noticed itself or not.
                let mut open = self.open.borrow_mut();
                open.retain(|known| !Rc::ptr_eq(known, shared));
                let may_be_stale = was_used && !repeated;
                if may_be_stale {
                    metrics::counter!("switchback_stale_connections_total").increment(1);
                }
                may_be_stale
            }
        }
    }

    /// The connection with the fewest streams, if there is room for one more, or will not be on any
    /// other.
    fn choose(&self) -> Option<Rc<Shared>> {
        let mut open = self.open.borrow_mut();
        open.retain(|shared| !shared.requests.is_closed());
        let idlest = open.iter().min_by_key(|shared| shared.streams.get())?;
        if idlest.streams.get() < self.bounds.streams {
            return Some(Rc::clone(idlest));
        }
        let may_open = open.len() < usize::from(self.bounds.connections);
        if may_open && self.opening.get().is_none() {
            return None;
        }
        metrics::counter!("switchback_upstream_streams_waited_total").increment(1);
        Some(Rc::clone(idlest))
    }

    /// A connection for one more stream. Those who want the first one wait for whoever makes it, and
    /// share its failure.
    async fn ready(
        &self,
        endpoint: &Endpoint,
        within: Duration,
    ) -> Result<Rc<Shared>, UpstreamError> {
        loop {
            if let Some(shared) = self.choose() {
                return Ok(shared);
            }
            let Some(attempt) = self.opening.get() else {
                let made = endpoint.connect_multiplexed(within, self.bounds);
                return self.open(made).await;
            };
            let told = timeout(within, self.opened.notified()).await;
            if told.is_err() {
                return Err(endpoint.connect_timeout());
            }
            if let Some(failure) = &*self.failure.borrow()
                && failure.attempt == attempt
            {
                return Err(endpoint.unreachable(failure.shared()));
            }
        }
    }

    /// Whether a stream need not wait for a connection, or one is being made.
    pub(super) fn is_ready(&self) -> bool {
        let is_open = |shared: &Rc<Shared>| !shared.requests.is_closed();
        self.opening.get().is_some() || self.open.borrow().iter().any(is_open)
    }

    /// Makes a connection that no call waits for yet.
    pub(super) async fn make_ready(&self, endpoint: &Endpoint) -> Result<(), UpstreamError> {
        let made = endpoint.ready_multiplexed(self.bounds);
        self.open(made).await.map(drop)
    }

    async fn open(
        &self,
        made: impl Future<Output = Result<Rc<Shared>, UpstreamError>>,
    ) -> Result<Rc<Shared>, UpstreamError> {
        let attempt = self.attempts.get() + 1;
        self.attempts.set(attempt);
        self.opening.set(Some(attempt));
        let _opening = Opening(self);
        match made.await {
            Ok(shared) => {
                self.open.borrow_mut().push(Rc::clone(&shared));
                Ok(shared)
            }
            Err(error) => {
                *self.failure.borrow_mut() = Some(Failure {
                    attempt,
                    why: error.to_string(),
                    is_own: error.is_own(),
                });
                Err(error)
            }
        }
    }
}

/// Sends a request over HTTP/2, as [`super::send`] does; what the endpoint says it has not looked at
/// may be sent again, whatever it is.
pub(super) async fn deliver(
    endpoint: &Rc<Endpoint>,
    connections: &Multiplexed,
    request: &mut Outgoing,
    (repeats, pace): (Repeats, &Rc<Pace>),
) -> Result<Response<AnswerBody>, Unanswered> {
    let mut repeated = false;
    for tries_left in (0..TRIES).rev() {
        let shared = connections.ready(endpoint, pace.connect_within()).await;
        let shared = shared.map_err(|error| error.and(Again::Unsent))?;
        let was_used = shared.answered.get();
        let kept = Kept::of(request);
        put_authority(request, endpoint.scheme());
        let stream = Stream::on(&shared);
        let mut refused = match exchange(&stream, request, pace).await {
            Some(Ok(answer)) => {
                shared.answered.set(true);
                connections.refuses.set(false);
                return match accept(endpoint, answer) {
                    Ok(answer) => Ok(AnswerBody::over(answer, stream, endpoint, pace)),
                    Err(error) => Err(error.and(restore(request, kept, repeats == Repeats::Safe))),
                };
            }
            Some(Err(refused)) => refused,
            None if pace.is_awaiting_client() => {
                let error = UpstreamError::ClientBody(ClientFault::TooSlow);
                return Err(error.and(Again::Never));
            }
            None => {
                let again = restore(request, kept, repeats == Repeats::Safe);
                return Err(endpoint.head_timeout().and(again));
            }
        };
        if let Some(fault) = pace.client_fault() {
            return Err(UpstreamError::ClientBody(fault).and(Again::Never));
        }
        let unsent = refused.take_message();
        let error = refused.into_error();
        let (end, again) = if let Some(unsent) = unsent {
            *request = unsent.map(Passing::into_body).into();
            take_authority(request);
            (End::Unsent, Again::Unsent)
        } else {
            let end = End::of(&error);
            let may_repeat = end.is_untouched() || repeats == Repeats::Safe;
            (end, restore(request, kept, may_repeat))
        };
        let is_once_more = connections.ended(&shared, end, (was_used, repeated));
        if again == Again::Never || !is_once_more || tries_left == 0 {
            return Err(endpoint.broken(error).and(again));
        }
        repeated |= matches!(end, End::Refused | End::Broken);
        pace.again(pace.connect_within());
    }
    Err(endpoint.head_timeout().and(Again::Unsent))
}

/// The answer, if its head says one thing.
fn accept(
    endpoint: &Endpoint,
    answer: Response<Incoming>,
) -> Result<Response<Incoming>, UpstreamError> {
    if framing::is_sound(&answer) {
        return Ok(answer);
    }
    metrics::counter!("switchback_malformed_answers_total").increment(1);
    Err(endpoint.malformed())
}

/// Sends a request, which is taken out of its place; `None` when the deadline is first.
async fn exchange(
    stream: &Stream,
    request: &mut Outgoing,
    pace: &Pace,
) -> Option<Result<Response<Incoming>, TrySendError<Request<Passing>>>> {
    let mut requests = stream.shared.requests.clone();
    let request = request
        .take()
        .map(|body| Passing::new(body, &stream.upload));
    let mut answer = pin!(requests.try_send_request(request));
    poll_fn(|cx| match answer.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => pace.poll_passed(cx).map(|()| None),
    })
    .await
}

/// Puts a request that was sent back in its place, if it was kept and may go twice.
fn restore(request: &mut Outgoing, kept: Option<Kept>, may_repeat: bool) -> Again {
    match kept.filter(|kept| may_repeat && kept.is_whole()) {
        Some(kept) => {
            *request = kept.restore();
            Again::Sent
        }
        None => Again::Never,
    }
}

/// How a request ended that has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nothing of it was written.
    Unsent,
    /// The endpoint was leaving already, and has not looked at it (RFC 9113, 6.8).
    Left,
    /// The endpoint refused the stream, and has not looked at it (RFC 9113, 8.7).
    Refused,
    /// The stream was reset otherwise.
    Reset,
    /// The connection broke.
    Broken,
}

impl End {
    fn of(error: &hyper::Error) -> Self {
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(cause) = cause.downcast_ref::<h2::Error>() {
                return match (cause.is_remote(), cause.reason()) {
                    (true, _) if cause.is_go_away() => Self::Left,
                    (true, Some(h2::Reason::REFUSED_STREAM)) => Self::Refused,
                    _ if cause.is_reset() => Self::Reset,
                    _ => Self::Broken,
                };
            }
            source = cause.source();
        }
        Self::Broken
    }

    /// Whether the endpoint says that it has not looked at the request.
    fn is_untouched(self) -> bool {
        match self {
            Self::Unsent | Self::Left | Self::Refused => true,
            Self::Reset | Self::Broken => false,
        }
    }
}
