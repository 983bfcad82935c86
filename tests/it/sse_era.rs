//! Sessions over HTTP+SSE, the era of 2024-11-05.

use serde_json::json;

use crate::support::client::Raw;
use crate::support::fake_mcp::FakeMcp;
use crate::support::fake_sse::{FakeSse, SseClient};
use crate::support::gateway::Gateway;
use crate::support::house::{assert_unknown, ping};
use crate::support::mcp_client::McpClient;
use crate::support::routes::route;

/// One server behind a gateway.
fn single() -> (FakeSse, Gateway) {
    let server = FakeSse::start("v1");
    let gateway = Gateway::start(&route("mcp", &[("v1", &server.url(), 1)]));
    (server, gateway)
}

fn metric(gateway: &Gateway, name: &str) -> u64 {
    let metrics = gateway.admin.text("/metrics");
    let line = metrics
        .lines()
        .find(|line| line.split(' ').next() == Some(name));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

fn wait_for_outcome(gateway: &Gateway, outcome: &str, count: u64) {
    gateway.admin.wait_for("/v1/status", |seen| {
        let counted = &seen["routes"][0]["arms"][0]["calls"]["outcomes"][outcome];
        (*counted == count).then_some(())
    });
}

#[test]
fn sessions_stay_where_their_streams_come_from_whatever_the_weights() {
    let (v1, v2) = (FakeSse::start("v1"), FakeSse::start("v2"));
    let arms = [("v1", &*v1.url(), 1), ("v2", &*v2.url(), 1)];
    let gateway = Gateway::start(&route("mcp", &arms));

    let (mut clients, mut homes) = (Vec::new(), Vec::new());
    while clients.len() < 6 || !["v1", "v2"].iter().all(|it| homes.contains(&(*it).into())) {
        let mut client = SseClient::open(gateway.address, "/sse");
        homes.push(client.call_text("whoami"));
        clients.push(client);
    }
    let weights = json!({ "weights": { "v1": 0, "v2": 1 } });
    gateway.admin.put("/v1/routes/all/weights", &weights);

    for round in 1..=3 {
        for (client, home) in clients.iter_mut().zip(&homes) {
            assert_eq!(client.call_text("counter"), round.to_string());
            assert_eq!(client.call_text("whoami"), *home);
        }
    }
}

#[test]
fn a_message_url_is_ours_and_the_backend_gets_its_own() {
    let (server, gateway) = single();

    let mut client = SseClient::open(gateway.address, "/sse?key=1");
    client.call_text("whoami");

    assert!(
        client.target.starts_with("/sse?session_id=sb1."),
        "{}",
        client.target
    );
    assert!(!client.target.contains("v1-1"));
    for request in server.backend.requests() {
        let target = if request.method == "GET" {
            "/sse?key=1"
        } else {
            "/messages?sessionId=v1-1"
        };
        assert_eq!(request.target, target);
    }
}

#[test]
fn a_message_url_never_leads_to_another_host() {
    let (_server, gateway) = single();

    for path in ["//other.example/sse", "///other.example/sse"] {
        let mut client = SseClient::connect(gateway.address, path, &[]);
        let begin = format!("/.{path}?session_id=");
        assert!(client.target.starts_with(&begin), "{}", client.target);

        // As clients do who know what the dot is for.
        client.target = client.target.replacen("/.", "", 1);
        assert_eq!(client.post(&ping(1)).status, 202);
    }
}

#[test]
fn a_message_url_that_is_not_ours_is_404_and_goes_nowhere() {
    let (server, gateway) = single();
    let (_server, other) = single();
    let mut client = SseClient::open(gateway.address, "/sse");
    let foreign = SseClient::open(other.address, "/sse").target;
    let asked = server.methods().len();

    let own = client.target.clone();
    let (cut, changed) = (&own[..own.len() - 1], own.replacen("sb1.A", "sb1.B", 1));
    let changed = if changed == own {
        own.replacen("sb1.", "sb1.A", 1)
    } else {
        changed
    };
    for target in [
        &foreign,
        cut,
        &changed,
        &format!("{own}A"),
        &format!("{own}&more=1"),
        "/sse?session_id=sb1.",
        "/sse?session_id=sb1.AAAA.v1-1",
    ] {
        assert_unknown(&client.post_to(target, &ping(7)));
    }

    assert_eq!(server.methods().len(), asked);
    assert_eq!(client.call_text("whoami"), "v1");
}

#[test]
fn a_message_url_of_another_route_is_404() {
    let server = FakeSse::start("v1");
    let text = format!(
        "backends: {{ v1: {{ endpoints: [\"{}\"] }} }}\nroutes:\n  - {{ name: a, match: {{ path: /a }}, protocol: mcp, split: {{ v1: 1 }} }}\n  - {{ name: b, match: {{ path: /b }}, protocol: mcp, split: {{ v1: 1 }} }}\n",
        server.url()
    );
    let gateway = Gateway::start(&text);
    let mut client = SseClient::open(gateway.address, "/a");

    let there = client.target.replacen("/a", "/b", 1);

    assert_unknown(&client.post_to(&there, &ping(7)));
    assert_eq!(client.call_text("whoami"), "v1");
}

#[test]
fn an_endpoint_event_is_understood_in_every_form_and_in_any_pieces() {
    let (server, gateway) = single();
    let origin = server.url();
    let here = format!("http://{}", gateway.address);

    for (event, target) in [
        (
            "event: endpoint\r\ndata: /messages?sessionId=ID\r\n\r\n".to_owned(),
            "/messages",
        ),
        (
            "event:endpoint\rdata:/messages?sessionId=ID\r\r".to_owned(),
            "/messages",
        ),
        (
            "\u{FEFF}event: endpoint\ndata: /messages?sessionId=ID\n\n".to_owned(),
            "/messages",
        ),
        (
            ": hi\n\nretry: 10\n\ndata: /m/?a=b&sessionId=ID\nevent: endpoint\n\n".to_owned(),
            "/m/",
        ),
        (
            "id: 1\nevent: endpoint\ndata: messages?sessionId=ID\n\n".to_owned(),
            "/deep/messages",
        ),
        (
            "event: endpoint\ndata: ?sessionId=ID\n\n".to_owned(),
            "/deep/sse",
        ),
        (
            format!("event: endpoint\ndata: {origin}/own?sessionId=ID#x\n\n"),
            "/own",
        ),
        (
            format!("event: endpoint\ndata: {here}/host?sessionId=ID\n\n"),
            "/host",
        ),
    ] {
        for piece in [usize::MAX, 1] {
            server.begin_with(&event);
            server.write_in_pieces_of(piece);
            let mut client = SseClient::open(gateway.address, "/deep/sse");
            assert_eq!(client.call_text("whoami"), "v1", "{event:?}");

            let asked = server.backend.requests();
            let path = asked.last().unwrap().target.split('?').next();
            assert_eq!(path, Some(target), "{event:?}");
        }
    }
}

#[test]
fn an_endpoint_event_that_leads_elsewhere_ends_its_stream() {
    let (server, gateway) = single();
    let long = format!("event: endpoint\ndata: /{}", "x".repeat(20_000));

    for (count, event) in [
        "event: endpoint\ndata: http://127.0.0.1:1/messages\n\n",
        "event: endpoint\ndata: //example.com/messages\n\n",
        "event: endpoint\ndata: javascript:alert(1)\n\n",
        "event: endpoint\ndata: /a/%2e%2e/b\n\n",
        "event: endpoint\ndata:\n\n",
        &long,
    ]
    .iter()
    .enumerate()
    {
        server.begin_with(event);
        let mut stream = Raw::connect(gateway.address);
        stream.send("GET", "/sse", &[], b"");
        let answer = stream.read("GET");
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, ""),
            "{event}"
        );
        let refused = metric(&gateway, "switchback_stream_endpoints_refused_total");
        assert_eq!(refused, count as u64 + 1);
    }
}

