//! The shadow: what is copied, what never is, and that callers notice nothing.

use serde_json::{Value, json};

use crate::support::backend::{Backend, Request};
use crate::support::fake_mcp::{FakeMcp, Mood};
use crate::support::gate::Gate;
use crate::support::gateway::Gateway;
use crate::support::mcp_client::McpClient;
use crate::support::ports::reserve;
use crate::support::routes::{ABSENT, route_with};

/// A gateway whose route has a shadow with these settings.
fn mirrored(protocol: &str, real: &str, shadow: &str, more: &str) -> Gateway {
    let arms = [("v1", real, 1), ("v2", shadow, ABSENT)];
    let line = format!("shadow: {{ backend: v2{more} }}");
    Gateway::start(&route_with(protocol, &arms, &[&line]))
}

fn shadow(seen: &Value) -> &Value {
    &seen["shadow"]
}

/// Waits until so many copies have ended with this outcome.
fn wait_for_copies(gateway: &Gateway, outcome: &str, count: u64) {
    gateway.admin.wait_for("/v1/routes/all", |seen| {
        let ended = shadow(seen)["calls"]["outcomes"][outcome].as_u64();
        (ended == Some(count)).then_some(())
    });
}

/// The sum of a metric's series that hold this text.
fn metric(gateway: &Gateway, name: &str, with: &str) -> u64 {
    let text = gateway.admin.text("/metrics");
    let lines = text
        .lines()
        .filter(|line| line.starts_with(name) && line.contains(with));
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

#[test]
fn only_safe_methods_are_copied() {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let gateway = mirrored("http", &v1.url(), &v2.url(), "");
    let mut raw = gateway.connect();

    for method in ["POST", "PUT", "PATCH", "DELETE", "PURGE"] {
        assert_eq!(raw.ask(method, "/unsafe", &[], b"body").status, 200);
    }
    for method in ["GET", "HEAD", "OPTIONS"] {
        assert_eq!(
            raw.ask(method, "/safe?x=y", &[("host", "shop.example")], b"")
                .status,
            200
        );
    }

    let copies = v2.wait_for_requests(3);
    let mut methods: Vec<_> = copies.iter().map(|r| r.method.as_str()).collect();
    methods.sort_unstable();
    assert_eq!(methods, ["GET", "HEAD", "OPTIONS"]);
    for copy in &copies {
        assert_eq!(
            (copy.target.as_str(), copy.fields.get("host")),
            ("/safe?x=y", Some("shop.example"))
        );
    }
}

/// What the shadow gets of a request with credentials.
fn copied(more: &str) -> Request {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let gateway = mirrored("http", &v1.url(), &v2.url(), more);
    let fields = [
        ("authorization", "Bearer secret"),
        ("cookie", "sid=secret"),
        ("x-kept", "yes"),
        ("x-switchback-shadow", "forged"),
    ];
    gateway.connect().ask("GET", "/", &fields, b"");
    v2.wait_for_requests(1).remove(0)
}

#[test]
fn a_copy_is_marked_and_carries_no_credentials() {
    let copy = copied("");

    assert_eq!(copy.fields.get("authorization"), None);
    assert_eq!(copy.fields.get("cookie"), None);
    assert_eq!(copy.fields.get("x-kept"), Some("yes"));
    assert_eq!(
        copy.fields.all("x-switchback-shadow").collect::<Vec<_>>(),
        ["true"]
    );
    assert_eq!(copy.fields.get("x-forwarded-for"), Some("127.0.0.1"));
}

#[test]
fn a_copy_carries_credentials_where_that_is_wanted() {
    let copy = copied(", credentials: true");

    assert_eq!(copy.fields.get("authorization"), Some("Bearer secret"));
    assert_eq!(copy.fields.get("cookie"), Some("sid=secret"));
}

#[test]
fn the_shadows_answers_are_counted_compared_and_thrown_away() {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(500, "v2"));
    let gateway = mirrored("http", &v1.url(), &v2.url(), "");
    let mut raw = gateway.connect();

    for _ in 0..20 {
        let answer = raw.ask("GET", "/", &[], b"");
        assert_eq!((answer.status, answer.text().as_str()), (200, "v1"));
        assert_eq!(answer.fields.get("x-switchback-shadow"), None);
    }

    wait_for_copies(&gateway, "server_error", 20);
    gateway.admin.wait_for("/v1/routes/all", |seen| {
        let real = &seen["arms"][0]["calls"]["outcomes"];
        (*real == json!({ "success": 20 })).then_some(())
    });
    let compared = |kind: &str| {
        let with = format!("result=\"{kind}\"");
        metric(&gateway, "switchback_shadow_comparisons_total", &with)
    };
    assert_eq!((compared("status"), compared("same")), (20, 0));
}

