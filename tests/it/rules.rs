//! Routes that take some of another route's MCP requests: a canary of one tool.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::backend::Request;
use crate::support::fake_mcp::{FakeMcp, Mood, Wire, session_of};
use crate::support::gateway::{self, Gateway};
use crate::support::house::{House, ruled_house};
use crate::support::mcp_client::McpClient;
use crate::support::modern::modern_server;
use crate::support::routes::{ABSENT, ruled};

const WHOAMI: &str = "method: tools/call, name: [whoami]";

fn shift(house: &House, v1: u32, v2: u32) {
    let weights = json!({ "weights": { "v1": v1, "v2": v2 } });
    let admin = &house.gateway.admin;
    admin.put("/v1/routes/canary/weights", &weights);
}

#[test]
fn one_tool_goes_elsewhere_and_everything_else_stays() {
    let house = ruled_house(WHOAMI, (0, 1));
    let mut client = house.open();
    for _ in 0..3 {
        assert_eq!(client.call_text("whoami"), "v2");
        assert_eq!(client.call_text("write"), "v1");
    }
    // State stays with each of the two: the other tools' at home.
    client.call_text("counter");
    assert_eq!(client.call_text("counter"), "2");

    assert_eq!((house.v1.initializes(), house.v2.initializes()), (1, 1));
    assert_eq!(house.metric("switchback_sessions_branched_total"), 1);
    let opened = house.v2.opened_with(&house.v2.sessions()[0]);
    assert_eq!(opened, house.v1.opened_with(&house.v1.sessions()[0]));
    let calls = |route: &str, arm: usize| {
        let seen = house.gateway.admin.get(&format!("/v1/routes/{route}"));
        seen["arms"][arm]["calls"]["total"].clone()
    };
    house.gateway.admin.wait_for("/v1/routes/canary", |seen| {
        (seen["arms"][1]["calls"]["total"] == 3).then_some(())
    });
    assert_eq!((calls("all", 1), calls("canary", 0)), (json!(0), json!(0)));
    let seen = house.gateway.admin.get("/v1/routes/canary");
    assert_eq!(seen["matches"], "any host / tools/call whoami");
}

#[test]
fn a_share_of_the_sessions_is_led_and_stays_led() {
    let house = ruled_house(WHOAMI, (1, 1));
    let mut clients: Vec<McpClient> = (0..40).map(|_| house.open()).collect();
    let led: Vec<String> = clients.iter_mut().map(|c| c.call_text("whoami")).collect();
    let away = led.iter().filter(|label| *label == "v2").count();
    assert!((5..=35).contains(&away), "{away} of 40");
    shift(&house, 99, 1);

    for (client, before) in clients.iter_mut().zip(&led) {
        assert_eq!(client.call_text("whoami"), *before);
        assert_eq!(client.call_text("write"), "v1");
    }
}

#[test]
fn sessions_come_home_after_a_revert() {
    let house = ruled_house(WHOAMI, (1, 0));
    let wanted = json!({ "to": "v2", "stages": [{ "percent": 99, "for": "1h" }] });
    let rollout = house
        .gateway
        .admin
        .post("/v1/routes/canary/rollouts", &wanted);
    let mut client = loop {
        let mut client = house.open();
        if client.call_text("whoami") == "v2" {
            break client;
        }
    };
    let path = format!("/v1/rollouts/{}/revert", rollout["id"].as_str().unwrap());
    house.gateway.admin.post(&path, &json!({}));

    assert_eq!(client.call_text("whoami"), "v1");
    assert_eq!(client.call_text("write"), "v1");
}

#[test]
fn a_bad_tool_is_reverted_and_nothing_else_notices() {
    let house = ruled_house("method: tools/call, name: [work]", (1, 0));
    house.v2.set_mood(Mood::ToolError);
    let wanted = json!({ "to": "v2", "stages": [{ "percent": 50, "for": "1h" }] });
    house
        .gateway
        .admin
        .post("/v1/routes/canary/rollouts", &wanted);
    let state = |seen: &Value| seen["rollout"]["state"].clone();
    for _ in 0..400 {
        let mut client = house.open();
        client.call("work");
        assert_eq!(client.call_text("whoami"), "v1");
        if state(&house.gateway.admin.get("/v1/routes/canary")) == "reverted" {
            break;
        }
    }

    house.gateway.admin.wait_for("/v1/routes/canary", |seen| {
        (state(seen) == "reverted").then_some(())
    });
    let all = house.gateway.admin.get("/v1/routes/all");
    assert_eq!(all["rollout"], Value::Null);
}

#[test]
fn where_the_second_session_is_gone_the_call_goes_home() {
    let house = ruled_house(WHOAMI, (0, 1));
    let mut client = house.open();
    assert_eq!(client.call_text("whoami"), "v2");
    house.v2.forget(&house.v2.sessions()[0]);

    assert_eq!(client.call_text("whoami"), "v1", "where its session lives");
    assert_eq!(client.call_text("whoami"), "v2", "where it is opened anew");
    assert_eq!((house.v1.initializes(), house.v2.initializes()), (1, 2));
}

