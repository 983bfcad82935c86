//! One HTTP/2 connection: its streams in, their answers out.
//!
//! Spoken over `h2` itself. What is bounded here cannot be bounded from above it: how long one
//! stream may leave its answer unread, what a connection may do besides asking, and that a stream
//! which is taken back at once reaches no backend.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use h2::server::{Builder, Connection as Wire, SendResponse};
use h2::{Reason, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderValue};
use http::{Method, Response};
use http_body::Body;
use tokio::task::{spawn_local, yield_now};

use crate::deadline::{Allowance, Terms, UsedUp};
use crate::listener::{ClientStream, Connection, Lingering};
use crate::model::Limit;
use crate::upstream::{ClientBody, Inflow, StreamBody};

use super::answer::Answer;
use super::pipeline::Downstream;
use super::respond;
use super::serve::RequestRooms;
use super::spec::LimitsSpec;

/// Bytes of answers that wait for a client to read them, per stream.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Bytes a client may send ahead on one stream.
const WINDOW_BYTES: u32 = 64 * 1024;
/// What short frames of requests may cost that wait for a backend, on a connection: `h2` reckons 256 bytes a frame, less
/// its own, so that one stream's window of frames as short as 16 bytes may wait.
const FRAMES_BYTES: usize = 1024 * 1024;
/// How long a client that is asked to leave may go on asking before it has said that it heard; what asks
/// after that is refused, and once nothing is under way the connection is closed.
const HEARD_WITHIN: Duration = Duration::from_secs(1);
/// Streams that are taken back before anybody has looked at them, at most.
const MAX_UNSEEN_RESETS: usize = 20;

/// Serves a connection to its end, its drain or its deadline.
pub(super) async fn serve(
    stream: ClientStream,
    downstream: Rc<Downstream>,
    rooms: Rc<RequestRooms>,
    limits: &LimitsSpec,
) {
    let connection = Rc::clone(&downstream.connection);
    let shaking = pin!(builder(limits).handshake(stream));
    let Ok(shaken) = connection.deadline.guard(shaking).await else {
        connection.expired();
        return;
    };
    let wire = match shaken {
        Ok(wire) => wire,
        Err(error) => return count(&error),
    };
    connection.settle();
    let mut session = Session {
        wire,
        reading: reading(limits),
        downstream,
        rooms,
        leaving: Leaving::No,
        streams: Rc::default(),
    };
    poll_fn(|cx| session.poll(&connection, cx)).await;
}

fn builder(limits: &LimitsSpec) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(limits.http2_streams)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES * 4)
        .data_frame_budget(FRAMES_BYTES)
        .max_pending_accept_reset_streams(MAX_UNSEEN_RESETS)
        // Over the life of a connection: mistakes, and streams beyond the bound.
        .max_local_error_reset_streams(Some(limits.http2_resets as usize * 10))
        .max_header_list_size(u32::try_from(limits.request_head_bytes).unwrap_or(u32::MAX));
    builder
}

/// How slowly a client may read.
fn reading(limits: &LimitsSpec) -> Terms {
    Terms {
        pause: limits.client_read,
        grace: limits.client_read,
        rate: limits.read_rate,
    }
}

/// One connection.
struct Session {
    wire: Wire<ClientStream, Bytes>,
    reading: Terms,
    downstream: Rc<Downstream>,
    rooms: Rc<RequestRooms>,
    leaving: Leaving,
    /// Held by each stream that is not over.
    streams: Rc<()>,
}

/// How far the end of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    /// It goes on.
    No,
    /// It ends after what is under way, and what the client asks for before it has heard.
    Gently,
    /// It ends after what is under way; the client has had the time to hear.
    Late,
    /// It ends once the client has been told.
    Now,
}

impl Session {
    /// Ready when the connection is over.
    fn poll(&mut self, connection: &Connection, cx: &mut Context<'_>) -> Poll<()> {
        connection.begin_turn();
        loop {
            if self.accept(cx).is_ready() {
                return Poll::Ready(());
            }
            let offended = connection.has_offended() && self.leaving != Leaving::Now;
            if offended {
                self.leave_now(connection, Reason::ENHANCE_YOUR_CALM);
                continue;
            }
            ready!(connection.deadline.poll_passed(cx));
            match self.leaving {
                Leaving::No if connection.is_closing() => {
                    self.leaving = Leaving::Gently;
                    connection.deadline.set(HEARD_WITHIN);
                    self.wire.graceful_shutdown();
                }
                Leaving::No => {
                    connection.expired();
                    self.leave_now(connection, Reason::NO_ERROR);
                }
                Leaving::Gently | Leaving::Late if self.has_work(connection) => {
                    self.leaving = Leaving::Late;
                    connection.deadline.set(HEARD_WITHIN);
                }
                Leaving::Gently | Leaving::Late => self.leave_now(connection, Reason::NO_ERROR),
                Leaving::Now => return Poll::Ready(()),
            }
        }
    }

