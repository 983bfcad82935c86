//! Calls by tool, and the requests of a batch one by one.

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::client::{Answer, Raw};
use crate::support::fake_mcp::Wire;
use crate::support::gateway::{self, Gateway};
use crate::support::modern::modern_server;
use crate::support::routes::{route, route_with};

/// A server without sessions that answers each request by the tool that it calls: `work`, `fail`, `wrong`,
/// or `silent`, which gets no response. On a stream the last one is answered first.
fn server(wire: Wire) -> Backend {
    Backend::start(move |exchange| {
        exchange.read_body();
        let body = exchange.request.json();
        let single = [body.clone()];
        let messages = body.as_array().map_or(&single[..], Vec::as_slice);
        let replies: Vec<Value> = messages.iter().filter_map(reply).collect();
        if wire == Wire::Events {
            exchange.begin_events(&[]);
            for reply in replies.iter().rev() {
                exchange.event(reply.to_string());
            }
            return exchange.end();
        }
        match (&body, &replies[..]) {
            (Value::Array(_), _) => exchange.answer_json(&[], &Value::Array(replies)),
            (_, [only]) => exchange.answer_json(&[], only),
            _ => exchange.answer(202, &[], ""),
        }
    })
}

fn reply(message: &Value) -> Option<Value> {
    let id = message.get("id")?;
    let with = |name: &str, value: Value| json!({ "jsonrpc": "2.0", "id": id, name: value });
    match message["params"]["name"].as_str().unwrap_or("") {
        "silent" => None,
        "fail" => Some(with("result", json!({ "isError": true }))),
        "wrong" => Some(with("error", json!({ "code": -32602, "message": "no" }))),
        _ => Some(with("result", json!({}))),
    }
}

fn call(id: u64, tool: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": tool } })
}

fn post(gateway: &Gateway, body: &Value) -> Answer {
    let mut client = gateway.connect();
    post_on(&mut client, body)
}

fn post_on(client: &mut Raw, body: &Value) -> Answer {
    let fields = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    client.ask("POST", "/mcp", &fields, body.to_string().as_bytes())
}

/// Waits until so many calls were counted in all.
fn wait_for_total(gateway: &Gateway, calls: u64) -> Value {
    gateway.admin.wait_for("/v1/routes/all", |seen| {
        let arms = seen["arms"].as_array()?;
        let total = arms.iter().map(|arm| arm["calls"]["total"].as_u64());
        (total.sum::<Option<u64>>()? >= calls).then(|| seen["arms"][0]["calls"].clone())
    })
}

/// The calls of a tool at a backend.
fn tool(gateway: &Gateway, name: &str, backend: &str) -> Value {
    let seen = gateway.admin.get("/v1/routes/all/tools");
    let tools = seen["tools"].as_array().expect("tools");
    let tool = tools.iter().find(|tool| tool["tool"] == name);
    let arms = tool.and_then(|tool| tool["arms"].as_array());
    let mut arms = arms.into_iter().flatten();
    let arm = arms.find(|arm| arm["backend"] == backend);
    arm.map_or(Value::Null, |arm| arm["calls"].clone())
}

#[test]
fn calls_are_counted_by_tool_and_backend() {
    let (v1, v2) = (server(Wire::Json), server(Wire::Events));
    let arms = [("v1", &*v1.url(), 1), ("v2", &*v2.url(), 0)];
    let gateway = Gateway::start(&route("mcp", &arms));
    for name in ["work", "work", "fail"] {
        assert_eq!(post(&gateway, &call(1, name)).status, 200);
    }
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping", "params": { "name": "work" } });
    post(&gateway, &ping);
    let weights = json!({ "weights": { "v1": 0, "v2": 1 } });
    gateway.admin.put("/v1/routes/all/weights", &weights);
    post(&gateway, &call(1, "work"));
    wait_for_total(&gateway, 5);

    assert_eq!(
        tool(&gateway, "work", "v1")["outcomes"],
        json!({ "success": 2 })
    );
    assert_eq!(
        tool(&gateway, "fail", "v1")["outcomes"],
        json!({ "tool_error": 1 })
    );
    assert_eq!(tool(&gateway, "work", "v2")["total"], 1);
    assert!(tool(&gateway, "work", "v2")["p50_ms"].is_number());
    assert_eq!(tool(&gateway, "_other", "v1"), Value::Null);
    let metrics = gateway.admin.text("/metrics");
    for line in [
        r#"switchback_tool_calls_total{route="all",backend="v1",tool="work",outcome="success"} 2"#,
        r#"switchback_tool_calls_total{route="all",backend="v1",tool="fail",outcome="tool_error"} 1"#,
        r#"switchback_tool_call_duration_seconds_count{route="all",backend="v2",tool="work"} 1"#,
        r#"switchback_tool_calls_in_flight{route="all",backend="v1",tool="work"} 0"#,
    ] {
        assert!(
            metrics.lines().any(|known| known == line),
            "{line}\n{metrics}"
        );
    }
    let admin = format!("http://{}", gateway.admin.0);
    let shown = gateway::run(&["tools", "all", "--admin", &admin], gateway.folder());
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("work") && shown.contains("100%"), "{shown}");
    let unknown = gateway
        .admin
        .ask("GET", "/v1/routes/none/tools", &[], &Value::Null);
    assert_eq!(unknown.status, 404);
}