#[test]
fn a_stream_that_is_no_session_passes_as_it_comes() {
    let (server, gateway) = single();

    for begin in [
        "data: {\"jsonrpc\":\"2.0\",\"method\":\"a\"}\n\n",
        ": hi\n\n: ho\n\nevent: message\ndata: ID\n\nevent: endpoint\ndata: /x\n\n",
        ": a comment is told before there is an event\n\n",
        &format!("data: {}\n\n", "x".repeat(30_000)),
    ] {
        server.begin_with(begin);
        let mut stream = Raw::connect(gateway.address);
        stream.send("GET", "/sse", &[], b"");
        assert_eq!(stream.read_head("GET").status, 200);
        let id = format!("v1-{}", server.opened());
        let begin = begin.replace("ID", &id);
        let read = stream.read_until(begin.trim_end());
        assert!(read.starts_with(&*begin), "{read}");
    }
}

#[test]
fn how_calls_go_is_read_from_the_stream() {
    let (_server, gateway) = single();
    let mut client = SseClient::open(gateway.address, "/sse");
    wait_for_outcome(&gateway, "success", 1);

    let call = |name: &str| json!({ "name": name });
    client.request("tools/call", call("fail"));
    client.request("nonsense", json!({}));
    client.request("tools/call", call("nonsense"));
    client.request("ping", json!({}));

    wait_for_outcome(&gateway, "tool_error", 1);
    wait_for_outcome(&gateway, "method_not_found", 1);
    wait_for_outcome(&gateway, "caller_error", 1);
    wait_for_outcome(&gateway, "success", 2);
    let refused =
        json!({ "jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": call("drop") });
    assert_eq!(client.post(&refused).status, 503);
    wait_for_outcome(&gateway, "server_error", 1);
    let batch = json!([ping(20), { "jsonrpc": "2.0", "id": "x", "method": "tools/call", "params": call("fail") }]);
    assert_eq!(client.post(&batch).status, 202);
    wait_for_outcome(&gateway, "tool_error", 2);
    wait_for_outcome(&gateway, "success", 3);
}

