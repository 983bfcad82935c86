//! Sessions that their own server does not know any more, and those that end without one.

use serde_json::json;

use crate::support::fake_mcp::FakeMcp;
use crate::support::gateway::Gateway;
use crate::support::house::{House, assert_unknown, house, house_with, ping};
use crate::support::mcp_client::{McpClient, reply_to};
use crate::support::routes::route;

fn reopened(house: &House) -> u64 {
    let page = house.gateway.admin.text("/metrics");
    let name = "switchback_sessions_reopened_total ";
    let value = page.lines().find_map(|line| line.strip_prefix(name));
    value.map_or(0, |value| value.trim().parse().unwrap())
}

/// Every way in which real servers refuse a session that they do not know.
const REFUSALS: [(u16, &str); 5] = [
    (404, ""),
    (
        404,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}"#,
    ),
    (
        404,
        r#"{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Not Found: Invalid or expired session ID"}}"#,
    ),
    (
        400,
        r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}"#,
    ),
    (400, "Bad Request: No valid session ID provided"),
];

#[test]
fn a_session_that_its_server_has_forgotten_is_opened_again_there() {
    for (status, body) in REFUSALS {
        let house = house((1, 0), "");
        house.v1.refuse_unknown(status, body);
        let mut client = house.open();
        client.request("resources/subscribe", json!({ "uri": "file:///a" }));
        assert_eq!(client.call_text("counter"), "1");
        let id = client.session.clone();

        house.v1.forget_all();

        assert_eq!(client.call_text("counter"), "1", "{status} {body}");
        assert_eq!(client.call_text("counter"), "2");
        assert_eq!((client.session, house.v1.initializes()), (id, 2));
        let said = house.v1.methods();
        let subscribed = said
            .iter()
            .filter(|method| *method == "resources/subscribe");
        assert_eq!((subscribed.count(), reopened(&house)), (2, 1));
        house.wait_for_sessions(0, "rehomed", 0);
        house.wait_for_sessions(0, "lost", 0);
    }
}

#[test]
fn a_server_that_was_restarted_costs_its_sessions_no_call() {
    let mut v1 = FakeMcp::start("v1");
    let address = v1.backend.address;
    let gateway = Gateway::start(&route("mcp", &[("v1", &v1.url(), 1)]));
    let mut client = McpClient::open(gateway.address, "/mcp");
    assert_eq!(client.call_text("counter"), "1");

    for _ in 0..3 {
        v1.backend.stop();
        v1 = FakeMcp::start_at(address, "v1");
        assert_eq!(client.call_text("counter"), "1");
    }
}

#[test]
fn a_forgotten_session_is_opened_once_however_many_ask() {
    let house = house((1, 0), "");
    let client = house.open();
    house.v1.forget_all();

    let mut under_way: Vec<_> = (0..8).map(|id| client.post_aside(&ping(id))).collect();

    for (id, connection) in under_way.iter_mut().enumerate() {
        let answer = connection.read("POST");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(reply_to(&answer, id as u64)["result"].is_object());
    }
    assert_eq!((house.v1.initializes(), reopened(&house)), (2, 1));
}

#[test]
fn the_stream_of_a_forgotten_session_opens_at_the_new_one() {
    let house = house((1, 0), "");
    let client = house.open();
    house.v1.forget_all();

    let mut stream = client.listen();

    stream.read_until("open");
    assert_eq!(house.v1.initializes(), 2);
}

#[test]
fn where_it_cannot_be_opened_again_the_client_is_told_404_in_our_words() {
    for (session, more) in [
        ("on_loss: sever", ""),
        ("", "limits: { session_records: 0 }\n"),
    ] {
        for (status, body) in REFUSALS {
            let house = house_with((1, 0), session, more);
            house.v1.refuse_unknown(status, body);
            let mut client = house.open();

            house.v1.forget_all();

            assert_unknown(&client.post(&ping(7)));
            assert_eq!(house.v1.initializes(), 1);
        }
    }
}

#[test]
fn a_body_that_is_too_long_to_be_sent_again_is_404_and_the_next_call_opens_the_session() {
    let house = house((1, 0), "");
    let mut client = house.open();
    house.v1.forget_all();
    let arguments = json!({ "text": "x".repeat(200_000) });
    let params = json!({ "name": "counter", "arguments": arguments });
    let long = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });

    assert_unknown(&client.post(&long));

    assert_eq!(house.v1.initializes(), 1);
    house.wait_for_sessions(0, "lost", 1);
    assert_eq!(client.call_text("counter"), "1");
    assert_eq!(house.v1.initializes(), 2);
}

