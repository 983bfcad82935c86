//! The body of a request as it comes from the client: bounded in size, in pauses and in slowness.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::deadline::{Allowance, Deadlines, Terms, UsedUp};
use crate::model::Limit;

use super::pace::Pace;

/// What a client's body is not to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientFault {
    /// It broke off, or is malformed.
    #[error("the request's body is not complete")]
    Broken,
    /// It paused for too long, or came too slowly.
    #[error("the request's body comes too slowly")]
    TooSlow,
    /// It is longer than the route allows.
    #[error("the request's body is too long")]
    TooLong,
}

/// A client's body, whatever it comes over.
#[derive(Debug)]
pub enum ClientBody {
    /// Over HTTP/1.
    Http1(Incoming),
    /// Over a stream of HTTP/2.
    Http2(StreamBody),
}

/// What a client sends on a stream of HTTP/2. Shared by the body that is passed on and by who reads on once
/// nobody wants it.
#[derive(Debug)]
pub struct Inflow {
    stream: RefCell<RecvStream>,
    is_wanted: Cell<bool>,
    /// Who waits for it to be wanted no more.
    waiting: RefCell<Option<Waker>>,
}

impl Inflow {
    /// What comes on a stream; `None` when nothing does.
    pub fn of(stream: RecvStream) -> Option<Rc<Self>> {
        let comes = !stream.is_end_stream();
        comes.then(|| {
            Rc::new(Self {
                stream: RefCell::new(stream),
                is_wanted: Cell::new(true),
                waiting: RefCell::default(),
            })
        })
    }

    /// Whether all has come, and been read.
    pub fn is_over(&self) -> bool {
        self.stream.borrow().is_end_stream()
    }

    /// Ready when nobody passes on what comes.
    pub fn poll_unwanted(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.is_wanted.get() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waiting = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The next piece, of which nothing is wanted but its bytes; `None` at the end, whatever it is.
    pub fn poll_past(&self, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        let mut stream = self.stream.borrow_mut();
        let Some(Ok(piece)) = ready!(stream.poll_data(cx)) else {
            return Poll::Ready(None);
        };
        let _ = stream.flow_control().release_capacity(piece.len());
        Poll::Ready((!stream.is_end_stream()).then_some(piece.len()))
    }

    fn unwanted(&self) {
        self.is_wanted.set(false);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

/// The body of a request over a stream of HTTP/2.
#[derive(Debug)]
pub struct StreamBody {
    /// `None` for a body without anything.
    inflow: Option<Rc<Inflow>>,
    /// What is left, where the length was told. That it is kept, `h2` sees to.
    length: Option<u64>,
    data_ended: bool,
}

impl StreamBody {
    /// The body of a request with these fields.
    pub fn new(inflow: Option<Rc<Inflow>>, fields: &HeaderMap) -> Self {
        let told = || fields.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        let length = if inflow.is_none() { Some(0) } else { told() };
        Self {
            inflow,
            length,
            data_ended: false,
        }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientFault>>> {
        let Some(inflow) = &self.inflow else {
            return Poll::Ready(None);
        };
        let mut stream = inflow.stream.borrow_mut();
        if !self.data_ended {
            match ready!(stream.poll_data(cx)) {
                Some(Ok(piece)) => {
                    // It is passed on before more is asked for: the client may send as much again.
                    let _ = stream.flow_control().release_capacity(piece.len());
                    if let Some(left) = &mut self.length {
                        *left = left.saturating_sub(piece.len() as u64);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                // A stream that was reset is never a whole body, whatever reason was given.
                Some(Err(_)) => return Poll::Ready(Some(Err(ClientFault::Broken))),
                None => self.data_ended = true,
            }
        }
        let trailers = ready!(stream.poll_trailers(cx));
        Poll::Ready(match trailers {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(_) => Some(Err(ClientFault::Broken)),
        })
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        if let Some(inflow) = &self.inflow {
            inflow.unwanted();
        }
    }
}

impl ClientBody {
    /// Whether more may come of it, over a connection on which the next request follows it.
    pub fn comes_over_http1(&self) -> bool {
        matches!(self, Self::Http1(body) if !body.is_end_stream())
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = ClientFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientFault>>> {
        match &mut *self {
            Self::Http1(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|_| ClientFault::Broken))),
            Self::Http2(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.inflow.as_ref().is_none_or(|inflow| inflow.is_over()),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.length.map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}

/// A client's body with its bounds.
#[derive(Debug)]
pub struct Intake {
    body: ClientBody,
    left_bytes: u64,
    terms: Terms,
    deadlines: Deadlines,
    /// There once the client has kept us waiting; boxed, since most do not.
    allowance: Option<Box<Allowance>>,
}

/// The bounds of a client's body.
#[derive(Clone, Copy, Debug)]
pub struct IntakeBounds {
    /// Most bytes.
    pub max_bytes: u64,
    /// How slow it may be.
    pub terms: Terms,
}

impl Intake {
    /// The body, of which nothing has been read.
    pub fn new(body: ClientBody, bounds: IntakeBounds, deadlines: &Deadlines) -> Self {
        Self {
            body,
            left_bytes: bounds.max_bytes,
            terms: bounds.terms,
            deadlines: deadlines.clone(),
            allowance: None,
        }
    }

    /// The next piece. `pace` learns when we wait for the client, which is nobody else's fault.
    pub fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        pace: &Rc<Pace>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientFault>>> {
        let Poll::Ready(piece) = Pin::new(&mut self.body).poll_frame(cx) else {
            pace.awaits_client();
            let why = ready!(self.allowance().poll_used_up(cx));
            pace.client_came();
            match why {
                UsedUp::Paused => Limit::BodyStall,
                UsedUp::TooSlow => Limit::BodyRate,
            }
            .hit();
            return Poll::Ready(Some(Err(ClientFault::TooSlow)));
        };
        pace.client_came();
        Poll::Ready(piece.map(|piece| piece.and_then(|piece| self.count(piece))))
    }

    fn allowance(&mut self) -> &mut Allowance {
        let (deadlines, terms) = (&self.deadlines, self.terms);
        self.allowance
            .get_or_insert_with(|| Box::new(Allowance::new(deadlines, terms)))
    }

    fn count(&mut self, piece: Frame<Bytes>) -> Result<Frame<Bytes>, ClientFault> {
        let length = piece.data_ref().map_or(0, Bytes::len);
        if let Some(allowance) = &mut self.allowance {
            allowance.earn(length);
        }
        let Some(left) = self.left_bytes.checked_sub(length as u64) else {
            Limit::MaxBody.hit();
            return Err(ClientFault::TooLong);
        };
        self.left_bytes = left;
        Ok(piece)
    }

    /// Whether nothing is left of the body.
    pub fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    /// How much is left of it, if that is known.
    pub fn length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }
}