/// A server that nobody finds, nor another one in its place: its port is held.
fn gone() -> FakeMcp {
    let mut gone = FakeMcp::start("v2");
    gone.backend.stop();
    gone
}

#[test]
fn where_nobody_listens_the_call_goes_home_and_the_backend_is_to_blame() {
    let v1 = FakeMcp::start("v1");
    let gone = gone();
    let gateway = Gateway::start(&ruled(&v1.url(), &gone.url(), WHOAMI, (0, 1)));
    let mut client = McpClient::open(gateway.address, "/mcp");

    for _ in 0..3 {
        assert_eq!(client.call_text("whoami"), "v1");
    }

    let outcomes = gateway.admin.wait_for("/v1/routes/canary", |seen| {
        let calls = &seen["arms"][0]["calls"];
        (calls["total"] == 3).then(|| seen["arms"][1]["calls"]["outcomes"].clone())
    });
    assert_eq!(outcomes, json!({ "unreachable": 1 }));
}

/// The same with a rule that has no share for v1.
fn all_elsewhere(v1: &str, v2: &str) -> String {
    ruled(v1, v2, WHOAMI, (ABSENT, 1))
}

#[test]
fn a_session_does_not_ask_a_dead_backend_at_each_of_its_calls() {
    let v1 = FakeMcp::start("v1");
    let gone = gone();
    let gateway = Gateway::start(&all_elsewhere(&v1.url(), &gone.url()));
    let mut client = McpClient::open(gateway.address, "/mcp");

    for _ in 0..3 {
        assert_eq!(client.call_text("whoami"), "v1");
    }

    let metrics = gateway.admin.text("/metrics");
    let failed = metrics
        .lines()
        .find(|line| line.starts_with("switchback_branches_failed_total "));
    assert_eq!(failed, Some("switchback_branches_failed_total 1"));
}

#[test]
fn a_call_that_comes_home_is_counted_there_by_its_tool() {
    let (v1, v2) = (FakeMcp::start("v1"), FakeMcp::start("v2"));
    let gateway = Gateway::start(&all_elsewhere(&v1.url(), &v2.url()));
    let mut client = McpClient::open(gateway.address, "/mcp");
    assert_eq!(client.call_text("whoami"), "v2");
    drop(v2);
    assert_eq!(client.call_text("whoami"), "v1");

    gateway.admin.wait_for("/v1/routes/all/tools", |seen| {
        let tool = &seen["tools"][0];
        let counted = tool["tool"] == "whoami" && tool["arms"][0]["calls"]["total"] == 1;
        counted.then_some(())
    });
}

#[test]
fn a_call_that_was_given_up_is_not_the_fate_of_the_next_one() {
    let v1 = FakeMcp::start("v1");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let gateway = Gateway::start(&all_elsewhere(&v1.url(), &url));
    let mut client = McpClient::open(gateway.address, "/mcp");
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "whoami" } });
    let first = client.post_aside(&call);
    let _asked = silent.accept().unwrap();
    drop(first);

    assert_eq!(client.call_text("whoami"), "v1");
}

#[test]
fn a_second_session_hears_of_notifications_and_ends_with_its_session() {
    let house = ruled_house(WHOAMI, (0, 1));
    let mut client = house.open();
    assert_eq!(client.call_text("whoami"), "v2");
    let own = house.v2.sessions().remove(0);
    let params = json!({ "requestId": 7 });
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
    client.post(&note);
    house.v2.backend.wait_for("the notification", |seen| {
        let note = |it: &Request| it.method == "POST" && it.json() == note;
        seen.iter().any(note).then_some(())
    });
    assert_eq!(client.delete().status, 200);

    house.v2.backend.wait_for("the end", |seen| {
        let end = |it: &Request| it.method == "DELETE" && session_of(it) == Some(&own);
        seen.iter().any(end).then_some(())
    });
}

#[test]
fn a_backend_that_dies_under_a_led_session_costs_it_no_call() {
    let house = ruled_house(WHOAMI, (0, 1));
    let mut client = house.open();
    assert_eq!(client.call_text("whoami"), "v2");
    let House {
        v1: _v1,
        v2,
        gateway: _gateway,
    } = house;
    drop(v2);

    assert_eq!(client.call_text("whoami"), "v1");
    assert_eq!(client.call_text("write"), "v1");
}

#[test]
fn batches_and_other_methods_are_of_the_route_itself() {
    let house = ruled_house("method: tools/call", (0, 1));
    let mut client = house.open();
    let call = |id: u64| json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": "whoami" } });
    client.post(&json!([call(1), call(2)]));
    client.request("tools/list", json!({}));
    client.request("ping", json!({}));

    assert_eq!(house.v2.initializes(), 0);
    assert_eq!(client.call_text("write"), "v2");
}

