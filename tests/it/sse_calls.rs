//! Calls over HTTP+SSE: by tool, taken back; and what is compressed.

use serde_json::{Value, json};

use crate::support::client::Raw;
use crate::support::fake_sse::{FakeSse, SseClient};
use crate::support::frames::{Frames, flag, kind};
use crate::support::gateway::Gateway;
use crate::support::house::{
    SseHouse as House, hang, ping, sse_house as house, sse_house_with as house_with,
};
use crate::support::routes::route;

/// The calls of a tool at a backend.
fn tool(house: &House, name: &str, backend: &str) -> Value {
    let seen = house.gateway.admin.get("/v1/routes/all/tools");
    let mut tools = seen["tools"].as_array().expect("tools").iter();
    let tool = tools.find(|tool| tool["tool"] == name);
    let arms = tool.and_then(|tool| tool["arms"].as_array());
    let mut arms = arms.into_iter().flatten();
    let arm = arms.find(|arm| arm["backend"] == backend);
    arm.map_or(Value::Null, |arm| arm["calls"].clone())
}

#[test]
fn calls_are_counted_by_tool_where_they_were_answered() {
    let house = house((1, 1), "");
    let (mut one, mut two) = (house.open_at("v1"), house.open_at("v2"));
    for (client, times) in [(&mut one, 2), (&mut two, 3)] {
        for _ in 0..times {
            client.call_text("counter");
        }
    }
    one.request("tools/call", json!({ "name": "fail" }));
    one.request("ping", json!({ "name": "counter" }));
    let batch = json!([
        { "jsonrpc": "2.0", "id": "a", "method": "tools/call", "params": { "name": "counter" } },
        { "jsonrpc": "2.0", "id": "b", "method": "tools/call", "params": { "name": "fail" } },
    ]);
    assert_eq!(two.post(&batch).status, 202);
    house.wait_for_outcome(0, "tool_error", 1);
    house.wait_for_outcome(1, "tool_error", 1);

    let outcomes = |name, backend| tool(&house, name, backend)["outcomes"].clone();
    assert_eq!(outcomes("counter", "v1"), json!({ "success": 2 }));
    assert_eq!(outcomes("counter", "v2"), json!({ "success": 4 }));
    assert_eq!(outcomes("fail", "v1"), json!({ "tool_error": 1 }));
    assert_eq!(outcomes("fail", "v2"), json!({ "tool_error": 1 }));
    assert!(tool(&house, "counter", "v1")["p50_ms"].is_number());
}

#[test]
fn calls_that_fail_at_their_post_and_those_that_are_lost_are_counted_by_tool() {
    let mut house = house((1, 0), "");
    let mut client = house.open_at("v1");
    let call = json!({
        "jsonrpc": "2.0", "id": 90, "method": "tools/call", "params": { "name": "drop" },
    });
    assert_eq!(client.post(&call).status, 503);
    client.begin("tools/call", hang());
    house.v1.wait_for_hanging(1);

    house.v1.backend.stop();

    house.wait_for_outcome(0, "broken", 1);
    house.wait_for_outcome(0, "server_error", 1);
    let outcomes = |name| tool(&house, name, "v1")["outcomes"].clone();
    assert_eq!(outcomes("hang"), json!({ "broken": 1 }));
    assert_eq!(outcomes("drop"), json!({ "server_error": 1 }));
}

#[test]
fn a_call_that_its_client_takes_back_is_over() {
    let house = house_with((1, 0), "", "limits: { stream_calls: 1 }\n");
    let mut client = house.open_at("v1");
    let slow = client.begin("tools/call", hang());

    assert_eq!(client.cancel(slow).status, 202);
    house.wait_for_outcome(0, "cancelled", 1);
    assert_eq!(client.call_text("counter"), "1");
    house.v1.answer_hanging();
    client.wait_for(slow);

    let unfollowed = "switchback_stream_calls_unfollowed_total";
    assert_eq!(house.metric(unfollowed), 0, "there was room again");
    assert_eq!(
        tool(&house, "hang", "v1")["outcomes"],
        json!({ "cancelled": 1 })
    );
    assert_eq!(
        tool(&house, "counter", "v1")["outcomes"],
        json!({ "success": 1 })
    );
}

