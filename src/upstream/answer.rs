//! The body of an answer on its way from a backend.

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

use crate::mcp::Format;

use super::endpoint::Endpoint;
use super::error::BodyError;
use super::link::Link;
use super::multiplexed::{Incoming, Stream};
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
    source: Source,
    endpoint: Rc<Endpoint>,
    pace: Rc<Pace>,
    /// What was read before and put back; boxed, since hardly any answer has it.
    #[expect(
        clippy::box_collection,
        reason = "eight bytes for each answer instead of 32"
    )]
    first: Option<Box<VecDeque<Frame<Bytes>>>>,
}

/// Where the rest of an answer comes from.
#[derive(Debug)]
enum Source {
    /// A connection of its own.
    Alone(Link),
    /// A stream of a connection that moves itself along, held as long as anything may come.
    Shared { body: Incoming, _stream: Stream },
    /// Nothing is left.
    Over,
    /// It broke off: whoever reads on, after what was put back, is told so again.
    Broken,
}

impl AnswerBody {
    /// The answer, whose body moves its connection along.
    pub(super) fn of(
        answer: Response<()>,
        link: Link,
        endpoint: &Rc<Endpoint>,
        pace: &Rc<Pace>,
    ) -> Response<Self> {
        // A connection that switches protocols goes back to no pool.
        let switches = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        answer.map(|()| Self::from(Source::Alone(link), endpoint, pace, !switches))
    }

    /// The answer on a stream of a connection that moves itself along.
    pub(super) fn over(
        answer: Response<Incoming>,
        stream: Stream,
        endpoint: &Rc<Endpoint>,
        pace: &Rc<Pace>,
    ) -> Response<Self> {
        answer.map(|body| {
            let source = Source::Shared {
                body,
                _stream: stream,
            };
            Self::from(source, endpoint, pace, true)
        })
    }

    fn from(source: Source, endpoint: &Rc<Endpoint>, pace: &Rc<Pace>, may_end: bool) -> Self {
        let mut body = Self {
            source,
            endpoint: Rc::clone(endpoint),
            pace: Rc::clone(pace),
            first: None,
        };
        if may_end && body.source.is_end_stream() {
            body.release();
        }
        body
    }

    /// The connection that switched; `None` when it did not.
    pub fn into_switched(self) -> Option<Switched> {
        match self.source {
            Source::Alone(link) => Some(link.into_switched()),
            Source::Shared { .. } | Source::Over | Source::Broken => None,
        }
    }

    /// The call's pace, which can also tell the answer to end.
    pub fn pace(&self) -> &Rc<Pace> {
        &self.pace
    }

    /// From now on little of it is read at a time, or as much as there is.
    pub fn set_sparing(&mut self, sparing: bool) {
        if let Source::Alone(link) = &mut self.source {
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
        let source = std::mem::replace(&mut self.source, Source::Over);
        if let Source::Alone(link) = source
            && self.pace.is_sent()
            && link.may_stay()
        {
            self.endpoint.give_back(link);
        }
        self.pace.over();
    }

    /// Nothing more is read.
    fn breaks(&mut self, why: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.source = Source::Broken;
        Poll::Ready(Some(Err(why)))
    }
}

impl Source {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Alone(link) => link
                .poll_frame(cx)
                .map_err(|error| BodyError::Broken(error.into())),
            Self::Shared { body, .. } => body.poll_frame(cx).map_err(|error| {
                if error.is_reset() {
                    BodyError::Reset
                } else {
                    BodyError::Broken(error.into())
                }
            }),
            Self::Over => Poll::Ready(None),
            Self::Broken => Poll::Ready(Some(Err(BodyError::Reset))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Alone(link) => link.is_end_stream(),
            Self::Shared { body, .. } => body.is_end_stream(),
            Self::Over => true,
            Self::Broken => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Alone(link) => link.size_hint(),
            Self::Shared { body, .. } => body.size_hint(),
            Self::Over => SizeHint::with_exact(0),
            Self::Broken => SizeHint::new(),
        }
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
        match this.source.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if this.source.is_end_stream() {
                    this.release();
                } else {
                    this.pace.moved();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => this.breaks(error),
            Poll::Ready(None) => {
                this.release();
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(this.pace.poll_passed(cx));
                if !this.pace.is_ending() {
                    return this.breaks(BodyError::Stalled);
                }
                this.source = Source::Over;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.source.size_hint();
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
