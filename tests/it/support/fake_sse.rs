//! A scripted MCP server over HTTP+SSE, protocol 2024-11-05, and a plain client of it.
//!
//! Tools: `whoami` (the server's label), `counter` (counts the calls of its session), `fail` (`isError`),
//! `hang` (answered when the test says so), `drop` (refused by the status of the POST).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::backend::{Backend, Exchange};
use super::client::{Answer, Raw};
use super::gate::Board;

/// The revision that it speaks.
pub const REVISION: &str = "2024-11-05";

#[derive(Default)]
struct Session {
    /// What is to be written to its stream.
    written: Vec<String>,
    calls: u64,
    ended: bool,
}

struct Server {
    label: String,
    /// How a session's `endpoint` event is written; `ID` stands for the session's id.
    event: String,
    /// In pieces of so many bytes.
    piece: usize,
    sessions: BTreeMap<String, Session>,
    opened: usize,
    streams: usize,
    hanging: Vec<(String, Value)>,
    /// Whoever opens a session waits.
    holds: bool,
    held: Vec<(String, Value)>,
    /// Streams say that they are packed.
    packs: bool,
}

/// The server; it stops when it is dropped.
pub struct FakeSse {
    pub backend: Backend,
    server: Arc<Board<Server>>,
}

impl FakeSse {
    /// A server that wants the messages at `/messages?sessionId=…`.
    pub fn start(label: &str) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), label)
    }

    /// The same on a given address.
    pub fn start_at(address: SocketAddr, label: &str) -> Self {
        let server = Arc::new(Board::new(Server {
            label: label.to_owned(),
            event: "event: endpoint\ndata: /messages?sessionId=ID\n\n".into(),
            piece: usize::MAX,
            sessions: BTreeMap::new(),
            opened: 0,
            streams: 0,
            hanging: Vec::new(),
            holds: false,
            held: Vec::new(),
            packs: false,
        }));
        let shared = Arc::clone(&server);
        let backend = Backend::start_at(address, move |exchange| respond(&shared, exchange));
        Self { backend, server }
    }

    pub fn url(&self) -> String {
        self.backend.url()
    }

    /// From now on streams begin with this, in which `ID` stands for the session's id.
    pub fn begin_with(&self, event: &str) {
        self.server.change(|server| server.event = event.into());
    }

    /// From now on streams are written in pieces of so many bytes.
    pub fn write_in_pieces_of(&self, bytes: usize) {
        self.server.change(|server| server.piece = bytes);
    }

    /// How many sessions were ever opened.
    pub fn opened(&self) -> usize {
        self.server.read(|server| server.opened)
    }

    /// What it was sent by POST, message by message.
    pub fn methods(&self) -> Vec<String> {
        let posted = self.backend.requests();
        let posted = posted.iter().filter(|r| r.method == "POST");
        posted
            .map(|r| r.json()["method"].as_str().unwrap_or("").to_owned())
            .collect()
    }

    /// Writes to every open stream.
    pub fn write(&self, text: &str) {
        self.server.change(|server| {
            for session in server.sessions.values_mut() {
                session.written.push(text.to_owned());
            }
        });
    }

    /// Answers the calls of `hang`.
    pub fn answer_hanging(&self) {
        self.server.change(|server| {
            for (id, message) in std::mem::take(&mut server.hanging) {
                let label = server.label.clone();
                let answer = reply(&message, "result", text(&label));
                if let Some(session) = server.sessions.get_mut(&id) {
                    session.written.push(event(&answer));
                }
            }
        });
    }

    /// Waits until so many calls of `hang` are waiting.
    pub fn wait_for_hanging(&self, count: usize) {
        self.server.wait_until("hanging calls", |server| {
            (server.hanging.len() >= count).then_some(())
        });
    }

    /// From now on whoever opens a session waits.
    pub fn hold_openings(&self) {
        self.server.change(|server| server.holds = true);
    }

    /// Waits until so many wait, and how many streams are open then.
    pub fn wait_for_held(&self, count: usize) -> usize {
        self.server.wait_until("held openings", |server| {
            (server.held.len() >= count).then_some(server.streams)
        })
    }

    /// Answers those who wait; others have to wait still, if they are to.
    pub fn answer_held(&self, holds: bool) {
        self.server.change(|server| {
            server.holds = false;
            for (id, message) in std::mem::take(&mut server.held) {
                let said = answer(server, &id, &message).expect("an answer");
                if let Some(session) = server.sessions.get_mut(&id) {
                    session.written.push(event(&said));
                }
            }
            server.holds = holds;
        });
    }

    /// From now on streams say that they are packed.
    pub fn pack_streams(&self) {
        self.server.change(|server| server.packs = true);
    }

    /// Waits for a message with this in it.
    pub fn wait_for_message(&self, text: &str) {
        let seen = || {
            let posted = self.backend.requests();
            let mut posted = posted.iter().map(|it| String::from_utf8_lossy(&it.body));
            posted.any(|body| body.contains(text)).then_some(())
        };
        self.server.wait_until(text, |_| seen());
    }

    /// Ends every open stream as it should end.
    pub fn end_streams(&self) {
        self.server.change(|server| {
            for session in server.sessions.values_mut() {
                session.ended = true;
            }
        });
    }

    /// Waits until this many streams are open.
    pub fn wait_for_streams(&self, count: usize) {
        self.server
            .wait_until("streams", |server| (server.streams == count).then_some(()));
    }
}

