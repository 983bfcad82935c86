//! A request on its way to the socket: its head, and its body as it comes.

use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::Body;
use tokio::io::AsyncWrite;

use crate::upstream::body::RequestBody;
use crate::upstream::outgoing::Outgoing;
use crate::upstream::socket::Socket;

use super::error::WireError;
use super::request_head::{self, Framing};
use super::scratch::Scratch;

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
const END_OF_CHUNK: &[u8] = b"\r\n";
const END_OF_LAST: &[u8] = b"\r\n0\r\n\r\n";

/// A request on its way.
#[derive(Debug)]
pub(super) struct Upload {
    body: RequestBody,
    framing: Framing,
    /// Written first: the head, or the size of a chunk.
    before: Vec<u8>,
    /// How many bytes of it have been written.
    written: usize,
    /// A piece of the body.
    piece: Bytes,
    /// Written behind it.
    behind: &'static [u8],
    state: State,
    /// Whether the socket may have taken any byte.
    has_begun: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// More of the body is to come.
    Open,
    /// All of the body is here, but not all of it may be written.
    Whole,
    /// All of it is written.
    Done,
    /// The other side takes no more.
    Failed,
}

impl Upload {
    /// Nothing to send.
    pub(super) fn none() -> Self {
        Self {
            body: RequestBody::Empty,
            framing: Framing::Length(0),
            before: Vec::new(),
            written: 0,
            piece: Bytes::new(),
            behind: b"",
            state: State::Done,
            has_begun: false,
        }
    }

    /// A request, whose body is taken out of it.
    pub(super) fn of(request: &mut Outgoing, scratch: &Scratch) -> Self {
        let framing = Framing::of(request.body());
        let mut before = scratch.lend_head();
        request_head::write(request, framing, &mut before);
        Self {
            body: std::mem::take(request.body_mut()),
            framing,
            before,
            state: State::Open,
            ..Self::none()
        }
    }

