//! Sessions whose backend is reverted, however they were opened.

use serde_json::{Value, json};

use crate::support::client::{Answer, Raw};
use crate::support::fake_mcp::FakeMcp;
use crate::support::gateway::Gateway;
use crate::support::mcp_client::REVISION;
use crate::support::routes::route;

/// Posts a message whose length is not told beforehand.
fn post_in_chunks(connection: &mut Raw, message: &Value) -> Answer {
    let text = message.to_string();
    let (one, other) = text.split_at(text.len() / 2);
    connection.write("POST /mcp HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n");
    connection.write("accept: application/json, text/event-stream\r\n");
    connection.write("transfer-encoding: chunked\r\n\r\n");
    for piece in [one, other, ""] {
        connection.write(format!("{:x}\r\n{piece}\r\n", piece.len()));
    }
    connection.read("POST")
}

#[test]
fn a_session_that_was_opened_in_chunks_is_re_homed_too() {
    let (v1, v2) = (FakeMcp::start("v1"), FakeMcp::start("v2"));
    let arms = [("v1", &*v1.url(), 1), ("v2", &*v2.url(), 0)];
    let gateway = Gateway::start(&route("mcp", &arms));
    let wanted = json!({ "to": "v2", "stages": [{ "percent": 95, "for": "1h" }] });
    let rollout = gateway.admin.post("/v1/routes/all/rollouts", &wanted);
    let mut connection = gateway.connect();
    let initialize = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": { "protocolVersion": REVISION, "capabilities": {}, "clientInfo": {} },
    });
    let mut opened = String::new();
    while v2.initializes() == 0 {
        let answer = post_in_chunks(&mut connection, &initialize);
        opened = answer.fields.get("mcp-session-id").unwrap().to_owned();
    }

    let revert = format!("/v1/rollouts/{}/revert", rollout["id"].as_str().unwrap());
    gateway.admin.post(&revert, &json!({ "reason": "a test" }));

    let ping = json!({ "jsonrpc": "2.0", "id": 2, "method": "ping" }).to_string();
    let fields = [("mcp-session-id", opened.as_str())];
    let answer = connection.ask("POST", "/mcp", &fields, ping.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
}
