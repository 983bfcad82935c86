//! Sessions whose backend is reverted, however they were opened.

use serde_json::{Value, json};

use crate::support::backend::Request;
use crate::support::client::{Answer, Raw};
use crate::support::fake_mcp::FakeMcp;
use crate::support::gateway::Gateway;
use crate::support::house::{assert_unknown, house, ping};
use crate::support::mcp_client::{McpClient, REVISION};
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

#[test]
fn a_new_home_of_another_revision_is_left_without_a_session_that_nobody_uses() {
    let house = house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    let before = house.v1.sessions();
    house.v1.set_revision("2024-11-05");
    house.revert(&path);

    for id in 0..3 {
        assert_unknown(&client.post(&ping(id)));
    }

    assert_eq!(house.v1.sessions(), before, "each was ended again");
}

#[test]
fn what_a_call_says_of_itself_is_not_said_of_the_replay_that_it_needs() {
    let house = house((1, 0), "");
    let (client, path) = house.at_candidate();
    house.revert(&path);
    let known = house.v1.backend.requests().len();

    let own = [
        ("mcp-session-id", &*client.session),
        ("content-encoding", "identity"),
        ("mcp-method", "ping"),
        ("mcp-name", "me"),
        ("x-of-the-client", "yes"),
    ];
    let body = ping(1).to_string();
    let answer = house
        .gateway
        .connect()
        .ask("POST", "/mcp", &own, body.as_bytes());

    assert_eq!(answer.status, 200, "{}", answer.text());
    let asked = house.v1.backend.requests().split_off(known);
    let (last, replayed) = asked.split_last().unwrap();
    assert_eq!(last.fields.get("content-encoding"), Some("identity"));
    assert_eq!(replayed.len(), 2);
    for request in replayed {
        assert_eq!(request.fields.get("x-of-the-client"), Some("yes"));
        for name in ["content-encoding", "mcp-method", "mcp-name"] {
            assert_eq!(request.fields.get(name), None, "{name}");
        }
    }
}

#[test]
fn a_session_that_is_opened_anew_at_its_new_home_stays_there() {
    let house = house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    house.revert(&path);
    assert_eq!(client.call_text("counter"), "1");
    let known = house.v1.methods().len();
    let home = house.v1.sessions().pop().unwrap();
    house.v1.keep_session(&home);

    let initialize = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": { "protocolVersion": REVISION, "capabilities": {}, "clientInfo": {} },
    });
    let answer = client.post(&initialize);

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.fields.get("mcp-session-id"), Some(&*client.session));
    assert_eq!(client.call_text("counter"), "2");
    let asked = house.v1.methods().split_off(known);
    assert_eq!(asked, ["initialize", "tools/call"], "nothing was replayed");
}

#[test]
fn to_a_packed_stream_at_a_new_home_nothing_is_added() {
    let house = house((1, 0), "");
    let (client, path) = house.at_candidate();
    house.revert(&path);
    house.v1.pack_streams();

    let said = client.listen().read_until("open");

    assert!(!said.contains("list_changed"), "{said}");
}

/// A call at the candidate that has asked its client, and has no answer yet.
fn asking(client: &McpClient) -> Raw {
    let call = json!({
        "jsonrpc": "2.0", "id": 9, "method": "tools/call",
        "params": { "name": "ask", "arguments": {} },
    });
    let mut under_way = client.post_aside(&call);
    assert_eq!(under_way.read_head("POST").status, 200);
    under_way.read_until("elicitation/create");
    under_way
}

#[test]
fn a_call_that_stayed_behind_hears_what_it_asked_its_client() {
    for moves_first in [false, true] {
        let house = house((1, 0), "");
        let (mut client, path) = house.at_candidate();
        let mut under_way = asking(&client);
        house.revert(&path);
        if moves_first {
            assert_eq!(client.call_text("whoami"), "v1");
        }

        let answer = json!({ "jsonrpc": "2.0", "id": 0, "result": { "said": "by all means" } });
        assert_eq!(client.post(&answer).status, 202);

        under_way.read_until("by all means");
        assert_eq!(client.call_text("whoami"), "v1");
    }
}

