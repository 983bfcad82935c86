//! Switching to another protocol (RFC 9110, 7.8): asked for by the client, allowed by the route,
//! agreed to by the backend. From then on bytes go both ways unread.
//!
//! Only HTTP/1.1 has this. An HTTP/2 client is not told that it could ask (RFC 8441), and a
//! request that asks all the same is refused by the protocol itself.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue, UPGRADE};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use metrics::Counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::listener::ClientStream;
use crate::model::Outcome;
use crate::upstream::{self, AnswerBody, Pace};

use super::answer::{Answer, RequestGuard};
use super::attempt::Answered;
use super::call::{Call, Counts};
use super::fields::{self, Side};
use super::pipeline::{Decided, Downstream};
use super::spec::UpgradeSpec;
use super::streams::{Kind, StreamEntry};
use super::view::RouteView;

/// Most bytes that are read, and held until they are written, of each way of a tunnel.
const BUFFER_BYTES: usize = 16 * 1024;

const WEBSOCKET: &str = "websocket";
const SWITCH: HeaderValue = HeaderValue::from_static("upgrade");

/// The protocol that a request asks to switch to, if its route allows that. Any other wish is
/// ignored, as RFC 9110 lets a server do, and the request goes on as an ordinary one. So does one
/// with a body: where that ends, and the other protocol begins, is not said clearly anywhere.
pub(super) fn asked(parts: &Parts, route: &RouteView, has_body: bool) -> Option<&'static str> {
    // hyper notes in the extensions that a request has the field; almost none has.
    if parts.extensions.is_empty() || has_body || parts.method != Method::GET || route.is_mcp() {
        return None;
    }
    let mut named = parts.headers.get_all(UPGRADE).iter();
    let is_websocket = named
        .next()
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let is_clear = named.next().is_none() && upstream::lists_upgrade(&parts.headers);
    let is_allowed = route.route().upgrades.contains(&UpgradeSpec::Websocket);
    (is_websocket && is_clear && is_allowed).then_some(WEBSOCKET)
}

/// Passes the wish on.
pub(super) fn ask(protocol: &'static str, sent: &mut HeaderMap) {
    sent.insert(CONNECTION, SWITCH);
    sent.insert(UPGRADE, HeaderValue::from_static(protocol));
}

/// A backend has agreed: tells the client so, and leaves the two ends where the connection finds
/// them once that is written.
pub(super) fn agree(
    downstream: &Downstream,
    decided: &Decided,
    (answer, mut call): Answered,
    guard: RequestGuard,
) -> Response<Answer> {
    metrics::counter!("switchback_upgrades_total").increment(1);
    let (parts, body) = answer.into_parts();
    call.answered(parts.status.as_u16());
    call.becomes_stream(Counts::Yes);
    body.pace().answered(false);
    let stream = decided.route.arm(decided.place).map(|(arm, _)| {
        let of = (&decided.route.route().name, &arm.backend);
        let streams = downstream.worker.streams();
        streams.enter(of, body.pace(), Kind::Plain)
    });
    let tunnel = Tunnel {
        body,
        call,
        _stream: stream,
        _guard: guard,
    };
    downstream.tunnel.replace(Some(Box::new(tunnel)));
    let mut fields = parts.headers;
    fields::take_out(&mut fields, Side::Response);
    fields.remove(CONTENT_LENGTH);
    ask(WEBSOCKET, &mut fields);
    let mut ours = Response::new(Answer::nothing());
    *ours.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *ours.headers_mut() = fields;
    ours
}

/// A switched connection, whose client's end is about to be known.
#[derive(Debug)]
pub(super) struct Tunnel {
    body: AnswerBody,
    call: Call,
    /// Keeps the tunnel where the worker's end finds it.
    _stream: Option<StreamEntry>,
    /// Keeps the connection from being idle.
    _guard: RequestGuard,
}

impl Tunnel {
    /// Passes bytes on both ways until both sides have ended, one has broken off, nothing has
    /// come from either for the route's `idle_timeout`, or the worker ends.
    pub(super) async fn run(mut self, client: ClientStream, early: Bytes) {
        let pace = Rc::clone(self.body.pace());
        // A client that went on before the answer wrote what was read as a request, and was none.
        let Some(client) = client.into_tunnel(early) else {
            return;
        };
        let Some(backend) = self.body.into_switched() else {
            self.call.end(Outcome::Broken);
            return;
        };
        let outcome = Ways::new(client, backend, &pace).run().await;
        self.call.end(outcome);
    }
}

/// The two ends, and what is on its way between them.
struct Ways<'a, C, B> {
    client: C,
    backend: B,
    up: Way,
    down: Way,
    pace: &'a Pace,
}

