//! What the worker knows of one connection from downstream, and its stream of bytes.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::deadline::{Deadline, Deadlines};
use crate::model::Limit;

use super::detect::Version;
use super::screen::{Fault, Screen};

/// Bounds on the silence of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Before the first byte.
    pub first_byte: Duration,
    /// From a head's first byte to its last.
    pub request_head: Duration,
    /// Between requests.
    pub keep_alive: Duration,
    /// While bytes wait for the client to read them.
    pub client_read: Duration,
}

/// One connection from downstream. Written by its own task, read by the worker's drain.
#[derive(Debug)]
pub struct Connection {
    /// The client's end.
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// Due when the connection has been silent for too long; fired to make it drain.
    pub deadline: Deadline,
    deadlines: Deadlines,
    limits: Limits,
    open_requests: Cell<u32>,
    /// No byte of the next head has come yet.
    between_heads: Cell<bool>,
    multiplexed: Cell<bool>,
    draining: Cell<bool>,
    closing: Cell<bool>,
}

impl Connection {
    /// A connection that has just been accepted; its first byte is awaited.
    pub fn new(peer: SocketAddr, local: SocketAddr, deadlines: &Deadlines, limits: Limits) -> Self {
        let deadline = deadlines.deadline();
        deadline.set(limits.first_byte);
        Self {
            peer,
            local,
            deadline,
            deadlines: deadlines.clone(),
            limits,
            open_requests: Cell::new(0),
            between_heads: Cell::new(false),
            multiplexed: Cell::new(false),
            draining: Cell::new(false),
            closing: Cell::new(false),
        }
    }

    /// The first bytes have come and told the version; the first head is awaited.
    pub fn begin(&self, multiplexed: bool) {
        self.multiplexed.set(multiplexed);
        self.wait(self.limits.request_head);
        if self.draining.get() {
            self.drain();
        }
    }

    /// A request's head is complete.
    pub fn request_begins(&self) {
        self.open_requests.set(self.open_requests.get() + 1);
        if !self.closing.get() {
            self.deadline.clear();
        }
    }

    /// A request's answer has been handed over, or given up.
    pub fn request_ends(&self) {
        let open = self.open_requests.get().saturating_sub(1);
        self.open_requests.set(open);
        if open == 0 {
            self.between_heads.set(true);
            self.wait(self.limits.keep_alive);
        }
    }

    /// The silence was too long, and the connection is closed: counts the bound that it ran into.
    /// That a connection has no more requests is no fault.
    pub fn expired(&self) {
        if !self.between_heads.get() {
            Limit::RequestHead.hit();
        }
    }

    /// Asks the client to leave, without closing anything under its hands. HTTP/2 has a frame
    /// for that, which is sent at once; in HTTP/1.1 the next answer says that it is the last
    /// ([`Connection::answers_last`]), since a request may be on its way already.
    pub fn drain(&self) {
        self.draining.set(true);
        if self.multiplexed.get() {
            self.close();
        }
    }

    /// Makes the connection end: now when it is idle, else after what is under way.
    pub fn close(&self) {
        self.draining.set(true);
        self.closing.set(true);
        self.deadline.fire();
    }

    /// Whether the client was asked to leave.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Whether the connection was told to end.
    pub fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// Whether an answer that begins now has to say that it is the connection's last.
    pub fn answers_last(&self) -> bool {
        self.draining.get() && !self.multiplexed.get()
    }

    /// Requests whose answers are not over.
    pub fn open_requests(&self) -> u32 {
        self.open_requests.get()
    }

    /// Due when the client has read nothing for too long.
    fn read_deadline(&self) -> Deadline {
        self.deadline_in(self.limits.client_read)
    }

    fn deadline_in(&self, time: Duration) -> Deadline {
        let deadline = self.deadlines.deadline();
        deadline.set(time);
        deadline
    }

    fn bytes_came(&self) {
        if !self.between_heads.get() {
            return;
        }
        if self.multiplexed.get() {
            // Control frames are no head: they only show that somebody is there.
            self.wait(self.limits.keep_alive);
            return;
        }
        self.between_heads.set(false);
        self.wait(self.limits.request_head);
    }

    /// Bounds the silence from now on; a close that was asked for must not be forgotten by it.
    fn wait(&self, at_most: Duration) {
        if !self.closing.get() {
            self.deadline.set(at_most);
        }
    }
}

/// The bytes of one connection: those that were read to tell the version, then the socket.
#[derive(Debug)]
pub struct ClientStream {
    first: Bytes,
    socket: TcpStream,
    connection: Rc<Connection>,
    /// There while bytes wait for the client to read them.
    unread: Option<Deadline>,
    screen: Screen,
    ended: Ended,
    lingering: Option<Lingering>,
}

/// Whether more is read from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    No,
    /// What came is not passed on; the parser is told by a head that it refuses.
    InHead,
    /// What came is not passed on; the reader of the body is told by an error.
    InBody,
}

/// What is passed on in place of the rest of a faulty head: no parser takes it for anything, and
/// none waits for more of it.
const SPOILT: &[u8] = b"\0\r\n\r\n";

/// How long, and for how many bytes, a client that is still sending may go on before its
/// connection is closed, so that what was written to it is not lost in a reset.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1024 * 1024;

