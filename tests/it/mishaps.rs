//! What goes wrong in real life, and what callers see of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::support::backend::{Backend, fed};
use crate::support::client::Raw;
use crate::support::fake_mcp::{FakeMcp, Mood};
use crate::support::gateway::Gateway;
use crate::support::mcp_client::McpClient;

/// A route for MCP over two versions, without a key: every session is drawn.
fn mcp_route(v1: &FakeMcp, v2: &FakeMcp, shares: (u32, u32)) -> String {
    route("mcp", &v1.url(), &v2.url(), shares)
}

fn route(protocol: &str, v1: &str, v2: &str, (share1, share2): (u32, u32)) -> String {
    format!(
        "backends:\n\
         \x20 v1: {{ endpoints: [\"{v1}\"] }}\n\
         \x20 v2: {{ endpoints: [\"{v2}\"] }}\n\
         routes:\n\
         \x20 - name: all\n\
         \x20   protocol: {protocol}\n\
         \x20   split: {{ v1: {share1}, v2: {share2} }}\n"
    )
}

fn start_rollout(gateway: &Gateway) -> String {
    let stages = json!([{ "percent": 50, "for": "1h" }]);
    let wanted = json!({ "to": "v2", "stages": stages });
    let rollout = gateway.admin.post("/v1/routes/all/rollouts", &wanted);
    rollout["id"].as_str().expect("an id").to_owned()
}

fn state(gateway: &Gateway, rollout: &str) -> Value {
    gateway.admin.get(&format!("/v1/rollouts/{rollout}"))
}

fn wait_until_reverted(gateway: &Gateway, rollout: &str) -> Value {
    let path = format!("/v1/rollouts/{rollout}");
    gateway.admin.wait_for(&path, |seen| {
        (seen["state"] == "reverted").then(|| seen.clone())
    })
}

/// This many sessions, and where each lives.
fn sessions(gateway: &Gateway, count: usize) -> Vec<(McpClient, String)> {
    let open = |_| {
        let mut client = McpClient::open(gateway.address, "/mcp");
        let home = client.call_text("whoami");
        (client, home)
    };
    (0..count).map(open).collect()
}

fn weights(gateway: &Gateway) -> Vec<u64> {
    let route = gateway.admin.get("/v1/routes/all");
    let arms = route["arms"].as_array().expect("arms");
    arms.iter()
        .map(|arm| arm["weight"].as_u64().unwrap())
        .collect()
}

#[test]
fn a_version_that_dies_in_its_rollout_is_reverted_and_its_sessions_go_on() {
    let (v1, mut v2) = (FakeMcp::start("v1"), FakeMcp::start("v2"));
    let gateway = Gateway::start(&mcp_route(&v1, &v2, (100, 0)));
    let rollout = start_rollout(&gateway);
    let mut sessions = sessions(&gateway, 40);

    v2.backend.stop();
    for _ in 0..5 {
        for (client, _) in sessions.iter_mut().filter(|(_, home)| home == "v2") {
            client.request("ping", json!({}));
        }
    }

    let seen = wait_until_reverted(&gateway, &rollout);
    assert_eq!(seen["stable"], "v1");
    for (client, home) in &mut sessions {
        assert_eq!(client.call_text("whoami"), "v1", "was at {home}");
    }
}

#[test]
fn a_version_whose_tools_fail_inside_200_is_reverted_and_no_later_call_fails() {
    let (v1, v2) = (FakeMcp::start("v1"), FakeMcp::start("v2"));
    let gateway = Gateway::start(&mcp_route(&v1, &v2, (100, 0)));
    let rollout = start_rollout(&gateway);
    let mut sessions = sessions(&gateway, 100);

    v2.set_mood(Mood::ToolError);
    for (client, _) in &mut sessions {
        client.call("work");
    }

    let seen = wait_until_reverted(&gateway, &rollout);
    assert_eq!(seen["revert_reason"], "error_rate_high", "{seen:#}");
    for (client, _) in &mut sessions {
        assert_ne!(client.call("work")["isError"], true);
    }
}

