//! MCP without sessions (2026-07-28): ties, callers who are held, and the way back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::backend::Backend;
use crate::support::fake_mcp::{FakeMcp, Wire};
use crate::support::gate::pass;
use crate::support::gateway::Gateway;
use crate::support::mcp_client::McpClient;
use crate::support::modern::{MODERN, ModernClient, elder_server, modern_server};
use crate::support::routes::{route, route_with};

struct House {
    v1: Backend,
    v2: Backend,
    gateway: Gateway,
}

/// Two versions of a server without sessions.
fn house(shares: (u32, u32)) -> House {
    house_of(
        (
            modern_server("v1", Wire::Json),
            modern_server("v2", Wire::Json),
        ),
        shares,
        "",
    )
}

fn house_of((v1, v2): (Backend, Backend), shares: (u32, u32), more: &str) -> House {
    let (one, two) = (v1.url(), v2.url());
    let arms = [("v1", &*one, shares.0), ("v2", &*two, shares.1)];
    let gateway = Gateway::start(&(route("mcp", &arms) + more));
    House { v1, v2, gateway }
}

impl House {
    fn client(&self, credentials: &str) -> ModernClient {
        ModernClient::new(self.gateway.address, credentials)
    }

    fn clients(&self, count: usize) -> Vec<ModernClient> {
        (0..count)
            .map(|n| self.client(&format!("Bearer {n}")))
            .collect()
    }

    fn shift(&self, v1: u32, v2: u32) {
        let weights = json!({ "weights": { "v1": v1, "v2": v2 } });
        self.gateway.admin.put("/v1/routes/all/weights", &weights);
    }

    /// Begins a rollout of v2; its path.
    fn roll_out(&self, percent: u32) -> String {
        let wanted = json!({ "to": "v2", "stages": [{ "percent": percent, "for": "1h" }] });
        let rollout = self.gateway.admin.post("/v1/routes/all/rollouts", &wanted);
        format!("/v1/rollouts/{}", rollout["id"].as_str().expect("an id"))
    }

    fn act(&self, rollout: &str, action: &str) {
        let path = format!("{rollout}/{action}");
        self.gateway
            .admin
            .post(&path, &json!({ "reason": "a test" }));
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.gateway.admin.text("/metrics");
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.rsplit(' ').next());
        value.map_or(0, |value| value.parse().unwrap())
    }

    fn wait_for_metric(&self, name: &str, wanted: u64) {
        let until = Instant::now() + PATIENCE;
        while self.metric(name) != wanted {
            assert!(Instant::now() < until, "{name} never came to {wanted}");
            pass(Duration::from_millis(20));
        }
    }
}

fn whoami() -> Value {
    json!({ "name": "whoami", "arguments": {} })
}

#[test]
fn a_caller_stays_through_shifts_and_the_share_holds_for_new_ones() {
    let house = house((50, 50));
    let mut clients = house.clients(24);
    let homes: Vec<String> = clients.iter_mut().map(|c| c.call("whoami")).collect();
    assert_eq!(homes.iter().collect::<BTreeSet<_>>().len(), 2);

    for (v1, v2) in [(1, 99), (0, 100), (100, 0), (50, 50)] {
        house.shift(v1, v2);
        for (client, home) in clients.iter_mut().zip(&homes) {
            assert_eq!(&client.call("whoami"), home, "at {v1}/{v2}");
        }
    }
    house.shift(0, 100);
    let mut late = house.client("Bearer late");
    assert_eq!(late.call("whoami"), "v2");
}

#[test]
fn handles_keep_reaching_the_server_that_made_them() {
    let house = house((90, 10));
    let mut clients = house.clients(40);
    let handles: Vec<String> = clients.iter_mut().map(|c| c.call("keep")).collect();

    for (v1, v2) in [(90, 10), (50, 50), (0, 100)] {
        house.shift(v1, v2);
        for (client, handle) in clients.iter_mut().zip(&handles) {
            client.call_with("use", json!({ "handle": handle }));
        }
    }
}

