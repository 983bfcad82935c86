//! A scripted MCP server over Streamable HTTP, protocol 2025-11-25 and its elders with sessions.
//!
//! Tools: `whoami` (the server's label), `counter` (counts the calls of its session), `work`
//! (fails, stalls or succeeds by the server's [`Mood`]), `write`, which is not read-only, and `ask`,
//! which asks the client first.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::backend::{Backend, Exchange, Request};
use super::gate::{Board, pass};

/// How the tool `work` goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mood {
    Fine,
    /// `isError` inside a 200.
    ToolError,
    /// A JSON-RPC error of this code inside a 200.
    RpcError(i64),
    /// A plain HTTP status without a JSON-RPC answer.
    Status(u16),
    /// The right answer, this late.
    Slow(Duration),
    /// A connection that closes in the middle of the answer.
    Cut,
}

/// How answers to requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Json,
    Events,
}

#[derive(Default)]
struct Session {
    calls: u64,
    opened_with: Value,
    /// What its client answered to the tool `ask`.
    answers: Vec<Value>,
    pushed: Vec<String>,
    ended: bool,
}

struct Server {
    label: String,
    mood: Mood,
    wire: Wire,
    /// The revision that it insists on; else whatever it is asked for.
    revision: Option<&'static str>,
    /// The session that `initialize` names again instead of a new one.
    kept: Option<String>,
    /// Streams say that they are packed.
    packs: bool,
    sessions: BTreeMap<String, Session>,
    opened: usize,
    /// Sessions of the gateway's own, such as those of contract checks.
    own: usize,
    calls: usize,
    streams: usize,
    /// How a session is refused that is not known.
    unknown: (u16, String),
    /// What GET is told where there are no streams.
    streamless: Option<(u16, String)>,
}

/// The server; it stops when it is dropped.
pub struct FakeMcp {
    pub backend: Backend,
    server: Arc<Board<Server>>,
}

impl FakeMcp {
    /// A healthy server that answers in JSON and says `label` when it is asked who it is.
    pub fn start(label: &str) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), label)
    }

    /// The same on a given address.
    pub fn start_at(address: SocketAddr, label: &str) -> Self {
        let server = Arc::new(Board::new(Server {
            label: label.to_owned(),
            mood: Mood::Fine,
            wire: Wire::Json,
            revision: None,
            kept: None,
            packs: false,
            sessions: BTreeMap::new(),
            opened: 0,
            own: 0,
            calls: 0,
            streams: 0,
            unknown: (404, error("no such session")),
            streamless: None,
        }));
        let shared = Arc::clone(&server);
        let backend = Backend::start_at(address, move |exchange| respond(&shared, exchange));
        Self { backend, server }
    }

    pub fn url(&self) -> String {
        self.backend.url()
    }

    /// From now on `work` goes like this.
    pub fn set_mood(&self, mood: Mood) {
        self.server.change(|server| server.mood = mood);
    }

    /// From now on answers are sent like this.
    pub fn set_wire(&self, wire: Wire) {
        self.server.change(|server| server.wire = wire);
    }

    /// From now on it speaks this revision and no other.
    pub fn set_revision(&self, revision: &'static str) {
        self.server
            .change(|server| server.revision = Some(revision));
    }

    /// From now on `initialize` opens no session but goes on with this one.
    pub fn keep_session(&self, session: &str) {
        self.server
            .change(|server| server.kept = Some(session.to_owned()));
    }

    /// From now on GET streams say that they are packed.
    pub fn pack_streams(&self) {
        self.server.change(|server| server.packs = true);
    }

    /// From now on sessions that are not known are refused like this.
    pub fn refuse_unknown(&self, status: u16, body: &str) {
        self.server
            .change(|server| server.unknown = (status, body.to_owned()));
    }

    /// From now on it has no streams, and tells a GET so.
    pub fn refuse_streams(&self, status: u16, body: &str) {
        self.server
            .change(|server| server.streamless = Some((status, body.to_owned())));
    }

    /// Forgets every session, as a restarted server does.
    pub fn forget_all(&self) {
        self.server.change(|server| server.sessions.clear());
    }

    /// How many sessions clients ever opened.
    pub fn initializes(&self) -> usize {
        self.server.read(|server| server.opened)
    }

    /// What it was sent by POST, message by message: the method of each, in the order of arrival.
    pub fn methods(&self) -> Vec<String> {
        let posted = self.backend.requests();
        let posted = posted.iter().filter(|r| r.method == "POST");
        posted
            .map(|r| r.json()["method"].as_str().unwrap_or("").to_owned())
            .collect()
    }

    /// The open sessions' own ids.
    pub fn sessions(&self) -> Vec<String> {
        let open = |(id, session): (&String, &Session)| (!session.ended).then(|| id.clone());
        self.server
            .read(|server| server.sessions.iter().filter_map(open).collect())
    }

    /// The parameters that a session was opened with.
    pub fn opened_with(&self, session: &str) -> Value {
        self.server
            .read(|server| server.sessions[session].opened_with.clone())
    }

    /// How many tool calls were answered or failed on purpose.
    pub fn calls(&self) -> usize {
        self.server.read(|server| server.calls)
    }

    /// Waits until at least this many tool calls came.
    pub fn wait_for_calls(&self, count: usize) {
        self.server
            .wait_until("tool calls", |server| (server.calls >= count).then_some(()));
    }

    /// Forgets a session, as a restarted server does.
    pub fn forget(&self, session: &str) {
        self.server.change(|server| server.sessions.remove(session));
    }

    /// Sends a notification on a session's GET stream.
    pub fn push(&self, session: &str, notification: &Value) {
        self.push_text(session, notification.to_string());
    }

    /// The same as an event with this id.
    pub fn push_as(&self, session: &str, id: &str, notification: &Value) {
        self.push_text(session, format!("{notification}\nid: {id}"));
    }

    fn push_text(&self, session: &str, text: String) {
        self.server.change(|server| {
            let session = server.sessions.get_mut(session).expect("an open session");
            session.pushed.push(text);
        });
    }

    /// Waits until this many GET streams are open.
    pub fn wait_for_streams(&self, count: usize) {
        self.server.wait_until("GET streams", |server| {
            (server.streams == count).then_some(())
        });
    }
}

