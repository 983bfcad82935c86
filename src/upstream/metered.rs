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

/// Most bytes of an answer that are read at a time while clients have left as much unread as they
/// may: what is read has to be held until they read it.
const LITTLE_BYTES: usize = 8 * 1024;

/// What may be read from a connection; set by whoever uses it, looked at by the reader.
#[derive(Clone, Debug)]
pub(super) struct HeadBytes(Rc<Meter>);

#[derive(Debug, Default)]
struct Meter {
    /// How many bytes may still come before the head, while it is awaited.
    before_head: Cell<Option<usize>>,
    /// Little is read at a time.
    sparing: Cell<bool>,
}

impl HeadBytes {
    /// The head of an answer is awaited.
    pub(super) fn begin(&self) {
        self.0.before_head.set(Some(MAX_BYTES_BEFORE_HEAD));
        self.0.sparing.set(false);
    }

    /// The head has come: whatever follows is bounded by others.
    pub(super) fn end(&self) {
        self.0.before_head.set(None);
    }

    /// From now on little is read at a time, or as much as there is.
    pub(super) fn set_sparing(&self, sparing: bool) {
        self.0.sparing.set(sparing);
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
        let Self { socket, head_bytes } = &mut *self;
        let meter = &head_bytes.0;
        let before = into.filled().len();
        let read = if meter.sparing.get() {
            poll_read_little(Pin::new(socket), cx, into)
        } else {
            Pin::new(socket).poll_read(cx, into)
        };
        let Some(left) = meter.before_head.get() else {
            return read;
        };
        let left = left.checked_sub(into.filled().len() - before);
        if left.is_none() {
            into.set_filled(before);
            metrics::counter!("switchback_interim_floods_total").increment(1);
            let message = "too much before the head of an answer";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, message)));
        }
        meter.before_head.set(left);
        read
    }
}

fn poll_read_little(
    socket: Pin<&mut impl AsyncRead>,
    cx: &mut Context<'_>,
    into: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    let room = into.remaining().min(LITTLE_BYTES);
    let mut little = ReadBuf::new(into.initialize_unfilled_to(room));
    let read = socket.poll_read(cx, &mut little);
    let length = little.filled().len();
    into.advance(length);
    read
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