#[test]
fn the_history_keeps_what_the_tools_did_under_a_rollout() {
    let (v1, v2) = (server(Wire::Json), server(Wire::Json));
    let arms = [("v1", &*v1.url(), 1), ("v2", &*v2.url(), 0)];
    let gateway = Gateway::start(&route("mcp", &arms));
    post(&gateway, &call(1, "before"));
    wait_for_total(&gateway, 1);
    let wanted =
        json!({ "to": "v2", "stages": [{ "percent": 50, "for": "1h" }], "accept_contract": true });
    let rollout = gateway.admin.post("/v1/routes/all/rollouts", &wanted);
    for name in ["work", "work", "work", "fail"] {
        post(&gateway, &call(1, name));
    }
    wait_for_total(&gateway, 5);
    let path = format!("/v1/rollouts/{}/abort", rollout["id"].as_str().unwrap());
    gateway.admin.post(&path, &json!({}));

    let history = gateway.admin.get("/v1/history?limit=1");
    let tools = &history["events"][0]["tools"];
    let count = |at: usize, what: &str| {
        let arms = ["stable", "candidate"];
        let each = arms.map(|arm| tools["tools"][at][arm][what].as_u64().unwrap());
        each.iter().sum::<u64>()
    };
    assert_eq!(tools["of"], "rollout", "{history:#}");
    assert_eq!(tools["tools"].as_array().unwrap().len(), 2, "{tools:#}");
    assert_eq!(tools["tools"][0]["tool"], "work");
    assert_eq!((count(0, "calls"), count(0, "errors")), (3, 0));
    assert_eq!((count(1, "calls"), count(1, "errors")), (1, 1));
    let admin = format!("http://{}", gateway.admin.0);
    let shown = gateway::run(&["history", "--tools", "--admin", &admin], gateway.folder());
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("tools since the rollout began"), "{shown}");
    assert!(!shown.contains("before"), "{shown}");
}

#[test]
fn names_of_tools_are_bounded_and_harmless() {
    let v1 = server(Wire::Json);
    let gateway = Gateway::start(&route("mcp", &[("v1", &v1.url(), 1)]));
    let mut client = gateway.connect();
    let long = "x".repeat(900 * 1024);
    let hostile = [
        &*long,
        "",
        "_other",
        "a b",
        "\x1b[31mred",
        "a\n# HELP forged",
        "\u{202e}",
    ];
    for name in hostile {
        assert_eq!(post_on(&mut client, &call(1, name)).status, 200);
    }
    for round in 0..157u64 {
        let calls = (0..64).map(|n| call(n, &format!("made-up-{}", round * 64 + n)));
        post_on(&mut client, &Value::Array(calls.collect()));
    }
    wait_for_total(&gateway, 157 * 64 + 7);

    let seen = gateway.admin.get("/v1/routes/all/tools");
    let tools = seen["tools"].as_array().expect("tools");
    assert_eq!(tools.len(), 65);
    assert_eq!(tools[64]["tool"], "_other");
    let totals = tools
        .iter()
        .map(|tool| tool["arms"][0]["calls"]["total"].as_u64());
    assert_eq!(totals.sum::<Option<u64>>(), Some(157 * 64 + 7));
    let metrics = gateway.admin.text("/metrics");
    assert!(!metrics.contains(['\x1b', '\u{202e}']) && !metrics.contains("forged"));
    assert!(metrics.len() < 200_000, "{}", metrics.len());
}

#[test]
fn the_bound_on_tools_is_the_files() {
    let v1 = server(Wire::Json);
    let arms = [("v1", &*v1.url(), 1)];
    let text = format!("limits: {{ tools: 1 }}\n{}", route("mcp", &arms));
    let gateway = Gateway::start(&text);
    post(&gateway, &call(1, "first"));
    post(&gateway, &call(1, "second"));
    wait_for_total(&gateway, 2);

    assert_eq!(tool(&gateway, "first", "v1")["total"], 1);
    assert_eq!(tool(&gateway, "_other", "v1")["total"], 1);
}