fn respond(server: &Board<Server>, exchange: &mut Exchange) {
    exchange.read_body();
    let session = exchange.request.fields.get("mcp-session-id");
    let session = session.map(str::to_owned);
    match exchange.request.method.as_str() {
        "POST" => post(server, exchange, session),
        "GET" => stream(server, exchange, session),
        "DELETE" => delete(server, exchange, session),
        _ => exchange.answer(405, &[("allow", "GET, POST, DELETE")], ""),
    }
}

fn delete(server: &Board<Server>, exchange: &mut Exchange, session: Option<String>) {
    let ended = server.change(|server| {
        let session = session.and_then(|id| server.sessions.get_mut(&id));
        session.map(|session| session.ended = true)
    });
    match ended {
        Some(()) => exchange.answer(200, &[], ""),
        None => refuse_unknown(server, exchange),
    }
}

/// The GET stream: relays what the test pushes until the session or the connection ends.
fn stream(server: &Board<Server>, exchange: &mut Exchange, session: Option<String>) {
    if let Some((status, body)) = server.read(|server| server.streamless.clone()) {
        return exchange.answer(status, &[], body);
    }
    let known = |server: &Server, id: &str| server.sessions.get(id).is_some_and(|s| !s.ended);
    let Some(id) = session.filter(|id| server.read(|server| known(server, id))) else {
        return refuse_unknown(server, exchange);
    };
    let packed: &[(&str, &str)] = if server.read(|server| server.packs) {
        &[("content-encoding", "x-none")]
    } else {
        &[]
    };
    exchange.begin_events(packed);
    exchange.chunk(": open\n\n");
    server.change(|server| server.streams += 1);
    let mut sent = 0;
    loop {
        let fresh = server.wait_at_most(Duration::from_millis(200), |server| {
            let session = server.sessions.get(&id).filter(|s| !s.ended);
            let pushed = session.map(|s| s.pushed[sent.min(s.pushed.len())..].to_vec());
            pushed.map_or(Some(None), |p| (!p.is_empty()).then_some(Some(p)))
        });
        match fresh {
            Some(None) => break,
            Some(Some(events)) => {
                sent += events.len();
                for event in events {
                    exchange.event(event);
                }
            }
            // Nothing new: a comment finds out whether anybody still listens.
            None => exchange.chunk(":\n\n"),
        }
        if exchange.is_closed() {
            break;
        }
    }
    server.change(|server| server.streams -= 1);
    exchange.end();
}

fn post(server: &Board<Server>, exchange: &mut Exchange, session: Option<String>) {
    let message = exchange.request.json();
    let method = message["method"].as_str().unwrap_or("").to_owned();
    if method == "initialize" {
        return initialize(server, exchange, &message);
    }
    let Some(session) = session else {
        return refuse(exchange, 400, "a session id is needed");
    };
    let known = server.read(|server| server.sessions.get(&session).is_some_and(|s| !s.ended));
    if !known {
        return refuse_unknown(server, exchange);
    }
    if message.get("id").is_none() || method.is_empty() {
        if method.is_empty() {
            server.change(|server| {
                let session = server.sessions.get_mut(&session).expect("a known session");
                session.answers.push(message.clone());
            });
        }
        return exchange.answer(202, &[], "");
    }
    match method.as_str() {
        "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => {
            reply(server, exchange, &message, json!({}));
        }
        "tools/list" => reply(server, exchange, &message, tools()),
        "tools/call" => call(server, exchange, &session, &message),
        _ => {
            let error = json!({ "code": -32601, "message": "method not found" });
            finish(server, exchange, &message, "error", error);
        }
    }
}

