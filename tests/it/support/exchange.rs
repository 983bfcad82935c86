//! One request at a scripted backend, and everything the script may do with it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::Value;
use socket2::SockRef;

use super::wire::{Body, Fields, read_head};
use super::{PATIENCE, backend::Recorder};

/// What a backend was asked, to the letter.
#[derive(Clone, Debug)]
pub struct Request {
    /// Number of the connection it came on, counted from 0.
    pub connection: usize,
    pub method: String,
    pub target: String,
    pub version: String,
    pub fields: Fields,
    /// As much of the body as the script has read so far.
    pub body: Vec<u8>,
}

impl Request {
    /// The body as JSON; null when it is not.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One request on the wire. Scripts call what they want to happen, in order; what fails because
/// the other side has left is not an error of the script.
pub struct Exchange {
    pub request: Request,
    stream: BufReader<TcpStream>,
    body: Body,
    state: State,
    recorder: Recorder,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Unanswered,
    Chunking,
    Answered,
    Closed,
}

impl Exchange {
    /// Reads the next request's head; `None` when the connection ended.
    pub(super) fn read(
        mut stream: BufReader<TcpStream>,
        connection: usize,
        recorder: Recorder,
    ) -> io::Result<Option<Self>> {
        let Some((line, fields)) = read_head(&mut stream)? else {
            return Ok(None);
        };
        let mut words = line.split(' ').map(str::to_owned);
        let mut word = || words.next().unwrap_or_default();
        let request = Request {
            connection,
            method: word(),
            target: word(),
            version: word(),
            body: Vec::new(),
            fields,
        };
        let body = Body::of_request(&request.fields);
        recorder.arrived(&request);
        Ok(Some(Self {
            request,
            stream,
            body,
            state: State::Unanswered,
            recorder,
        }))
    }

    /// The whole body.
    pub fn read_body(&mut self) -> &[u8] {
        while self.read_piece().is_some() {}
        &self.request.body
    }

    /// The next piece of the body as it arrives; `None` at its end or when it breaks.
    pub fn read_piece(&mut self) -> Option<Vec<u8>> {
        let piece = self.body.read_piece(&mut self.stream);
        match piece {
            Ok(Some(piece)) => {
                self.request.body.extend(&piece);
                self.recorder.grew(&self.request);
                Some(piece)
            }
            Ok(None) => None,
            Err(_) => {
                self.state = State::Closed;
                None
            }
        }
    }

    /// The next bytes on the connection, whatever they are; `None` at its end.
    pub fn read_bytes(&mut self) -> Option<Vec<u8>> {
        let bytes = self.stream.fill_buf().ok()?.to_vec();
        self.stream.consume(bytes.len());
        (!bytes.is_empty()).then_some(bytes)
    }

    /// A whole answer with its length.
    pub fn answer(&mut self, status: u16, fields: &[(&str, &str)], body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        let length = body.len().to_string();
        let mut fields = fields.to_vec();
        if status != 204 && status != 304 && status >= 200 {
            fields.push(("content-length", &length));
        }
        let mut bytes = head(status, &fields);
        if self.request.method != "HEAD" {
            bytes.extend(body);
        }
        self.raw(bytes);
        if status >= 200 {
            self.finished();
        }
    }

    /// The same with a JSON body.
    pub fn answer_json(&mut self, fields: &[(&str, &str)], body: &Value) {
        let mut fields = fields.to_vec();
        fields.push(("content-type", "application/json"));
        self.answer(200, &fields, body.to_string());
    }

    /// The head of an answer whose body follows in chunks.
    pub fn begin(&mut self, status: u16, fields: &[(&str, &str)]) {
        let mut fields = fields.to_vec();
        fields.push(("transfer-encoding", "chunked"));
        self.raw(head(status, &fields));
        if self.state != State::Closed {
            self.state = State::Chunking;
        }
    }

    /// The head of an event stream.
    pub fn begin_events(&mut self, fields: &[(&str, &str)]) {
        let mut fields = fields.to_vec();
        fields.push(("content-type", "text/event-stream"));
        fields.push(("cache-control", "no-store"));
        self.begin(200, &fields);
    }

    /// One chunk, written at once.
    pub fn chunk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
        framed.extend(bytes);
        framed.extend(b"\r\n");
        self.raw(framed);
    }

    /// One event, written at once.
    pub fn event(&mut self, data: impl AsRef<str>) {
        self.chunk(format!("data: {}\n\n", data.as_ref()));
    }

    /// The end of a body that came in chunks.
    pub fn end(&mut self) {
        self.raw("0\r\n\r\n");
        self.finished();
    }

    /// Exactly these bytes.
    pub fn raw(&mut self, bytes: impl AsRef<[u8]>) {
        if self.state == State::Closed {
            return;
        }
        let mut socket = self.stream.get_ref();
        if socket.write_all(bytes.as_ref()).is_err() {
            self.state = State::Closed;
        }
    }

    /// Says that raw bytes were a whole answer, so that the connection may go on.
    pub fn finished(&mut self) {
        if self.state != State::Closed {
            self.state = State::Answered;
        }
    }

    /// Closes the connection now, in the middle of whatever it is in.
    pub fn cut(&mut self) {
        let _unused = self.stream.get_ref().shutdown(Shutdown::Both);
        self.state = State::Closed;
    }

    /// Closes the connection with a reset.
    pub fn reset(&mut self) {
        let socket = SockRef::from(self.stream.get_ref());
        let _unused = socket.set_linger(Some(std::time::Duration::ZERO));
        self.state = State::Closed;
    }

    /// Whether a write has found the connection closed, or the script closed it.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Waits until the other side closes or resets; false when it did not within the bound.
    pub fn wait_for_close(&mut self) -> bool {
        let socket = self.stream.get_ref();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => !matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ),
        }
    }

    /// Gives the connection back when another request may follow on it.
    pub(super) fn into_next(mut self) -> Option<BufReader<TcpStream>> {
        if self.state == State::Answered {
            self.read_body();
        }
        let goes_on = self.state == State::Answered && !self.request.fields.closes();
        goes_on.then_some(self.stream)
    }
}

fn head(status: u16, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} Scripted\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}
