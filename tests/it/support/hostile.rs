//! Bytes in, and everything that came of them: the answers, and what a backend saw.

use super::client::Raw;
use super::frames::{self, Frames};
use super::gateway::Gateway;
use super::mirror::Mirror;
use super::routes::through;
use super::strict::Message;
use super::wire::{Body, Fields, read_head};

/// A gateway of one worker before a mirror.
pub struct House {
    pub mirror: Mirror,
    pub gateway: Gateway,
}

/// What came of some bytes.
#[derive(Debug)]
pub struct Came {
    /// The status lines and fields of the answers, in their order.
    pub answers: Vec<Told>,
    /// What the backend got whole.
    pub messages: Vec<Message>,
    /// What the backend got of messages that broke off.
    pub broken: Vec<Vec<u8>>,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Told {
    pub line: String,
    pub status: u16,
    pub fields: Fields,
    pub body: Vec<u8>,
}

/// A request behind others, to show that it is read as one: the last on its connection.
pub const LAST: &str = "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

impl House {
    pub fn new() -> Self {
        Self::with("")
    }

    /// With more lines of configuration.
    pub fn with(more: &str) -> Self {
        let mirror = Mirror::start();
        let config = format!("{}{more}", through(&mirror.url()));
        let gateway = Gateway::start_with_workers(1, &config);
        Self { mirror, gateway }
    }

    /// Writes these pieces on a new connection, says that nothing more comes, and reads to the
    /// close.
    pub fn send<P: AsRef<[u8]>>(&self, pieces: &[P]) -> Came {
        let mut raw = self.gateway.connect();
        for piece in pieces {
            raw.write_as_far_as_taken(piece);
        }
        self.came(&mut raw)
    }

    /// The same, but the connection stays open for writing: the gateway has to close it.
    pub fn hold<P: AsRef<[u8]>>(&self, pieces: &[P]) -> Came {
        let mut raw = self.gateway.connect();
        for piece in pieces {
            raw.write_as_far_as_taken(piece);
        }
        let bytes = raw.read_to_close();
        self.seen(&bytes)
    }

    /// A number on the page of metrics, by its name without the prefix; zero when it is not there.
    pub fn count(&self, name: &str) -> usize {
        let name = format!("switchback_{name} ");
        let page = self.gateway.admin.text("/metrics");
        let line = page.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |number| number.parse().unwrap())
    }

    fn came(&self, raw: &mut Raw) -> Came {
        raw.try_finish_writing();
        let bytes = raw.read_to_close();
        self.seen(&bytes)
    }

    fn seen(&self, bytes: &[u8]) -> Came {
        let (messages, broken) = self.mirror.take();
        Came {
            answers: answers(bytes),
            messages,
            broken,
        }
    }

    /// Bytes that are refused: one answer with this status, which says that it is the last, a
    /// close that the client need not help with, and not a byte for the backend.
    pub fn refuses(&self, bytes: impl AsRef<[u8]>, statuses: &[u16]) {
        let shown = String::from_utf8_lossy(bytes.as_ref()).into_owned();
        // What stands behind a refused request is never read as one.
        let came = self.hold(&[bytes.as_ref(), LAST.as_bytes()]);
        let [answer] = &came.answers[..] else {
            panic!("not one answer to {shown:?}: {came:?}");
        };
        assert!(statuses.contains(&answer.status), "{shown:?}: {came:?}");
        assert!(answer.fields.closes(), "{shown:?}: {came:?}");
        let untouched = came.messages.is_empty() && came.broken.is_empty();
        assert!(untouched, "{shown:?} reached the backend: {came:?}");
    }

    /// Bytes whose head is fine and whose body is not: nothing whole reaches the backend, and
    /// what stands behind is not read as a request.
    pub fn cuts(&self, bytes: impl AsRef<[u8]>) {
        let shown = String::from_utf8_lossy(bytes.as_ref()).into_owned();
        let came = self.hold(&[bytes.as_ref(), LAST.as_bytes()]);
        let [answer] = &came.answers[..] else {
            panic!("not one answer to {shown:?}: {came:?}");
        };
        assert_eq!(answer.status, 400, "{shown:?}: {came:?}");
        assert!(answer.fields.closes(), "{shown:?}: {came:?}");
        assert!(came.messages.is_empty(), "{shown:?}: {came:?}");
    }

    /// Bytes that are one request, forwarded as this one; the next on the connection is read.
    pub fn forwards(&self, bytes: impl AsRef<[u8]>) -> Message {
        let shown = String::from_utf8_lossy(bytes.as_ref()).into_owned();
        let mut came = self.hold(&[bytes.as_ref(), LAST.as_bytes()]);
        let statuses: Vec<u16> = came.answers.iter().map(|a| a.status).collect();
        assert_eq!(statuses, [200, 200], "{shown:?}: {came:?}");
        assert_eq!(came.messages.len(), 2, "{shown:?}: {came:?}");
        assert_eq!(came.messages[1].target, "/last", "{shown:?}");
        assert!(came.broken.is_empty(), "{shown:?}: {came:?}");
        came.messages.remove(0)
    }
}

/// Every answer in some bytes, the cut ones too; the requests are taken for other than HEAD.
pub fn answers(mut bytes: &[u8]) -> Vec<Told> {
    let mut answers = Vec::new();
    while let Ok(Some((line, fields))) = read_head(&mut bytes) {
        let status = line.split(' ').nth(1).unwrap_or("").parse().unwrap_or(0);
        let mut body = Body::of_answer("GET", status, &fields);
        let body = body.read_all(&mut bytes).unwrap_or_default();
        answers.push(Told {
            line,
            status,
            fields,
            body,
        });
    }
    answers
}

/// A request for `/x` with these lines, each with its end, and this body.
pub fn request(method: &str, lines: &str, body: &str) -> String {
    format!("{method} /x HTTP/1.1\r\nHost: h\r\n{lines}\r\n{body}")
}

/// The fields of an HTTP/2 head.
pub type Block = Vec<(Vec<u8>, Vec<u8>)>;
/// The same, as tables have them.
pub type Lines<'a> = &'a [(&'a [u8], &'a [u8])];

pub fn field(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> (Vec<u8>, Vec<u8>) {
    (name.as_ref().to_vec(), value.as_ref().to_vec())
}

/// A request with these fields behind its own.
pub fn with<N: AsRef<[u8]>, V: AsRef<[u8]>>(method: &str, more: &[(N, V)]) -> Block {
    let mut fields = frames::request(method, "/x");
    fields.extend(more.iter().map(|(name, value)| field(name, value)));
    fields
}

pub fn list(fields: Lines<'_>) -> Block {
    fields
        .iter()
        .map(|(name, value)| field(name, value))
        .collect()
}

/// Refused in one of HTTP/2's ways, and nothing whole reaches the backend.
pub fn refuses_h2(house: &House, fields: &Block, body: &[u8]) {
    let shown: Vec<_> = fields
        .iter()
        .map(|(n, v)| {
            format!(
                "{}={}",
                n.escape_ascii(),
                v[..v.len().min(40)].escape_ascii()
            )
        })
        .collect();
    let mut client = Frames::connect(house.gateway.address);
    let reply = client.ask(1, fields, body);
    let refused = reply.is_refused() || matches!(reply.status, Some(405 | 417 | 431));
    assert!(refused, "{shown:?}: {reply:?}");
    let (messages, _) = house.mirror.take();
    assert!(messages.is_empty(), "{shown:?}: {messages:?}");
}
