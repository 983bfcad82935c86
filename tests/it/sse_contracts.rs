//! What servers promise that speak HTTP+SSE (2024-11-05) alone.

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::fake_mcp::FakeMcp;
use crate::support::fake_sse::FakeSse;
use crate::support::gateway::Gateway;
use crate::support::routes::route_with;

fn gateway(v1: &str, v2: &str) -> Gateway {
    let arms = [("v1", v1, 1), ("v2", v2, 0)];
    let lines = ["match: { path: /deep/sse }", "contract: { timeout: 10s }"];
    Gateway::start(&route_with("mcp", &arms, &lines))
}

fn compare(gateway: &Gateway) -> Value {
    gateway.admin.get("/v1/routes/all/contract")
}

#[test]
fn servers_with_an_event_stream_alone_are_asked_over_it() {
    let (v1, v2) = (FakeSse::start("v1"), FakeSse::start("v2"));
    v2.begin_with(": hi\r\n\r\ndata: messages?sessionId=ID\r\nevent: endpoint\r\n\r\n");
    let gateway = gateway(&v1.url(), &v2.url());

    let found = compare(&gateway);

    assert_eq!(found["result"], "compatible", "{found:#}");
    assert_eq!(found["changes"][0]["rule"], "server_renamed");
    for server in [&v1, &v2] {
        // The last word of opening a session may be read after the first question.
        let mut asked = server.methods();
        asked.retain(|method| method != "server/discover");
        let told = [
            "initialize",
            "initialize",
            "notifications/initialized",
            "tools/list",
        ];
        assert_eq!(asked, told);
        assert_eq!(server.opened(), 1);
        server.wait_for_streams(0);
    }
    let last = v2.backend.requests();
    assert_eq!(last.last().unwrap().target, "/deep/messages?sessionId=v2-1");
    let route = gateway.admin.get("/v1/routes/all");
    for arm in route["arms"].as_array().unwrap() {
        assert_eq!(arm["calls"]["total"], 0, "{arm}");
    }
}

#[test]
fn a_server_that_gives_the_event_stream_up_breaks_a_promise() {
    let (v1, v2) = (FakeSse::start("v1"), FakeMcp::start("v2"));
    let gateway = gateway(&v1.url(), &v2.url());

    let found = compare(&gateway);

    assert_eq!(found["result"], "breaking");
    let mut changes = found["changes"].as_array().unwrap().iter();
    let lost = changes.find(|change| change["rule"] == "revision_lost");
    assert_eq!(lost.unwrap()["name"], "2024-11-05 over HTTP+SSE");
}

#[test]
fn what_is_no_such_stream_leaves_the_server_unknown() {
    let v1 = FakeSse::start("v1");
    let other = FakeSse::start("v2");
    for (begin, why) in [
        ("event: message\ndata: {}\n\n", "URL for messages"),
        (
            "event: endpoint\ndata: http://example.com/m?sessionId=ID\n\n",
            "URL for messages",
        ),
        (
            "event: endpoint\ndata: /messages?sessionId=nobody\n\n",
            "initialize is answered with status 404",
        ),
    ] {
        other.begin_with(begin);
        let gateway = gateway(&v1.url(), &other.url());
        let found = compare(&gateway);
        assert_eq!(found["result"], "unknown", "{begin}");
        let said = found["unknown"].as_str().unwrap();
        assert!(said.contains(why), "{said}");
    }
    for status in [404, 405] {
        let plain = Backend::fixed(status, "no");
        let gateway = gateway(&v1.url(), &plain.url());
        let said = compare(&gateway)["unknown"].clone();
        let why = format!("initialize is answered with status {status}");
        assert!(said.as_str().unwrap().contains(&why), "{said}");
    }
    other.wait_for_streams(0);
}

#[test]
fn a_gate_lets_a_candidate_in_that_keeps_what_the_elder_one_promises() {
    let (v1, v2) = (FakeSse::start("v1"), FakeSse::start("v2"));
    let arms = [("v1", &*v1.url(), 1), ("v2", &*v2.url(), 0)];
    let gate = "contract: { policy: gate }";
    let gateway = Gateway::start(&route_with("mcp", &arms, &[gate]));

    let wanted = json!({ "to": "v2", "stages": [{ "percent": 5, "for": "1h" }] });
    let rollout = gateway.admin.post("/v1/routes/all/rollouts", &wanted);

    assert_eq!(rollout["contract"]["result"], "compatible", "{rollout:#}");
}