#[test]
fn callers_go_where_they_were_after_a_restart_with_the_same_weights() {
    let mut house = house((50, 50));
    let homes: Vec<String> = house
        .clients(24)
        .iter_mut()
        .map(|c| c.call("whoami"))
        .collect();

    house.gateway.start_again();

    for (client, home) in house.clients(24).iter_mut().zip(&homes) {
        assert_eq!(&client.call("whoami"), home);
    }
}

#[test]
fn callers_leave_at_once_in_a_revert() {
    let house = house((100, 0));
    let mut early = house.clients(8);
    assert!(early.iter_mut().all(|c| c.call("whoami") == "v1"));
    let rollout = house.roll_out(95);
    let mut late: Vec<_> = (0..40)
        .map(|n| house.client(&format!("Bearer late {n}")))
        .collect();
    late.retain_mut(|client| client.call("whoami") == "v2");
    assert!(!late.is_empty());

    house.act(&rollout, "revert");

    assert!(late.iter_mut().all(|c| c.call("whoami") == "v1"));
    assert!(early.iter_mut().all(|c| c.call("whoami") == "v1"));
    assert!(house.metric("switchback_callers_redrawn_total") >= late.len() as u64);
}

#[test]
fn callers_stay_through_a_promotion() {
    let house = house((100, 0));
    let mut early = house.clients(8);
    assert!(early.iter_mut().all(|c| c.call("whoami") == "v1"));
    let rollout = house.roll_out(50);

    house.act(&rollout, "promote");

    assert!(early.iter_mut().all(|c| c.call("whoami") == "v1"));
    assert_eq!(house.client("Bearer new").call("whoami"), "v2");
}

#[test]
fn a_caller_who_was_silent_for_long_is_drawn_anew() {
    let v = (
        modern_server("v1", Wire::Json),
        modern_server("v2", Wire::Json),
    );
    let house = house_of(v, (1, 0), "limits: { held_idle: 1s }\n");
    let mut client = house.client("Bearer a");
    assert_eq!(client.call("whoami"), "v1");
    house.shift(0, 1);
    assert_eq!(client.call("whoami"), "v1");

    house.wait_for_metric("switchback_callers_held ", 1);
    house.wait_for_metric("switchback_callers_held ", 0);

    assert_eq!(client.call("whoami"), "v2");
}

#[test]
fn a_caller_whose_backend_dies_is_drawn_anew() {
    let house = house((100, 0));
    let mut client = house.client("Bearer a");
    assert_eq!(client.call("whoami"), "v1");
    let House {
        mut v1,
        gateway,
        v2,
        ..
    } = house;
    let weights = json!({ "weights": { "v1": 50, "v2": 50 } });
    gateway.admin.put("/v1/routes/all/weights", &weights);

    v1.stop();

    for _ in 0..20 {
        client.ask("tools/call", whoami());
    }
    assert_eq!(client.call("whoami"), "v2");
    drop(v2);
}

#[test]
fn nobody_is_held_by_being_refused() {
    let v1 = elder_server(401, "{}");
    let gateway = Gateway::start(&route("mcp", &[("v1", &v1.url(), 1)]));
    for n in 0..10 {
        let mut client = ModernClient::new(gateway.address, &format!("Bearer {n}"));
        assert_eq!(client.ask("tools/call", whoami()).status, 401);
    }
    let text = gateway
        .admin
        .wait_for("/v1/status", |_| Some(gateway.admin.text("/metrics")));

    assert!(!text.contains("switchback_callers_held 1"), "{text}");
}

#[test]
fn tasks_states_and_pages_lead_back_to_their_server_on_either_wire() {
    for wire in [Wire::Json, Wire::Events] {
        let v = (modern_server("v1", wire), modern_server("v2", wire));
        let house = house_of(v, (1, 0), "");
        let mut first = house.client("Bearer first");
        let task = first.reply("tools/call", json!({ "name": "start" }));
        let asked = first.reply("tools/call", json!({ "name": "ask" }));
        let list = first.reply("tools/list", json!({}));
        house.shift(0, 1);
        // Somebody else, who is drawn to the other version.
        let mut other = house.client("Bearer other");
        assert_eq!(other.call("whoami"), "v2");

        let id = &task["result"]["taskId"];
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            let reply = other.reply(method, json!({ "taskId": id }));
            assert_eq!(&reply["result"]["taskId"], id, "{method}: {reply}");
        }
        let state = &asked["result"]["requestState"];
        let again = other.reply(
            "tools/call",
            json!({ "name": "ask", "requestState": state }),
        );
        assert_eq!(again["result"]["content"][0]["text"], "v1", "{again}");
        let cursor = &list["result"]["nextCursor"];
        let page = other.reply("tools/list", json!({ "cursor": cursor }));
        assert_eq!(page["result"]["tools"][0]["name"], "last-v1", "{page}");
        assert_eq!(other.call("whoami"), "v2", "a tie moves nobody");
        assert!(house.metric("switchback_ties_followed_total") >= 5);
    }
}

