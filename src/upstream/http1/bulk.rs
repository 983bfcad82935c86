//! Bodies of which much comes are read without copying.
//!
//! Reading and writing cost by the call more than by the byte, so more is read at a time while as much
//! comes and the client takes it. Of one who takes it slowly no more is held than the least.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::AsyncReadExt;

use crate::upstream::socket::Socket;

use super::scratch::READ_BYTES;

/// Bytes that are read at a time at first.
pub(super) const LEAST_BYTES: usize = 64 * 1024;
/// Most bytes that are read at a time.
pub(super) const MOST_BYTES: usize = 512 * 1024;
/// A piece is passed on as it is when it takes up so much of the room that was made for it: a
/// quarter. Whoever holds a smaller one would hold all of that.
const LEAST_SHARE: usize = 4;

/// What bodies are read into.
#[derive(Debug)]
pub(super) struct Bulk {
    room: BytesMut,
    /// How much is read at a time.
    bytes: usize,
    /// The last read brought as much.
    is_filled: bool,
}

impl Bulk {
    /// Holds nothing yet.
    pub(super) fn new() -> Self {
        Self {
            room: BytesMut::new(),
            bytes: LEAST_BYTES,
            is_filled: false,
        }
    }

    fn let_go(&mut self) {
        self.room = BytesMut::new();
    }

    /// Reads up to so many bytes, and no more than are read at a time; none at the end.
    ///
    /// # Errors
    /// As the socket has them.
    pub(super) fn poll_read(
        &mut self,
        socket: &mut Socket,
        most: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Bytes>> {
        if std::mem::take(&mut self.is_filled) {
            self.adapt();
        }
        let most = most.min(self.bytes);
        self.room.reserve(most);
        let mut into = (&mut self.room).limit(most);
        let Poll::Ready(read) = pin!(socket.read_buf(&mut into)).poll(cx) else {
            // Who waits holds no buffer.
            self.let_go();
            self.came_short();
            return Poll::Pending;
        };
        let read = read?;
        self.is_filled = read == self.bytes;
        if read < most {
            self.came_short();
        }
        if read >= READ_BYTES && read >= most / LEAST_SHARE {
            return Poll::Ready(Ok(self.room.split().freeze()));
        }
        let little = Bytes::copy_from_slice(&self.room);
        self.let_go();
        Poll::Ready(Ok(little))
    }

    /// More at a time when the last piece has been taken by now, which is seen by its room being free;
    /// little when it has not.
    fn adapt(&mut self) {
        self.bytes = if self.room.try_reclaim(self.bytes) {
            self.let_go();
            MOST_BYTES.min(self.bytes * 2)
        } else {
            LEAST_BYTES
        };
    }

    fn came_short(&mut self) {
        self.bytes = LEAST_BYTES.max(self.bytes / 2);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    use super::*;

    const WHOLE_BYTES: usize = 8 * 1024 * 1024;

    /// Reads what somebody writes as quickly as it can; what is made of each piece.
    async fn pieces<T>(mut take: impl FnMut(Bytes) -> T) -> Vec<T> {
        let (mut here, ours) = UnixStream::pair().unwrap();
        let (mut socket, mut bulk) = (Socket::Unix(ours), Bulk::new());
        let writer = tokio::spawn(async move { here.write_all(&vec![7; WHOLE_BYTES]).await });
        let (mut taken, mut read_bytes) = (Vec::new(), 0);
        loop {
            let read = poll_fn(|cx| bulk.poll_read(&mut socket, usize::MAX, cx)).await;
            let piece = read.unwrap();
            assert!(piece.iter().all(|byte| *byte == 7));
            if piece.is_empty() {
                break;
            }
            read_bytes += piece.len();
            taken.push(take(piece));
        }
        writer.await.unwrap().unwrap();
        assert_eq!(read_bytes, WHOLE_BYTES);
        taken
    }

    #[tokio::test]
    async fn more_is_read_at_a_time_while_it_is_taken() {
        let lengths = pieces(|piece| piece.len()).await;

        let longest = lengths.into_iter().max().unwrap();
        assert!(
            (LEAST_BYTES + 1..=MOST_BYTES).contains(&longest),
            "{longest}"
        );
    }

    #[tokio::test]
    async fn no_more_is_read_at_a_time_while_nothing_is_taken() {
        let held = pieces(|piece| piece).await;

        assert!(held.iter().all(|piece| piece.len() <= LEAST_BYTES));
    }

    #[tokio::test]
    async fn no_more_is_read_than_is_asked_for() {
        let (mut here, ours) = UnixStream::pair().unwrap();
        let (mut socket, mut bulk) = (Socket::Unix(ours), Bulk::new());
        here.write_all(&[7; 30_000]).await.unwrap();

        for most in [1, 16_384, 8_192, 5_423] {
            let read = poll_fn(|cx| bulk.poll_read(&mut socket, most, cx)).await;
            assert_eq!(read.unwrap().len(), most);
        }
        assert!(
            poll_fn(|cx| Poll::Ready(bulk.poll_read(&mut socket, 1, cx)))
                .await
                .is_pending()
        );
        assert_eq!(bulk.room.capacity(), 0);
    }
}