#[test]
fn a_server_that_forgets_at_once_is_asked_twice_and_no_more() {
    let house = house((1, 0), "");
    let mut client = house.open();
    house.v1.backend.change(|exchange| {
        exchange.read_body();
        if exchange.request.json()["method"] == "initialize" {
            let result = json!({ "protocolVersion": "2025-11-25", "capabilities": {} });
            let answer = json!({ "jsonrpc": "2.0", "id": "open", "result": result });
            return exchange.answer_json(&[("mcp-session-id", "new")], &answer);
        }
        let said = exchange.request.json()["method"] == "notifications/initialized";
        exchange.answer(if said { 202 } else { 404 }, &[], "");
    });
    let before = house.v1.backend.requests().len();

    assert_eq!(client.post(&ping(7)).status, 404);

    let asked = house.v1.backend.requests().split_off(before);
    let pings = asked
        .iter()
        .filter(|request| request.json()["method"] == "ping");
    assert_eq!((asked.len(), pings.count()), (4, 2));
}

#[test]
fn other_refusals_of_a_server_pass_as_they_are() {
    let refusal = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"invalid session in the arguments"}}"#;
    let outcome = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32000,"message":"Order not found"}}"#;
    for (status, body) in [
        (400, refusal),
        (404, refusal),
        (404, outcome),
        (400, "Bad Request"),
    ] {
        let house = house((1, 0), "");
        let mut client = house.open();
        house.v1.backend.change(move |exchange| {
            exchange.read_body();
            exchange.answer(status, &[("content-type", "application/json")], body);
        });

        let answer = client.post(&ping(7));

        assert_eq!((answer.status, &*answer.text()), (status, body));
        assert_eq!((house.v1.initializes(), reopened(&house)), (1, 0));
    }
}

#[test]
fn a_server_that_has_no_streams_keeps_its_sessions() {
    for (status, body) in [
        (404, "<pre>Cannot GET /mcp</pre>"),
        (404, r#"{"detail":"Not Found"}"#),
        (404, ""),
        (405, ""),
    ] {
        let house = house((1, 0), "");
        house.v1.refuse_streams(status, body);
        let mut client = house.open();
        assert_eq!(client.call_text("counter"), "1");

        let mut stream = house.gateway.connect();
        let fields = [
            ("accept", "text/event-stream"),
            ("mcp-session-id", client.session.as_str()),
        ];
        let refused = stream.ask("GET", "/mcp", &fields, b"");

        assert_eq!((refused.status, &*refused.text()), (status, body));
        assert_eq!(client.call_text("counter"), "2", "{status} {body}");
        assert_eq!((house.v1.initializes(), reopened(&house)), (1, 0));
    }
}

#[test]
fn a_refusal_that_breaks_off_is_not_passed_on_as_whole() {
    let house = house((1, 0), "");
    let client = house.open();
    house.v1.backend.change(|exchange| {
        exchange.read_body();
        exchange.begin(404, &[("content-type", "application/json")]);
        exchange.chunk("{\"jsonrpc\":");
        exchange.cut();
    });

    let mut call = client.post_aside(&ping(7));

    assert!(call.try_read("POST").is_err(), "it looks whole");
}

#[test]
fn a_forgotten_session_that_its_client_ends_is_not_opened_for_that() {
    let house = house((1, 0), "");
    let mut client = house.open();
    house.v1.forget_all();

    assert_eq!(client.delete().status, 200);

    assert_eq!(house.v1.initializes(), 1);
    assert_unknown(&client.post(&ping(7)));
}

#[test]
fn a_session_that_ends_when_its_home_is_gone_is_opened_nowhere() {
    let mut house = house((1, 0), "");
    let (mut reverted, path) = house.at_candidate();
    let mut killed = house.open_at("v2");
    let asked = house.v1.methods().len();

    house.revert(&path);
    assert_eq!(reverted.delete().status, 200);
    house.v2.backend.stop();
    assert_eq!(killed.delete().status, 200);

    assert_eq!(house.v1.methods().len(), asked);
    assert_unknown(&reverted.post(&ping(7)));
    assert_unknown(&killed.post(&ping(7)));
}

#[test]
fn a_session_that_ends_where_nobody_listens_is_opened_nowhere() {
    let mut house = house((1, 1), "");
    let mut client = house.open_at("v2");
    let asked = house.v1.methods().len();

    house.v2.backend.stop();
    assert_eq!(client.delete().status, 200);

    assert_eq!(house.v1.methods().len(), asked);
    assert_unknown(&client.post(&ping(7)));
}
