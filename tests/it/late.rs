//! Requests of sessions whose bodies come bit by bit: they are sent as they come, and what they are about is
//! known late.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::backend::{Backend, Request};
use crate::support::fake_mcp::{FakeMcp, Mood, Wire};
use crate::support::gate::pass;
use crate::support::gateway::Gateway;
use crate::support::house::{House, house, house_with};
use crate::support::mcp_client::{McpClient, REVISION, reply_to};
use crate::support::modern::{MODERN, modern_server};
use crate::support::routes::{ABSENT, route, route_with};
use crate::support::slow::{Slow, call, head, post, thirds, wait_for_outcome, wait_for_tool};
use crate::support::texts::{Random, chunks};

/// Between two looks at a fact that nobody announces.
const TURN: Duration = Duration::from_millis(50);

/// A message to v1 of which the head has arrived.
fn begin<'a>(house: &'a House, client: &McpClient, message: &str) -> Slow<'a> {
    let v1 = &house.v1.backend;
    Slow::begin(&house.gateway, &client.session, v1, message.len())
}

#[test]
fn a_call_is_sent_as_its_body_comes_and_is_counted_by_what_it_says() {
    let house = house((1, 0), "");
    let client = house.open();

    let answer = post(&house, &client.session, &house.v1, &call(7, "whoami"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["id"], 7);
    house.v1.set_mood(Mood::ToolError);
    post(&house, &client.session, &house.v1, &call(8, "work"));

    wait_for_tool(&house.gateway, "whoami", ("success", 1));
    wait_for_tool(&house.gateway, "work", ("tool_error", 1));
    wait_for_outcome(&house.gateway, "tool_error", 1);
    let metrics = house.gateway.admin.text("/metrics");
    let idle = r#"switchback_tool_calls_in_flight{route="all",backend="v1",tool="work"} 0"#;
    assert!(metrics.lines().any(|line| line == idle), "{metrics}");
}

#[test]
fn a_body_beyond_every_bound_of_a_look_is_counted_too() {
    let house = house((1, 0), "");
    let client = house.open();
    let big = "x".repeat(5 << 20);
    let message = format!(
        r#"{{"params":{{"arguments":{{"text":"{big}"}},"name":"whoami"}},"method":"tools/call","id":"last"}}"#
    );

    let mut connection = house.gateway.connect();
    connection.write(head(&client.session, message.len()));
    connection.write(&message);
    let answer = connection.read("POST");

    assert_eq!(answer.json()["id"], "last");
    wait_for_tool(&house.gateway, "whoami", ("success", 1));
}

#[test]
fn a_slow_body_that_is_packed_is_counted_as_packed() {
    let house = house((1, 0), "");
    let client = house.open();
    let packed = "\u{1f}not JSON";
    let head = head(&client.session, packed.len());
    let head = head.replace("host: h", "host: h\r\ncontent-encoding: gzip");
    let known = house.v1.backend.requests().len();

    let mut connection = house.gateway.connect();
    connection.write(head);
    house.v1.backend.wait_for_requests(known + 1);
    connection.write(packed);
    connection.read("POST");

    let metrics = house.gateway.admin.text("/metrics");
    let counted = "switchback_packed_requests_total 1";
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
}

#[test]
fn a_batch_that_comes_slowly_is_each_of_its_calls() {
    let house = house((1, 0), "");
    let client = house.open();
    house.v1.backend.change(|exchange| {
        exchange.read_body();
        let error =
            json!({ "jsonrpc": "2.0", "id": 2, "error": { "code": -32603, "message": "" } });
        let fine = json!({ "jsonrpc": "2.0", "id": 1, "result": {} });
        exchange.answer_json(&[], &json!([error, fine]));
    });

    let batch = format!("[{},{}]", call(1, "one"), call(2, "two"));
    let answer = post(&house, &client.session, &house.v1, &batch);

    assert_eq!(answer.status, 200);
    wait_for_tool(&house.gateway, "one", ("success", 1));
    wait_for_tool(&house.gateway, "two", ("protocol_error", 1));
}

#[test]
fn what_is_wished_for_slowly_is_wished_for_at_the_new_home_too() {
    let house = house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    let level = json!({ "jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": { "level": "debug" } });
    let uri =
        json!({ "params": { "uri": "file:///slow" }, "method": "resources/subscribe", "id": 2 });
    for wish in [level, uri] {
        let answer = post(&house, &client.session, &house.v2, &wish.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    house.revert(&path);

    assert_eq!(client.call_text("whoami"), "v1");
    let told = house.v1.backend.requests();
    let told: Vec<Value> = told.iter().map(Request::json).collect();
    let wished = |method: &str, name: &str, value: &str| {
        let mut of = told.iter().filter(|it| it["method"] == method);
        of.any(|it| it["params"][name] == value)
    };
    assert!(wished("logging/setLevel", "level", "debug"), "{told:?}");
    assert!(
        wished("resources/subscribe", "uri", "file:///slow"),
        "{told:?}"
    );
}

#[test]
fn a_slow_body_to_a_dead_backend_is_an_error_in_json_rpc() {
    let mut house = house_with((1, 0), "on_loss: sever", "");
    let client = house.open();
    house.v1.backend.stop();

    let message = call(3, "whoami");
    let [one, two, three] = thirds(&message);
    let mut connection = house.gateway.connect();
    connection.write(head(&client.session, message.len()));
    connection.write(one);
    let answer = connection.read("POST");
    connection.write_as_far_as_taken(two);
    connection.write_as_far_as_taken(three);

    assert!(matches!(answer.status, 404 | 502), "{}", answer.text());
    assert!(answer.json()["error"]["code"].is_i64());
    assert_eq!(answer.json()["id"], Value::Null);
}

#[test]
fn a_slow_body_goes_with_its_session_to_a_new_home() {
    let mut house = house((1, 1), "");
    let client = house.open_at("v2");
    house.v2.backend.stop();

    let message = call(3, "whoami");
    let mut slow = Slow::begin_unseen(
        &house.gateway,
        &client.session,
        &house.v1.backend,
        message.len(),
    );
    house.v1.backend.wait_for("the call", |seen| {
        // Of what opens the session there, each body is whole at once.
        let of = |request: &&Request| {
            request.fields.get("content-length") == Some(&message.len().to_string())
        };
        seen.iter().skip(slow.known).find(of).map(|_| ())
    });
    for piece in thirds(&message) {
        slow.write(piece);
    }

    assert_eq!(
        reply_to(&slow.read(), 3)["result"]["content"][0]["text"],
        "v1"
    );
}

#[test]
fn an_error_of_the_gateway_has_the_id_that_came_late() {
    let house = house((1, 0), "");
    let client = house.open();
    house.v1.backend.change(|exchange| {
        exchange.read_body();
        exchange.cut();
    });

    let message =
        r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"whoami"},"id":"at last"}"#;
    let answer = post(&house, &client.session, &house.v1, message);

    assert_eq!(answer.status, 502, "{}", answer.text());
    assert_eq!(answer.json()["id"], "at last");
    let calls = house.v1.backend.requests();
    let calls = calls
        .iter()
        .filter(|it| it.json()["method"] == "tools/call");
    assert_eq!(calls.count(), 1, "it was sent once");
    wait_for_tool(&house.gateway, "whoami", ("broken", 1));
}

#[test]
fn a_half_sent_body_is_not_sent_again() {
    let house = house((1, 1), "");
    let client = house.open_at("v1");
    house.v1.backend.change(|exchange| {
        exchange.read_piece();
        exchange.cut();
    });
    let known = house.v2.backend.requests().len();

    // Of what only reads: were it here as a whole, it could be sent again.
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string();
    let mut slow = begin(&house, &client, &message);
    slow.write(thirds(&message)[0]);
    let before = slow.known;
    let answer = slow.read();

    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(answer.json()["error"].is_object());
    assert_eq!(house.v1.backend.requests().len(), before + 1);
    assert_eq!(house.v2.backend.requests().len(), known);
}

#[test]
fn a_slow_body_is_sent_again_to_a_server_that_has_forgotten_its_session() {
    let house = house((1, 0), "");
    let mut client = house.open();
    assert_eq!(client.call_text("counter"), "1");
    house.v1.forget_all();

    let answer = post(&house, &client.session, &house.v1, &call(5, "counter"));

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(reply_to(&answer, 5)["result"]["content"][0]["text"], "1");
    wait_for_tool(&house.gateway, "counter", ("success", 2));
}

#[test]
fn a_server_that_forgot_a_session_may_say_so_before_the_body_is_there() {
    let forgets = Arc::new(AtomicBool::new(false));
    let refuses = Arc::clone(&forgets);
    let v1 = Backend::start(move |exchange| {
        if refuses.swap(false, Ordering::SeqCst) {
            return exchange.answer(404, &[], "");
        }
        exchange.read_body();
        let message = exchange.request.json();
        let result = json!({ "protocolVersion": REVISION, "capabilities": {}, "serverInfo": {} });
        let reply = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
        match message["id"] {
            Value::Null => exchange.answer(202, &[], ""),
            _ => exchange.answer_json(&[("mcp-session-id", "s")], &reply),
        }
    });
    let gateway = Gateway::start(&route("mcp", &[("v1", &v1.url(), 1)]));
    let client = McpClient::open(gateway.address, "/mcp");
    forgets.store(true, Ordering::SeqCst);

    let message = call(5, "late");
    let mut slow = Slow::begin(&gateway, &client.session, &v1, message.len());
    // The call itself once more, behind what opens its session again.
    v1.wait_for_requests(slow.known + 4);
    slow.connection.write(&message);
    let answer = slow.read();

    assert_eq!((answer.status, &answer.json()["id"]), (200, &json!(5)));
    wait_for_tool(&gateway, "late", ("success", 1));
}

#[test]
fn what_a_client_says_slowly_reaches_the_call_that_stayed_behind() {
    let house = house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    let ask = json!({
        "jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": { "name": "ask" },
    });
    let mut under_way = client.post_aside(&ask);
    assert_eq!(under_way.read_head("POST").status, 200);
    under_way.read_until("elicitation/create");
    house.revert(&path);
    assert_eq!(client.call_text("whoami"), "v1");

    let reply = json!({ "jsonrpc": "2.0", "id": 0, "result": { "said": "by all means" } });
    // It is for no other server, and so it is waited for.
    let text = reply.to_string();
    let mut connection = house.gateway.connect();
    connection.write(head(&client.session, text.len()));
    for piece in thirds(&text) {
        connection.write(piece);
        pass(TURN);
    }
    let answer = connection.read("POST");

    assert_eq!(answer.status, 202, "{}", answer.text());
    under_way.read_until("by all means");
}

#[test]
fn slow_calls_are_copied_once_it_is_known_that_they_only_read() {
    let (v1, v2) = (FakeMcp::start("v1"), FakeMcp::start("v2"));
    let arms = [("v1", &*v1.url(), 1), ("v2", &*v2.url(), ABSENT)];
    let gateway = Gateway::start(&route_with("mcp", &arms, &["shadow: { backend: v2 }"]));
    let mut client = McpClient::open(gateway.address, "/mcp");
    client.request("tools/list", json!({}));

    for (id, tool) in [(1, "write"), (2, "work")] {
        let message = call(id, tool);
        let mut slow = Slow::begin(&gateway, &client.session, &v1.backend, message.len());
        for piece in thirds(&message) {
            slow.write(piece);
        }
        assert_eq!(slow.read().status, 200);
    }

    gateway.admin.wait_for("/v1/routes/all", |seen| {
        let copies = &seen["shadow"]["calls"]["outcomes"];
        (copies["success"] == 2).then_some(())
    });
    // The real calls have ended, and both are compared.
    let same = r#"switchback_shadow_comparisons_total{route="all",result="same"} 2"#;
    let is_there = || {
        gateway
            .admin
            .text("/metrics")
            .lines()
            .any(|line| line == same)
    };
    assert!((0..200).any(|_| is_there() || {
        pass(TURN);
        false
    }));
    let copied: Vec<_> = v2.backend.requests().iter().map(Request::text).collect();
    assert!(copied.contains(&call(2, "work")), "{copied:?}");
    assert!(!copied.contains(&call(1, "write")), "{copied:?}");
}

#[test]
fn a_client_that_leaves_in_the_middle_is_nobodys_fault() {
    let house = house((1, 0), "");
    let client = house.open();
    let message = call(1, "whoami");
    let mut slow = begin(&house, &client, &message);
    slow.write(thirds(&message)[0]);

    drop(slow.connection);

    wait_for_outcome(&house.gateway, "cancelled", 1);
    house.v1.backend.wait_for_open_connections(1);
    assert_eq!(house.v1.calls(), 0);
    house.wait_for_sessions(0, "lost", 0);
}

#[test]
fn an_answer_that_comes_before_the_body_counts_as_what_it_says() {
    for (status, body, counted) in [
        (413, "", "client_error"),
        (
            200,
            r#"{"jsonrpc":"2.0","id":1,"result":{"isError":true}}"#,
            "tool_error",
        ),
        // Nobody knows whether anything was asked for.
        (200, "{}", "success"),
    ] {
        let house = house((1, 0), "");
        let client = house.open();
        let json = [("content-type", "application/json")];
        house
            .v1
            .backend
            .change(move |exchange| exchange.answer(status, &json, body));

        wait_for_outcome(&house.gateway, "success", 2);

        let slow = Slow::begin(&house.gateway, &client.session, &house.v1.backend, 100);
        let answer = slow.read();

        assert_eq!((answer.status, &*answer.text()), (status, body));
        let opening = if counted == "success" { 2 } else { 0 };
        wait_for_outcome(&house.gateway, counted, opening + 1);
    }
}

#[test]
fn a_slow_body_that_says_nothing_clear_is_the_servers_to_refuse() {
    let house = house((1, 0), "");
    let client = house.open();
    house.v1.backend.change(|exchange| {
        exchange.read_body();
        exchange.answer(400, &[], "no message");
    });
    for body in [
        "this is no JSON at all, is it?",
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami"}"#,
        r#"{"method":"tools/call","Method":"ping","id":1,"params":{"name":"whoami"}}"#,
    ] {
        let answer = post(&house, &client.session, &house.v1, body);

        assert_eq!((answer.status, &*answer.text()), (400, "no message"));
        let sent = house.v1.backend.requests().pop().unwrap();
        assert_eq!(sent.text(), body);
    }
    wait_for_outcome(&house.gateway, "client_error", 3);
    let seen = house.gateway.admin.get("/v1/routes/all/tools");
    assert_eq!(seen["tools"], json!([]));
}

#[test]
fn a_session_that_is_not_ours_is_404_without_a_wait_for_the_body() {
    let house = house((1, 0), "");
    let mut connection = house.gateway.connect();

    connection.write(head("not-ours", 100));
    let answer = connection.read("POST");

    assert_eq!((answer.status, &answer.json()["id"]), (404, &Value::Null));
    assert_eq!(house.v1.backend.requests().len(), 0);
}

#[test]
fn without_sessions_nothing_is_sent_before_the_body_was_compared_with_its_headers() {
    let v1 = modern_server("v1", Wire::Json);
    let gateway = Gateway::start(&route("mcp", &[("v1", &v1.url(), 1)]));
    let message = json!({
        "jsonrpc": "2.0", "id": 4, "method": "tools/call",
        "params": { "name": "a", "_meta": { "io.modelcontextprotocol/protocolVersion": MODERN } },
    });
    let text = message.to_string();
    let mut connection = gateway.connect();

    connection.write(format!(
        "POST /mcp HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n\
         mcp-protocol-version: {MODERN}\r\nmcp-method: tools/call\r\nmcp-name: b\r\n\
         mcp-session-id: x\r\ncontent-length: {}\r\n\r\n",
        text.len()
    ));
    for piece in thirds(&text) {
        connection.write(piece);
    }
    let answer = connection.read("POST");

    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(answer.json()["error"]["code"], -32020);
    assert_eq!(answer.json()["id"], 4);
    assert_eq!(v1.requests().len(), 0);
}

#[test]
fn in_whatever_pieces_a_body_comes_it_says_what_serde_json_reads_in_it() {
    let house = house((1, 0), "");
    let client = house.open();
    house.v1.backend.change(|exchange| {
        exchange.read_body();
        exchange.answer_json(&[], &json!({ "jsonrpc": "2.0", "id": 1, "result": {} }));
    });
    let seed = 20_260_728;
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut expected = BTreeMap::new();

    for _ in 0..60 {
        let body = message(&mut random);
        if let Ok(read) = serde_json::from_slice::<Value>(&body)
            && read["method"] == "tools/call"
        {
            let tool = read["params"]["name"].as_str().unwrap().to_owned();
            *expected.entry(tool).or_insert(0) += 1;
        }
        let at = &house.v1.backend;
        let mut slow = Slow::begin(&house.gateway, &client.session, at, body.len());
        for chunk in chunks(&body, &mut random) {
            slow.connection.write(chunk);
        }
        assert_eq!(slow.read().status, 200);
    }

    for (tool, count) in expected {
        wait_for_tool(&house.gateway, &tool, ("success", count));
    }
}

/// A call or a ping with its members in any order, or one that is cut short or damaged.
fn message(random: &mut Random) -> Vec<u8> {
    let tool = random.pick(&["one", "two", "dr\u{e9}i", "\\u0065scaped"]);
    let method = random.pick(&["tools/call", "tools/call", "ping"]);
    let padding = "\u{2603}\\u00e9[{".repeat(random.below(300) as usize);
    let mut members = [
        "\"jsonrpc\": \"2.0\"".to_owned(),
        format!("\"id\":{}", random.pick(&["1", "\"x\"", "-7.5"])),
        format!("\"method\" : \"{method}\""),
        format!("\"params\":{{\"arguments\":{{\"name\":\"{padding}\"}},\"name\":\"{tool}\"}}"),
    ];
    for at in (1..members.len()).rev() {
        members.swap(at, random.below(at as u64 + 1) as usize);
    }
    let mut text = format!("{{{}}}", members.join(",")).into_bytes();
    match random.below(6) {
        0 => text.truncate(text.len() - 1),
        1 => text.push(b'}'),
        _ => {}
    }
    text
}