#[test]
fn a_healthy_version_is_not_reverted() {
    let (v1, v2) = (FakeMcp::start("v1"), FakeMcp::start("v2"));
    let gateway = Gateway::start(&mcp_route(&v1, &v2, (100, 0)));
    let rollout = start_rollout(&gateway);

    for (client, _) in &mut sessions(&gateway, 100) {
        for _ in 0..5 {
            client.call("work");
        }
    }

    let seen = state(&gateway, &rollout);
    assert_eq!(seen["state"], "running", "{seen:#}");
    let shares = weights(&gateway);
    assert_eq!(shares[0], shares[1], "half of the traffic");
}

#[test]
fn a_broken_config_changes_nothing_and_a_mended_one_is_in_force_at_once() {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let gateway = Gateway::start(&route("http", &v1.url(), &v2.url(), (1, 0)));

    gateway.rewrite("backends: {}\nroutes: [{ nmae: all }]\n");
    let refused = |seen: &Value| seen["config"]["refused"].as_array().map_or(0, Vec::len);
    let mistakes = gateway
        .admin
        .wait_for("/v1/status", |seen| match refused(seen) {
            0 => None,
            some => Some(some),
        });
    assert!(mistakes >= 2, "every mistake at once: {mistakes}");
    assert_eq!(gateway.get("/").text(), "v1");

    gateway.rewrite(&route("http", &v1.url(), &v2.url(), (0, 1)));
    gateway
        .admin
        .wait_for("/v1/status", |seen| (refused(seen) == 0).then_some(()));
    assert_eq!(gateway.get("/").text(), "v2");
}

