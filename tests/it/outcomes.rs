//! What calls are counted as, in the API and in the metrics.

use serde_json::{Value, json};

use crate::support::fake_mcp::{FakeMcp, Mood, Wire};
use crate::support::gateway::Gateway;
use crate::support::mcp_client::McpClient;
use crate::support::routes::{route, route_with};

fn house() -> (FakeMcp, Gateway) {
    let server = FakeMcp::start("v1");
    let gateway = Gateway::start(&route("mcp", &[("v1", &server.url(), 1)]));
    (server, gateway)
}

/// What one call of `work` in each of these moods is counted as.
fn assert_counted(wire: Wire, moods: &[(Mood, &str)]) {
    let (server, gateway) = house();
    let mut client = McpClient::open(gateway.address, "/mcp");
    server.set_wire(wire);

    for (mood, outcome) in moods {
        server.set_mood(*mood);
        let message = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "work" },
        });
        let mut aside = client.post_aside(&message);
        let _whole_or_cut = aside.try_read("POST");
        let counted =
            |seen: &Value| seen["routes"][0]["arms"][0]["calls"]["outcomes"][outcome].as_u64();
        gateway.admin.wait_for("/v1/status", |seen| {
            counted(seen).filter(|count| *count >= 1)
        });
    }

    let metrics = gateway.admin.text("/metrics");
    for (_, outcome) in moods.iter().filter(|(_, outcome)| *outcome != "success") {
        let series = format!(
            "switchback_calls_total{{route=\"all\",backend=\"v1\",outcome=\"{outcome}\"}} 1"
        );
        assert!(
            metrics.lines().any(|line| line == series),
            "{series}\n{metrics}"
        );
    }
    client.call("whoami");
}

const MOODS: [(Mood, &str); 8] = [
    (Mood::Fine, "success"),
    (Mood::ToolError, "tool_error"),
    (Mood::RpcError(-32603), "protocol_error"),
    (Mood::RpcError(-32602), "caller_error"),
    (Mood::RpcError(-32601), "method_not_found"),
    (Mood::Status(503), "server_error"),
    (Mood::Status(400), "client_error"),
    (Mood::Cut, "broken"),
];

#[test]
fn failures_inside_json_answers_are_counted_as_what_they_are() {
    assert_counted(Wire::Json, &MOODS);
}

#[test]
fn failures_inside_event_streams_are_counted_as_what_they_are() {
    assert_counted(Wire::Events, &MOODS);
}

#[test]
fn a_failure_that_comes_a_byte_at_a_time_is_found() {
    let (server, gateway) = house();
    let client = McpClient::open(gateway.address, "/mcp");
    server.backend.change(|exchange| {
        exchange.read_body();
        exchange.begin(200, &[("content-type", "application/json")]);
        let answer = json!({
            "jsonrpc": "2.0",
            "id": 1,
            "result": { "content": [{ "type": "text", "text": "\"isError\":false é" }], "isError": true },
        });
        for byte in answer.to_string().into_bytes() {
            exchange.chunk([byte]);
        }
        exchange.end();
    });

    let message = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "work" },
    });
    let answer = client.post_aside(&message).read("POST");

    assert_eq!(answer.json()["result"]["isError"], true);
    gateway.admin.wait_for("/v1/routes/all", |seen| {
        (seen["arms"][0]["calls"]["outcomes"]["tool_error"] == 1).then_some(())
    });
}

#[test]
fn streams_that_carry_no_call_are_no_calls() {
    let (_server, gateway) = house();
    let client = McpClient::open(gateway.address, "/mcp");
    let total = |seen: &Value| seen["arms"][0]["calls"]["total"].clone();
    // Opening the session took two.
    gateway
        .admin
        .wait_for("/v1/routes/all", |seen| (total(seen) == 2).then_some(()));

    let mut stream = client.listen();
    stream.read_until("open");

    let open = |seen: &Value| seen["arms"][0]["calls"]["open_streams"].as_u64();
    let wait_for = |count| {
        gateway.admin.wait_for("/v1/routes/all", |seen| {
            (open(seen) == Some(count)).then_some(())
        });
    };
    wait_for(1);
    drop(stream);
    wait_for(0);
    assert_eq!(total(&gateway.admin.get("/v1/routes/all")), 2);
}

#[test]
fn an_error_of_our_own_is_told_as_json_rpc_with_the_callers_id() {
    let server = FakeMcp::start("v1");
    let text = route_with(
        "mcp",
        &[("v1", &server.url(), 1)],
        &["response_head_timeout: 300ms"],
    );
    let gateway = Gateway::start(&text);
    let client = McpClient::open(gateway.address, "/mcp");
    server.backend.change(|exchange| {
        exchange.read_body();
        exchange.wait_for_close();
        exchange.cut();
    });

    let message = json!({ "jsonrpc": "2.0", "id": "mine", "method": "ping" });
    let answer = client.post_aside(&message).read("POST");

    assert_eq!(answer.status, 504);
    assert_eq!(answer.fields.get("content-type"), Some("application/json"));
    let body = answer.json();
    assert_eq!(
        (&body["jsonrpc"], &body["id"]),
        (&json!("2.0"), &json!("mine"))
    );
    assert!(body["error"]["code"].is_i64(), "{body}");
}