    /// Whether all of it has been written.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether it goes on.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self.state, State::Open | State::Whole)
    }

    /// The body, if nothing at all was written and nothing is lost of it.
    pub(super) fn take_unsent(&mut self) -> Option<RequestBody> {
        if self.has_begun {
            return None;
        }
        match std::mem::take(&mut self.body) {
            // What was polled of it would be missing.
            RequestBody::Upload(_) | RequestBody::Late(_) => None,
            RequestBody::Whole(None) => Some(RequestBody::whole(std::mem::take(&mut self.piece))),
            body @ (RequestBody::Empty | RequestBody::Upgrade(_) | RequestBody::Whole(Some(_))) => {
                Some(body)
            }
        }
    }

    /// Writes as much as there is and the socket takes; ready when all of it is written.
    ///
    /// # Errors
    /// [`WireError`]; it does not go on then.
    pub(super) fn poll(
        &mut self,
        socket: &mut Socket,
        scratch: &Scratch,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), WireError>> {
        let polled = self.poll_all(socket, scratch, cx);
        if let Poll::Ready(ended) = &polled {
            self.state = if ended.is_ok() {
                self.body = RequestBody::Empty;
                State::Done
            } else {
                State::Failed
            };
        }
        polled
    }

    /// Whether the other side takes no more of it.
    pub(super) fn has_failed(&self) -> bool {
        self.state == State::Failed
    }

    /// Lets go of a body that goes nowhere.
    pub(super) fn forget_if_failed(&mut self) {
        if self.state == State::Failed {
            self.body = RequestBody::Empty;
        }
    }

    fn poll_all(
        &mut self,
        socket: &mut Socket,
        scratch: &Scratch,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), WireError>> {
        loop {
            let is_starved = self.state == State::Open && self.poll_body(scratch, cx)?.is_pending();
            while self.has_pending() {
                let written = ready!(self.poll_write(socket, cx))?;
                self.advance(written, scratch)?;
            }
            ready!(Pin::new(&mut *socket).poll_flush(cx))?;
            if self.state != State::Open {
                return Poll::Ready(Ok(()));
            }
            if is_starved {
                return Poll::Pending;
            }
        }
    }

    /// Takes the next piece of the body in, if there is none.
    fn poll_body(
        &mut self,
        scratch: &Scratch,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), WireError>> {
        if !self.piece.is_empty() || !self.behind.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if self.body.is_end_stream() {
            return Poll::Ready(self.end());
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let piece = match frame {
            None => return Poll::Ready(self.end()),
            Some(Err(_)) => return Poll::Ready(Err(WireError::Upload)),
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        Poll::Ready(self.take_in(piece, scratch))
    }

    /// The body is whole.
    fn end(&mut self) -> Result<(), WireError> {
        match self.framing {
            Framing::Length(0) => {}
            Framing::Length(_) => return Err(WireError::Upload),
            Framing::Chunked => self.behind = LAST_CHUNK,
        }
        self.state = State::Whole;
        Ok(())
    }

    fn take_in(&mut self, piece: Bytes, scratch: &Scratch) -> Result<(), WireError> {
        if piece.is_empty() {
            // An empty chunk would be the last one.
            return Ok(());
        }
        let is_last = self.body.is_end_stream();
        match &mut self.framing {
            Framing::Length(left) => {
                let rest = left.checked_sub(piece.len() as u64);
                *left = rest.ok_or(WireError::Upload)?;
                if is_last && *left > 0 {
                    return Err(WireError::Upload);
                }
            }
            Framing::Chunked => {
                if self.before.is_empty() {
                    self.before = scratch.lend_head();
                }
                // Writing to a vector does not fail.
                let _ = write!(self.before, "{:x}\r\n", piece.len());
                self.behind = if is_last { END_OF_LAST } else { END_OF_CHUNK };
            }
        }
        self.piece = piece;
        if is_last {
            self.state = State::Whole;
        }
        Ok(())
    }

    fn has_pending(&self) -> bool {
        self.written < self.before.len() || !self.piece.is_empty() || !self.behind.is_empty()
    }

    fn poll_write(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.has_begun |= socket.writes_unseen();
        let before = self.before.get(self.written..).unwrap_or_default();
        if self.piece.is_empty() && self.behind.is_empty() {
            return Pin::new(socket).poll_write(cx, before);
        }
        let slices = [
            IoSlice::new(before),
            IoSlice::new(&self.piece),
            IoSlice::new(self.behind),
        ];
        Pin::new(socket).poll_write_vectored(cx, &slices)
    }

    /// So many bytes have been written.
    fn advance(&mut self, written: usize, scratch: &Scratch) -> io::Result<()> {
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.has_begun = true;
        let of_before = written.min(self.before.len() - self.written);
        self.written += of_before;
        if self.written == self.before.len() && self.written > 0 {
            scratch.take_back(std::mem::take(&mut self.before));
            self.written = 0;
        }
        let of_piece = (written - of_before).min(self.piece.len());
        if of_piece == self.piece.len() {
            // Empty as it is, it would hold what it was a part of, for as long as the connection is idle.
            self.piece = Bytes::new();
        } else {
            self.piece.advance(of_piece);
        }
        let of_behind = written - of_before - of_piece;
        self.behind = self.behind.get(of_behind..).unwrap_or_default();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http::Request;
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn what_was_written_is_not_held() {
        let piece = Bytes::from(vec![b'x'; 100]);
        let request = Request::post("/").body(RequestBody::whole(piece.clone()));
        let scratch = Scratch::default();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut socket = Socket::Unix(ours);

        let mut upload = Upload::of(&mut request.unwrap().into(), &scratch);
        assert!(!piece.is_unique());
        let sent = poll_fn(|cx| upload.poll(&mut socket, &scratch, cx)).await;

        assert!(sent.is_ok() && upload.is_done() && piece.is_unique());
    }
}
