//! MCP 2026-07-28, which has no sessions: a scripted server, and a plain client.
//!
//! Tools: `whoami` (the server's label), `keep` and `use` (a handle that only its maker knows),
//! `ask` (wants more input first) and `start` (makes a task). Lists have two pages.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::backend::{Backend, Exchange};
use super::client::{Answer, Raw};
use super::fake_mcp::Wire;

/// The revision that both speak.
pub const MODERN: &str = "2026-07-28";
const CLAIM: &str = "io.modelcontextprotocol/protocolVersion";

/// A server that says `label` when it is asked who it is, and understands no value but its own.
pub fn modern_server(label: &str, wire: Wire) -> Backend {
    let label = label.to_owned();
    Backend::start(move |exchange| {
        exchange.read_body();
        respond(&label, wire, exchange);
    })
}

/// A server that speaks only of the era with sessions, and says so in its own way; every other
/// time without telling how long it is.
pub fn elder_server(status: u16, body: &'static str) -> Backend {
    let chunked = AtomicBool::new(true);
    Backend::start(move |exchange| {
        exchange.read_body();
        let fields = [("content-type", "application/json")];
        if !chunked.fetch_xor(true, Ordering::Relaxed) || body.is_empty() {
            return exchange.answer(status, &fields, body);
        }
        exchange.begin(status, &fields);
        exchange.chunk(body);
        exchange.end();
    })
}

fn respond(label: &str, wire: Wire, exchange: &mut Exchange) {
    if exchange.request.method != "POST" {
        return exchange.answer(405, &[], "");
    }
    let message = exchange.request.json();
    let params = message["params"].clone();
    let reply = match message["method"].as_str().unwrap_or("") {
        "server/discover" => Ok(json!({ "supportedVersions": [MODERN], "capabilities": {} })),
        "tools/call" => call(label, &params),
        "tools/list" => page(label, &params),
        "tasks/get" | "tasks/update" | "tasks/cancel" => known(label, &params["taskId"])
            .map(|task| json!({ "taskId": task, "status": "working" })),
        "subscriptions/listen" => return listen(exchange, &message["id"]),
        _ => Err((404, -32601)),
    };
    let (status, body) = match reply {
        Ok(result) => (
            200,
            json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }),
        ),
        Err((status, code)) => {
            let error = json!({ "code": code, "message": "no" });
            (
                status,
                json!({ "jsonrpc": "2.0", "id": message["id"], "error": error }),
            )
        }
    };
    if status == 200 && wire == Wire::Events {
        exchange.begin_events(&[]);
        exchange.event(body.to_string());
        return exchange.end();
    }
    let fields = [("content-type", "application/json")];
    exchange.answer(status, &fields, body.to_string());
}

fn call(label: &str, params: &Value) -> Result<Value, (u16, i64)> {
    let text = |text: &str| json!({ "resultType": "complete", "content": [{ "type": "text", "text": text }] });
    match params["name"].as_str().unwrap_or("") {
        "whoami" => Ok(text(label)),
        "keep" => Ok(text(&format!("handle-of-{label}"))),
        "use" => known(label, &params["arguments"]["handle"]).map(|_| text(label)),
        "ask" if params["requestState"].is_null() => Ok(json!({
            "resultType": "input_required",
            "requestState": format!("state-of-{label}"),
        })),
        "ask" => known(label, &params["requestState"]).map(|_| text(label)),
        "start" => Ok(json!({
            "resultType": "task",
            "taskId": format!("task-of-{label}"),
            "status": "working",
        })),
        _ => Err((200, -32602)),
    }
}

fn page(label: &str, params: &Value) -> Result<Value, (u16, i64)> {
    let tool = |name: &str| json!([{ "name": format!("{name}-{label}"), "inputSchema": {} }]);
    if params["cursor"].is_null() {
        let next = format!("cursor-of-{label}");
        return Ok(json!({ "tools": tool("first"), "nextCursor": next }));
    }
    known(label, &params["cursor"]).map(|_| json!({ "tools": tool("last") }))
}

/// A value that this server made.
fn known(label: &str, value: &Value) -> Result<String, (u16, i64)> {
    let value = value.as_str().unwrap_or("");
    let own = value.ends_with(&format!("-of-{label}"));
    own.then(|| value.to_owned()).ok_or((200, -32602))
}

