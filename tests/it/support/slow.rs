//! A session's POST whose body is written bit by bit.

use serde_json::json;

use super::backend::Backend;
use super::client::{Answer, Raw};
use super::fake_mcp::FakeMcp;
use super::gateway::Gateway;
use super::house::House;
use super::mcp_client::REVISION;

/// A request whose body is still to be written.
pub struct Slow<'a> {
    pub connection: Raw,
    backend: &'a Backend,
    /// The requests that came before it.
    pub known: usize,
    sent: Vec<u8>,
}

impl<'a> Slow<'a> {
    /// The head has been written, and has arrived.
    pub fn begin(gateway: &Gateway, session: &str, backend: &'a Backend, length: usize) -> Self {
        let slow = Self::begin_unseen(gateway, session, backend, length);
        backend.wait_for_requests(slow.known + 1);
        slow
    }

    pub fn begin_unseen(
        gateway: &Gateway,
        session: &str,
        backend: &'a Backend,
        length: usize,
    ) -> Self {
        let mut slow = Self {
            connection: gateway.connect(),
            backend,
            known: backend.requests().len(),
            sent: Vec::new(),
        };
        slow.connection.write(head(session, length));
        slow
    }

    /// Writes a piece, and waits until it has arrived with all that came before it.
    pub fn write(&mut self, piece: impl AsRef<[u8]>) {
        self.connection.write(piece.as_ref());
        self.sent.extend_from_slice(piece.as_ref());
        let (known, sent) = (self.known, &self.sent);
        self.backend.wait_for("a piece of a body", |seen| {
            let mut new = seen.iter().skip(known);
            new.any(|request| request.body == *sent).then_some(())
        });
    }

    pub fn read(mut self) -> Answer {
        self.connection.read("POST")
    }
}

/// The head of a session's POST with a body of this length.
pub fn head(session: &str, length: usize) -> String {
    format!(
        "POST /mcp HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nmcp-protocol-version: {REVISION}\r\n\
         mcp-session-id: {session}\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// A text in three pieces.
pub fn thirds(text: &str) -> [&[u8]; 3] {
    let bytes = text.as_bytes();
    let (one, rest) = bytes.split_at(bytes.len() / 3);
    let (two, three) = rest.split_at(rest.len() / 2);
    [one, two, three]
}

/// Posts a message in three pieces, each after the one before it has arrived.
pub fn post(house: &House, session: &str, at: &FakeMcp, message: &str) -> Answer {
    let mut slow = Slow::begin(&house.gateway, session, &at.backend, message.len());
    for piece in thirds(message) {
        slow.write(piece);
    }
    slow.read()
}

/// A call of this tool.
pub fn call(id: u64, tool: &str) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": tool } })
        .to_string()
}

/// Waits until a tool has so many calls of this outcome at a backend, and so many in all.
pub fn wait_for_tool(gateway: &Gateway, tool: &str, (outcome, count): (&str, u64)) {
    gateway.admin.wait_for("/v1/routes/all/tools", |seen| {
        let tools = seen["tools"].as_array()?;
        let tool = tools.iter().find(|it| it["tool"] == tool)?;
        let arms = tool["arms"].as_array()?.iter();
        let ended = arms.filter_map(|arm| arm["calls"]["outcomes"][outcome].as_u64());
        (ended.sum::<u64>() == count).then_some(())
    });
}

/// Waits until so many calls have ended like this.
pub fn wait_for_outcome(gateway: &Gateway, outcome: &str, count: u64) {
    gateway.admin.wait_for("/v1/routes/all", |seen| {
        let arms = seen["arms"].as_array()?.iter();
        let ended = arms.filter_map(|arm| arm["calls"]["outcomes"][outcome].as_u64());
        (ended.sum::<u64>() == count).then_some(())
    });
}