fn respond(server: &Board<Server>, exchange: &mut Exchange) {
    exchange.read_body();
    match exchange.request.method.as_str() {
        "GET" => stream(server, exchange),
        "POST" => post(server, exchange),
        _ => exchange.answer(405, &[], ""),
    }
}

fn stream(server: &Board<Server>, exchange: &mut Exchange) {
    let (id, begin, size) = server.change(|server| {
        server.opened += 1;
        server.streams += 1;
        let id = format!("{}-{}", server.label, server.opened);
        server.sessions.insert(id.clone(), Session::default());
        (id.clone(), server.event.replace("ID", &id), server.piece)
    });
    let packed: &[(&str, &str)] = if server.read(|server| server.packs) {
        &[("content-encoding", "x-none")]
    } else {
        &[]
    };
    exchange.begin_events(packed);
    let mut next = vec![begin];
    let mut is_whole = true;
    loop {
        for text in next {
            is_whole = text.ends_with("\n\n");
            for piece in text.as_bytes().chunks(size) {
                exchange.chunk(piece);
            }
        }
        let fresh = server.wait_at_most(Duration::from_millis(200), |server| {
            let session = &server.sessions[&id];
            (session.ended || !session.written.is_empty()).then_some(())
        });
        next = match fresh {
            Some(()) => server.change(|server| {
                let session = server.sessions.get_mut(&id).expect("its session");
                std::mem::take(&mut session.written)
            }),
            // Nothing new: a comment finds out whether anybody still listens.
            None if is_whole => vec![": ping\n\n".into()],
            None => continue_event(),
        };
        let has_ended = next.is_empty() && server.read(|server| server.sessions[&id].ended);
        if has_ended || exchange.is_closed() {
            break;
        }
    }
    server.change(|server| {
        server.streams -= 1;
        server.sessions.get_mut(&id).expect("its session").ended = true;
    });
    exchange.end();
}

/// What adds nothing to an event that is not complete.
fn continue_event() -> Vec<String> {
    vec![String::new()]
}

fn post(server: &Board<Server>, exchange: &mut Exchange) {
    let target = exchange.request.target.clone();
    let id = target.split_once("sessionId=").map(|(_, id)| id.to_owned());
    let known = |server: &Server, id: &str| server.sessions.get(id).is_some_and(|s| !s.ended);
    let Some(id) = id.filter(|id| server.read(|server| known(server, id))) else {
        return exchange.answer(404, &[], "no such session");
    };
    let body = exchange.request.json();
    let messages = match body {
        Value::Array(messages) => messages,
        one => vec![one],
    };
    if messages.iter().any(|m| m["params"]["name"] == "drop") {
        return exchange.answer(503, &[], "not now");
    }
    for message in messages {
        let said = server.change(|server| answer(server, &id, &message));
        if let Some(said) = said {
            server.change(|server| {
                let session = server.sessions.get_mut(&id).expect("its session");
                session.written.push(event(&said));
            });
        }
    }
    exchange.answer(202, &[("content-type", "text/plain")], "Accepted");
}

fn answer(server: &mut Server, id: &str, message: &Value) -> Option<Value> {
    message.get("id")?;
    let label = server.label.clone();
    let result = match message["method"].as_str()? {
        "initialize" if server.holds => {
            server.held.push((id.to_owned(), message.clone()));
            return None;
        }
        "initialize" => json!({
            "protocolVersion": REVISION,
            "capabilities": { "tools": { "listChanged": true }, "logging": {} },
            "serverInfo": { "name": format!("fake-{label}"), "version": "1.0.0" },
        }),
        "ping" | "logging/setLevel" | "resources/subscribe" => json!({}),
        "tools/list" => json!({ "tools": [{ "name": "whoami", "inputSchema": {} }] }),
        "tools/call" => match message["params"]["name"].as_str()? {
            "whoami" => text(&label),
            "counter" => {
                let session = server.sessions.get_mut(id)?;
                session.calls += 1;
                text(&session.calls.to_string())
            }
            "fail" => json!({ "content": [], "isError": true }),
            "hang" => {
                server.hanging.push((id.to_owned(), message.clone()));
                return None;
            }
            _ => return Some(reply(message, "error", json!({ "code": -32602 }))),
        },
        _ => return Some(reply(message, "error", json!({ "code": -32601 }))),
    };
    Some(reply(message, "result", result))
}

fn text(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }] })
}

fn reply(message: &Value, kind: &str, value: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": message["id"], kind: value })
}