#[test]
fn reloads_and_shifts_under_load_fail_no_request_and_close_no_connection() {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let gateway = Gateway::start(&route("http", &v1.url(), &v2.url(), (50, 50)));
    let done = Arc::new(AtomicBool::new(false));
    let address = gateway.address;
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let done = Arc::clone(&done);
            thread::spawn(move || {
                let mut raw = Raw::connect(address);
                let mut calls = 0;
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(raw.ask("GET", "/", &[], b"").status, 200);
                    calls += 1;
                }
                calls
            })
        })
        .collect();

    for share in 1..=10 {
        gateway.rewrite(&route("http", &v1.url(), &v2.url(), (share, 100 - share)));
        gateway.admin.wait_for("/v1/routes/all", |seen| {
            (seen["arms"][0]["weight"] == share).then_some(())
        });
        let by_hand = json!({ "weights": { "v1": 100 + share, "v2": 1 } });
        gateway.admin.put("/v1/routes/all/weights", &by_hand);
    }
    done.store(true, Ordering::Relaxed);

    for caller in callers {
        let calls: u32 = caller.join().expect("no call failed, no connection closed");
        assert!(calls > 0);
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill_and_so_do_sessions() {
    let (v1, v2) = (FakeMcp::start("v1"), FakeMcp::start("v2"));
    let mut gateway = Gateway::start(&mcp_route(&v1, &v2, (50, 50)));
    let mut before = sessions(&gateway, 10);
    let wanted = json!({ "weights": { "v1": 7, "v2": 3 }, "reason": "before the lights go out" });
    gateway.admin.put("/v1/routes/all/weights", &wanted);

    gateway.kill();
    gateway.start_again();

    assert_eq!(weights(&gateway), [7, 3]);
    let history = gateway.admin.text("/v1/history");
    assert!(history.contains("before the lights go out"), "{history}");
    for (client, home) in &mut before {
        client.reconnect();
        assert_eq!(&client.call_text("whoami"), home);
    }
    assert_eq!(v1.initializes() + v2.initializes(), 10);
}

#[test]
fn a_rollout_survives_a_kill() {
    let (v1, v2) = (FakeMcp::start("v1"), FakeMcp::start("v2"));
    let mut gateway = Gateway::start(&mcp_route(&v1, &v2, (100, 0)));
    let rollout = start_rollout(&gateway);
    let shares = weights(&gateway);

    gateway.kill();
    gateway.start_again();

    assert_eq!(state(&gateway, &rollout)["candidate"], "v2");
    assert_eq!(weights(&gateway), shares);
    let mut sessions = sessions(&gateway, 60);
    v2.set_mood(Mood::ToolError);
    for _ in 0..2 {
        for (client, _) in &mut sessions {
            client.call("work");
        }
    }
    wait_until_reverted(&gateway, &rollout);
}

#[test]
fn a_terminated_gateway_lets_streams_end_and_takes_nothing_new() {
    let (feeder, script) = fed("text/event-stream");
    let backend = Backend::start(script);
    let mut gateway = Gateway::start(&route("http", &backend.url(), &backend.url(), (1, 0)));
    let mut raw = gateway.connect();
    raw.send("GET", "/events", &[], b"");
    raw.read_head("GET");
    feeder.event("before");
    raw.read_until("before\n\n");

    gateway.signal("TERM");
    gateway.wait_until_refused();
    feeder.event("after");
    assert_eq!(raw.read_until("\n\n"), "data: after\n\n");
    drop(feeder);

    assert_eq!(raw.read_piece(), None, "the stream ended as it should");
    assert!(gateway.wait().success());
}

#[test]
fn a_second_signal_ends_the_gateway_at_once() {
    let (feeder, script) = fed("text/event-stream");
    let backend = Backend::start(script);
    let mut gateway = Gateway::start(&route("http", &backend.url(), &backend.url(), (1, 0)));
    let mut raw = gateway.connect();
    raw.send("GET", "/events", &[], b"");
    raw.read_head("GET");

    gateway.signal("TERM");
    gateway.wait_until_refused();
    gateway.signal("TERM");

    gateway.wait();
    drop(feeder);
}

#[test]
fn events_arrive_when_they_are_sent() {
    let (feeder, script) = fed("text/event-stream");
    let backend = Backend::start(script);
    let gateway = Gateway::start(&route("http", &backend.url(), &backend.url(), (1, 0)));
    let mut raw = gateway.connect();
    raw.send("GET", "/events", &[], b"");
    raw.read_head("GET");

    for number in 0..20 {
        let event = format!("event {number}");
        feeder.event(&event);
        assert_eq!(raw.read_until("\n\n"), format!("data: {event}\n\n"));
    }
}

#[test]
fn a_stream_that_breaks_upstream_breaks_downstream_and_is_counted() {
    let (feeder, script) = fed("text/event-stream");
    let backend = Backend::start(script);
    let gateway = Gateway::start(&route("http", &backend.url(), &backend.url(), (1, 0)));
    let mut raw = gateway.connect();
    raw.send("GET", "/events", &[], b"");
    raw.read_head("GET");
    feeder.event("one");
    raw.read_until("\n\n");

    feeder.cut();

    assert!(
        raw.try_read_piece().is_err(),
        "a broken answer must not look whole"
    );
    gateway.admin.wait_for("/v1/routes/all", |seen| {
        (seen["arms"][0]["calls"]["outcomes"]["broken"] == 1).then_some(())
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_stops_changes_by_hand_but_neither_traffic_nor_a_revert() {
    let (v1, v2) = (FakeMcp::start("v1"), FakeMcp::start("v2"));
    let gateway = Gateway::start(&mcp_route(&v1, &v2, (100, 0)));
    let rollout = start_rollout(&gateway);
    let mut sessions = sessions(&gateway, 40);

    gateway.fill_disk();
    let act = json!({ "reason": "while the disk is full" });
    let path = format!("/v1/rollouts/{rollout}");
    let refused = gateway
        .admin
        .ask("POST", &format!("{path}/pause"), &[], &act);
    assert!(
        refused.status >= 500,
        "{} {}",
        refused.status,
        refused.text()
    );
    assert_eq!(state(&gateway, &rollout)["state"], "running");

    gateway
        .admin
        .ask("POST", &format!("{path}/revert"), &[], &act);
    for (client, _) in &mut sessions {
        assert_eq!(client.call_text("whoami"), "v1");
    }
    let healthy = |seen: &Value| seen["store"]["healthy"].as_bool();
    assert_eq!(healthy(&gateway.admin.get("/v1/status")), Some(false));

    gateway.empty_disk();
    gateway
        .admin
        .wait_for("/v1/status", |seen| healthy(seen).filter(|well| *well));
}

#[test]
fn a_stream_that_outlasts_the_drain_ends_as_it_should() {
    let (feeder, script) = fed("text/event-stream");
    let backend = Backend::start(script);
    let body = route("http", &backend.url(), &backend.url(), (1, 0));
    let gateway = Gateway::start(&format!("{body}limits: {{ drain: 0s }}\n"));
    let mut client = gateway.connect();
    client.send("GET", "/", &[], b"");
    client.read_head("GET");
    feeder.event("first");
    client.read_until("first");

    gateway.signal("TERM");

    assert_eq!(client.read_piece(), None);
    drop(feeder);
}