#[test]
fn what_two_servers_made_alike_leads_nowhere_and_a_strangers_value_neither() {
    let v = (
        modern_server("v1", Wire::Json),
        modern_server("v1", Wire::Json),
    );
    let house = house_of(v, (50, 50), "");
    let mut clients = house.clients(16);
    for client in &mut clients {
        client.reply("tools/call", json!({ "name": "ask" }));
    }
    let before = house.metric("switchback_ties_followed_total");

    for client in &mut clients {
        let params = json!({ "name": "ask", "requestState": "state-of-v1" });
        assert!(client.reply("tools/call", params)["result"].is_object());
        client.reply(
            "tools/call",
            json!({ "name": "ask", "requestState": "made up" }),
        );
    }

    assert_eq!(house.metric("switchback_ties_followed_total"), before);
}

#[test]
fn a_tie_outlives_a_revert_but_not_its_server() {
    let house = house((100, 0));
    let rollout = house.roll_out(95);
    let mut clients = house.clients(20);
    clients.retain_mut(|client| client.call("whoami") == "v2");
    let client = &mut clients[0];
    client.reply("tools/call", json!({ "name": "start" }));

    house.act(&rollout, "revert");

    let get = json!({ "taskId": "task-of-v2" });
    assert!(client.reply("tasks/get", get.clone())["result"].is_object());
    assert_eq!(client.call("whoami"), "v1");
}

#[test]
fn a_client_that_thinks_the_server_is_modern_is_told_how_to_fall_back() {
    for (status, body) in [
        (
            400,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: no session"}}"#,
        ),
        (400, "Bad Request"),
        (
            404,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}"#,
        ),
        (405, ""),
        (422, "expect initialize request"),
    ] {
        let v = (elder_server(status, body), modern_server("v2", Wire::Json));
        let house = house_of(v, (100, 0), "");
        let rollout = house.roll_out(95);
        let mut clients = house.clients(20);
        clients.retain_mut(|client| client.ask("tools/call", whoami()).status == 200);
        house.act(&rollout, "revert");

        for method in ["server/discover", "tools/list"] {
            let answer = clients[0].ask(method, json!({}));

            let body = answer.json();
            assert_eq!(answer.status, 400, "{body}");
            assert_eq!(body["error"]["code"], -32022, "{body}");
            let data = &body["error"]["data"];
            assert_eq!(data["requested"], MODERN);
            assert_eq!(data["supported"][0], "2025-11-25");
            assert!(body["id"].is_number());
        }
        assert!(house.metric("switchback_fallbacks_total") >= 2);
    }
}

#[test]
fn refusals_of_the_new_era_and_of_its_speakers_pass_as_they_are() {
    let refusal = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"x","data":{"supported":["2031-01-01"]}}}"#;
    for (status, body) in [
        (400, refusal),
        (401, "no"),
        (403, "no"),
        (413, ""),
        (503, ""),
    ] {
        let v1 = elder_server(status, body);
        let gateway = Gateway::start(&route("mcp", &[("v1", &v1.url(), 1)]));
        let mut client = ModernClient::new(gateway.address, "Bearer a");

        let answer = client.ask("tools/list", json!({}));

        assert_eq!((answer.status, &*answer.text()), (status, body));
    }
    let v1 = modern_server("v1", Wire::Json);
    let gateway = Gateway::start(&route("mcp", &[("v1", &v1.url(), 1)]));
    let mut client = ModernClient::new(gateway.address, "Bearer a");
    client.call("whoami");
    v1.change(|exchange| exchange.answer(422, &[], "a gate of its own"));

    let answer = client.ask("tools/list", json!({}));

    assert_eq!((answer.status, &*answer.text()), (422, "a gate of its own"));
}

