//! What an HTTP/2 backend may say besides answering.
//!
//! The library that speaks the protocol answers every PING, takes every SETTINGS and steps over
//! every interim answer for as long as they come, and the worker does nothing else meanwhile. Here
//! is counted what brings no answer forward; what is sent earns more of it, and so does time. A
//! backend that uses it up loses the connection. Payloads are stepped over, never read.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Length of what every frame begins with (RFC 9113, 4.1).
const HEAD_BYTES: usize = 9;
/// What a connection begins with that is written (RFC 9113, 3.4).
const PREFACE_BYTES: usize = 24;
/// Frames that a backend may send for each frame of a request.
const FRAMES_A_FRAME: u32 = 4;
/// A frame of this length costs as much as two.
const LONG_BYTES: usize = 1024;
/// The part of the whole that a second brings back.
const PART_A_SECOND: f64 = 0.1;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 0x1;

/// A connection to a backend whose frames are counted.
#[derive(Debug)]
pub(super) struct Chatter<S> {
    socket: S,
    read: Frames,
    written: Frames,
    /// Frames that may still come, and the most of them.
    left: u32,
    most: u32,
    earned_at: Instant,
    /// When anything came last.
    heard: Rc<Cell<Instant>>,
}

impl<S> Chatter<S> {
    /// A connection of which nothing has passed, and which may bring `most` such frames at once.
    pub(super) fn new(socket: S, most: u32) -> Self {
        Self {
            socket,
            read: Frames::default(),
            written: Frames {
                payload_left: PREFACE_BYTES,
                ..Frames::default()
            },
            left: most,
            most,
            earned_at: Instant::now(),
            heard: Rc::new(Cell::new(Instant::now())),
        }
    }

    /// When anything came last, now and later.
    pub(super) fn heard(&self) -> Rc<Cell<Instant>> {
        Rc::clone(&self.heard)
    }

    /// Whether what has come may come.
    fn pay(&mut self, cost: u32) -> bool {
        if cost > self.left {
            // The clock is asked only here: hardly any connection ever comes so far.
            let now = Instant::now();
            let passed = now.duration_since(self.earned_at).as_secs_f64();
            self.earned_at = now;
            self.earn((passed * PART_A_SECOND * f64::from(self.most)) as u32);
        }
        let left = self.left.checked_sub(cost);
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    fn earn(&mut self, frames: u32) {
        self.left = self.left.saturating_add(frames).min(self.most);
    }

    /// These bytes were written.
    fn wrote(&mut self, bytes: &[u8]) {
        let mut asked = 0u32;
        self.written.pass(bytes, |frame| {
            asked += u32::from(matches!(frame.kind, DATA | HEADERS));
        });
        if asked > 0 {
            self.earn(asked.saturating_mul(FRAMES_A_FRAME));
        }
    }
}

/// Follows the frames of one direction over pieces of any size.
#[derive(Debug, Default)]
struct Frames {
    payload_left: usize,
    head: [u8; HEAD_BYTES],
    head_length: usize,
}

/// What a frame begins with, as far as it matters.
struct FrameHead {
    kind: u8,
    flags: u8,
    length: usize,
}

impl FrameHead {
    /// What the frame costs: nothing if it brings an answer forward.
    fn cost(&self) -> u32 {
        if self.kind == DATA {
            return u32::from(self.length == 0 && self.flags & END_STREAM == 0);
        }
        1 + (self.length / LONG_BYTES) as u32
    }
}

impl Frames {
    /// The next bytes; `begun` is told of every frame that begins in them.
    fn pass(&mut self, mut bytes: &[u8], mut begun: impl FnMut(FrameHead)) {
        while !bytes.is_empty() {
            let skipped = self.payload_left.min(bytes.len());
            self.payload_left -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let wanted = HEAD_BYTES - self.head_length;
            let (more, rest) = bytes.split_at(wanted.min(bytes.len()));
            let upto = self.head_length + more.len();
            if let Some(place) = self.head.get_mut(self.head_length..upto) {
                place.copy_from_slice(more);
            }
            self.head_length = upto;
            bytes = rest;
            if self.head_length == HEAD_BYTES {
                self.head_length = 0;
                let [high, middle, low, kind, flags, ..] = self.head;
                let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                self.payload_left = length;
                begun(FrameHead {
                    kind,
                    flags,
                    length,
                });
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Chatter<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, into))?;
        self.heard.set(Instant::now());
        let mut cost = 0u32;
        let come = into.filled().get(before..).unwrap_or_default();
        self.read
            .pass(come, |frame| cost = cost.saturating_add(frame.cost()));
        if cost == 0 || self.pay(cost) {
            return Poll::Ready(Ok(()));
        }
        metrics::counter!("switchback_upstream_floods_total").increment(1);
        into.set_filled(before);
        let message = "too many frames that bring no answer forward";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, message)))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Chatter<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.socket).poll_write(cx, bytes))?;
        self.wrote(bytes.get(..written).unwrap_or(bytes));
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.socket).poll_write_vectored(cx, pieces))?;
        let mut left = written;
        for piece in pieces {
            let part = piece.get(..left.min(piece.len())).unwrap_or_default();
            left -= part.len();
            self.wrote(part);
        }
        Poll::Ready(Ok(written))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PING: u8 = 6;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![(length >> 16) as u8, (length >> 8) as u8, length as u8];
        bytes.extend([kind, flags, 0, 0, 0, 1]);
        bytes.extend(vec![0xff; length]);
        bytes
    }

    fn cost(bytes: &[u8], size: usize) -> u32 {
        let (mut frames, mut cost) = (Frames::default(), 0);
        for piece in bytes.chunks(size) {
            frames.pass(piece, |frame| cost += frame.cost());
        }
        cost
    }

    #[test]
    fn frames_cost_the_same_however_they_are_read() {
        let bytes = [
            frame(HEADERS, 4, 30),
            frame(DATA, 0, 9000),
            frame(PING, 0, 8),
            frame(DATA, 0, 0),
            frame(DATA, END_STREAM, 0),
            frame(200, 0, 4096),
        ]
        .concat();

        for size in [1, 2, 9, 10, 4000, bytes.len()] {
            assert_eq!(cost(&bytes, size), 1 + 1 + 1 + 5, "in reads of {size}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_and_time_bring_more() {
        let mut chatter = Chatter::new((), 40);
        assert!(chatter.pay(40) && !chatter.pay(1));

        chatter.wrote(&[&[0; PREFACE_BYTES][..], &frame(4, 0, 6)].concat());
        assert!(!chatter.pay(1), "settings earn nothing");
        chatter.wrote(&[frame(HEADERS, 4, 20), frame(DATA, 1, 5)].concat());
        assert!(chatter.pay(8) && !chatter.pay(1));

        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(chatter.pay(8) && !chatter.pay(1));
    }
}
