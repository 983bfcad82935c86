//! MCP sessions: sealed, pinned, and given a new home after a revert.

use serde_json::{Value, json};

use crate::support::backend::Request;
use crate::support::client::Answer;
use crate::support::fake_mcp::{FakeMcp, session_of};
use crate::support::gateway::Gateway;
use crate::support::mcp_client::{McpClient, REVISION};
use crate::support::routes::{route, route_with};

struct House {
    v1: FakeMcp,
    v2: FakeMcp,
    gateway: Gateway,
}

fn house(shares: (u32, u32)) -> House {
    house_with(shares, "")
}

fn house_with(shares: (u32, u32), more: &str) -> House {
    let (v1, v2) = (FakeMcp::start("v1"), FakeMcp::start("v2"));
    let arms = [("v1", &*v1.url(), shares.0), ("v2", &*v2.url(), shares.1)];
    let gateway = Gateway::start(&(route("mcp", &arms) + more));
    House { v1, v2, gateway }
}

impl House {
    fn open(&self) -> McpClient {
        McpClient::open(self.gateway.address, "/mcp")
    }

    fn shift(&self, v1: u32, v2: u32) {
        let weights = json!({ "weights": { "v1": v1, "v2": v2 } });
        self.gateway.admin.put("/v1/routes/all/weights", &weights);
    }

    /// A session that lives on v2, whose rollout has just begun; and the rollout's path.
    fn at_candidate(&self) -> (McpClient, String) {
        let wanted = json!({ "to": "v2", "stages": [{ "percent": 99, "for": "1h" }] });
        let rollout = self.gateway.admin.post("/v1/routes/all/rollouts", &wanted);
        let path = format!("/v1/rollouts/{}", rollout["id"].as_str().expect("an id"));
        loop {
            let mut client = self.open();
            if client.call_text("whoami") == "v2" {
                return (client, path);
            }
        }
    }

    fn revert(&self, path: &str) {
        self.gateway
            .admin
            .post(&format!("{path}/revert"), &json!({}));
    }
}

/// That an answer says that there is no such session, in the words of the protocol.
fn assert_unknown(answer: &Answer, id: &Value) {
    assert_eq!(answer.status, 404, "{}", answer.text());
    let body = answer.json();
    assert_eq!(
        (&body["error"]["code"], &body["id"]),
        (&json!(-32001), id),
        "{body}"
    );
}

fn ping(id: u64) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "ping" })
}

#[test]
fn a_client_never_sees_the_backends_own_id_nor_the_backend_the_clients() {
    let house = house((1, 0));

    let mut client = house.open();
    client.call("whoami");

    let own = house.v1.sessions().remove(0);
    assert_ne!(client.session, own);
    let seen = house.v1.backend.requests();
    let told: Vec<_> = seen.iter().map(session_of).collect();
    assert_eq!(told, [None, Some(&*own), Some(&*own)]);
}

#[test]
fn a_session_stays_where_it_was_opened_whatever_the_weights() {
    let house = house((50, 50));
    let mut clients: Vec<_> = (0..12)
        .map(|_| {
            let mut client = house.open();
            let home = client.call_text("whoami");
            (client, home)
        })
        .collect();

    for (v1, v2) in [(1, 0), (0, 1), (1, 99), (99, 1)] {
        house.shift(v1, v2);
        for (client, home) in &mut clients {
            client.reconnect();
            assert_eq!(&client.call_text("whoami"), home);
        }
    }
    assert_eq!(house.v1.initializes() + house.v2.initializes(), 12);
}

#[test]
fn a_session_stays_through_a_promotion() {
    let house = house((1, 0));
    let mut stays = house.open();
    let (_candidates, path) = house.at_candidate();

    house
        .gateway
        .admin
        .post(&format!("{path}/promote"), &json!({}));

    assert_eq!(stays.call_text("whoami"), "v1");
    assert_eq!(house.open().call_text("whoami"), "v2");
}

#[test]
fn a_session_stays_after_an_abort() {
    let house = house((1, 0));
    let (mut client, path) = house.at_candidate();

    house
        .gateway
        .admin
        .post(&format!("{path}/abort"), &json!({}));

    assert_eq!(client.call_text("whoami"), "v2");
    assert_eq!(house.open().call_text("whoami"), "v1");
}

#[test]
fn a_session_stays_through_a_restart() {
    let mut house = house((50, 50));
    let mut client = house.open();
    client.call("counter");
    let home = client.call_text("whoami");

    house.gateway.start_again();
    client.reconnect();

    assert_eq!(
        client.call_text("counter"),
        "2",
        "the same session on the same server"
    );
    assert_eq!(client.call_text("whoami"), home);
}