/// A batch with an outcome of each kind, a notification, and an id twice.
fn mixed() -> Value {
    json!([
        call(1, "work"),
        { "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 9 } },
        call(2, "fail"),
        { "jsonrpc": "2.0", "id": "ping", "method": "ping" },
        call(2, "wrong"),
        call(4, "silent"),
    ])
}

#[test]
fn each_request_of_a_batch_is_a_call_of_its_own() {
    for (wire, unanswered) in [(Wire::Json, "server_error"), (Wire::Events, "broken")] {
        let v1 = server(wire);
        let gateway = Gateway::start(&route("mcp", &[("v1", &v1.url(), 1)]));
        assert_eq!(post(&gateway, &mixed()).status, 200);

        let calls = wait_for_total(&gateway, 5);

        let counted = json!({ "success": 2, "tool_error": 1, "caller_error": 1, unanswered: 1 });
        assert_eq!((&calls["total"], &calls["outcomes"]), (&json!(5), &counted));
        assert_eq!(calls["in_flight"], 0);
        let of = |name| tool(&gateway, name, "v1")["outcomes"].clone();
        assert_eq!(of("work"), json!({ "success": 1 }));
        assert_eq!(of("silent"), json!({ unanswered: 1 }));
        // Of two with one id, the first one answered is taken for the first one asked.
        let twice = match wire {
            Wire::Json => ("tool_error", "caller_error"),
            Wire::Events => ("caller_error", "tool_error"),
        };
        assert_eq!(
            (of("fail"), of("wrong")),
            (json!({ twice.0: 1 }), json!({ twice.1: 1 }))
        );
    }
}

#[test]
fn a_batch_that_is_refused_as_a_whole_fails_all_its_requests() {
    let v1 = Backend::start(|exchange| {
        exchange.read_body();
        exchange.answer(503, &[], "");
    });
    let gateway = Gateway::start(&route_with(
        "mcp",
        &[("v1", &v1.url(), 1)],
        &["retries: { attempts: 0 }"],
    ));
    post(&gateway, &mixed());

    let calls = wait_for_total(&gateway, 5);

    assert_eq!(calls["outcomes"], json!({ "server_error": 5 }));
}

#[test]
fn a_batch_is_one_piece_of_evidence() {
    let (v1, v2) = (server(Wire::Json), server(Wire::Json));
    let arms = [("v1", &*v1.url(), 1), ("v2", &*v2.url(), 0)];
    let more = ["sticky: [{ header: x-user }]"];
    let gateway = Gateway::start(&route_with("mcp", &arms, &more));
    let wanted = json!({ "to": "v2", "stages": [{ "percent": 99, "for": "1h" }] });
    gateway.admin.post("/v1/routes/all/rollouts", &wanted);
    let batch: Vec<Value> = (0..60).map(|id| call(id, "fail")).collect();
    for user in 0..20 {
        let mut client = gateway.connect();
        let user = user.to_string();
        let fields = [("content-type", "application/json"), ("x-user", &*user)];
        let body = Value::Array(batch.clone()).to_string();
        client.ask("POST", "/mcp", &fields, body.as_bytes());
    }
    wait_for_total(&gateway, 20 * 60);

    // The first batches came in the warm-up, which tells nothing but this.
    let (calls, bad) = gateway.admin.wait_for("/v1/rollouts/r-1", |seen| {
        let verdict = &seen["verdict"];
        let sum = |of: &str| {
            let arms = ["stable", "candidate"].map(|arm| verdict[arm][of].as_u64());
            Some(arms[0]? + arms[1]?)
        };
        Some((sum("calls")?, sum("bad")?))
    });
    assert!(calls <= 20 && bad <= 20, "{calls} calls, {bad} bad");
}

#[test]
fn the_tool_of_a_body_that_is_too_long_stands_in_the_head() {
    let v1 = modern_server("v1", Wire::Json);
    let arms = [("v1", &*v1.url(), 1)];
    let text = format!("limits: {{ peek_bytes: 1024 }}\n{}", route("mcp", &arms));
    let gateway = Gateway::start(&text);
    let mut body = call(1, "whoami");
    body["params"]["arguments"] = json!({ "padding": "x".repeat(100_000) });
    body["params"]["_meta"] = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28" });
    for (name, extra) in [
        ("whoami", None),
        ("=?base64?d2hvYW1p?=", None),
        ("whoami", Some("b")),
    ] {
        let mut fields = vec![
            ("content-type", "application/json"),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", name),
        ];
        fields.extend(extra.map(|extra| ("mcp-name", extra)));
        let mut client = gateway.connect();
        client.ask("POST", "/mcp", &fields, body.to_string().as_bytes());
    }
    wait_for_total(&gateway, 3);

    assert_eq!(tool(&gateway, "whoami", "v1")["total"], 2);
}
