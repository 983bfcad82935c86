//! The body of an answer on its way from a backend.

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::mcp::Format;

use super::endpoint::Endpoint;
use super::error::BodyError;
use super::link::Link;
use super::multiplexed::Stream;
use super::pace::Pace;
use super::switched::Switched;

/// How an answer with these fields frames its messages; `None` when it carries none.
pub fn format_of(fields: &HeaderMap) -> Option<Format> {
    let kind = fields.get(CONTENT_TYPE)?.to_str().ok()?;
    Format::of_content_type(kind)
}

/// Whether a body with these fields is compressed, or coded in another way: nothing is ever unpacked to
/// be looked at.
pub fn is_packed(fields: &HeaderMap) -> bool {
    let mut codings = fields.get_all(CONTENT_ENCODING).into_iter();
    let plain = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"identity");
    codings.any(|coding| !plain(coding))
}

/// The body of an answer. It moves its connection along while it is read, and gives it back
/// to the pool at its end; dropped before that, the connection is closed and the backend told.
#[derive(Debug)]
pub struct AnswerBody {
    inner: Incoming,
    link: Option<Link>,
    /// Instead of a link, where the connection is shared.
    stream: Option<Stream>,
    endpoint: Rc<Endpoint>,
    pace: Rc<Pace>,
    /// What was read before and put back; boxed, since hardly any answer has it.
    #[expect(
        clippy::box_collection,
        reason = "eight bytes for each answer instead of 32"
    )]
    first: Option<Box<VecDeque<Frame<Bytes>>>>,
    /// It broke off: whoever reads on, after what was put back, is told so again.
    is_broken: bool,
}

impl AnswerBody {
    /// The answer, whose body moves its connection along.
    pub(super) fn of(
        answer: Response<Incoming>,
        link: Link,
        endpoint: &Rc<Endpoint>,
        pace: &Rc<Pace>,
    ) -> Response<Self> {
        // A connection that switches protocols goes back to no pool.
        let switches = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        answer.map(|inner| {
            let mut body = Self {
                inner,
                link: Some(link),
                stream: None,
                endpoint: Rc::clone(endpoint),
                pace: Rc::clone(pace),
                first: None,
                is_broken: false,
            };
            if body.inner.is_end_stream() && !switches {
                body.release();
            }
            body
        })
    }

    /// The answer on a stream of a connection that moves itself along.
    pub(super) fn over(
        answer: Response<Incoming>,
        stream: Stream,
        endpoint: &Rc<Endpoint>,
        pace: &Rc<Pace>,
    ) -> Response<Self> {
        answer.map(|inner| {
            let mut body = Self {
                inner,
                link: None,
                stream: Some(stream),
                endpoint: Rc::clone(endpoint),
                pace: Rc::clone(pace),
                first: None,
                is_broken: false,
            };
            if body.inner.is_end_stream() {
                body.release();
            }
            body
        })
    }

    /// The connection that switched; `None` when it broke, or did not switch.
    pub async fn into_switched(self) -> Option<Switched> {
        self.link?.into_switched().await
    }

    /// The call's pace, which can also tell the answer to end.
    pub fn pace(&self) -> &Rc<Pace> {
        &self.pace
    }

    /// From now on little of it is read at a time, or as much as there is.
    pub fn set_sparing(&self, sparing: bool) {
        if let Some(link) = &self.link {
            link.set_sparing(sparing);
        }
    }

    /// Puts frames that were read back in front, in their order.
    pub fn put_back(&mut self, frames: VecDeque<Frame<Bytes>>) {
        self.first = (!frames.is_empty()).then(|| Box::new(frames));
    }

    /// The next frame of those that were put back.
    fn take_first(&mut self) -> Option<Frame<Bytes>> {
        let first = self.first.as_mut()?;
        let frame = first.pop_front();
        if first.is_empty() {
            self.first = None;
        }
        frame
    }

    /// Gives the connection back, if nothing of the call is left on it.
    fn release(&mut self) {
        self.stream = None;
        if let Some(link) = self.link.take().filter(|_| self.pace.is_sent()) {
            self.endpoint.give_back(link);
        }
        self.pace.over();
    }

    fn poll_inner(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if frame.is_ready() {
            return frame;
        }
        let Some(link) = &mut self.link else {
            return Poll::Pending;
        };
        // The wire's end is told by the body, here or at a later poll.
        let _ = link.poll_wire(cx);
        Pin::new(&mut self.inner).poll_frame(cx)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(frame) = this.take_first() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match this.poll_inner(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if this.inner.is_end_stream() {
                    this.release();
                } else {
                    this.pace.moved();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.link = None;
                this.is_broken = true;
                Poll::Ready(Some(Err(BodyError::Broken(error))))
            }
            // hyper takes some codes of a reset for an end, which is what only the stream's own
            // end is.
            Poll::Ready(None) if this.stream.is_some() && !this.inner.is_end_stream() => {
                this.stream = None;
                this.is_broken = true;
                Poll::Ready(Some(Err(BodyError::Reset)))
            }
            Poll::Ready(None) if this.is_broken => Poll::Ready(Some(Err(BodyError::Reset))),
            Poll::Ready(None) => {
                this.release();
                Poll::Ready(None)
            }
            Poll::Pending => {
                std::task::ready!(this.pace.poll_passed(cx));
                this.link = None;
                Poll::Ready((!this.pace.is_ending()).then_some(Err(BodyError::Stalled)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.inner.size_hint();
        let Some(first) = &self.first else {
            return rest;
        };
        let first = first.iter().filter_map(Frame::data_ref);
        let first: u64 = first.map(|piece| piece.len() as u64).sum();
        match rest.exact() {
            Some(rest) => SizeHint::with_exact(first + rest),
            None => SizeHint::new(),
        }
    }
}