#[test]
fn an_id_that_is_not_ours_is_404_and_goes_nowhere() {
    let house = house((50, 50));
    let mut client = house.open();
    client.call("whoami");
    let true_id = client.session.clone();
    let before = house.v1.methods().len() + house.v2.methods().len();
    let mut end_changed = true_id.clone();
    end_changed.push('x');
    let mut seal_changed = true_id.clone().into_bytes();
    let at = true_id.find('.').unwrap_or(8) + 5;
    seal_changed[at] = if seal_changed[at] == b'A' { b'B' } else { b'A' };
    let forged = [
        "v1-1".to_owned(),
        "nonsense".to_owned(),
        true_id[..true_id.len() - 1].to_owned(),
        true_id[..true_id.len() / 2].to_owned(),
        true_id.to_uppercase(),
        end_changed,
        String::from_utf8(seal_changed).unwrap(),
        "x".repeat(5000),
    ];

    for id in forged {
        client.session = id.clone();
        assert_unknown(&client.post(&ping(7)), &json!(7));
        let answer = client.delete();
        assert_eq!(answer.status, 404, "{id}");
        client.reconnect();
    }

    assert_eq!(house.v1.methods().len() + house.v2.methods().len(), before);
    client.session = true_id;
    client.call("whoami");
}

#[test]
fn an_id_of_another_gateway_or_route_is_404() {
    let (ours, theirs) = (house((1, 0)), house((1, 0)));
    let theirs = theirs.open().session;
    let mut client = ours.open();

    client.session = theirs;

    assert_unknown(&client.post(&ping(7)), &json!(7));
}

#[test]
fn two_ids_at_once_are_404() {
    let house = house((1, 0));
    let client = house.open();
    let twice = [
        ("mcp-session-id", client.session.as_str()),
        ("mcp-session-id", client.session.as_str()),
        ("mcp-protocol-version", REVISION),
    ];

    let body = ping(7).to_string();
    let answer = house
        .gateway
        .connect()
        .ask("POST", "/mcp", &twice, body.as_bytes());

    assert_unknown(&answer, &json!(7));
}

#[test]
fn a_session_ends_when_its_client_says_so() {
    let house = house((1, 0));
    let mut client = house.open();

    assert_eq!(client.delete().status, 200);

    assert_eq!(house.v1.sessions(), [""; 0]);
    assert_eq!(client.post(&ping(7)).status, 404);
}

#[test]
fn a_revert_gives_a_session_a_new_home_under_its_own_id() {
    let house = house((1, 0));
    let (mut client, path) = house.at_candidate();
    let opened_before = house.v1.initializes();

    house.revert(&path);

    let id = client.session.clone();
    for _ in 0..3 {
        let (answer, reply) =
            client.request("tools/call", json!({ "name": "whoami", "arguments": {} }));
        assert_eq!(
            reply["result"]["content"][0]["text"],
            "v1",
            "{}",
            answer.text()
        );
        let told = answer.fields.get("mcp-session-id").unwrap_or(&id);
        assert_eq!(told, id, "the client's id does not change");
    }
    assert_eq!(house.v1.initializes(), opened_before + 1);
}

#[test]
fn a_new_home_is_told_what_the_old_one_was() {
    let house = house((1, 0));
    let (mut client, path) = house.at_candidate();
    let own = house.v2.sessions().pop().unwrap();
    client.request("logging/setLevel", json!({ "level": "debug" }));
    client.request("logging/setLevel", json!({ "level": "warning" }));
    for uri in ["file:///a", "file:///b", "file:///c"] {
        client.request("resources/subscribe", json!({ "uri": uri }));
    }
    client.request("resources/unsubscribe", json!({ "uri": "file:///b" }));
    let before = house.v1.backend.requests().len();

    house.revert(&path);
    client.call("whoami");

    let replayed: Vec<Request> = house.v1.backend.requests().split_off(before);
    let told = |r: &Request| {
        let message = r.json();
        let params = &message["params"];
        let what = [&params["level"], &params["uri"]]
            .into_iter()
            .find(|v| v.is_string());
        format!(
            "{} {}",
            message["method"].as_str().unwrap(),
            what.and_then(Value::as_str).unwrap_or("")
        )
    };
    let told: Vec<_> = replayed.iter().map(told).collect();
    assert_eq!(
        told,
        [
            "initialize ",
            "notifications/initialized ",
            "logging/setLevel warning",
            "resources/subscribe file:///a",
            "resources/subscribe file:///c",
            "tools/call ",
        ]
    );
    let new = house.v1.sessions().pop().unwrap();
    assert_eq!(house.v1.opened_with(&new), house.v2.opened_with(&own));
    let versions = replayed
        .iter()
        .map(|r| r.fields.get("mcp-protocol-version"));
    assert!(versions.skip(1).all(|version| version == Some(REVISION)));
}

#[test]
fn a_session_is_opened_once_at_its_new_home_however_many_ask() {
    let house = house((1, 0));
    let (client, path) = house.at_candidate();
    let opened_before = house.v1.initializes();

    house.revert(&path);
    let mut calls: Vec<_> = (0..16).map(|n| client.post_aside(&ping(n))).collect();

    for call in &mut calls {
        assert_eq!(call.read("POST").status, 200);
    }
    assert_eq!(house.v1.initializes(), opened_before + 1);
}

