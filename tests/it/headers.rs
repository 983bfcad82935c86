//! MCP without sessions (2026-07-28): headers that repeat the body, and what becomes of those that do not.

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::fake_mcp::{FakeMcp, Wire};
use crate::support::gateway::Gateway;
use crate::support::mcp_client::McpClient;
use crate::support::modern::{ModernClient, modern_server};
use crate::support::routes::route;

struct House {
    v1: Backend,
    gateway: Gateway,
}

fn house() -> House {
    let v1 = modern_server("v1", Wire::Json);
    let gateway = Gateway::start(&route("mcp", &[("v1", &v1.url(), 1)]));
    House { v1, gateway }
}

impl House {
    fn mismatches(&self) -> u64 {
        let text = self.gateway.admin.text("/metrics");
        let name = "switchback_header_mismatches_total ";
        let mut counts = text.lines().filter_map(|line| line.strip_prefix(name));
        counts.next().map_or(0, |count| count.parse().unwrap())
    }
}

fn whoami() -> Value {
    json!({ "name": "whoami", "arguments": {} })
}

#[test]
fn headers_that_contradict_the_body_are_refused_here() {
    let house = house();
    let mut client = ModernClient::new(house.gateway.address, "Bearer a");

    for (header, value) in [
        ("mcp-method", "tools/list"),
        ("mcp-name", "write"),
        ("mcp-name", "=?base64?d3JpdGU=?="),
        ("mcp-name", "=?base64?!?="),
        ("mcp-protocol-version", "2027-01-01"),
    ] {
        let answer = client.ask_with("tools/call", whoami(), (header, Some(value)));

        let body = answer.json();
        assert_eq!(answer.status, 400, "{header}: {value}: {body}");
        assert_eq!(body["error"]["code"], -32020, "{body}");
        assert!(body["id"].is_number(), "{body}");
    }
    assert!(house.v1.requests().is_empty());
    let answer = client.ask_with(
        "tools/call",
        whoami(),
        ("mcp-name", Some("=?base64?d2hvYW1p?=")),
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(house.mismatches() >= 5);
}

#[test]
fn a_notification_under_headers_of_another_message_is_refused_here() {
    let house = house();
    let notify = |method: &str, name: &str| {
        let body = json!({ "jsonrpc": "2.0", "method": name, "params": { "requestId": 1 } });
        let fields = [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", method),
        ];
        let mut client = house.gateway.connect();
        client.ask("POST", "/mcp", &fields, body.to_string().as_bytes())
    };
    let told = "notifications/cancelled";
    for (method, name) in [
        ("tools/call", told),
        (told, "notifications/vendor"),
        ("notifications/vendor", "notifications/another"),
    ] {
        let answer = notify(method, name);

        let body = answer.json();
        assert_eq!(answer.status, 400, "{method} {name}: {body}");
        assert_eq!(
            (&body["error"]["code"], &body["id"]),
            (&json!(-32020), &Value::Null)
        );
    }
    assert!(house.v1.requests().is_empty());

    notify(told, told);
    notify("notifications/vendor", "notifications/vendor");
    house.v1.wait_for_requests(2);
}

#[test]
fn in_the_era_with_sessions_such_headers_say_nothing() {
    let v1 = FakeMcp::start("v1");
    let gateway = Gateway::start(&route("mcp", &[("v1", &v1.url(), 1)]));
    let fields = [("mcp-method", "tools/list"), ("mcp-name", "write")];
    let mut client = McpClient::open_with(gateway.address, "/mcp", &fields);

    assert_eq!(client.call_text("whoami"), "v1");
}
