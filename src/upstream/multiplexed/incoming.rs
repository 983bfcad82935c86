//! The body of an answer as it comes on a stream.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::Response;
use http::header::CONTENT_LENGTH;
use http_body::{Frame, SizeHint};

use crate::upstream::framing;

/// The body of an answer. Dropped before its end, it takes the stream back.
#[derive(Debug)]
pub(in crate::upstream) struct Incoming {
    stream: RecvStream,
    /// What is left, where the length was told. That it is kept, `h2` sees to.
    length: Option<u64>,
    data_ended: bool,
}

impl Incoming {
    /// The answer, whose head is sound.
    pub(super) fn of(answer: Response<RecvStream>) -> Response<Self> {
        let told = answer.headers().get(CONTENT_LENGTH);
        let told = told.and_then(|digits| framing::number(digits.as_bytes()));
        answer.map(|stream| Self {
            length: told.or(stream.is_end_stream().then_some(0)),
            stream,
            data_ended: false,
        })
    }

    /// The next piece; a stream that was reset before its end has an error, whatever reason was given.
    pub(in crate::upstream) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.data_ended {
            if let Some(piece) = ready!(self.stream.poll_data(cx)?) {
                // It is passed on before more is asked for: the endpoint may send as much again.
                let _ = self.stream.flow_control().release_capacity(piece.len());
                if let Some(left) = &mut self.length {
                    *left = left.saturating_sub(piece.len() as u64);
                }
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            self.data_ended = true;
        }
        let trailers = ready!(self.stream.poll_trailers(cx)?);
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    pub(in crate::upstream) fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    pub(in crate::upstream) fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}