#[test]
fn both_eras_share_a_route() {
    let (one, two) = (FakeMcp::start("v1"), modern_server("v2", Wire::Json));
    let arms = [("v1", &*one.url(), 50), ("v2", &*two.url(), 50)];
    let gateway = Gateway::start(&route_with("mcp", &arms, &["sticky: [{ header: x-era }]"]));
    // One caller for each version, found by trying.
    let mut homes = (None, None);
    for n in 0.. {
        let name = n.to_string();
        let mut client = ModernClient::new(gateway.address, "Bearer a").with("x-era", &name);
        match client.ask("tools/call", whoami()).status {
            200 => homes.0 = Some(client),
            _ => homes.1 = Some(name),
        }
        if homes.0.is_some() && homes.1.is_some() {
            break;
        }
    }
    let (mut modern, name) = (homes.0.unwrap(), homes.1.unwrap());

    let mut elder = McpClient::open_with(gateway.address, "/mcp", &[("x-era", &name)]);

    assert_eq!(elder.call_text("whoami"), "v1");
    assert_eq!(modern.call("whoami"), "v2");
    assert_eq!(elder.call_text("counter"), "1");
}

#[test]
fn a_session_id_means_nothing_in_the_era_without_sessions() {
    let house = house((1, 0));
    let mut client = house
        .client("Bearer a")
        .with("mcp-session-id", "sb1.made.up");

    assert_eq!(client.call("whoami"), "v1");
    let seen = house.v1.requests();
    assert_eq!(seen[0].fields.get("mcp-session-id"), None);
}

#[test]
fn callers_without_credentials_go_by_their_address() {
    let house = house((50, 50));
    let homes: BTreeSet<String> = (0..12)
        .map(|_| house.client("").without("authorization").call("whoami"))
        .collect();

    assert_eq!(homes.len(), 1);
    drop(house.v2);
}

#[test]
fn a_listening_client_is_no_call_and_told_of_the_end_in_a_revert() {
    let house = house((100, 0));
    let rollout = house.roll_out(95);
    let mut clients = house.clients(20);
    clients.retain_mut(|client| client.call("whoami") == "v2");
    let calls = |house: &House| {
        let text = house.gateway.admin.text("/metrics");
        let lines = text.lines().filter(|line| {
            line.starts_with("switchback_calls_total{") && line.contains("backend=\"v2\"")
        });
        let counts = lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
        counts.sum::<u64>()
    };
    let before = calls(&house);
    let mut streams: Vec<_> = clients.iter_mut().map(ModernClient::listen).collect();

    house.act(&rollout, "revert");

    for stream in &mut streams {
        let said = stream.read_until("\"result\"");
        assert!(
            said.contains("io.modelcontextprotocol/subscriptionId"),
            "{said}"
        );
        while stream.read_piece().is_some() {}
    }
    assert!(before >= clients.len() as u64);
    assert_eq!(calls(&house), before, "streams are no calls");
    let _again = clients[0].listen();
    assert_eq!(clients[0].call("whoami"), "v1");
}

#[test]
fn a_refusal_that_breaks_off_or_is_endless_is_not_waited_for() {
    let v1 = elder_server(400, "");
    let gateway = Gateway::start(&route("mcp", &[("v1", &v1.url(), 1)]));
    let mut client = ModernClient::new(gateway.address, "Bearer a");
    v1.change(|exchange| {
        exchange.read_body();
        exchange.begin(400, &[]);
        exchange.chunk("{\"jsonrpc\"");
        exchange.cut();
    });
    let answer = client.ask("tools/list", json!({}));
    assert_eq!(answer.json()["error"]["code"], -32022, "{}", answer.text());

    let long = "x".repeat(200_000);
    let body = long.clone();
    v1.change(move |exchange| {
        exchange.read_body();
        exchange.answer(400, &[], &body);
    });
    let answer = client.ask("tools/list", json!({}));

    assert_eq!((answer.status, answer.text()), (400, long));
}