fn event(message: &Value) -> String {
    format!("event: message\ndata: {message}\n\n")
}

/// A client with one session: a stream, and connections for its messages.
pub struct SseClient {
    to: SocketAddr,
    stream: Raw,
    connection: Raw,
    read: String,
    fields: Vec<(String, String)>,
    next_id: u64,
    /// Where its messages go, as the `endpoint` event said.
    pub target: String,
}

impl SseClient {
    /// Opens a session at `path`.
    pub fn open(to: SocketAddr, path: &str) -> Self {
        let mut client = Self::connect(to, path, &[]);
        let opened = client.request("initialize", Self::opening());
        assert_eq!(opened["result"]["protocolVersion"], REVISION, "{opened}");
        let said = client.post(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        assert_eq!(said.status, 202, "{}", said.text());
        client
    }

    /// The parameters that a session is opened with.
    pub fn opening() -> Value {
        json!({
            "protocolVersion": REVISION,
            "capabilities": {},
            "clientInfo": { "name": "plain", "version": "1.0.0" },
        })
    }

    /// Opens the stream, and nothing else; every request carries these fields, too.
    pub fn connect(to: SocketAddr, path: &str, fields: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut stream = Raw::connect(to);
        let mut sent = vec![("accept", "text/event-stream")];
        sent.extend(fields);
        stream.send("GET", path, &sent, b"");
        let head = stream.read_head("GET");
        assert_eq!(head.status, 200);
        let mut client = Self {
            to,
            stream,
            connection: Raw::connect(to),
            read: String::new(),
            fields: fields.iter().map(owned).collect(),
            next_id: 0,
            target: String::new(),
        };
        let (kind, data) = client.next_event().expect("an event");
        assert_eq!(kind, "endpoint", "{data}");
        client.target = data;
        client
    }

    /// The next event with data: its type and its data. `None` when the stream ends as it should.
    pub fn next_event(&mut self) -> Option<(String, String)> {
        loop {
            if let Some(end) = self.read.find("\n\n") {
                let event: String = self.read.drain(..end + 2).collect();
                let field = |name: &str| {
                    let value = event.lines().find_map(|line| line.strip_prefix(name));
                    value.map(|value| value.trim().to_owned())
                };
                if let Some(data) = field("data:") {
                    return Some((field("event:").unwrap_or_default(), data));
                }
                continue;
            }
            let piece = self.stream.read_piece()?;
            let text = String::from_utf8_lossy(&piece).replace("\r\n", "\n");
            self.read.push_str(&text.replace('\r', "\n"));
        }
    }

    /// Reads on until this has come, though its event may not be complete.
    pub fn wait_for_part(&mut self, text: &str) {
        while !self.read.contains(text) {
            let piece = self.stream.read_piece().expect("more of the stream");
            self.read.push_str(&String::from_utf8_lossy(&piece));
        }
    }

    /// Its next message goes over another connection.
    pub fn reconnect(&mut self) {
        self.connection = Raw::connect(self.to);
    }

    /// Posts a message and gives the answer to the POST.
    pub fn post(&mut self, message: &Value) -> Answer {
        let target = self.target.clone();
        self.post_to(&target, message)
    }

    /// The same to another URL.
    pub fn post_to(&mut self, target: &str, message: &Value) -> Answer {
        let mut fields = vec![("content-type", "application/json")];
        let own = self.fields.iter();
        fields.extend(own.map(|(name, value)| (name.as_str(), value.as_str())));
        let body = message.to_string();
        let answer = self
            .connection
            .ask("POST", target, &fields, body.as_bytes());
        if answer.fields.closes() {
            self.connection = Raw::connect(self.to);
        }
        answer
    }

    /// Sends a request and does not wait for its response; its id.
    pub fn begin(&mut self, method: &str, params: Value) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let answer = self.post(&message);
        assert_eq!(answer.status, 202, "{method}: {}", answer.text());
        id
    }

    /// Takes a request back; the answer to the POST.
    pub fn cancel(&mut self, id: u64) -> Answer {
        self.post(&json!({
            "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id },
        }))
    }

    /// What has been read and is no complete event.
    pub fn rest(&self) -> &str {
        &self.read
    }

    /// The response to a request, whatever else comes before.
    pub fn wait_for(&mut self, id: u64) -> Value {
        loop {
            let (_, data) = self.next_event().expect("a response, not the end");
            let message: Value = serde_json::from_str(&data).expect("a message");
            if message["id"] == id && message.get("method").is_none() {
                return message;
            }
        }
    }

    /// A request and its response.
    pub fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params);
        self.wait_for(id)
    }

    /// Calls a tool and returns the text of its result.
    pub fn call_text(&mut self, tool: &str) -> String {
        let reply = self.request("tools/call", json!({ "name": tool, "arguments": {} }));
        let text = reply["result"]["content"][0]["text"].as_str();
        text.unwrap_or_else(|| panic!("no text in {reply}"))
            .to_owned()
    }
}
