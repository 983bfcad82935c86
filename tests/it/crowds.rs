//! How many event streams clients and sessions may have, and how long the ids are that they send.

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::client::Raw;
use crate::support::fake_mcp::Wire;
use crate::support::gateway::Gateway;
use crate::support::house::{House, house_with, ping};
use crate::support::modern::{ModernClient, modern_server};
use crate::support::routes::route;
use crate::support::slow;

fn hits(gateway: &Gateway, limit: &str) -> u64 {
    let page = gateway.admin.text("/metrics");
    let name = format!("switchback_limits_hit_total{{limit=\"{limit}\"}} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&*name));
    value.map_or(0, |value| value.parse().unwrap())
}

fn bounded(limits: &str) -> House {
    house_with((1, 0), "", &format!("limits: {{ {limits} }}\n"))
}

fn read_to_end(stream: &mut Raw) {
    while stream.read_piece().is_some() {}
}

#[test]
fn the_oldest_stream_of_a_session_gives_way_to_a_new_one() {
    let house = bounded("streams_per_session: 2");
    let (client, other) = (house.open(), house.open());
    let mut aside = other.listen();
    aside.read_until("open");
    let mut streams: Vec<_> = (0..3)
        .map(|_| {
            let mut stream = client.listen();
            stream.read_until("open");
            stream
        })
        .collect();

    read_to_end(&mut streams[0]);

    let ids = house.v1.sessions();
    let news = json!({ "jsonrpc": "2.0", "method": "notifications/news" });
    for id in &ids {
        house.v1.push(id, &news);
    }
    for stream in streams.iter_mut().skip(1).chain([&mut aside]) {
        stream.read_until("notifications/news");
    }
    assert_eq!(hits(&house.gateway, "streams_per_session"), 1);
}

#[test]
fn a_client_that_connects_again_and_again_is_never_locked_out() {
    let house = bounded("streams_per_session: 1");
    let client = house.open();

    // None of them is closed by the client.
    let mut streams: Vec<_> = (0..10).map(|_| client.listen()).collect();

    let mut last = streams.pop().unwrap();
    for stream in &mut streams {
        read_to_end(stream);
    }
    let news = json!({ "jsonrpc": "2.0", "method": "notifications/news" });
    house.v1.push(&house.v1.sessions()[0], &news);
    last.read_until("notifications/news");
}

/// The answer to a GET stream's head and, when it is refused, its body.
fn get(house: &House, session: &str) -> (Raw, u16, Value) {
    let mut stream = house.gateway.connect();
    let fields = [("accept", "text/event-stream"), ("mcp-session-id", session)];
    stream.send("GET", "/mcp", &fields, b"");
    let head = stream.read_head("GET");
    if head.status == 200 {
        return (stream, 200, Value::Null);
    }
    assert_eq!(head.fields.get("retry-after"), Some("1"));
    let body = stream.read_until("}}");
    (stream, head.status, serde_json::from_str(&body).unwrap())
}

#[test]
fn a_client_with_too_many_streams_is_told_429_and_its_calls_go_on() {
    let house = bounded("streams_per_client: 2");
    let mut client = house.open();
    let other = house.open();
    let first = get(&house, &client.session);
    let second = get(&house, &other.session);
    assert_eq!((first.1, second.1), (200, 200));

    let (_, status, body) = get(&house, &client.session);

    assert_eq!(status, 429);
    assert_eq!(body["error"]["code"], -32000, "{body}");
    assert_eq!(client.post(&ping(7)).status, 200);
    assert_eq!(hits(&house.gateway, "streams_per_client"), 1);
    drop(first);
    house.gateway.admin.wait_for("/v1/status", |_| {
        (get(&house, &client.session).1 == 200).then_some(())
    });
}

#[test]
fn a_session_that_says_slowly_that_it_listens_takes_a_place_too() {
    let house = bounded("streams_per_client: 1");
    let client = house.open();
    let stream = client.listen();
    let listen = json!({ "jsonrpc": "2.0", "id": 5, "method": "subscriptions/listen" }).to_string();

    let refused = slow::post(&house, &client.session, &house.v1, &listen);

    assert_eq!(refused.status, 429, "{}", refused.text());
    assert_eq!(refused.json()["id"], 5);
    drop(stream);
    // The fake knows nothing of it, and has no stream for it.
    house.gateway.admin.wait_for("/v1/status", |_| {
        let answer = slow::post(&house, &client.session, &house.v1, &listen);
        (answer.status == 200).then_some(())
    });
}

#[test]
fn listening_counts_as_a_stream_and_is_shown_by_backend() {
    let v1 = modern_server("v1", Wire::Json);
    let limits = "limits: { streams_per_client: 1 }\n";
    let gateway = Gateway::start(&(route("mcp", &[("v1", &v1.url(), 1)]) + limits));
    let mut client = ModernClient::new(gateway.address, "Bearer a");
    client.call("whoami");
    let stream = client.listen();
    let callers = |held: u64, listening: u64| {
        gateway.admin.wait_for("/v1/routes/all", |seen| {
            let callers = &seen["arms"][0]["callers"];
            (callers["held"] == held && callers["listening"] == listening).then_some(())
        });
    };
    callers(1, 1);

    let refused = client.ask("subscriptions/listen", json!({ "notifications": {} }));

    assert_eq!(refused.status, 429, "{}", refused.text());
    assert!(refused.json()["id"].is_number());
    assert_eq!(client.call("whoami"), "v1");
    drop(stream);
    callers(1, 0);
    let _again = client.listen();
}

#[test]
fn callers_of_a_backend_without_a_share_are_shown_as_draining() {
    let servers = ["v1", "v2"].map(|label| modern_server(label, Wire::Json));
    let (one, two) = (servers[0].url(), servers[1].url());
    let arms = [("v1", &*one, 1), ("v2", &*two, 0)];
    let gateway = Gateway::start(&route("mcp", &arms));
    ModernClient::new(gateway.address, "Bearer a").call("whoami");

    let weights = json!({ "weights": { "v1": 0, "v2": 1 } });
    gateway.admin.put("/v1/routes/all/weights", &weights);

    gateway.admin.wait_for("/v1/routes/all", |seen| {
        (seen["arms"][0]["callers"]["draining"] == 1).then_some(())
    });
    let page = gateway.admin.text("/metrics");
    let line = "switchback_callers{route=\"all\",backend=\"v1\",state=\"draining\"} 1";
    assert!(page.contains(line), "{page}");
}

#[test]
fn subscriptions_beyond_the_bound_are_not_kept_and_counted() {
    let house = bounded("session_subscriptions: 2");
    let (mut client, path) = house.at_candidate();
    for uri in ["a:1", "a:2", "a:3"] {
        client.request("resources/subscribe", json!({ "uri": uri }));
    }
    let long = format!("a:{}", "x".repeat(4000));
    client.request("resources/subscribe", json!({ "uri": long }));

    house.revert(&path);
    assert_eq!(client.call_text("whoami"), "v1");

    let said = house.v1.methods();
    let told = said
        .iter()
        .filter(|method| *method == "resources/subscribe");
    assert_eq!(told.count(), 2);
    house.gateway.admin.wait_for("/v1/status", |_| {
        let page = house.gateway.admin.text("/metrics");
        page.contains("switchback_session_wishes_unkept_total 2")
            .then_some(())
    });
}

#[test]
fn news_of_a_task_come_from_the_server_that_made_it() {
    let servers = ["v1", "v2"].map(|label| modern_server(label, Wire::Json));
    let (one, two) = (servers[0].url(), servers[1].url());
    let arms = [("v1", &*one, 1), ("v2", &*two, 0)];
    let gateway = Gateway::start(&route("mcp", &arms));
    let mut first = ModernClient::new(gateway.address, "Bearer a");
    first.reply("tools/call", json!({ "name": "start" }));
    let weights = json!({ "weights": { "v1": 0, "v2": 1 } });
    gateway.admin.put("/v1/routes/all/weights", &weights);
    let mut other = ModernClient::new(gateway.address, "Bearer b");
    assert_eq!(other.call("whoami"), "v2");

    for (tasks, at) in [
        (json!(["unknown", "task-of-v1"]), 0),
        (json!(["unknown"]), 1),
    ] {
        let _stream = other.listen_to(json!({ "taskIds": tasks }));

        let asked = |server: &Backend| {
            let requests = server.requests();
            let listens = |r: &&crate::support::backend::Request| {
                r.json()["method"] == "subscriptions/listen"
            };
            requests.iter().filter(listens).count()
        };
        assert_eq!(asked(&servers[at]), 1, "{tasks}");
    }
}

#[test]
fn ids_of_any_length_pass_and_long_ones_are_not_repeated_by_us() {
    let house = bounded("streams_per_client: 10");
    let mut client = house.open();
    let long = "i".repeat(100_000);

    let request = json!({ "jsonrpc": "2.0", "id": long, "method": "ping" });
    assert_eq!(client.post(&request).json()["id"], json!(long));
    let token = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping",
        "params": { "_meta": { "progressToken": long } } });
    assert_eq!(client.post(&token).status, 200);

    client.session = "sb1.made.up".to_owned();
    let refused = client.post(&request);
    assert_eq!((refused.status, &refused.json()["id"]), (404, &Value::Null));
    client.session = format!("sb1.{}", "x".repeat(20_000));
    let asked = house.v1.methods().len();
    assert_eq!(client.post(&ping(7)).status, 404);
    assert_eq!(house.v1.methods().len(), asked);
}

#[test]
fn fields_with_ids_are_bounded_by_the_heads_own_bound() {
    let house = bounded("request_head_bytes: 8192");
    let client = house.open();
    for (field, length, status) in [
        ("last-event-id", 4000, 200),
        ("last-event-id", 9000, 431),
        ("mcp-session-id", 9000, 431),
        ("mcp-name", 9000, 431),
    ] {
        let long = "x".repeat(length);
        let mut fields = vec![("accept", "text/event-stream"), (field, &*long)];
        if field != "mcp-session-id" {
            fields.push(("mcp-session-id", &client.session));
        }
        let mut stream = house.gateway.connect();
        stream.send("GET", "/mcp", &fields, b"");

        assert_eq!(stream.read_head("GET").status, status, "{field} {length}");
    }
}
