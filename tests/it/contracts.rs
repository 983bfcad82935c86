//! What a candidate promises, compared with what stable does: on demand, and at a rollout's gate.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::backend::{Backend, Exchange};
use crate::support::client::Answer;
use crate::support::fake_mcp::FakeMcp;
use crate::support::gate::pass;
use crate::support::gateway::{Gateway, run};
use crate::support::routes::route_with;

/// A server that lists tools, and how it goes about it.
#[derive(Clone)]
struct Promises {
    /// The pages of `tools/list`.
    pages: Vec<Value>,
    /// The newest revision with sessions; none for a server without them.
    newest: Option<&'static str>,
    /// Answers come in event streams that stay open.
    streams: bool,
    /// What must be in `Authorization`.
    token: Option<&'static str>,
}

impl Promises {
    fn of(tools: &Value) -> Self {
        Self {
            pages: vec![tools.clone()],
            newest: Some("2025-11-25"),
            streams: false,
            token: None,
        }
    }

    fn start(self) -> Backend {
        let promises = Arc::new(self);
        Backend::start(move |exchange| promises.respond(exchange))
    }

    fn respond(&self, exchange: &mut Exchange) {
        exchange.read_body();
        let shown = exchange.request.fields.get("authorization");
        if self.token.is_some() && shown != self.token {
            return exchange.answer(401, &[("www-authenticate", "Bearer")], "");
        }
        if exchange.request.method == "DELETE" {
            return exchange.answer(200, &[], "");
        }
        let message = exchange.request.json();
        let method = message["method"].as_str().unwrap_or("").to_owned();
        if message.get("id").is_none() {
            return exchange.answer(202, &[], "");
        }
        let capabilities = json!({ "tools": {} });
        let fields = &exchange.request.fields;
        let alone = fields.get("mcp-protocol-version") == Some("2026-07-28")
            && fields.get("mcp-method") == Some(&method)
            && message["params"]["_meta"].is_object();
        let in_session = fields.get("mcp-session-id").is_some();
        let known = if self.newest.is_some() {
            in_session
        } else {
            alone
        };
        let result = match (method.as_str(), self.newest) {
            ("initialize", Some(newest)) => {
                let asked = message["params"]["protocolVersion"].as_str().unwrap();
                let agreed = asked.min(newest);
                json!({ "protocolVersion": agreed, "capabilities": capabilities,
                    "serverInfo": { "name": "s", "version": "1" } })
            }
            ("server/discover", None) if alone => {
                json!({ "supportedVersions": ["2026-07-28"], "capabilities": capabilities,
                    "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "s", "version": "1" } } })
            }
            ("tools/list", _) if known => self.page(&message["params"]["cursor"]),
            _ => return exchange.answer(400, &[("content-type", "application/json")], "{}"),
        };
        let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
        let session = [("mcp-session-id", "the-session")];
        let fields: &[_] = if method == "initialize" {
            &session
        } else {
            &[]
        };
        if self.streams {
            exchange.begin_events(fields);
            exchange.event(json!({ "jsonrpc": "2.0", "method": "notifications/x" }).to_string());
            exchange.event(answer.to_string());
            until_closed(exchange);
        } else {
            exchange.answer_json(fields, &answer);
        }
    }

    fn page(&self, cursor: &Value) -> Value {
        let number = cursor.as_str().map_or(0, |text| text.parse().unwrap());
        let mut page = json!({ "tools": self.pages[number] });
        if number + 1 < self.pages.len() {
            page["nextCursor"] = json!((number + 1).to_string());
        }
        page
    }
}

fn until_closed(exchange: &mut Exchange) {
    while !exchange.is_closed() {
        exchange.chunk(": still here\n\n");
        pass(Duration::from_millis(20));
    }
    exchange.cut();
}

fn tool(name: &str, required: &[&str]) -> Value {
    json!({ "name": name, "inputSchema": { "type": "object", "required": required,
        "properties": { "q": { "type": "string" }, "limit": { "type": "integer" } } } })
}

fn gateway(v1: &str, v2: &str, contract: &str) -> Gateway {
    let arms = [("v1", v1, 1), ("v2", v2, 0)];
    let contract = format!("contract: {{ {contract} }}");
    let lines = ["match: { path: /mcp }", &contract];
    Gateway::start(&route_with("mcp", &arms, &lines))
}

fn compare(gateway: &Gateway) -> Value {
    gateway.admin.get("/v1/routes/all/contract")
}

fn start(gateway: &Gateway, accept: bool) -> Answer {
    let wanted = json!({ "to": "v2", "stages": [{ "percent": 5, "for": "1h" }],
        "accept_contract": accept });
    let who = [("x-switchback-who", "ann")];
    let path = "/v1/routes/all/rollouts";
    gateway.admin.ask("POST", path, &who, &wanted)
}

fn rules(contract: &Value) -> Vec<&str> {
    let changes = contract["changes"].as_array().unwrap().iter();
    changes
        .map(|change| change["rule"].as_str().unwrap())
        .collect()
}

#[test]
fn a_gate_keeps_a_candidate_out_that_breaks_what_stable_promises() {
    let v1 = Promises::of(&json!([tool("find", &["q"]), tool("gone", &[])])).start();
    let v2 = Promises::of(&json!([tool("find", &["q", "limit"]), tool("new", &[])])).start();
    let gateway = gateway(&v1.url(), &v2.url(), "policy: gate");

    let refused = start(&gateway, false);

    let error = &refused.json()["error"];
    assert_eq!((refused.status, &error["code"]), (409, &json!("contract")));
    let found = &error["details"]["contract"];
    assert_eq!(
        rules(found),
        ["argument_required", "tool_lost", "tool_added"]
    );
    assert_eq!(found["changes"][0]["place"], "limit");
    let nothing = gateway.admin.get("/v1/routes/all")["rollout"].is_null();
    assert!(nothing, "no rollout has begun");

    let accepted = start(&gateway, true);

    assert_eq!(accepted.status, 201, "{}", accepted.text());
    assert_eq!(accepted.json()["contract"]["accepted"], true);
    let history = gateway.admin.get("/v1/history");
    let event = &history["events"][0];
    assert_eq!(
        (&event["kind"], &event["who"]),
        (&json!("rollout_started"), &json!("ann"))
    );
    let message = event["message"].as_str().unwrap();
    assert!(
        message.ends_with("; contract breaking: 2 breaking, 1 compatible, accepted"),
        "{message}"
    );
}

#[test]
fn every_session_that_was_opened_to_ask_is_ended_and_nothing_is_counted() {
    let v1 = Promises::of(&json!([tool("find", &[])])).start();
    let v2 = FakeMcp::start("v2");
    let gateway = gateway(&v1.url(), &v2.url(), "");

    compare(&gateway);

    let seen = v1.requests();
    let count = |wanted: &dyn Fn(&str, &Value) -> bool| {
        let matching = seen.iter().filter(|request| {
            let body = if request.body.is_empty() {
                json!({})
            } else {
                request.json()
            };
            wanted(&request.method, &body["method"])
        });
        matching.count()
    };
    let opened = count(&|_, method| method == "initialize");
    assert_eq!(opened, 4, "the newest revision and its three elders");
    assert_eq!(count(&|method, _| method == "DELETE"), opened);
    assert_eq!(v2.sessions(), [] as [&str; 0]);
    let route = gateway.admin.get("/v1/routes/all");
    for arm in route["arms"].as_array().unwrap() {
        assert_eq!(arm["calls"]["total"], 0, "{arm}");
    }
    let metrics = gateway.admin.text("/metrics");
    let counted = "switchback_contract_checks_total{route=\"all\",result=\"breaking\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn pages_and_event_streams_say_the_same_as_one_answer() {
    let tools = [tool("a", &[]), tool("b", &["q"]), tool("c", &[])];
    let v1 = Promises::of(&json!(tools)).start();
    let mut paged = Promises::of(&json!([]));
    paged.pages = tools.iter().map(|tool| json!([tool])).collect();
    paged.streams = true;
    let v2 = paged.start();
    let gateway = gateway(&v1.url(), &v2.url(), "");

    let found = compare(&gateway);

    assert_eq!(
        (&found["result"], &found["summary"]),
        (&json!("compatible"), &json!("the same"))
    );
    assert_eq!(rules(&found), [] as [&str; 0]);
}

#[test]
fn a_server_without_sessions_is_asked_as_its_era_wants_it() {
    let v1 = Promises::of(&json!([tool("a", &[])])).start();
    let mut modern = Promises::of(&json!([tool("a", &[])]));
    modern.newest = None;
    let v2 = modern.start();
    let gateway = gateway(&v1.url(), &v2.url(), "");

    let there = compare(&gateway);
    let back = gateway
        .admin
        .get("/v1/routes/all/contract?candidate=v1&against=v2");

    assert_eq!(
        rules(&there),
        [
            "revision_lost",
            "revision_lost",
            "revision_lost",
            "revision_lost",
            "revision_added"
        ]
    );
    assert_eq!(back["counts"]["breaking"], 1);
    assert_eq!(back["changes"][0]["name"], "2026-07-28");
}

#[test]
fn who_cannot_be_asked_is_said_with_the_reason() {
    let v1 = Promises::of(&json!([tool("a", &[])])).start();
    let v2 = Backend::fixed(200, "<html>");
    let gateway = gateway(&v1.url(), &v2.url(), "timeout: 4s, max_pages: 5");
    let unknown = |why: &str| {
        let found = compare(&gateway);
        assert_eq!(found["result"], "unknown", "{why}: {found}");
        let said = found["unknown"].as_str().unwrap();
        assert!(
            said.starts_with("asking v2: ") && said.contains(why),
            "{why}: {said}"
        );
    };

    unknown("holds no response");
    v2.change(|exchange| exchange.answer(401, &[], ""));
    unknown("contract.token_file");
    v2.change(|exchange| exchange.answer(503, &[], ""));
    unknown("status 503");
    v2.change(|exchange| {
        exchange.answer(
            200,
            &[("content-type", "application/json")],
            "{\"jsonrpc\":",
        );
    });
    unknown("not JSON");
    v2.change(|exchange| {
        exchange.read_body();
        exchange.begin_events(&[]);
        until_closed(exchange);
    });
    unknown("within 4s");
    v2.change(Exchange::cut);
    unknown("reading the answer to initialize");
    v2.change(|exchange| {
        exchange.answer(
            200,
            &[("content-type", "application/json")],
            "x".repeat(2 << 20),
        );
    });
    unknown("more than 1048576");
    let mut endless = Promises::of(&json!([]));
    endless.pages = vec![json!([]); 100];
    v2.change(move |exchange| endless.respond(exchange));
    unknown("more than 5 pages");

    let started = start(&gateway, false);

    assert_eq!(started.status, 201, "a warning keeps nobody out");
    assert_eq!(started.json()["contract"]["result"], "unknown");
}

#[test]
fn a_gate_lets_nobody_in_who_cannot_be_asked() {
    let v1 = Promises::of(&json!([])).start();
    let mut dead = Promises::of(&json!([])).start();
    dead.stop();
    let gateway = gateway(&v1.url(), &dead.url(), "policy: gate, timeout: 500ms");

    let refused = start(&gateway, false);

    assert_eq!(refused.status, 409);
    let found = &refused.json()["error"]["details"]["contract"];
    assert_eq!(found["result"], "unknown");
    assert_eq!(start(&gateway, true).status, 201);
}

#[test]
fn servers_that_want_a_token_are_shown_the_one_of_the_file() {
    let mut careful = Promises::of(&json!([]));
    careful.token = Some("Bearer not-for-everybody");
    let (v1, v2) = (careful.clone().start(), careful.start());
    let gateway = gateway(&v1.url(), &v2.url(), "token_file: the-token");
    assert_eq!(
        compare(&gateway)["result"],
        "unknown",
        "there is no such file yet"
    );

    std::fs::write(gateway.folder().join("the-token"), "not-for-everybody\n").unwrap();

    assert_eq!(compare(&gateway)["result"], "compatible");
    assert!(!gateway.printed().contains("not-for-everybody"));
}

#[test]
fn the_command_line_says_what_broke_by_its_exit_code_too() {
    let v1 = Promises::of(&json!([tool("find", &[])])).start();
    let v2 = Promises::of(&json!([tool("find", &["q"])])).start();
    let gateway = gateway(&v1.url(), &v2.url(), "policy: gate");
    let admin = format!("http://{}", gateway.admin.0);
    let ask = |words: &[&str]| {
        let words = [words, &["--admin", &admin]].concat();
        let output = run(&words, gateway.folder());
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    };

    let (code, text, _) = ask(&["contract", "all"]);
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("tool find: argument newly required at q"),
        "{text}"
    );
    let (code, json, _) = ask(&["contract", "all", "--backend", "v2", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["result"]), (1, &json!("breaking")));
    let (code, text, _) = ask(&["contract", "all", "--backend", "v1", "--against", "v2"]);
    assert_eq!(code, 0, "{text}");
    let (code, _, stderr) = ask(&["contract", "all", "--backend", "v3"]);
    assert_eq!(code, 5, "{stderr}");

    let ship = ["rollout", "start", "all", "--to", "v2", "--stages", "5"];
    let (code, _, stderr) = ask(&ship);
    assert_eq!(code, 5, "{stderr}");
    assert!(stderr.contains("newly required at q"), "{stderr}");
    assert!(stderr.contains("--accept-contract"), "{stderr}");
    let (code, text, stderr) = ask(&[&ship[..], &["--accept-contract"]].concat());
    assert_eq!(code, 0, "{stderr}");
    assert!(
        text.contains("contract: breaking: 1 breaking, accepted"),
        "{text}"
    );
}

#[test]
fn what_has_no_contract_is_not_asked_for_one() {
    let v1 = Backend::fixed(200, "v1");
    let arms = [("v1", &*v1.url(), 1), ("v2", &*v1.url(), 0)];
    let plain = Gateway::start(&route_with("http", &arms, &[]));
    let answer = |path: &str| plain.admin.ask("GET", path, &[], &Value::Null).status;

    assert_eq!(answer("/v1/routes/all/contract"), 422);
    assert_eq!(answer("/v1/routes/none/contract"), 404);
    assert_eq!(answer("/v1/routes/all/contract?other=1"), 422);
    let started = start(&plain, false);
    assert_eq!(started.status, 201, "{}", started.text());
    assert!(started.json()["contract"].is_null());
    assert_eq!(v1.requests().len(), 0);
}