    /// Whether a stream is not over, or the client has not taken all that it was sent.
    fn has_work(&self, connection: &Connection) -> bool {
        Rc::strong_count(&self.streams) > 1 || connection.has_unread()
    }

    /// Tells the client that it is over, and which of its streams were looked at.
    fn leave_now(&mut self, connection: &Connection, reason: Reason) {
        self.leaving = Leaving::Now;
        connection.last_words();
        self.wire.abrupt_shutdown(reason);
    }

    /// Takes in every stream that is there; ready when the connection is over.
    fn accept(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(stream) = ready!(self.wire.poll_accept(cx)) {
            let (request, mut respond) = match stream {
                Ok(stream) => stream,
                Err(error) => {
                    count(&error);
                    return Poll::Ready(());
                }
            };
            if self.leaving == Leaving::Late {
                respond.send_reset(Reason::REFUSED_STREAM);
                continue;
            }
            let (parts, stream) = request.into_parts();
            let inflow = Inflow::of(stream);
            let body = ClientBody::Http2(StreamBody::new(inflow.clone(), &parts.headers));
            let exchange = Exchange {
                respond,
                is_head: parts.method == Method::HEAD,
                unread: Unread::new(inflow),
                reading: self.reading,
            };
            let (downstream, open) = (Rc::clone(&self.downstream), Rc::clone(&self.streams));
            // Begun here: a task is moved about before it runs, and this is a pointer.
            let answering = self.rooms.ask((Rc::clone(&downstream), parts, body));
            spawn_local(async move {
                // A stream that ends early ends alone: its client has been told, or has left.
                let _ = exchange.answer(&downstream, answering).await;
                drop(open);
            });
        }
        Poll::Ready(())
    }
}

/// Counts why the library ended a connection, where that was the client's doing.
fn count(error: &h2::Error) {
    if !error.is_library() {
        return;
    }
    match error.reason() {
        Some(Reason::ENHANCE_YOUR_CALM) => Limit::Http2ControlFrames.hit(),
        _ => respond::count_malformed(),
    }
}

/// The stream is no more.
#[derive(Debug)]
struct Gone;

impl From<h2::Error> for Gone {
    fn from(_: h2::Error) -> Self {
        Self
    }
}

/// One stream whose request is here.
struct Exchange {
    respond: SendResponse<Bytes>,
    /// Its answer has no body, whatever there is of one.
    is_head: bool,
    unread: Unread,
    /// How slowly the client may read.
    reading: Terms,
}

impl Exchange {
    async fn answer(
        mut self,
        downstream: &Downstream,
        answering: impl Future<Output = Result<Response<Answer>, Infallible>>,
    ) -> Result<(), Gone> {
        let connection = &downstream.connection;
        if connection.takes_back() {
            // A client that takes streams back gets a moment to do so: what it has sent by now is
            // read before this goes on.
            yield_now().await;
        }
        let response = {
            let mut answering = pin!(answering);
            poll_fn(|cx| {
                // The reset first: what was taken back already reaches no backend.
                if self.respond.poll_reset(cx).is_ready() {
                    return Poll::Ready(Err(Gone));
                }
                answering.as_mut().poll(cx).map(Ok)
            })
            .await?
        };
        let Ok(response) = response;
        let (head, body) = complete(response);
        let ends = self.is_head || body.is_end_stream();
        let stream = self.respond.send_response(head, ends)?;
        let sending = async {
            let body = pin!(body);
            if !ends {
                let allowance = Allowance::new(downstream.worker.deadlines(), self.reading);
                Outgoing { stream, allowance }.send(body).await?;
            }
            connection.answered();
            Ok(())
        };
        self.unread.beside(pin!(sending), connection).await
    }
}

/// What a client still sends of a request that has its answer. It is read on, once nobody wants it, beside the
/// answer and for a while after it: a client that sends all of its request before it looks at the answer would
/// have no room to do so, and many take a stream that is reset while they send for one without an answer.
struct Unread {
    /// `None` when nothing is left to come.
    inflow: Option<Rc<Inflow>>,
    /// There once there is an answer.
    lingering: Option<Lingering>,
}

