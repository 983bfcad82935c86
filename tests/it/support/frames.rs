//! HTTP/2 as frames: a client that can send anything, with heads written by hand.
//!
//! Fields go out as literals without indexing and without Huffman coding (RFC 7541, 6.2.2), so
//! that a test can write any byte anywhere. Of what comes back only the status is decoded.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// How a client's connection begins (RFC 9113, 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames (RFC 9113, 6).
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub mod flag {
    pub const END_STREAM: u8 = 0x1;
    pub const ACK: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
}

/// Error codes (RFC 9113, 7).
pub mod code {
    pub const NO_ERROR: u32 = 0;
    pub const PROTOCOL_ERROR: u32 = 1;
    pub const STREAM_CLOSED: u32 = 5;
    pub const REFUSED_STREAM: u32 = 7;
    pub const CANCEL: u32 = 8;
    pub const ENHANCE_YOUR_CALM: u32 = 11;
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            kind,
            flags,
            stream,
            payload: payload.into(),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.payload.len().to_be_bytes()[5..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// The number at the payload's end-most place where this kind of frame has its error code.
    fn error_code(&self) -> u32 {
        let at = if self.kind == kind::GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// A field block of literals, whatever the bytes.
pub fn block<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name.as_ref(), value.as_ref()] {
            integer(text.len(), &mut block);
            block.extend(text);
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541, 5.1).
fn integer(mut value: usize, into: &mut Vec<u8>) {
    if value < 127 {
        into.push(value as u8);
        return;
    }
    into.push(127);
    value -= 127;
    while value >= 128 {
        into.push((value % 128) as u8 | 128);
        value /= 128;
    }
    into.push(value as u8);
}

/// The fields of an ordinary request, to which a test adds its own.
pub fn request(method: &str, path: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let fields = [
        (":method", method),
        (":scheme", "http"),
        (":authority", "h"),
        (":path", path),
    ];
    let owned = fields.map(|(name, value)| (name.into(), value.into()));
    owned.to_vec()
}

/// What became of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The status of the final head.
    pub status: Option<u16>,
    pub body: Vec<u8>,
    /// The stream's end was reached.
    pub ended: bool,
    /// The code of the frame that reset the stream.
    pub reset: Option<u32>,
    /// The code of the frame that ended the connection.
    pub goaway: Option<u32>,
    /// The connection closed.
    pub closed: bool,
}

impl Reply {
    /// Whether the request was refused, in whatever way HTTP/2 has for it.
    pub fn is_refused(&self) -> bool {
        self.reset.is_some()
            || self.goaway.is_some_and(|code| code != code::NO_ERROR)
            || self.status == Some(400)
    }
}

/// One connection that speaks in frames.
pub struct Frames {
    stream: TcpStream,
    /// Nothing that comes is ever acknowledged.
    is_mute: bool,
}

impl Frames {
    /// Connects and says hello: preface, and settings that switch the dynamic table off.
    pub fn connect(to: SocketAddr) -> Self {
        let mut frames = Self::connect_silently(to);
        frames.write(PREFACE);
        frames.send(&Frame::new(kind::SETTINGS, 0, 0, [0, 1, 0, 0, 0, 0]));
        frames
    }

    /// The same, and never acknowledges anything.
    pub fn connect_mutely(to: SocketAddr) -> Self {
        let mut frames = Self::connect(to);
        frames.is_mute = true;
        frames
    }

    /// Connects and says nothing.
    pub fn connect_silently(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            is_mute: false,
        }
    }