#[test]
fn a_call_that_a_stream_ends_under_is_broken_and_one_whose_client_left_is_cancelled() {
    let (server, gateway) = single();
    let hang = || json!({ "name": "hang" });

    let mut leaving = SseClient::open(gateway.address, "/sse");
    leaving.begin("tools/call", hang());
    drop(leaving);
    wait_for_outcome(&gateway, "cancelled", 1);

    let mut staying = SseClient::open(gateway.address, "/sse");
    staying.begin("tools/call", hang());
    server.end_streams();
    while staying.next_event().is_some() {}
    wait_for_outcome(&gateway, "broken", 1);
    server.wait_for_streams(0);
    assert_eq!(staying.post(&ping(99)).status, 404);
}

#[test]
fn more_calls_than_are_followed_pass_uncounted() {
    let server = FakeSse::start("v1");
    let text = route("mcp", &[("v1", &server.url(), 1)]) + "limits: { stream_calls: 1 }\n";
    let gateway = Gateway::start(&text);
    let mut client = SseClient::open(gateway.address, "/sse");

    let hang = client.begin("tools/call", json!({ "name": "hang" }));
    assert_eq!(client.call_text("whoami"), "v1");
    server.answer_hanging();
    client.wait_for(hang);

    wait_for_outcome(&gateway, "success", 2);
    assert_eq!(
        metric(&gateway, "switchback_stream_calls_unfollowed_total"),
        1
    );
}

#[test]
fn an_event_is_told_whole_or_not_at_all() {
    let (server, gateway) = single();
    let mut client = SseClient::open(gateway.address, "/sse");

    server.write("data: {\"half\":");
    server.write("true}\n\n: whole\n\n");
    assert_eq!(client.next_event().unwrap().1, "{\"half\":true}");
    let long = format!("data: \"{}\"\n\n", "x".repeat(300_000));
    server.write(&long);

    assert_eq!(client.next_event().unwrap().1.len(), 300_002);
}

#[test]
fn eras_share_a_route() {
    let (old, new) = (FakeSse::start("old"), FakeMcp::start("new"));
    let arms = [("old", &*old.url(), 1), ("new", &*new.url(), 0)];
    let gateway = Gateway::start(&route("mcp", &arms));
    let mut elder = SseClient::open(gateway.address, "/mcp");
    let weights = json!({ "weights": { "old": 0, "new": 1 } });
    gateway.admin.put("/v1/routes/all/weights", &weights);

    let mut younger = McpClient::open(gateway.address, "/mcp");

    assert_eq!(elder.call_text("whoami"), "old");
    assert_eq!(younger.call_text("whoami"), "new");
    let mut stream = younger.listen();
    new.wait_for_streams(1);
    new.push("new-1", &json!({ "jsonrpc": "2.0", "method": "x" }));
    stream.read_until("\"method\":\"x\"");
    assert_eq!(elder.call_text("whoami"), "old");
}

#[test]
fn an_event_that_is_too_long_to_be_held_passes_in_parts() {
    let server = FakeSse::start("v1");
    let text = route("mcp", &[("v1", &server.url(), 1)]);
    let gateway = Gateway::start(&(text + "limits: { event_bytes: 1024 }\n"));
    let mut client = SseClient::open(gateway.address, "/sse");

    server.write(&format!("data: \"{}\"\n\n", "x".repeat(5_000)));

    assert_eq!(client.next_event().unwrap().1.len(), 5_002);
}

#[test]
fn any_replica_with_the_key_and_any_process_sends_messages_on() {
    let key = "a-key-that-both-replicas-have-0123456789";
    let server = FakeSse::start("v1");
    let text = route("mcp", &[("v1", &server.url(), 1)]);
    let (gateway, other) = (Gateway::start(&text), Gateway::start(&text));
    for replica in [&gateway, &other] {
        let whole = std::fs::read_to_string(replica.config_file()).unwrap();
        let state = format!("state: {{ file: state, session_keys: [{key}] }}");
        replica.rewrite_whole(&whole.replace("state: { file: state }", &state));
        replica.admin.post("/v1/config/reload", &json!({}));
    }
    let mut client = SseClient::open(gateway.address, "/sse");

    let mut there = Raw::connect(other.address);
    let fields = [("content-type", "application/json")];
    let body = ping(77).to_string();
    let answer = there.ask("POST", &client.target, &fields, body.as_bytes());

    assert_eq!(answer.status, 202);
    client.wait_for(77);
}
