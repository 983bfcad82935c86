//! The body of a request as it comes from the client: bounded in size, in pauses and in slowness.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

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

/// The body of a request over a stream of HTTP/2.
#[derive(Debug)]
pub struct StreamBody {
    stream: RecvStream,
    /// What is left, where the length was told. That it is kept, `h2` sees to.
    length: Option<u64>,
    data_ended: bool,
}

impl StreamBody {
    /// The body of a request with these fields.
    pub fn new(stream: RecvStream, fields: &HeaderMap) -> Self {
        let told = fields
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let length = if stream.is_end_stream() {
            Some(0)
        } else {
            told
        };
        Self {
            stream,
            length,
            data_ended: false,
        }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientFault>>> {
        if !self.data_ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(piece)) => {
                    // It is passed on before more is asked for: the client may send as much again.
                    let _ = self.stream.flow_control().release_capacity(piece.len());
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
        let trailers = ready!(self.stream.poll_trailers(cx));
        Poll::Ready(match trailers {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(_) => Some(Err(ClientFault::Broken)),
        })
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
            Self::Http2(body) => body.stream.is_end_stream(),
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
