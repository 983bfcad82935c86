//! What clients say of the protocol in odd ways: the server's to judge, and passed on as it is.

use serde_json::json;

use crate::support::backend::Backend;
use crate::support::client::Answer;
use crate::support::fake_mcp::Wire;
use crate::support::gateway::Gateway;
use crate::support::house::{assert_unknown, house, ping};
use crate::support::modern::modern_server;
use crate::support::routes::route;

struct Asked {
    server: Backend,
    gateway: Gateway,
}

/// A server that answers everything in JSON.
fn asked() -> Asked {
    let server = Backend::start(|exchange| {
        exchange.read_body();
        exchange.answer_json(&[], &json!({ "jsonrpc": "2.0", "id": 1, "result": {} }));
    });
    let gateway = Gateway::start(&route("mcp", &[("v1", &server.url(), 1)]));
    Asked { server, gateway }
}

impl Asked {
    fn post(&self, fields: &[(&str, &str)], body: &str) -> Answer {
        let mut connection = self.gateway.connect();
        connection.ask("POST", "/mcp", fields, body.as_bytes())
    }
}

#[test]
fn several_versions_in_one_head_are_the_servers_to_refuse() {
    let asked = asked();
    let fields = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-protocol-version", "2025-06-18"),
        ("mcp-method", "something/else"),
    ];

    let answer = asked.post(&fields, &ping(1).to_string());

    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = &asked.server.requests()[0];
    let versions: Vec<_> = seen.fields.all("mcp-protocol-version").collect();
    assert_eq!(versions, ["2026-07-28", "2025-06-18"]);
}

#[test]
fn several_session_ids_in_one_head_are_404() {
    let house = house((1, 0), "");
    let client = house.open();
    let asked = house.v1.methods().len();
    let fields = [
        ("mcp-session-id", client.session.as_str()),
        ("mcp-session-id", client.session.as_str()),
    ];

    let body = ping(1).to_string();
    let answer = house
        .gateway
        .connect()
        .ask("POST", "/mcp", &fields, body.as_bytes());

    assert_unknown(&answer);
    assert_eq!(house.v1.methods().len(), asked);
}

#[test]
fn versions_that_nobody_knows_are_the_servers_to_refuse() {
    for version in ["2025-12-01", "2099-01-01", "1999-01-01", "tomorrow"] {
        let asked = asked();

        let answer = asked.post(&[("mcp-protocol-version", version)], &ping(1).to_string());

        assert_eq!(answer.status, 200, "{version}: {}", answer.text());
        let seen = &asked.server.requests()[0];
        assert_eq!(seen.fields.get("mcp-protocol-version"), Some(version));
    }
}

#[test]
fn a_batch_passes_in_every_revision() {
    let batch = json!([ping(1), ping(2)]).to_string();
    for version in [
        "2024-11-05",
        "2025-03-26",
        "2025-06-18",
        "2025-11-25",
        "2026-07-28",
    ] {
        let asked = asked();

        let answer = asked.post(&[("mcp-protocol-version", version)], &batch);

        assert_eq!(answer.status, 200, "{version}: {}", answer.text());
        assert_eq!(asked.server.requests()[0].json(), json!([ping(1), ping(2)]));
    }
}

#[test]
fn what_a_client_accepts_is_the_servers_to_heed() {
    for accept in ["application/json", "text/event-stream", "text/html"] {
        let asked = asked();

        let answer = asked.post(&[("accept", accept)], &ping(1).to_string());

        assert_eq!(answer.status, 200);
        assert_eq!(answer.fields.get("content-type"), Some("application/json"));
        let seen = &asked.server.requests()[0];
        assert_eq!(seen.fields.get("accept"), Some(accept));
    }
    let events = modern_server("v1", Wire::Events);
    let gateway = Gateway::start(&route("mcp", &[("v1", &events.url(), 1)]));
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} });
    let answer = gateway.connect().ask(
        "POST",
        "/mcp",
        &[("accept", "application/json")],
        body.to_string().as_bytes(),
    );
    assert_eq!(answer.fields.get("content-type"), Some("text/event-stream"));
}