#[test]
fn a_share_of_the_calls_is_copied() {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let gateway = mirrored("http", &v1.url(), &v2.url(), ", percent: 25");
    let mut raw = gateway.connect();

    for _ in 0..1000 {
        assert_eq!(raw.ask("GET", "/", &[], b"").status, 200);
    }

    let copies = gateway.admin.wait_for("/v1/routes/all", |seen| {
        let real = seen["arms"][0]["calls"]["total"].as_u64()?;
        let calls = &shadow(seen)["calls"];
        (real == 1000 && calls["in_flight"] == 0).then(|| calls["total"].as_u64())?
    });
    // Seven standard deviations around 250.
    assert!((154..=346).contains(&copies), "{copies} of 1000");
}

#[test]
fn a_dead_shadow_changes_nothing_for_callers() {
    let nobody = reserve();
    let v1 = Backend::fixed(200, "v1");
    let gateway = mirrored("http", &v1.url(), &format!("http://{}", nobody.address), "");
    let mut raw = gateway.connect();

    for _ in 0..50 {
        let answer = raw.ask("GET", "/", &[], b"");
        assert_eq!((answer.status, answer.text().as_str()), (200, "v1"));
    }

    wait_for_copies(&gateway, "unreachable", 50);
}

#[test]
fn a_shadow_that_does_not_answer_makes_nobody_wait_and_holds_no_more_than_it_may() {
    let v1 = Backend::fixed(200, "v1");
    let gate = Gate::new();
    let waits = gate.clone();
    let v2 = Backend::start(move |exchange| {
        waits.wait();
        exchange.answer(200, &[], "v2");
    });
    let gateway = mirrored(
        "http",
        &v1.url(),
        &v2.url(),
        ", max_in_flight: 4, timeout: 1m",
    );
    let mut raw = gateway.connect();

    for _ in 0..50 {
        assert_eq!(raw.ask("GET", "/", &[], b"").text(), "v1");
    }

    assert_eq!(v2.wait_for_requests(4).len(), 4);
    gateway.admin.wait_for("/v1/routes/all", |seen| {
        (shadow(seen)["calls"]["in_flight"] == 4).then_some(())
    });
    assert_eq!(
        metric(
            &gateway,
            "switchback_shadow_dropped_total",
            "reason=\"busy\""
        ),
        46
    );
    gate.open();
    wait_for_copies(&gateway, "success", 4);
    raw.ask("GET", "/", &[], b"");
    wait_for_copies(&gateway, "success", 5);
}

#[test]
fn a_copy_that_takes_too_long_is_given_up() {
    let v1 = Backend::fixed(200, "v1");
    let v2 = Backend::start(|exchange| {
        exchange.wait_for_close();
        exchange.cut();
    });
    let gateway = mirrored("http", &v1.url(), &v2.url(), ", timeout: 100ms");

    assert_eq!(gateway.get("/").text(), "v1");

    wait_for_copies(&gateway, "timeout", 1);
    v2.wait_for_open_connections(0);
}

struct Mcp {
    v1: FakeMcp,
    v2: FakeMcp,
    gateway: Gateway,
}

fn mcp(more: &str) -> Mcp {
    let (v1, v2) = (FakeMcp::start("v1"), FakeMcp::start("v2"));
    let gateway = mirrored("mcp", &v1.url(), &v2.url(), more);
    Mcp { v1, v2, gateway }
}