#[test]
fn who_takes_back_what_is_over_or_not_theirs_changes_nothing() {
    let house = house((1, 0), "");
    let (mut client, mut other) = (house.open_at("v1"), house.open_at("v1"));
    let slow = client.begin("tools/call", hang());
    for number in 0..5 {
        other.cancel(slow + number);
    }
    assert_eq!(other.call_text("counter"), "1");

    house.v1.answer_hanging();
    client.wait_for(slow);

    assert_eq!(
        tool(&house, "hang", "v1")["outcomes"],
        json!({ "success": 1 })
    );
}

#[test]
fn a_stream_that_is_compressed_all_the_same_is_refused() {
    let house = house((1, 0), "");
    house.v1.pack_streams();
    let mut stream = Raw::connect(house.gateway.address);
    let fields = [
        ("accept", "text/event-stream"),
        ("accept-encoding", "gzip, br"),
    ];

    let answer = stream.ask("GET", "/sse", &fields, b"");

    assert_eq!(answer.status, 502);
    let error = answer.json()["error"]["message"].clone();
    assert!(error.as_str().unwrap().contains("compresses"), "{error}");
    let asked = house.v1.backend.requests();
    assert_eq!(asked[0].fields.get("accept-encoding"), None);
    house.wait_for_outcome(0, "server_error", 1);
    house.wait_for_metric("switchback_stream_endpoints_refused_total", 1);
}

#[test]
fn a_message_that_is_compressed_passes_and_is_counted_as_such() {
    let house = house((1, 0), "");
    let mut client = SseClient::open(house.gateway.address, "/sse");
    let mut aside = Raw::connect(house.gateway.address);
    let fields = [
        ("content-type", "application/json"),
        ("content-encoding", "x-none"),
    ];

    let packed = format!("\u{1}{}", ping(7));
    let answer = aside.ask("POST", &client.target, &fields, packed.as_bytes());

    assert_ne!(answer.status, 415, "that is for the server to say");
    house.wait_for_metric("switchback_packed_requests_total", 1);
    let asked = house.v1.backend.requests();
    let last = asked.last().unwrap();
    assert_eq!(last.fields.get("content-encoding"), Some("x-none"));
    assert_eq!(last.body, packed.as_bytes());
    assert_eq!(client.call_text("whoami"), "v1");
}

#[test]
fn a_rule_leads_nobody_elsewhere_over_http_sse() {
    let (v1, v2) = (FakeSse::start("v1"), FakeSse::start("v2"));
    let arms = [("v1", &*v1.url(), 1), ("v2", &*v2.url(), 0)];
    let rule = "  - name: canary\n    match: { mcp: { method: tools/call, name: [whoami] } }\n    protocol: mcp\n    split: { v2: 1 }\n";
    let gateway = Gateway::start(&(route("mcp", &arms) + rule));
    let house = House { v1, v2, gateway };
    let mut client = SseClient::open(house.gateway.address, "/sse");

    assert_eq!(client.call_text("whoami"), "v1");
    assert_eq!(client.call_text("counter"), "1");

    house.wait_for_metric("switchback_rules_unfollowed_total", 1);
    assert_eq!(house.v2.opened(), 0);
}

/// Reads frames until this text has come on a stream.
fn read_on(frames: &mut Frames, stream: u32, text: &str) -> String {
    let mut said = String::new();
    while !said.contains(text) {
        let frame = frames.read().expect("more of the connection");
        if frame.kind == kind::DATA && frame.stream == stream {
            said.push_str(&String::from_utf8_lossy(&frame.payload));
        }
    }
    said
}

#[test]
fn a_session_over_http2_has_its_stream_and_its_messages_on_one_connection() {
    let house = house((1, 0), "");
    let mut frames = Frames::connect(house.gateway.address);
    let authority = house.gateway.address.to_string();
    let request = |method: &str, path: &str| {
        [
            (":method", method.to_owned()),
            (":scheme", "http".to_owned()),
            (":authority", authority.clone()),
            (":path", path.to_owned()),
        ]
    };

    frames.head(1, &request("GET", "/sse"), flag::END_STREAM);
    let said = read_on(&mut frames, 1, "\n\n");
    let target = said.split_once("data: ").expect("a URL").1.trim();
    for (stream, id) in [(3, 1), (5, 2)] {
        frames.head(stream, &request("POST", target), 0);
        frames.data(stream, ping(id).to_string(), flag::END_STREAM);
        read_on(&mut frames, 1, &format!("\"id\":{id}"));
    }

    house.wait_for_outcome(0, "success", 2);
}
