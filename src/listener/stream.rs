//! The bytes of one connection from downstream, in and out.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::deadline::{Allowance, UsedUp};
use crate::model::Limit;

use super::connection::Connection;
use super::detect::Version;
use super::frames::Frames;
use super::linger::Lingering;
use super::screen::{Fault, Screen};
use super::transport::Transport;

/// The bytes of one connection: those that were read to tell the version, then the socket.
#[derive(Debug)]
pub struct ClientStream {
    first: Bytes,
    socket: Transport,
    connection: Rc<Connection>,
    /// There once bytes have waited for the client to read them.
    reading: Option<Box<Allowance>>,
    screen: Screen,
    /// What comes over HTTP/2 is counted.
    frames: Option<Box<Frames>>,
    ended: Ended,
    lingering: Option<Lingering>,
}

/// Whether more is read from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    No,
    /// What came is not passed on; the parser is told by a head that it refuses.
    InHead,
    /// What came is not passed on; the parser is told by a head without end.
    InLongHead,
    /// What came is not passed on; the reader of the body is told by an error.
    InBody,
}

/// What is passed on in place of the rest of a faulty head: no parser takes it for anything, and
/// none waits for more of it.
const SPOILT: &[u8] = b"\0\r\n\r\n";
/// What is passed on in place of the rest of a head that is too long, again and again: the
/// parser has the same bound, and says which answer that has.
const LONG: [u8; 1024] = [b'x'; 1024];

impl ClientStream {
    /// The stream that begins with `first`.
    pub fn new(
        (version, first): (Version, Bytes),
        socket: Transport,
        connection: Rc<Connection>,
    ) -> Self {
        let mut screen = Screen::new(connection.head_bounds());
        let mut frames = None;
        if version == Version::Http2 {
            screen.off();
            frames = Some(Box::new(Frames::new()));
        }
        Self {
            first,
            socket,
            connection,
            reading: None,
            screen,
            frames,
            ended: Ended::No,
            lingering: None,
        }
    }

    /// The connection as bytes that are no HTTP any more, the first of which are `early`; `None` when
    /// what came last was spoilt as a request.
    pub fn into_tunnel(mut self, early: Bytes) -> Option<Self> {
        if self.ended != Ended::No {
            return None;
        }
        self.screen.off();
        self.first = early;
        Some(self)
    }

    /// Closes the connection so that nobody takes it for an end.
    pub fn reset(self) -> io::Result<()> {
        SockRef::from(self.socket.socket()).set_linger(Some(Duration::ZERO))
    }

    /// What it is called where addresses are: `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        match self.socket {
            Transport::Plain(_) => "http",
            Transport::Tls(_) => "https",
        }
    }

    /// Looks at what was read behind `before`, and takes back what is part of no sound message.
    fn screened(&mut self, before: usize, into: &mut ReadBuf<'_>) -> io::Result<()> {
        let read = into.filled().get(before..).unwrap_or_default();
        let Err(fault) = self.screen.look(read) else {
            self.connection.in_head.set(self.screen.is_in_head());
            return Ok(());
        };
        self.connection.was_refused();
        match fault {
            Fault::Head(sound) => {
                count_malformed();
                self.ended = Ended::InHead;
                into.set_filled(before + sound);
                self.first = Bytes::from_static(SPOILT);
                self.take_first(into);
                Ok(())
            }
            Fault::Long(sound, limit) => {
                limit.hit();
                self.ended = Ended::InLongHead;
                into.set_filled(before + sound);
                lengthen(into);
                Ok(())
            }
            Fault::Body(sound) => {
                count_malformed();
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
        into.put_slice(&self.first.split_to(taken));
    }

    /// Reads on, for nothing, until the client has closed or the time is over.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let connection = &self.connection;
        let lingering = self.lingering.get_or_insert_with(|| {
            let mut lingering = connection.lingering();
            lingering.begin();
            lingering
        });
        let mut bytes = [0; 4096];
        lingering.poll(cx, |cx| {
            let mut into = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut self.socket).poll_read(cx, &mut into));
            let came = into.filled().len();
            Poll::Ready(read.ok().and((came > 0).then_some(came)))
        })
    }

    /// Gives a write up that the client leaves unread for too long.
    fn bounded(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = written {
            if let Ok(bytes) = written {
                if let Some(reading) = &mut self.reading {
                    reading.earn(bytes);
                }
                self.connection.taken(bytes);
            }
            return Poll::Ready(written);
        }
        let connection = &self.connection;
        let reading = self
            .reading
            .get_or_insert_with(|| Box::new(connection.reading()));
        match ready!(reading.poll_used_up(cx)) {
            UsedUp::Paused => Limit::ClientRead,
            UsedUp::TooSlow => Limit::ReadRate,
        }
        .hit();
        self.socket.forget_unread();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Looks at what was read behind `before`, by the rules of its version.
    fn came(&mut self, before: usize, into: &mut ReadBuf<'_>) -> io::Result<()> {
        let Some(frames) = &mut self.frames else {
            return self.screened(before, into);
        };
        let read = into.filled().get(before..).unwrap_or_default();
        let seen = frames.pass(read);
        self.connection.frames_came(read.len(), seen);
        Ok(())
    }
}

fn count_malformed() {
    metrics::counter!("switchback_malformed_requests_total").increment(1);
}

/// Makes a head longer by as much as there is room for.
fn lengthen(into: &mut ReadBuf<'_>) {
    let more = LONG.get(..into.remaining()).unwrap_or(&LONG);
    into.put_slice(more);
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
            Ended::InLongHead => {
                lengthen(into);
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
            return Poll::Ready(self.came(before, into));
        }
        if self.frames.is_some() && self.connection.has_had_its_turn() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(Pin::new(&mut self.socket).poll_read(cx, into))?;
        if self.frames.is_none() && into.filled().len() > before {
            self.connection.bytes_came();
        }
        Poll::Ready(self.came(before, into))
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
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        if flushed.is_ready() {
            self.connection.caught_up();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
            let may_close = self.ended == Ended::No && self.screen.may_close();
            if may_close && !self.connection.lingers() {
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_linger(cx).map(Ok)
    }
}