/// How a tunnel came to its end.
enum Broken {
    ByClient,
    ByBackend,
}

impl<'a, C, B> Ways<'a, C, B>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    fn new(client: C, backend: B, pace: &'a Pace) -> Self {
        let way = |direction| {
            Way::new(metrics::counter!("switchback_upgraded_bytes_total", "direction" => direction))
        };
        Self {
            client,
            backend,
            up: way("to_backend"),
            down: way("to_client"),
            pace,
        }
    }

    async fn run(mut self) -> Outcome {
        let ended = poll_fn(|cx| {
            let ended = self.poll(cx);
            if ended.is_pending() && self.pace.poll_passed(cx).is_ready() {
                // Idle for too long, or told to end: there is nothing that is cut by it.
                return Poll::Ready(Ok(()));
            }
            ended
        })
        .await;
        let _ = poll_fn(|cx| Pin::new(&mut self.backend).poll_shutdown(cx)).await;
        let _ = poll_fn(|cx| Pin::new(&mut self.client).poll_shutdown(cx)).await;
        match ended {
            Ok(()) => Outcome::Success,
            Err(Broken::ByClient) => Outcome::Cancelled,
            Err(Broken::ByBackend) => Outcome::Broken,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let up = self
            .up
            .poll(cx, (&mut self.client, &mut self.backend), self.pace);
        let down = self
            .down
            .poll(cx, (&mut self.backend, &mut self.client), self.pace);
        match (up, down) {
            (Poll::Ready(Err(End::Reading)), _) | (_, Poll::Ready(Err(End::Writing))) => {
                Poll::Ready(Err(Broken::ByClient))
            }
            (Poll::Ready(Err(End::Writing)), _) | (_, Poll::Ready(Err(End::Reading))) => {
                Poll::Ready(Err(Broken::ByBackend))
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            (Poll::Pending, _) | (_, Poll::Pending) => Poll::Pending,
        }
    }
}

/// The end that an error was met at.
enum End {
    Reading,
    Writing,
}

/// One way of a tunnel. It has a buffer only while something waits in it: most tunnels are silent
/// most of the time, and there may be many.
struct Way {
    /// What was read and is not written yet.
    waiting: Bytes,
    state: State,
    passed: Counter,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing more comes; the other side is to be told.
    Ending,
    Ended,
}

impl Way {
    fn new(passed: Counter) -> Self {
        Self {
            waiting: Bytes::new(),
            state: State::Open,
            passed,
        }
    }

    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        (from, to): (&mut R, &mut W),
        pace: &Pace,
    ) -> Poll<Result<(), End>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            while !self.waiting.is_empty() {
                let written = std::task::ready!(Pin::new(&mut *to).poll_write(cx, &self.waiting));
                match written {
                    Ok(written) if written > 0 => self.waiting.advance(written),
                    Ok(_) | Err(_) => return Poll::Ready(Err(End::Writing)),
                }
                pace.moved();
                if self.waiting.is_empty() {
                    self.waiting = Bytes::new();
                }
            }
            match self.state {
                State::Ended => return Poll::Ready(Ok(())),
                State::Ending => {
                    // A side that takes no end has ended already.
                    let _ = std::task::ready!(Pin::new(&mut *to).poll_shutdown(cx));
                    self.state = State::Ended;
                }
                State::Open => match self.poll_pass(cx, (from, to)) {
                    Poll::Ready(passed) => {
                        passed?;
                        pace.moved();
                    }
                    Poll::Pending => {
                        let flushed = std::task::ready!(Pin::new(&mut *to).poll_flush(cx));
                        return flushed.map_or(Poll::Ready(Err(End::Writing)), |()| Poll::Pending);
                    }
                },
            }
        }
    }

    /// Reads a piece, writes as much of it as is taken at once, and keeps the rest.
    fn poll_pass(
        &mut self,
        cx: &mut Context<'_>,
        (from, to): (
            &mut (impl AsyncRead + Unpin),
            &mut (impl AsyncWrite + Unpin),
        ),
    ) -> Poll<Result<(), End>> {
        let mut space = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut into = ReadBuf::uninit(&mut space);
        if std::task::ready!(Pin::new(from).poll_read(cx, &mut into)).is_err() {
            return Poll::Ready(Err(End::Reading));
        }
        let read = into.filled();
        self.passed.increment(read.len() as u64);
        if read.is_empty() {
            self.state = State::Ending;
            return Poll::Ready(Ok(()));
        }
        let written = match Pin::new(to).poll_write(cx, read) {
            Poll::Ready(Ok(written)) if written > 0 => written,
            Poll::Ready(_) => return Poll::Ready(Err(End::Writing)),
            Poll::Pending => 0,
        };
        self.waiting = Bytes::copy_from_slice(read.get(written..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}