fn listen(exchange: &mut Exchange, id: &Value) {
    exchange.begin_events(&[]);
    let params = json!({ "_meta": { "io.modelcontextprotocol/subscriptionId": id } });
    let method = "notifications/subscriptions/acknowledged";
    let said = json!({ "jsonrpc": "2.0", "method": method, "params": params });
    exchange.event(said.to_string());
    exchange.wait_for_close();
}

/// A client that holds no session. Every request of it carries the same fields.
pub struct ModernClient {
    to: SocketAddr,
    connection: Raw,
    fields: BTreeMap<String, String>,
    next_id: u64,
}

impl ModernClient {
    /// A client with these credentials.
    pub fn new(to: SocketAddr, credentials: &str) -> Self {
        let fields = [
            ("authorization", credentials),
            ("mcp-protocol-version", MODERN),
        ];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            to,
            connection: Raw::connect(to),
            fields: fields.map(owned).into(),
            next_id: 0,
        }
    }

    /// From now on every request carries this field too.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.insert(name.to_owned(), value.to_owned());
        self
    }

    /// From now on requests do not carry this field.
    pub fn without(mut self, name: &str) -> Self {
        self.fields.remove(name);
        self
    }

    /// The message of a request, and its headers.
    fn message(&mut self, method: &str, mut params: Value) -> (Value, Vec<(String, String)>) {
        self.next_id += 1;
        let mut fields = self.fields.clone();
        fields.insert("mcp-method".to_owned(), method.to_owned());
        let source = match method {
            "tools/call" => "name",
            "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
            _ => "",
        };
        if let Some(name) = params[source].as_str() {
            fields.insert("mcp-name".to_owned(), name.to_owned());
        }
        params["_meta"] = json!({ CLAIM: MODERN });
        let message =
            json!({ "jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params });
        (message, fields.into_iter().collect())
    }

    /// A request and the whole answer.
    pub fn ask(&mut self, method: &str, params: Value) -> Answer {
        let (message, fields) = self.message(method, params);
        self.post(&fields, &message)
    }

    /// The same with one header that says something else, or nothing.
    pub fn ask_with(
        &mut self,
        method: &str,
        params: Value,
        header: (&str, Option<&str>),
    ) -> Answer {
        let (message, mut fields) = self.message(method, params);
        fields.retain(|(name, _)| name != header.0);
        if let Some(value) = header.1 {
            fields.push((header.0.to_owned(), value.to_owned()));
        }
        self.post(&fields, &message)
    }

    fn post(&mut self, fields: &[(String, String)], message: &Value) -> Answer {
        let mut all = vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        all.extend(fields.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        let answer = self
            .connection
            .ask("POST", "/mcp", &all, message.to_string().as_bytes());
        if answer.fields.closes() {
            self.connection = Raw::connect(self.to);
        }
        answer
    }

    /// A request and the JSON-RPC answer to it.
    pub fn reply(&mut self, method: &str, params: Value) -> Value {
        let answer = self.ask(method, params);
        super::mcp_client::reply_to(&answer, self.next_id)
    }

    /// Calls a tool that must give a text, and returns it.
    pub fn call(&mut self, tool: &str) -> String {
        self.call_with(tool, json!({}))
    }

    /// The same with arguments.
    pub fn call_with(&mut self, tool: &str, arguments: Value) -> String {
        let reply = self.reply(
            "tools/call",
            json!({ "name": tool, "arguments": arguments }),
        );
        let text = reply["result"]["content"][0]["text"].as_str();
        text.unwrap_or_else(|| panic!("{tool}: {reply}")).to_owned()
    }

    /// Begins to listen, on a connection of its own, past the acknowledgement.
    pub fn listen(&mut self) -> Raw {
        self.listen_to(json!({}))
    }

    /// The same to these notifications.
    pub fn listen_to(&mut self, notifications: Value) -> Raw {
        let params = json!({ "notifications": notifications });
        let (message, fields) = self.message("subscriptions/listen", params);
        let mut stream = Raw::connect(self.to);
        let fields: Vec<_> = fields
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        stream.send("POST", "/mcp", &fields, message.to_string().as_bytes());
        assert_eq!(stream.read_head("POST").status, 200);
        stream.read_until("acknowledged");
        stream
    }
}
