//! A plain MCP client on one connection: no SDK, so that a test sees every answer as it is.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::client::{Answer, Raw};

/// The revision that it speaks.
pub const REVISION: &str = "2025-11-25";

/// A client with one session.
pub struct McpClient {
    to: SocketAddr,
    path: String,
    connection: Raw,
    next_id: u64,
    fields: Vec<(String, String)>,
    /// The session id as the client knows it.
    pub session: String,
}

impl McpClient {
    /// Opens a session at `path`.
    pub fn open(to: SocketAddr, path: &str) -> Self {
        Self::open_with(to, path, &[])
    }

    /// Opens a session; every request carries these fields too.
    pub fn open_with(to: SocketAddr, path: &str, fields: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut client = Self {
            to,
            path: path.to_owned(),
            connection: Raw::connect(to),
            next_id: 0,
            fields: fields.iter().map(owned).collect(),
            session: String::new(),
        };
        let answer = client.post(&Self::initialize());
        assert_eq!(answer.status, 200, "initialize: {}", answer.text());
        let session = answer.fields.get("mcp-session-id");
        session
            .expect("a session id")
            .clone_into(&mut client.session);
        let said = client.post(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        assert_eq!(said.status, 202, "initialized: {}", said.text());
        client
    }

    fn initialize() -> Value {
        json!({
            "jsonrpc": "2.0",
            "id": "open",
            "method": "initialize",
            "params": {
                "protocolVersion": REVISION,
                "capabilities": {},
                "clientInfo": { "name": "plain", "version": "1.0.0" },
            },
        })
    }

    /// Goes on with the same session on a new connection.
    pub fn reconnect(&mut self) {
        self.connection = Raw::connect(self.to);
    }

    /// Leaves its connection; what follows needs another one.
    pub fn hang_up(&mut self) {
        self.connection.finish_writing();
    }

    /// Posts a message as it is and gives the whole answer.
    pub fn post(&mut self, message: &Value) -> Answer {
        let mut fields = vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", REVISION),
        ];
        if !self.session.is_empty() {
            fields.push(("mcp-session-id", &self.session));
        }
        let own = self.fields.iter();
        fields.extend(own.map(|(name, value)| (name.as_str(), value.as_str())));
        let body = message.to_string();
        let answer = self
            .connection
            .ask("POST", &self.path, &fields, body.as_bytes());
        if answer.fields.closes() {
            self.connection = Raw::connect(self.to);
        }
        answer
    }

    /// A request and its answer, JSON or event stream, whatever its status.
    pub fn request(&mut self, method: &str, params: Value) -> (Answer, Value) {
        self.next_id += 1;
        let id = self.next_id;
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let answer = self.post(&message);
        let reply = reply_to(&answer, id);
        (answer, reply)
    }

    /// Calls a tool that must give a result, and returns the result.
    pub fn call(&mut self, tool: &str) -> Value {
        let params = json!({ "name": tool, "arguments": {} });
        let (answer, reply) = self.request("tools/call", params);
        let result = reply.get("result").cloned();
        result.unwrap_or_else(|| panic!("{tool}: {} {}", answer.status, answer.text()))
    }

    /// Calls a tool and returns the text of its result.
    pub fn call_text(&mut self, tool: &str) -> String {
        let result = self.call(tool);
        let text = result["content"][0]["text"].as_str();
        text.unwrap_or_else(|| panic!("no text in {result}"))
            .to_owned()
    }

    /// Posts a message on a connection of its own, so that several can be under way.
    pub fn post_aside(&self, message: &Value) -> Raw {
        let mut stream = Raw::connect(self.to);
        let fields = [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", REVISION),
            ("mcp-session-id", self.session.as_str()),
        ];
        let body = message.to_string();
        stream.send("POST", &self.path, &fields, body.as_bytes());
        stream
    }

    /// Opens the session's GET stream on a connection of its own, past its head.
    pub fn listen(&self) -> Raw {
        let mut stream = Raw::connect(self.to);
        let fields = [
            ("accept", "text/event-stream"),
            ("mcp-session-id", self.session.as_str()),
            ("mcp-protocol-version", REVISION),
        ];
        stream.send("GET", &self.path, &fields, b"");
        let head = stream.read_head("GET");
        assert_eq!(head.status, 200);
        stream
    }

    /// Ends the session.
    pub fn delete(&mut self) -> Answer {
        let fields = [("mcp-session-id", self.session.as_str())];
        self.connection.ask("DELETE", &self.path, &fields, b"")
    }
}

/// The JSON-RPC answer to `id` in a body that is JSON or an event stream; null when there is none.
pub fn reply_to(answer: &Answer, id: u64) -> Value {
    let text = answer.text();
    let is_events = answer
        .fields
        .get("content-type")
        .is_some_and(|t| t.starts_with("text/event-stream"));
    if !is_events {
        return serde_json::from_str(&text).unwrap_or(Value::Null);
    }
    text.lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .filter_map(|data| serde_json::from_str(data.trim()).ok())
        .find(|message: &Value| message["id"] == id)
        .unwrap_or(Value::Null)
}
