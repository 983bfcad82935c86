//! A connection that so much is read from, and no more.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection that so much is read from, and no more: what answers a check with a flood does not
/// keep the thread of the checks busy until the check is over.
#[derive(Debug)]
pub(in crate::upstream) struct Ration<S> {
    socket: S,
    left_bytes: usize,
}

impl<S> Ration<S> {
    pub(in crate::upstream) fn new(socket: S, bytes: usize) -> Self {
        Self {
            socket,
            left_bytes: bytes,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Ration<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, into);
        let came = into.filled().len() - before;
        let Some(left) = self.left_bytes.checked_sub(came) else {
            into.set_filled(before);
            let message = "too much for one check";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, message)));
        };
        self.left_bytes = left;
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Ration<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
