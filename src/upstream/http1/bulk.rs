//! Bodies of which much comes are read without copying.
//!
//! Reading and writing cost by the call more than by the byte, so more is read at a time while as much
//! comes. What is read so is held until the client has taken the last byte of it: large pieces are a
//! worker's to give, and it has few of them.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::task::yield_now;

use crate::upstream::socket::Socket;

use super::scratch::READ_BYTES;

/// Bytes that are read at a time at first, and whenever the worker has no large pieces left.
const LEAST_BYTES: usize = 64 * 1024;
/// Most bytes that are read at a time.
const MOST_BYTES: usize = 512 * 1024;
/// Room for all pieces of a worker that are larger than the least and not taken yet.
const LARGE_BYTES: usize = 4 * 1024 * 1024;
/// Bytes after which others on the same thread get a turn.
const TURN_BYTES: usize = 1024 * 1024;
/// A piece is passed on as it is when it fills so much of the room that was made for it: a quarter.
/// Whoever holds a smaller one would hold all of that.
const LEAST_SHARE: usize = 4;

/// What the connections of a worker have of the room for large pieces. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct LargePieces(Arc<AtomicUsize>);

impl LargePieces {
    /// Room for one of so many bytes, if there is as much.
    fn take(&self, bytes: usize) -> Option<Share> {
        // One thread takes; any may give back.
        if self.0.load(Relaxed) + bytes > LARGE_BYTES {
            metrics::counter!("switchback_large_reads_refused_total").increment(1);
            return None;
        }
        self.0.fetch_add(bytes, Relaxed);
        Some(Share {
            of: self.clone(),
            bytes,
        })
    }
}

/// Room for a large piece.
struct Share {
    of: LargePieces,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.0.fetch_sub(self.bytes, Relaxed);
    }
}

/// A large piece, which gives its room back when nobody holds any of it.
struct Large {
    piece: BytesMut,
    _share: Share,
}

impl AsRef<[u8]> for Large {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

/// Reads a body, a piece at a time.
#[derive(Debug)]
pub(super) struct Bulk {
    /// Where pieces of no more than [`LEAST_BYTES`] are read; used again once they are taken.
    room: BytesMut,
    /// How much is to be read at a time.
    bytes: usize,
    /// Bytes since others had their turn.
    turn_bytes: usize,
}

impl Bulk {
    /// Holds nothing yet.
    pub(super) fn new() -> Self {
        Self {
            room: BytesMut::new(),
            bytes: LEAST_BYTES,
            turn_bytes: 0,
        }
    }

    /// Reads up to so many bytes, and no more than are read at a time; none at the end.
    ///
    /// # Errors
    /// As the socket has them.
    pub(super) fn poll_read(
        &mut self,
        socket: &mut Socket,
        (most, large): (usize, &LargePieces),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Bytes>> {
        if self.turn_bytes >= TURN_BYTES {
            self.waits();
            // Awake again once the runtime has looked at the sockets of the others, which a waker that
            // is woken here does not wait for.
            let _ = pin!(yield_now()).poll(cx);
            return Poll::Pending;
        }
        let wanted = most.min(self.bytes);
        let share = (wanted > LEAST_BYTES).then(|| large.take(wanted)).flatten();
        let wanted = match share {
            Some(_) => wanted,
            None => wanted.min(LEAST_BYTES),
        };
        let piece = match share {
            Some(share) => poll_large(socket, share, cx),
            None => self.poll_little(socket, wanted, cx),
        };
        let Poll::Ready(piece) = piece else {
            self.came_short();
            self.waits();
            return Poll::Pending;
        };
        let piece = piece?;
        self.turn_bytes += piece.len();
        if piece.len() < wanted {
            self.came_short();
        } else if wanted >= LEAST_BYTES {
            self.bytes = MOST_BYTES.min(self.bytes * 2);
        }
        Poll::Ready(Ok(piece))
    }

    fn poll_little(
        &mut self,
        socket: &mut Socket,
        wanted: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Bytes>> {
        self.room.reserve(wanted);
        let mut into = (&mut self.room).limit(wanted);
        let read = ready!(pin!(socket.read_buf(&mut into)).poll(cx))?;
        if read >= READ_BYTES {
            return Poll::Ready(Ok(self.room.split().freeze()));
        }
        let little = Bytes::copy_from_slice(&self.room);
        self.room = BytesMut::new();
        Poll::Ready(Ok(little))
    }

    /// Who waits holds no buffer.
    fn waits(&mut self) {
        self.room = BytesMut::new();
        self.turn_bytes = 0;
    }

    fn came_short(&mut self) {
        self.bytes = LEAST_BYTES.max(self.bytes / 2);
    }
}

fn poll_large(socket: &mut Socket, share: Share, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    let mut piece = BytesMut::with_capacity(share.bytes);
    let mut into = (&mut piece).limit(share.bytes);
    let read = ready!(pin!(socket.read_buf(&mut into)).poll(cx))?;
    if read < share.bytes / LEAST_SHARE {
        return Poll::Ready(Ok(Bytes::copy_from_slice(&piece)));
    }
    let large = Large {
        piece,
        _share: share,
    };
    Poll::Ready(Ok(Bytes::from_owner(large)))
}

#[cfg(test)]
mod tests;