/// A connection that is written to no more, waiting for the client to have read everything.
#[derive(Debug)]
struct Lingering {
    until: Deadline,
    left_bytes: usize,
}

impl ClientStream {
    /// The stream that begins with `first`.
    pub fn new(
        (version, first): (Version, Bytes),
        socket: TcpStream,
        connection: Rc<Connection>,
    ) -> Self {
        let mut screen = Screen::default();
        if version == Version::Http2 {
            screen.off();
        }
        Self {
            first,
            socket,
            connection,
            unread: None,
            screen,
            ended: Ended::No,
            lingering: None,
        }
    }

    /// Looks at what was read behind `before`, and takes back what is part of no sound message.
    fn screened(&mut self, before: usize, into: &mut ReadBuf<'_>) -> io::Result<()> {
        let read = into.filled().get(before..).unwrap_or_default();
        let Err(fault) = self.screen.look(read) else {
            return Ok(());
        };
        metrics::counter!("switchback_malformed_requests_total").increment(1);
        match fault {
            Fault::Head(sound) => {
                self.ended = Ended::InHead;
                into.set_filled(before + sound);
                self.first = Bytes::from_static(SPOILT);
                self.take_first(into);
                Ok(())
            }
            Fault::Body(sound) => {
                self.ended = Ended::InBody;
                into.set_filled(before + sound);
                if sound == 0 {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                Ok(())
            }
        }
    }

    fn take_first(&mut self, into: &mut ReadBuf<'_>) {
        let taken = self.first.len().min(into.remaining());
        into.put_slice(self.first.get(..taken).unwrap_or_default());
        self.first.advance(taken);
    }

    /// Reads on, for nothing, until the client has closed or the time is over.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let connection = &self.connection;
        let lingering = self.lingering.get_or_insert_with(|| Lingering {
            until: connection.deadline_in(LINGER),
            left_bytes: LINGER_BYTES,
        });
        let mut bytes = [0; 4096];
        while lingering.left_bytes > 0 {
            let mut into = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.socket).poll_read(cx, &mut into) {
                Poll::Ready(Ok(())) if !into.filled().is_empty() => {
                    lingering.left_bytes = lingering.left_bytes.saturating_sub(into.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return lingering.until.poll_passed(cx),
            }
        }
        Poll::Ready(())
    }

    /// Gives a write up that the client leaves unread for too long.
    fn bounded(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.unread = None;
            return written;
        }
        let connection = &self.connection;
        let unread = self
            .unread
            .get_or_insert_with(|| connection.read_deadline());
        unread.poll_passed(cx).map(|()| {
            Limit::ClientRead.hit();
            Err(io::ErrorKind::TimedOut.into())
        })
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        match self.ended {
            Ended::No => {}
            Ended::InHead => {
                self.take_first(into);
                return Poll::Ready(Ok(()));
            }
            Ended::InBody => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
        }
        if !self.first.is_empty() {
            self.take_first(into);
            // What is there already goes along: a reader that is given two dozen bytes first
            // makes its buffer twice as large for the rest. Whatever else there is to tell of the
            // socket, the next read tells.
            let _ = Pin::new(&mut self.socket).poll_read(cx, into);
            return Poll::Ready(self.screened(before, into));
        }
        std::task::ready!(Pin::new(&mut self.socket).poll_read(cx, into))?;
        if into.filled().len() > before {
            self.connection.bytes_came();
        }
        Poll::Ready(self.screened(before, into))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.bounded(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.bounded(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            std::task::ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
            if self.ended == Ended::No && self.screen.may_close() {
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_linger(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn connection(deadlines: &Deadlines) -> Connection {
        let limits = Limits {
            first_byte: Duration::from_secs(10),
            request_head: Duration::from_secs(10),
            keep_alive: Duration::from_secs(10),
            client_read: Duration::from_secs(10),
        };
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        Connection::new(address, address, deadlines, limits)
    }

    fn is_due(connection: &Connection, deadlines: &Deadlines) -> bool {
        deadlines.sweep();
        let cx = Context::from_waker(Waker::noop());
        connection.deadline.poll_passed(&cx).is_ready()
    }

    #[test]
    fn a_close_is_not_forgotten_when_the_first_bytes_come_after_it() {
        let deadlines = Deadlines::default();
        let connection = connection(&deadlines);
        connection.close();

        connection.begin(false);

        assert!(is_due(&connection, &deadlines));
    }

    #[test]
    fn a_drain_tells_http2_at_once_and_http1_with_its_next_answer() {
        for multiplexed in [false, true] {
            let deadlines = Deadlines::default();
            let connection = connection(&deadlines);
            connection.drain();

            connection.begin(multiplexed);

            assert_eq!(is_due(&connection, &deadlines), multiplexed);
            assert_eq!(connection.answers_last(), !multiplexed);
        }
    }

    #[test]
    fn requests_under_way_hold_a_drain_up_but_not_a_close() {
        let deadlines = Deadlines::default();
        let connection = connection(&deadlines);
        connection.begin(false);
        connection.request_begins();
        connection.drain();
        assert_eq!(
            (connection.open_requests(), is_due(&connection, &deadlines)),
            (1, false)
        );

        connection.close();

        assert!(is_due(&connection, &deadlines));
    }
}
