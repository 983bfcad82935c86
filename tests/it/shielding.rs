//! A candidate's failed calls, answered by stable within the same request.

use serde_json::{Value, json};

use crate::support::backend::{Backend, Exchange};
use crate::support::fake_mcp::{FakeMcp, Mood, Wire};
use crate::support::gateway::Gateway;
use crate::support::mcp_client::McpClient;
use crate::support::routes::route_with;

/// A route with a rollout at half of the traffic, and the rollout's path.
fn on_trial(protocol: &str, stable: &str, candidate: &str, shield: &str) -> (Gateway, String) {
    let arms = [("v1", stable, 100), ("v2", candidate, 0)];
    let gateway = Gateway::start(&route_with(protocol, &arms, &[shield]));
    let wanted = json!({ "to": "v2", "stages": [{ "percent": 50, "for": "1h" }] });
    let rollout = gateway.admin.post("/v1/routes/all/rollouts", &wanted);
    let path = format!("/v1/rollouts/{}", rollout["id"].as_str().expect("an id"));
    (gateway, path)
}

/// Callers ask until the candidate is reverted; every one of them gets stable's answer.
fn nobody_notices(candidate: Backend, shield: &str) {
    let stable = Backend::fixed(200, "fine");
    let (gateway, path) = on_trial("http", &stable.url(), &candidate.url(), shield);

    gateway.admin.wait_for(&path, |rollout: &Value| {
        let answer = gateway.get("/");
        assert_eq!((answer.status, answer.text().as_str()), (200, "fine"));
        (rollout["state"] == "reverted").then_some(())
    });

    assert!(!candidate.requests().is_empty(), "the candidate was asked");
    let shielded = gateway.admin.text("/metrics");
    assert!(
        shielded.contains("switchback_shielded_total{route=\"all\"}"),
        "{shielded}"
    );
}

#[test]
fn a_status_that_counts_against_the_candidate_is_not_passed_on() {
    nobody_notices(Backend::fixed(500, "no"), "shield: {}");
}

#[test]
fn an_answer_that_breaks_off_is_not_passed_on() {
    let cut = Backend::start(|exchange: &mut Exchange| {
        exchange.begin(200, &[("content-type", "text/plain")]);
        exchange.chunk("half of");
        exchange.cut();
    });
    nobody_notices(cut, "shield: {}");
}

#[test]
fn a_candidate_that_takes_too_long_is_not_waited_for() {
    let hangs = Backend::start(|exchange: &mut Exchange| {
        exchange.read_body();
        exchange.wait_for_close();
    });
    nobody_notices(hangs, "shield: { patience: 100ms }");
}

#[test]
fn what_may_have_effects_is_not_shielded() {
    let (stable, candidate) = (Backend::fixed(200, "fine"), Backend::fixed(500, "no"));
    let (gateway, _) = on_trial("http", &stable.url(), &candidate.url(), "shield: {}");

    let mut statuses = (0..100).map(|_| gateway.connect().ask("POST", "/", &[], b"x").status);
    assert!(statuses.any(|status| status == 500));
}

#[test]
fn without_a_shield_the_caller_sees_what_the_candidate_did() {
    let (stable, candidate) = (Backend::fixed(200, "fine"), Backend::fixed(500, "no"));
    let (gateway, _) = on_trial("http", &stable.url(), &candidate.url(), "idle_timeout: 1m");

    assert!((0..100).any(|_| gateway.get("/").status == 500));
}

#[test]
fn a_healthy_candidates_answers_pass_whole_whatever_their_length() {
    let body = "x".repeat(300_000);
    let (stable, candidate) = (Backend::fixed(200, &body), Backend::fixed(200, &body));
    let shield = "shield: { hold_bytes: 1024 }";
    let (gateway, _) = on_trial("http", &stable.url(), &candidate.url(), shield);

    for _ in 0..40 {
        let answer = gateway.get("/");
        assert_eq!((answer.status, answer.body.len()), (200, 300_000));
    }
    assert!(!candidate.requests().is_empty());
}

/// Sessions on the candidate, and what each of its moods makes of a call that only reads.
fn sessions_notice_nothing(mood: Mood, wire: Wire) {
    let (v1, v2) = (FakeMcp::start("v1"), FakeMcp::start("v2"));
    v2.set_wire(wire);
    let shield = "shield: { read_only_tools: true, patience: 1s }";
    let (gateway, path) = on_trial("mcp", &v1.url(), &v2.url(), shield);
    let at = gateway.address;
    let mut clients: Vec<McpClient> = (0..16).map(|_| McpClient::open(at, "/mcp")).collect();
    for client in &mut clients {
        client.request("tools/list", json!({}));
    }
    assert!(v1.initializes() > 0 && v2.initializes() > 0, "on both");
    let opened_on_v1 = v1.initializes();
    v2.set_mood(mood);

    for client in &mut clients {
        for _ in 0..2 {
            let call = json!({ "name": "work", "arguments": {} });
            let (answer, reply) = client.request("tools/call", call);
            assert_eq!(answer.status, 200, "{mood:?}");
            assert_eq!(reply["result"]["content"][0]["text"], "done", "{mood:?}");
        }
    }

    let opened_again = v1.initializes() - opened_on_v1;
    assert!(opened_again > 0 && opened_again <= v2.initializes());
    let revert = json!({ "reason": "a test" });
    gateway.admin.post(&format!("{path}/revert"), &revert);
    // Re-homed where their stand-ins are: nothing is opened a third time.
    let before = v1.initializes();
    for client in &mut clients {
        assert_eq!(client.call_text("whoami"), "v1");
    }
    assert!(v1.initializes() - before + opened_again <= v2.initializes());
}

#[test]
fn a_sessions_call_that_only_reads_is_answered_by_stable() {
    sessions_notice_nothing(Mood::RpcError(-32603), Wire::Json);
}

#[test]
fn so_is_one_whose_answer_is_an_event_stream() {
    sessions_notice_nothing(Mood::ToolError, Wire::Events);
}

#[test]
fn so_is_one_that_breaks_off_or_is_no_answer() {
    sessions_notice_nothing(Mood::Cut, Wire::Json);
    sessions_notice_nothing(Mood::Status(500), Wire::Json);
}

#[test]
fn what_a_client_asked_for_after_its_call_was_shielded_is_known_at_its_new_home() {
    let (v1, v2) = (FakeMcp::start("v1"), FakeMcp::start("v2"));
    let shield = "shield: { read_only_tools: true }";
    let (gateway, path) = on_trial("mcp", &v1.url(), &v2.url(), shield);
    let mut client = loop {
        let mut client = McpClient::open(gateway.address, "/mcp");
        if client.call_text("whoami") == "v2" {
            break client;
        }
    };
    client.request("tools/list", json!({}));
    McpClient::open(gateway.address, "/mcp").request("tools/list", json!({}));
    v2.set_mood(Mood::ToolError);
    while client.call_text("work") != "done" {
        // Until stable has said of a session there which tools only read.
        McpClient::open(gateway.address, "/mcp").request("tools/list", json!({}));
    }
    client.request("resources/subscribe", json!({ "uri": "file:///a" }));
    assert!(!v1.methods().contains(&"resources/subscribe".to_owned()));

    gateway.admin.post(&format!("{path}/revert"), &json!({}));

    assert_eq!(client.call_text("whoami"), "v1");
    assert!(v1.methods().contains(&"resources/subscribe".to_owned()));
}
