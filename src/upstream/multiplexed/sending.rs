//! The body of a request on its way to an endpoint, on a stream.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;

use crate::upstream::body::RequestBody;

/// A body that is passed on. Only what the endpoint has room for is given to the stream, so that whatever waits
/// for room is here: dropped before its end, it takes the stream back, and nothing is left of it.
#[derive(Debug)]
pub(super) struct Sending {
    body: RequestBody,
    stream: SendStream<Bytes>,
    /// What waits for room, and whether it is the last.
    piece: Bytes,
    is_last: bool,
    /// All of it is given to the stream.
    is_given: bool,
}

/// The endpoint takes no more of it.
struct Unwanted;

impl Sending {
    /// A body of which nothing is sent yet.
    pub(super) fn new(body: RequestBody, stream: SendStream<Bytes>) -> Self {
        Self {
            body,
            stream,
            piece: Bytes::new(),
            is_last: false,
            is_given: false,
        }
    }

    /// Gives the stream as much of a piece as there is room for; ready when that was all.
    fn poll_give(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unwanted>> {
        while !self.piece.is_empty() {
            while self.stream.capacity() == 0 {
                match ready!(self.stream.poll_capacity(cx)) {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Poll::Ready(Err(Unwanted)),
                }
            }
            let room = self.stream.capacity().min(self.piece.len());
            let part = self.piece.split_to(room);
            let is_last = self.is_last && self.piece.is_empty();
            self.give(part, is_last)?;
        }
        Poll::Ready(Ok(()))
    }

    fn give(&mut self, part: Bytes, is_last: bool) -> Result<(), Unwanted> {
        self.is_given = is_last;
        let given = self.stream.send_data(part, is_last);
        given.map_err(|_| Unwanted)
    }

    /// The next piece waits for room, if there is one.
    fn take(&mut self, piece: Bytes) {
        // The client may take its time to say that this was all.
        self.is_last = self.body.is_end_stream() || self.body.size_hint().exact() == Some(0);
        self.stream.reserve_capacity(piece.len());
        self.piece = piece;
    }

    fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unwanted>> {
        loop {
            ready!(self.poll_give(cx))?;
            if !self.is_given && self.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(Err(Unwanted));
            }
            // Also when all is given: the call is to know that its body has ended.
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) if !self.is_given => {
                    if let Ok(piece) = frame.into_data() {
                        self.take(piece);
                    }
                    if self.piece.is_empty() && self.is_last {
                        self.give(Bytes::new(), true)?;
                    }
                }
                Some(Ok(_)) => {}
                None if !self.is_given => return Poll::Ready(self.give(Bytes::new(), true)),
                Some(Err(_)) | None => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl Future for Sending {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_all(cx).map(drop)
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.is_given {
            self.stream.send_reset(Reason::CANCEL);
        }
    }
}