#[test]
fn the_stream_of_a_reverted_backend_ends_as_it_should_and_opens_at_the_new_home() {
    let house = house((1, 0));
    let (mut client, path) = house.at_candidate();
    let mut stream = client.listen();
    stream.read_until("open");
    house.v2.wait_for_streams(1);

    house.revert(&path);

    while stream.read_piece().is_some() {}
    house.v2.wait_for_streams(0);
    let mut stream = client.listen();
    stream.read_until("open");
    house.v1.wait_for_streams(1);
    let own = house.v1.sessions().pop().unwrap();
    let news = json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" });
    house.v1.push(&own, &news);
    stream.read_until("list_changed");
    assert_eq!(client.call_text("whoami"), "v1");
}

#[test]
fn the_streams_of_stable_do_not_notice_a_revert() {
    let house = house((1, 0));
    let stays = house.open();
    let mut stream = stays.listen();
    stream.read_until("open");
    let own = house.v1.sessions().remove(0);
    let (_client, path) = house.at_candidate();

    house.revert(&path);

    let news = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "n": 1 } });
    house.v1.push(&own, &news);
    stream.read_until("notifications/message");
}

#[test]
fn a_session_at_its_new_home_ends_there() {
    let house = house((1, 0));
    let (mut client, path) = house.at_candidate();
    house.revert(&path);
    client.call("whoami");
    let open_before = house.v1.sessions().len();

    assert_eq!(client.delete().status, 200);

    assert_eq!(house.v1.sessions().len(), open_before - 1);
    assert_eq!(client.post(&ping(7)).status, 404);
}

#[test]
fn a_session_without_a_record_is_404_after_a_revert() {
    let house = house_with((1, 0), "limits: { session_records: 0 }\n");
    let (mut client, path) = house.at_candidate();

    house.revert(&path);

    assert_unknown(&client.post(&ping(7)), &json!(7));
}

#[test]
fn a_session_whose_backend_left_the_file_gets_a_new_home() {
    let house = house((1, 1));
    let mut client = house.open();
    while client.call_text("whoami") != "v2" {
        client = house.open();
    }

    let arms = [("v1", &*house.v1.url(), 1)];
    house.gateway.rewrite(&route("mcp", &arms));
    house.gateway.admin.post("/v1/config/reload", &json!({}));

    assert_eq!(client.call_text("whoami"), "v1");
}

#[test]
fn a_new_home_is_told_the_true_client_address() {
    let house = house((1, 0));
    let (client, path) = house.at_candidate();
    let before = house.v1.backend.requests().len();
    house.revert(&path);

    let body = ping(7).to_string();
    let fields = [
        ("mcp-session-id", client.session.as_str()),
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-proto", "https"),
        ("authorization", "Bearer mine"),
    ];
    let answer = house
        .gateway
        .connect()
        .ask("POST", "/mcp", &fields, body.as_bytes());

    assert_eq!(answer.status, 200);
    for request in &house.v1.backend.requests()[before..] {
        let told = |name| request.fields.all(name).collect::<Vec<_>>();
        assert_eq!(told("x-forwarded-for"), ["127.0.0.1"], "{}", request.text());
        assert_eq!(told("x-forwarded-proto"), ["http"]);
        assert_eq!(told("authorization"), ["Bearer mine"]);
    }
}

#[test]
fn many_sessions_survive_many_rollouts_that_fail() {
    let house = house((1, 0));
    let mut clients: Vec<McpClient> = Vec::new();
    for _ in 0..3 {
        let wanted =
            json!({ "to": "v2", "stages": [{ "percent": 50, "for": "1h" }], "force": true });
        let rollout = house.gateway.admin.post("/v1/routes/all/rollouts", &wanted);
        let path = format!("/v1/rollouts/{}", rollout["id"].as_str().expect("an id"));
        clients.extend((0..10).map(|_| house.open()));
        for client in &mut clients {
            client.call("whoami");
        }
        house.revert(&path);
        for client in &mut clients {
            assert_eq!(client.call_text("whoami"), "v1");
        }
    }
}

#[test]
fn sessions_stick_to_one_of_several_endpoints() {
    let (a, b) = (FakeMcp::start("a"), FakeMcp::start("b"));
    let both = format!("{}\", \"{}", a.url(), b.url());
    let text = route_with("mcp", &[("only", &both, 1)], &[]);
    let gateway = Gateway::start(&text);
    let mut clients: Vec<_> = (0..20)
        .map(|_| McpClient::open(gateway.address, "/mcp"))
        .collect();

    for n in 1..=3 {
        for client in &mut clients {
            client.reconnect();
            assert_eq!(client.call_text("counter"), n.to_string());
        }
    }
    assert!(a.initializes() > 0 && b.initializes() > 0);
}
