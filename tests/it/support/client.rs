//! A client that writes exactly what it is told and shows exactly what came back.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::PATIENCE;
use super::wire::{Body, Fields, read_head};

/// An answer, to the letter. Fields in the order and spelling of the wire.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub fields: Fields,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; fails the test when it is not.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e} in an answer {}: {}", self.status, self.text()))
    }
}

/// One connection.
pub struct Raw {
    stream: BufReader<TcpStream>,
    body: Body,
}

impl Raw {
    pub fn connect(to: SocketAddr) -> Self {
        Self::try_connect(to).unwrap_or_else(|e| panic!("connecting to {to}: {e}"))
    }

    pub fn try_connect(to: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(to)?)
    }

    /// Connects from this address, such as another one of loopback's. Linux alone has those.
    pub fn connect_from(from: impl Into<IpAddr>, to: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket
            .bind(&SocketAddr::new(from.into(), 0).into())
            .unwrap();
        socket.connect(&to.into()).unwrap();
        Self::over(socket.into()).unwrap()
    }

    fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: BufReader::new(stream),
            body: Body::Done,
        })
    }

    /// The client's own address.
    pub fn local_address(&self) -> SocketAddr {
        self.stream.get_ref().local_addr().unwrap()
    }

    /// Writes exactly these bytes.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// Writes these bytes, as far as the other side takes them.
    pub fn write_as_far_as_taken(&mut self, bytes: impl AsRef<[u8]>) {
        let _closed = self.stream.get_mut().write_all(bytes.as_ref());
    }

    /// Writes these bytes again and again until the other side has closed.
    pub fn write_until_closed(&mut self, bytes: impl AsRef<[u8]>) {
        while self.stream.get_mut().write_all(bytes.as_ref()).is_ok() {}
    }

    /// Writes a request with the address as its `Host`, the given fields and, unless it is empty, a body with its length.
    pub fn send(&mut self, method: &str, target: &str, fields: &[(&str, &str)], body: &[u8]) {
        let sent = self.try_send(method, target, fields, body);
        assert!(sent, "sending {method} {target}: the connection is closed");
    }

    /// The same; tells whether the connection still took it.
    pub fn try_send(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> bool {
        let mut text = format!("{method} {target} HTTP/1.1\r\n");
        if !fields.iter().any(|(n, _)| n.eq_ignore_ascii_case("host")) {
            let Ok(host) = self.stream.get_ref().peer_addr() else {
                return false;
            };
            text.push_str(&format!("host: {host}\r\n"));
        }
        for (name, value) in fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            text.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend(body);
        self.stream.get_mut().write_all(&bytes).is_ok()
    }

    /// Reads the head of an answer to a request with this method; its body stays to be read.
    pub fn try_read_head(&mut self, method: &str) -> io::Result<Answer> {
        let head = read_head(&mut self.stream)?;
        let (line, fields) = head.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = line.split(' ').nth(1).and_then(|s| s.parse().ok());
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        self.body = Body::of_answer(method, status, &fields);
        Ok(Answer {
            status,
            fields,
            body: Vec::new(),
        })
    }

    pub fn read_head(&mut self, method: &str) -> Answer {
        self.try_read_head(method)
            .unwrap_or_else(|e| panic!("reading an answer's head: {e}"))
    }

    /// The next piece of the body as it arrives; `None` at its proper end, an error when it is cut.
    pub fn try_read_piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.body.read_piece(&mut self.stream)
    }

    pub fn read_piece(&mut self) -> Option<Vec<u8>> {
        self.try_read_piece()
            .unwrap_or_else(|e| panic!("reading an answer's body: {e}"))
    }

    /// Reads the body until it holds `text`, and returns what was read.
    pub fn read_until(&mut self, text: &str) -> String {
        let mut read = String::new();
        while !read.contains(text) {
            let piece = self.read_piece();
            let piece = piece.unwrap_or_else(|| panic!("the body ended before {text:?}: {read:?}"));
            read.push_str(&String::from_utf8_lossy(&piece));
        }
        read
    }

    /// A whole answer to a request with this method.
    pub fn try_read(&mut self, method: &str) -> io::Result<Answer> {
        let mut answer = self.try_read_head(method)?;
        answer.body = self.body.read_all(&mut self.stream)?;
        Ok(answer)
    }

    pub fn read(&mut self, method: &str) -> Answer {
        self.try_read(method)
            .unwrap_or_else(|e| panic!("reading an answer: {e}"))
    }

    /// One request and its whole answer.
    pub fn ask(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.send(method, target, fields, body);
        self.read(method)
    }

    /// Exactly the next `count` bytes, whatever they are.
    pub fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Everything until the other side closes; a reset counts as a close.
    pub fn read_to_close(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Err(e) if e.kind() != io::ErrorKind::ConnectionReset => {
                panic!("waiting for a close: {e} after {} bytes", bytes.len())
            }
            _ => bytes,
        }
    }

    /// Whether the other side has closed without another byte; waits for either.
    pub fn is_closed(&mut self) -> bool {
        match self.stream.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(e) => e.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// The same, where the other side may have closed already.
    pub fn try_finish_writing(&mut self) {
        let _closed = self.stream.get_ref().shutdown(Shutdown::Write);
    }

    /// Says that nothing more will be written.
    pub fn finish_writing(&mut self) {
        self.stream.get_ref().shutdown(Shutdown::Write).unwrap();
    }
}

/// One GET on a connection of its own.
pub fn get(to: SocketAddr, target: &str) -> Answer {
    Raw::connect(to).ask("GET", target, &[("connection", "close")], b"")
}

/// One request on a connection of its own.
pub fn ask(
    to: SocketAddr,
    method: &str,
    target: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut fields = fields.to_vec();
    fields.push(("connection", "close"));
    Raw::connect(to).ask(method, target, &fields, body)
}