    /// Writes exactly these bytes; whether the other side has left shows when it is read from.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    pub fn send(&mut self, frame: &Frame) -> bool {
        self.write(frame.bytes())
    }

    /// A head in one frame.
    pub fn head<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        stream: u32,
        fields: &[(N, V)],
        flags: u8,
    ) -> bool {
        let flags = flags | flag::END_HEADERS;
        self.send(&Frame::new(kind::HEADERS, flags, stream, block(fields)))
    }

    pub fn data(&mut self, stream: u32, bytes: impl AsRef<[u8]>, flags: u8) -> bool {
        self.send(&Frame::new(kind::DATA, flags, stream, bytes.as_ref()))
    }

    /// The next frame; `None` once the connection is closed or reset.
    pub fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.read_exact(&mut head)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        self.read_exact(&mut payload)?;
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap()) & 0x7fff_ffff;
        Some(Frame::new(head[3], head[4], stream, payload))
    }

    fn read_exact(&mut self, into: &mut [u8]) -> Option<()> {
        match self.stream.read_exact(into) {
            Ok(()) => Some(()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => panic!("no frame in {PATIENCE:?}"),
            Err(_) => None,
        }
    }

    /// Reads until it is clear what became of a stream; settings and pings are acknowledged.
    pub fn reply(&mut self, stream: u32) -> Reply {
        let mut reply = Reply::default();
        while !reply.ended && reply.reset.is_none() {
            let Some(frame) = self.read() else {
                reply.closed = true;
                break;
            };
            self.acknowledge(&frame);
            reply.take(&frame, stream);
        }
        reply
    }

    /// Reads until the connection is closed, and tells the code of its end.
    pub fn read_to_close(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.read() {
            self.acknowledge(&frame);
            if frame.kind == kind::GOAWAY {
                code = Some(frame.error_code());
            }
        }
        code
    }

    fn acknowledge(&mut self, frame: &Frame) {
        let answers = matches!(frame.kind, kind::SETTINGS | kind::PING);
        if answers && !frame.has(flag::ACK) && !self.is_mute {
            let payload = match frame.kind {
                kind::PING => frame.payload.clone(),
                _ => Vec::new(),
            };
            self.send(&Frame::new(frame.kind, flag::ACK, 0, payload));
        }
    }

    /// One request in one frame or two, and what became of it.
    pub fn ask<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        stream: u32,
        fields: &[(N, V)],
        body: &[u8],
    ) -> Reply {
        if body.is_empty() {
            self.head(stream, fields, flag::END_STREAM);
        } else {
            self.head(stream, fields, 0);
            self.data(stream, body, flag::END_STREAM);
        }
        self.reply(stream)
    }
}

impl Reply {
    fn take(&mut self, frame: &Frame, stream: u32) {
        if frame.kind == kind::GOAWAY {
            self.goaway = Some(frame.error_code());
        }
        if frame.stream != stream {
            return;
        }
        match frame.kind {
            kind::HEADERS if self.status.is_none_or(|status| status < 200) => {
                self.status = Some(status(&frame.payload));
            }
            kind::DATA => self.body.extend(&frame.payload),
            kind::RST_STREAM => self.reset = Some(frame.error_code()),
            _ => {}
        }
        self.ended |=
            matches!(frame.kind, kind::HEADERS | kind::DATA) && frame.has(flag::END_STREAM);
    }
}

/// The status that a field block begins with.
fn status(block: &[u8]) -> u16 {
    let statuses = [200, 204, 206, 304, 400, 404, 500];
    // The dynamic table is off, but a first head may begin with the change of its size.
    let block = &block[usize::from(block[0] >> 5 == 1)..];
    if let at @ 8..=14 = block[0] & 0x7f
        && block[0] & 0x80 != 0
    {
        return statuses[usize::from(at - 8)];
    }
    let length = usize::from(block[1] & 0x7f);
    let text = &block[2..2 + length];
    let digits = if block[1] & 0x80 == 0 {
        text.to_vec()
    } else {
        huffman_digits(text)
    };
    String::from_utf8(digits).unwrap().parse().unwrap()
}

/// Three digits in Huffman's code: 0 to 2 have five bits, the others six (RFC 7541, B).
fn huffman_digits(text: &[u8]) -> Vec<u8> {
    let mut bits = text
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1));
    let mut digits = Vec::new();
    while digits.len() < 3 {
        let five = (0..5).fold(0, |code, _| code << 1 | bits.next().unwrap());
        digits.push(match five {
            0..=2 => b'0' + five,
            _ => b'3' + (five << 1 | bits.next().unwrap()) - 25,
        });
    }
    digits
}