#[test]
fn without_sessions_a_rule_goes_by_the_body_and_its_headers() {
    let (v1, v2) = (
        modern_server("v1", Wire::Json),
        modern_server("v2", Wire::Json),
    );
    let gateway = Gateway::start(&format!(
        "limits: {{ peek_bytes: 1024 }}\n{}",
        ruled(
            &v1.url(),
            &v2.url(),
            "method: tools/call, name: [\"who*\"]",
            (0, 1)
        )
    ));
    for (tool, padding) in [("whoami", 0), ("whoami", 10_000), ("keep", 0)] {
        let body = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {
                "name": tool, "arguments": { "padding": "x".repeat(padding) },
                "_meta": { "io.modelcontextprotocol/protocolVersion": "2026-07-28" },
            },
        });
        let fields = [
            ("content-type", "application/json"),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", tool),
        ];
        let mut client = gateway.connect();
        let answer = client.ask("POST", "/mcp", &fields, body.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{tool}: {}", answer.text());
    }

    assert_eq!((v1.requests().len(), v2.requests().len()), (1, 2));
}

#[test]
fn headers_say_nothing_of_a_body_that_says_several_things() {
    let (v1, v2) = (
        modern_server("v1", Wire::Json),
        modern_server("v2", Wire::Json),
    );
    let gateway = Gateway::start(&ruled(&v1.url(), &v2.url(), WHOAMI, (0, 1)));
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami"}}"#;
    let batch = format!("[{}]", [call; 65].join(","));
    let twice = call.replace(r#""name":"#, r#""name":"keep","na\u006de":"#);
    for body in ["", "{", &*batch, &*twice] {
        let fields = [
            ("content-type", "application/json"),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "whoami"),
        ];
        let mut client = gateway.connect();
        client.ask("POST", "/mcp", &fields, body.as_bytes());
    }

    assert_eq!((v1.requests().len(), v2.requests().len()), (4, 0));
    let seen = gateway.admin.get("/v1/routes/all/tools");
    assert_eq!(seen["tools"], json!([]));
}

#[test]
fn rules_that_make_no_sense_are_refused() {
    let folder = Gateway::start(&ruled(
        "http://127.0.0.1:9",
        "http://127.0.0.1:9",
        WHOAMI,
        (1, 0),
    ));
    let refused = |rule: &str, said: &str| {
        let text = format!(
            "listeners: [{{ address: 127.0.0.1:0 }}]
backends: {{ v1: {{ endpoints: [\"http://127.0.0.1:9\"] }}, v2: {{ endpoints: [\"http://127.0.0.1:9\"] }} }}
routes:
  - {{ name: all, match: {{ path: /mcp }}, protocol: mcp, split: {{ v1: 1 }} }}
  - {rule}
"
        );
        let file = folder.folder().join("rules.yaml");
        std::fs::write(&file, text).unwrap();
        let checked = gateway::run(&["check", "-c", file.to_str().unwrap()], folder.folder());
        let out = [checked.stdout, checked.stderr].concat();
        let out = String::from_utf8_lossy(&out).into_owned();
        assert_eq!(checked.status.code(), Some(2), "{rule}: {out}");
        assert!(out.contains(said), "{rule}: {out}");
    };
    let rule = |place: &str, more: &str| {
        format!("{{ name: r, match: {{ {place} }}, protocol: mcp, split: {{ v1: 1 }}{more} }}")
    };
    let mcp = "path: /mcp, mcp: { method: tools/call }";
    refused(
        &rule("path: /other, mcp: { method: tools/call }", ""),
        "nothing to be a",
    );
    refused(
        &rule("path: /mcp, mcp: { method: initialize }", ""),
        "cannot be matched",
    );
    refused(
        &rule("path: /mcp, mcp: { method: tools/list, name: [a] }", ""),
        "names nothing",
    );
    refused(
        &rule(
            "path: /mcp, mcp: { method: tools/call, name: [\"a*b\"] }",
            "",
        ),
        "only at the end",
    );
    refused(&rule(mcp, ", max_body: 5"), "is decided by the route");
    refused(
        &rule(mcp, ", sticky: [client-address]"),
        "is decided by the route",
    );
    refused(
        &rule(mcp, "").replace("v1: 1", "v2: 1"),
        "is not in the split of the route `all`",
    );
    refused(
        &rule(mcp, "").replace("protocol: mcp", "protocol: http"),
        "only routes with `protocol: mcp`",
    );
    let shadowed = rule(mcp, ", plan: dark")
        + "\nplans: { dark: { stages: [{ percent: 5, for: 1m }], shadow: { percent: 20, for: 10m } } }";
    refused(&shadowed, "`dark` begins in the shadow");
    let twice = format!(
        "{}\n  - {}",
        rule(mcp, ""),
        rule(mcp, "").replace("name: r", "name: s")
    );
    refused(&twice, "takes exactly the requests");
}
