//! What a backend may send before the head of its answer.
//!
//! Interim answers (RFC 9110, 15.2) are dropped by hyper without a word, as many as come. The
//! bytes before the head that counts are bounded here, where all of them pass.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes that come from a backend between a request and the end of its answer's head:
/// several thousand interim answers, and what is read along with the head.
const MAX_BYTES_BEFORE_HEAD: usize = 256 * 1024;

/// How many bytes may still come before the head; set by the sender, counted down by the reader.
#[derive(Clone, Debug)]
pub(super) struct HeadBytes(Rc<Cell<Option<usize>>>);

impl HeadBytes {
    /// The head of an answer is awaited.
    pub(super) fn begin(&self) {
        self.0.set(Some(MAX_BYTES_BEFORE_HEAD));
    }

    /// The head has come: whatever follows is bounded by others.
    pub(super) fn end(&self) {
        self.0.set(None);
    }
}

/// A connection whose bytes before a head are counted.
#[derive(Debug)]
pub(super) struct Metered<S> {
    socket: S,
    head_bytes: HeadBytes,
}

impl<S> Metered<S> {
    pub(super) fn new(socket: S) -> (Self, HeadBytes) {
        let head_bytes = HeadBytes(Rc::default());
        let metered = Self {
            socket,
            head_bytes: head_bytes.clone(),
        };
        (metered, head_bytes)
    }

    /// The connection itself.
    pub(super) fn into_inner(self) -> S {
        self.socket
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, into);
        let Some(left) = self.head_bytes.0.get() else {
            return read;
        };
        let left = left.checked_sub(into.filled().len() - before);
        if left.is_none() {
            into.set_filled(before);
            let message = "too much before the head of an answer";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, message)));
        }
        self.head_bytes.0.set(left);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
