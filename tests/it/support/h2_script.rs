//! A backend that speaks HTTP/2 in frames written by hand, so that a script can do what no library
//! would. It reads requests whole and does not look into their fields.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::frames::{Frame, PREFACE, block, flag, kind};
use super::gate::Board;

/// What the script does with each request: numbers of connection and request, both from 0, and
/// the stream that it came on.
pub type Script = dyn Fn(&mut Line, usize) + Send + Sync;

/// A scripted backend; its threads end with their connections.
pub struct H2Script {
    pub address: SocketAddr,
    seen: Arc<Board<Seen>>,
    is_full: Arc<AtomicBool>,
}

/// What came so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub connections: usize,
    pub requests: usize,
}

/// One connection while a request is answered.
pub struct Line {
    pub stream: u32,
    socket: TcpStream,
    closed: bool,
}

impl H2Script {
    pub fn start(script: impl Fn(&mut Line, usize) + Send + Sync + 'static) -> Self {
        Self::start_with(Vec::new(), script)
    }

    /// The same with settings of its own: numbers and values.
    pub fn start_with(
        settings: Vec<(u16, u32)>,
        script: impl Fn(&mut Line, usize) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Board<Seen>>::default();
        let script: Arc<Script> = Arc::new(script);
        let board = Arc::clone(&seen);
        let is_full = Arc::<AtomicBool>::default();
        let closes = Arc::clone(&is_full);
        let mut payload = Vec::new();
        for (number, value) in settings {
            payload.extend(number.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                board.change(|seen| seen.connections += 1);
                if closes.load(Ordering::Relaxed) {
                    continue;
                }
                let (script, board, payload) = (script.clone(), board.clone(), payload.clone());
                thread::spawn(move || serve(socket, &payload, &*script, &board));
            }
        });
        Self {
            address,
            seen,
            is_full,
        }
    }

    /// Closes every connection that comes from now on, or no more.
    pub fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn seen(&self) -> Seen {
        self.seen.read(Clone::clone)
    }

    /// Waits until so much has come.
    pub fn wait_for(&self, what: &str, fact: impl Fn(&Seen) -> bool) {
        self.seen.wait_until(what, |seen| fact(seen).then_some(()));
    }
}

impl Line {
    /// Writes these bytes; whether the other side still takes them.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.closed |= self.socket.write_all(bytes.as_ref()).is_err();
        !self.closed
    }

    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> bool {
        self.write(Frame::new(kind, flags, stream, payload).bytes())
    }

    /// A head on the request's stream.
    pub fn head(&mut self, fields: &[(&str, &str)], flags: u8) -> bool {
        let flags = flags | flag::END_HEADERS;
        self.send(kind::HEADERS, flags, self.stream, block(fields))
    }

    pub fn data(&mut self, bytes: &str, flags: u8) -> bool {
        self.send(kind::DATA, flags, self.stream, bytes)
    }

    pub fn reset(&mut self, code: u32) -> bool {
        self.send(kind::RST_STREAM, 0, self.stream, code.to_be_bytes())
    }

    /// Says that the connection ends with this stream.
    pub fn go_away(&mut self, last: u32, code: u32) -> bool {
        let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
        self.send(kind::GOAWAY, 0, 0, payload)
    }

    /// A whole answer.
    pub fn fine(&mut self) {
        self.head(&[(":status", "200")], 0);
        self.data("fine", flag::END_STREAM);
    }

    pub fn close(&mut self) {
        let _unused = self.socket.shutdown(std::net::Shutdown::Both);
        self.closed = true;
    }
}

fn serve(mut socket: TcpStream, settings: &[u8], script: &Script, seen: &Board<Seen>) {
    let mut preface = [0; PREFACE.len()];
    let hello = Frame::new(kind::SETTINGS, 0, 0, settings).bytes();
    if socket.read_exact(&mut preface).is_err() || socket.write_all(&hello).is_err() {
        return;
    }
    let mut line = Line {
        stream: 0,
        socket,
        closed: false,
    };
    while !line.closed {
        let Some(frame) = read(&mut line.socket) else {
            return;
        };
        let answers = matches!(frame.kind, kind::SETTINGS | kind::PING);
        if answers && frame.flags & flag::ACK == 0 {
            let payload = match frame.kind {
                kind::PING => frame.payload,
                _ => Vec::new(),
            };
            line.send(frame.kind, flag::ACK, 0, payload);
            continue;
        }
        let is_request = matches!(frame.kind, kind::HEADERS | kind::DATA);
        if is_request && frame.flags & flag::END_STREAM != 0 {
            line.stream = frame.stream;
            let number = seen.change(|seen| {
                seen.requests += 1;
                seen.requests - 1
            });
            script(&mut line, number);
        }
    }
}

fn read(socket: &mut TcpStream) -> Option<Frame> {
    let mut head = [0; 9];
    socket.read_exact(&mut head).ok()?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let mut payload = vec![0; length];
    socket.read_exact(&mut payload).ok()?;
    let stream = u32::from_be_bytes(head[5..].try_into().unwrap()) & 0x7fff_ffff;
    Some(Frame::new(head[3], head[4], stream, payload))
}