impl Unread {
    fn new(inflow: Option<Rc<Inflow>>) -> Self {
        Self {
            inflow,
            lingering: None,
        }
    }

    /// Sends, and reads beside it and after it what nobody wants.
    async fn beside(
        mut self,
        mut sending: Pin<&mut impl Future<Output = Result<(), Gone>>>,
        connection: &Connection,
    ) -> Result<(), Gone> {
        let mut is_sent = false;
        poll_fn(|cx| {
            if !is_sent && let Poll::Ready(sent) = sending.as_mut().poll(cx) {
                sent?;
                is_sent = true;
            }
            let read = self.poll((connection, is_sent), cx);
            if is_sent { read.map(Ok) } else { Poll::Pending }
        })
        .await
    }

    /// Ready when nothing comes any more, or nothing is waited for.
    fn poll(
        &mut self,
        (connection, is_sent): (&Connection, bool),
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(inflow) = &self.inflow else {
            return Poll::Ready(());
        };
        if !inflow.is_over() {
            let lingering = self.lingering.get_or_insert_with(|| connection.lingering());
            if is_sent {
                lingering.begin();
            }
            if inflow.poll_unwanted(cx).is_ready() {
                ready!(lingering.poll(cx, |cx| inflow.poll_past(cx)));
            } else {
                // Whoever passes it on after the answer does so without being waited for.
                ready!(lingering.poll_passed(cx));
            }
        }
        self.inflow = None;
        Poll::Ready(())
    }
}

/// The head of an answer with what HTTP/2 wants in it, and without what it does not.
fn complete(response: Response<Answer>) -> (Response<()>, Answer) {
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(CONNECTION);
    if !body.is_end_stream()
        && let Some(length) = body.size_hint().exact()
        && !parts.headers.contains_key(CONTENT_LENGTH)
    {
        parts.headers.insert(CONTENT_LENGTH, length.into());
    }
    add_date(&mut parts.headers);
    (Response::from_parts(parts, ()), body)
}

fn add_date(fields: &mut HeaderMap) {
    if fields.contains_key(DATE) {
        return;
    }
    if let Ok(now) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())) {
        fields.insert(DATE, now);
    }
}

/// The body of an answer on its way out. Never more of it is handed over than the client has
/// room for, so that a client which makes no room is found out here.
struct Outgoing {
    stream: SendStream<Bytes>,
    /// How long the client may still leave the answer unread.
    allowance: Allowance,
}

impl Outgoing {
    async fn send(mut self, mut body: Pin<&mut Answer>) -> Result<(), Gone> {
        loop {
            let frame = poll_fn(|cx| {
                if self.stream.poll_reset(cx).is_ready() {
                    return Poll::Ready(Err(Gone));
                }
                body.as_mut().poll_frame(cx).map(Ok)
            })
            .await?;
            let frame = match frame {
                Some(Ok(frame)) => frame,
                Some(Err(_)) => {
                    self.stream.send_reset(Reason::INTERNAL_ERROR);
                    return Err(Gone);
                }
                None => return Ok(self.stream.send_data(Bytes::new(), true)?),
            };
            let ends = body.is_end_stream();
            match frame.into_data() {
                Ok(piece) => self.send_piece(piece, ends).await?,
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        return Ok(self.stream.send_trailers(trailers)?);
                    }
                }
            }
            if ends {
                return Ok(());
            }
        }
    }

    async fn send_piece(&mut self, mut piece: Bytes, ends: bool) -> Result<(), Gone> {
        self.stream.reserve_capacity(piece.len());
        loop {
            let room = self.stream.capacity();
            if piece.len() <= room {
                self.allowance.earn(piece.len());
                return Ok(self.stream.send_data(piece, ends)?);
            }
            if room > 0 {
                self.allowance.earn(room);
                self.stream.send_data(piece.split_to(room), false)?;
                self.stream.reserve_capacity(piece.len());
                continue;
            }
            poll_fn(|cx| self.poll_room(cx)).await?;
        }
    }

    /// Waits until the client makes room for more.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        if self.stream.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Gone));
        }
        match self.stream.poll_capacity(cx) {
            Poll::Ready(Some(Ok(_))) => return Poll::Ready(Ok(())),
            Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Err(Gone)),
            Poll::Pending => {}
        }
        let why = ready!(self.allowance.poll_used_up(cx));
        match why {
            UsedUp::Paused => Limit::ClientRead,
            UsedUp::TooSlow => Limit::ReadRate,
        }
        .hit();
        self.stream.send_reset(Reason::CANCEL);
        Poll::Ready(Err(Gone))
    }
}