#[test]
fn a_call_that_stayed_behind_hears_that_it_is_cancelled_and_of_no_new_ones() {
    let house = house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    let _under_way = asking(&client);
    house.revert(&path);
    assert_eq!(client.call_text("whoami"), "v1");

    let cancelled = json!({
        "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 9 },
    });
    assert_eq!(client.post(&cancelled).status, 202);

    house.v2.backend.wait_for("the news", |seen| {
        let posted = seen.iter().filter(|request| request.method == "POST");
        let mut messages = posted.map(Request::json);
        let told = messages.any(|it| it["method"] == "notifications/cancelled");
        told.then_some(())
    });
    let calls = house.v2.calls();
    assert_eq!(client.call_text("whoami"), "v1");
    assert_eq!(house.v2.calls(), calls);
}

#[test]
fn a_stream_of_the_new_home_is_taken_up_where_it_ended() {
    let house = house((1, 0), "");
    let (client, path) = house.at_candidate();
    house.revert(&path);
    let mut stream = client.listen();
    stream.read_until("open");
    let home = house.v1.sessions().pop().unwrap();
    house.v1.push_as(&home, "of-v1-7", &ping(1));
    stream.read_until("id: of-v1-7\n");
    drop(stream);

    for (last, passed_on) in [("of-v1-7", true), ("of-v2-7", false)] {
        let known = house.v1.backend.requests().len();
        let fields = [
            ("accept", "text/event-stream"),
            ("mcp-session-id", client.session.as_str()),
            ("last-event-id", last),
        ];
        let mut stream = house.gateway.connect();
        stream.send("GET", "/mcp", &fields, b"");
        assert_eq!(stream.read_head("GET").status, 200);

        let asked = house.v1.backend.requests().split_off(known);
        let told = asked
            .iter()
            .find(|request| request.method == "GET")
            .unwrap();
        assert_eq!(told.fields.get("last-event-id"), passed_on.then_some(last));
    }
}

#[test]
fn a_session_that_nobody_takes_is_not_tried_at_each_of_its_calls() {
    let house = house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    house.v1.set_revision("2024-11-05");
    house.revert(&path);
    let before = house.v1.initializes();

    for id in 0..40 {
        assert_unknown(&client.post(&ping(id)));
    }

    let tries = house.v1.initializes() - before;
    assert!((2..=12).contains(&tries), "{tries} tries");
    let metrics = house.gateway.admin.text("/metrics");
    let line = format!("switchback_rehomings_held_off_total {}", 40 - tries);
    assert!(metrics.lines().any(|it| it == line), "{metrics}");
    house.v1.set_revision(REVISION);
    while client.post(&ping(1)).status != 200 {}
    assert_eq!(client.call_text("whoami"), "v1");
}

#[test]
fn wishes_of_a_batch_are_those_of_the_new_home_too() {
    let house = house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    let level = json!({
        "jsonrpc": "2.0", "id": 5, "method": "logging/setLevel", "params": { "level": "debug" },
    });
    let subscribe = json!({
        "jsonrpc": "2.0", "id": 6, "method": "resources/subscribe", "params": { "uri": "a://b" },
    });
    assert_eq!(client.post(&json!([level, subscribe])).status, 202);
    let known = house.v1.methods().len();

    house.revert(&path);
    assert_eq!(client.call_text("whoami"), "v1");

    let told = house.v1.methods().split_off(known);
    let replay = [
        "initialize",
        "notifications/initialized",
        "logging/setLevel",
        "resources/subscribe",
        "tools/call",
    ];
    assert_eq!(told, replay);
}

#[test]
fn a_session_id_that_cannot_be_passed_on_is_counted_and_logged() {
    let house = house((1, 0), "");
    house.v1.keep_session(&"x".repeat(2000));
    let initialize = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": { "protocolVersion": REVISION, "capabilities": {}, "clientInfo": {} },
    });

    for _ in 0..3 {
        let mut connection = house.gateway.connect();
        let body = initialize.to_string();
        let answer = connection.ask("POST", "/mcp", &[], body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.fields.get("mcp-session-id"), None);
    }

    house
        .gateway
        .wait_for_line("session id cannot be passed on");
    let metrics = house.gateway.admin.text("/metrics");
    let mut lines = metrics.lines();
    assert!(lines.any(|it| it == "switchback_session_ids_refused_total 3"));
}