fn initialize(server: &Board<Server>, exchange: &mut Exchange, message: &Value) {
    let params = message["params"].clone();
    let (id, label, wire) = server.change(|server| {
        if let Some(kept) = &server.kept {
            return (kept.clone(), server.label.clone(), server.wire);
        }
        let own = params["clientInfo"]["name"] == "switchback-contract";
        let id = if own {
            server.own += 1;
            format!("{}-own-{}", server.label, server.own)
        } else {
            server.opened += 1;
            format!("{}-{}", server.label, server.opened)
        };
        let session = Session {
            opened_with: params.clone(),
            ..Session::default()
        };
        server.sessions.insert(id.clone(), session);
        (id, server.label.clone(), server.wire)
    });
    let version = server.read(|server| server.revision.map(Value::from));
    let result = json!({
        "protocolVersion": version.unwrap_or_else(|| params["protocolVersion"].clone()),
        "capabilities": { "tools": { "listChanged": true }, "logging": {} },
        "serverInfo": { "name": format!("fake-{label}"), "version": "1.0.0" },
    });
    let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
    send(exchange, wire, &[("mcp-session-id", &id)], &answer);
}

fn tools() -> Value {
    let tool = |name: &str, reads: bool| {
        json!({
            "name": name,
            "inputSchema": { "type": "object" },
            "annotations": { "readOnlyHint": reads },
        })
    };
    let list = [
        ("whoami", true),
        ("counter", false),
        ("work", true),
        ("write", false),
    ];
    json!({ "tools": list.map(|(name, reads)| tool(name, reads)) })
}

fn call(server: &Board<Server>, exchange: &mut Exchange, session: &str, message: &Value) {
    let name = message["params"]["name"].as_str().unwrap_or("").to_owned();
    let (label, mood, count) = server.change(|server| {
        server.calls += 1;
        let count = server.sessions.get_mut(session).map_or(0, |session| {
            session.calls += u64::from(name == "counter");
            session.calls
        });
        (server.label.clone(), server.mood, count)
    });
    match name.as_str() {
        "whoami" | "write" => reply(server, exchange, message, text(&label)),
        "counter" => reply(server, exchange, message, text(&count.to_string())),
        "work" => work(server, exchange, message, mood),
        "ask" => ask(server, exchange, session, message),
        _ => {
            let error = json!({ "code": -32602, "message": "no such tool" });
            finish(server, exchange, message, "error", error);
        }
    }
}

/// Asks the client on the call's own stream, and gives its answer back.
fn ask(server: &Board<Server>, exchange: &mut Exchange, session: &str, message: &Value) {
    exchange.begin_events(&[]);
    let question = json!({ "jsonrpc": "2.0", "id": 0, "method": "elicitation/create" });
    exchange.event(question.to_string());
    let answer = server.wait_until("the client's answer", |server| {
        server.sessions[session].answers.first().cloned()
    });
    let said = answer["result"]["said"].as_str().unwrap_or("").to_owned();
    let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "result": text(&said) });
    exchange.event(answer.to_string());
    exchange.end();
}

fn work(server: &Board<Server>, exchange: &mut Exchange, message: &Value, mood: Mood) {
    match mood {
        Mood::Fine => reply(server, exchange, message, text("done")),
        Mood::ToolError => {
            let mut result = text("it broke");
            result["isError"] = Value::Bool(true);
            reply(server, exchange, message, result);
        }
        Mood::RpcError(code) => {
            let error = json!({ "code": code, "message": "it broke" });
            finish(server, exchange, message, "error", error);
        }
        Mood::Status(status) => exchange.answer(status, &[], ""),
        Mood::Slow(time) => {
            pass(time);
            reply(server, exchange, message, text("done late"));
        }
        Mood::Cut => {
            exchange.begin(200, &[("content-type", "application/json")]);
            exchange.chunk("{\"jsonrpc\":\"2.0\",");
            exchange.cut();
        }
    }
}

fn text(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }] })
}

fn reply(server: &Board<Server>, exchange: &mut Exchange, message: &Value, result: Value) {
    finish(server, exchange, message, "result", result);
}

fn finish(
    server: &Board<Server>,
    exchange: &mut Exchange,
    message: &Value,
    kind: &str,
    value: Value,
) {
    let answer = json!({ "jsonrpc": "2.0", "id": message["id"], kind: value });
    send(exchange, server.read(|server| server.wire), &[], &answer);
}

fn send(exchange: &mut Exchange, wire: Wire, fields: &[(&str, &str)], answer: &Value) {
    match wire {
        Wire::Json => exchange.answer_json(fields, answer),
        Wire::Events => {
            exchange.begin_events(fields);
            exchange.event(answer.to_string());
            exchange.end();
        }
    }
}

fn refuse(exchange: &mut Exchange, status: u16, why: &str) {
    let fields = [("content-type", "application/json")];
    exchange.answer(status, &fields, error(why));
}

fn refuse_unknown(server: &Board<Server>, exchange: &mut Exchange) {
    let (status, body) = server.read(|server| server.unknown.clone());
    let fields = [("content-type", "application/json")];
    exchange.answer(status, &fields, body);
}

fn error(why: &str) -> String {
    let error = json!({ "code": -32000, "message": why });
    json!({ "jsonrpc": "2.0", "id": null, "error": error }).to_string()
}

/// The session id on a recorded request.
pub fn session_of(request: &Request) -> Option<&str> {
    request.fields.get("mcp-session-id")
}