/// The tools that the shadow was asked to call.
fn tools(server: &FakeMcp) -> Vec<String> {
    let seen = server.backend.requests();
    let calls = seen
        .iter()
        .map(Request::json)
        .filter(|m| m["method"] == "tools/call");
    calls
        .map(|m| m["params"]["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn tools_are_copied_only_when_stable_has_said_that_they_only_read() {
    let house = mcp("");
    let mut client = McpClient::open(house.gateway.address, "/mcp");
    client.call("work");
    client.call("whoami");
    client.request("ping", json!({}));
    wait_for_copies(&house.gateway, "success", 1);
    assert_eq!(tools(&house.v2), [""; 0], "nothing is known of tools yet");

    client.request("tools/list", json!({}));
    wait_for_copies(&house.gateway, "success", 2);
    for _ in 0..3 {
        client.call("write");
        client.call("counter");
        client.call("work");
    }
    wait_for_copies(&house.gateway, "success", 5);

    assert_eq!(tools(&house.v2), ["work", "work", "work"]);
    assert_eq!(house.v1.calls(), 11);
}

#[test]
fn a_shadow_has_sessions_of_its_own() {
    let house = mcp("");
    let mut clients: Vec<_> = (0..3)
        .map(|_| McpClient::open(house.gateway.address, "/mcp"))
        .collect();
    for client in &mut clients {
        for _ in 0..4 {
            client.request("ping", json!({}));
        }
    }
    wait_for_copies(&house.gateway, "success", 12);

    assert_eq!(house.v2.initializes(), 3);
    let known = house.v2.sessions();
    for request in house.v2.backend.requests() {
        let id = request.fields.get("mcp-session-id").map(str::to_owned);
        assert!(
            id.is_none_or(|id| known.contains(&id)),
            "no id of v1's or ours"
        );
    }
}

#[test]
fn failures_of_a_shadows_tools_are_the_shadows_alone() {
    let house = mcp("");
    let mut client = McpClient::open(house.gateway.address, "/mcp");
    client.request("tools/list", json!({}));
    wait_for_copies(&house.gateway, "success", 1);
    house.v2.set_mood(Mood::ToolError);

    for _ in 0..10 {
        assert_ne!(client.call("work")["isError"], true);
    }

    wait_for_copies(&house.gateway, "tool_error", 10);
    assert_eq!(
        metric(
            &house.gateway,
            "switchback_shadow_comparisons_total",
            "result=\"outcome\""
        ),
        10
    );
    assert_eq!(
        metric(
            &house.gateway,
            "switchback_calls_total",
            "outcome=\"tool_error\""
        ),
        0
    );
}

#[test]
fn a_body_that_is_too_long_is_not_copied() {
    let house = mcp(", max_body_bytes: 2000");
    let mut client = McpClient::open(house.gateway.address, "/mcp");

    client.request("ping", json!({ "pad": "x".repeat(3000) }));
    client.request("ping", json!({}));
    wait_for_copies(&house.gateway, "success", 1);

    assert_eq!(
        house.v2.methods(),
        ["initialize", "notifications/initialized", "ping"]
    );
    assert_eq!(
        metric(
            &house.gateway,
            "switchback_shadow_dropped_total",
            "reason=\"too_long\""
        ),
        1
    );
}

#[test]
fn notifications_and_sessions_ends_are_not_copied() {
    let house = mcp("");
    let mut client = McpClient::open(house.gateway.address, "/mcp");
    client.request("logging/setLevel", json!({ "level": "debug" }));
    client.post(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": {} }));
    client.request("ping", json!({}));
    client.delete();
    wait_for_copies(&house.gateway, "success", 1);

    let asked = house.v2.methods();
    // The level is what the shadow's own session was opened with.
    assert_eq!(
        asked,
        [
            "initialize",
            "notifications/initialized",
            "logging/setLevel",
            "ping"
        ]
    );
    assert!(
        house
            .v2
            .backend
            .requests()
            .iter()
            .all(|r| r.method == "POST")
    );
}

#[test]
fn a_shadow_that_has_forgotten_a_session_is_told_it_again() {
    let house = mcp("");
    let mut client = McpClient::open(house.gateway.address, "/mcp");
    client.request("ping", json!({}));
    wait_for_copies(&house.gateway, "success", 1);

    house.v2.forget(&house.v2.sessions()[0]);
    client.request("ping", json!({}));
    wait_for_copies(&house.gateway, "client_error", 1);
    client.request("ping", json!({}));

    wait_for_copies(&house.gateway, "success", 2);
    assert_eq!(house.v2.initializes(), 2);
}

#[test]
fn a_shadow_that_answers_without_end_is_not_listened_to_for_ever() {
    let v1 = Backend::fixed(200, "v1");
    let v2 = Backend::start(|exchange| {
        exchange.begin(200, &[]);
        while !exchange.is_closed() {
            exchange.chunk([b'x'; 16384]);
        }
    });
    let gateway = mirrored("http", &v1.url(), &v2.url(), ", timeout: 10m");

    assert_eq!(gateway.get("/").text(), "v1");

    wait_for_copies(&gateway, "success", 1);
    v2.wait_for_open_connections(0);
}
