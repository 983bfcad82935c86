//! Sessions that were opened in the name of others, beside them: they are found again, and end with them.

use serde_json::{Value, json};

use crate::support::backend::Request;
use crate::support::client::Raw;
use crate::support::fake_mcp::{FakeMcp, session_of};
use crate::support::house::{House, assert_unknown, house_with, ping, ruled_house};
use crate::support::mcp_client::{McpClient, REVISION};
use crate::support::routes::{ABSENT, ruled};

const COUNTER: &str = "method: tools/call, name: [counter]";
const ENDED: &str = "switchback_sessions_ended_total";
const LEFT_OPEN: &str = "switchback_sessions_left_open_total";

/// A session at v1, with a second one at v2; and that one's own id.
fn led(house: &House) -> (McpClient, String) {
    let mut client = house.open_at("v1");
    let before = house.v2.sessions();
    assert_eq!(client.call_text("counter"), "1");
    let mut opened = house.v2.sessions();
    opened.retain(|id| !before.contains(id));
    (client, opened.pop().expect("a second session"))
}

/// A house where the rule leads counters to v2, which has sessions of its own; the route says this, too.
fn shared_house(more: &str) -> House {
    let line = format!("protocol: mcp\n    {more}");
    House::of(|v1, v2| {
        let text = ruled(v1, v2, COUNTER, (ABSENT, 1));
        let text = text.replacen("v1: 1, v2: 0", "v1: 1, v2: 1", 1);
        text.replacen("protocol: mcp", &line, 1)
    })
}

/// Waits until a server is asked to end this session; how it was asked.
fn wait_for_end(server: &FakeMcp, id: &str) -> Request {
    server.backend.wait_for("the end", |seen| {
        let end = |it: &&Request| it.method == "DELETE" && session_of(it) == Some(id);
        seen.iter().find(end).cloned()
    })
}

/// A house with room for one record, where the rule leads counters to v2.
fn narrow_house() -> House {
    narrow_house_with("")
}

fn narrow_house_with(limits: &str) -> House {
    let limits = format!("limits: {{ session_records: 1, {limits} }}\n");
    House::of(|v1, v2| ruled(v1, v2, COUNTER, (ABSENT, 1)) + &limits)
}

#[test]
fn a_second_session_ends_when_its_session_makes_room_for_others() {
    let house = narrow_house();
    let (_first, id) = led(&house);

    // The newest one may be the one that is idle for longest.
    let _others = [house.open(), house.open(), house.open()];

    let end = wait_for_end(&house.v2, &id);
    assert_eq!(end.target, "/mcp");
    let opened = house.v2.backend.requests().remove(0);
    assert_eq!(end.fields.get("host"), opened.fields.get("host"));
    assert_eq!(end.fields.get("mcp-protocol-version"), Some("2025-11-25"));
    house.wait_for_metric(ENDED, 1);
    assert_eq!(house.metric(LEFT_OPEN), 0);
}

#[test]
fn a_second_session_that_cannot_be_ended_is_counted_and_holds_nothing_up() {
    let mut house = narrow_house();
    let (_first, _) = led(&house);
    house.v2.backend.stop();
    let _others = [house.open(), house.open(), house.open()];

    house.wait_for_metric(LEFT_OPEN, 1);
    assert_eq!(house.metric(ENDED), 0);
    house.restart();
}

#[test]
fn a_second_session_ends_when_its_session_is_lost() {
    let mut house = shared_house("session: { on_loss: sever }");
    let (mut client, id) = led(&house);
    house.v1.backend.stop();

    assert_unknown(&client.post(&ping(9)));

    wait_for_end(&house.v2, &id);
}

#[test]
fn a_second_session_ends_when_its_client_ends_one_whose_home_is_gone() {
    let mut house = shared_house("");
    let (mut client, id) = led(&house);
    house.v1.backend.stop();

    assert_eq!(client.delete().status, 200);

    wait_for_end(&house.v2, &id);
    house.wait_for_metric(ENDED, 1);
}

#[test]
fn a_new_home_ends_with_the_record_of_its_session() {
    let limits = "limits: { session_records: 1 }\n";
    let house = house_with((0, 1), "drain: 0s", limits);
    let mut client = house.open_at("v2");
    house.shift(1, 0);
    house.wait_for_standing(1, "drained");
    assert_eq!(client.call_text("whoami"), "v1");
    let id = house.v1.sessions().pop().expect("a new home");

    let _others = [house.open(), house.open(), house.open()];

    wait_for_end(&house.v1, &id);
    assert_unknown(&client.post(&ping(9)));
}

#[test]
fn where_a_rule_led_is_known_after_a_restart_and_a_takeover() {
    let mut house = ruled_house(COUNTER, (ABSENT, 1));
    let (mut client, id) = led(&house);

    house.restart();
    client.reconnect();
    assert_eq!(client.call_text("counter"), "2", "the same second session");
    house.gateway.is_taken_over();
    client.reconnect();
    assert_eq!(client.call_text("counter"), "3", "the same second session");

    assert_eq!(house.v2.initializes(), 1);
    assert_eq!(client.delete().status, 200);
    wait_for_end(&house.v2, &id);
}

#[test]
fn a_process_that_was_taken_over_ends_nothing_that_the_next_one_knows() {
    // Connections are kept through the drain for as long as this may take.
    let mut house = narrow_house_with("drain_idle: 1m");
    let (mut first, _) = led(&house);
    first.hang_up();
    let fields = [("content-type", "application/json")];
    let opening = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": { "protocolVersion": REVISION, "capabilities": {} },
    });
    let ask = |kept: &mut Raw, message: &Value| {
        kept.ask("POST", "/mcp", &fields, message.to_string().as_bytes())
    };
    let mut kept: Vec<Raw> = (0..3).map(|_| house.gateway.connect()).collect();
    for one in &mut kept {
        assert_eq!(ask(one, &ping(1)).status, 400, "it has no session");
    }

    let old = house.gateway.begins_to_be_taken_over();
    // Each makes room for the next one in the table of the old process.
    for one in &mut kept {
        assert_eq!(ask(one, &opening).status, 200);
    }
    drop(kept);
    old.end();
    first.reconnect();

    assert_eq!(first.call_text("counter"), "2", "the same second session");
}

#[test]
fn where_a_rule_led_is_known_after_a_kill() {
    const WRITTEN: &str = "switchback_session_records_written_total";
    let mut house = ruled_house(COUNTER, (ABSENT, 1));
    let mut client = house.open();
    let written = || house.metric(WRITTEN);
    let admin = &house.gateway.admin;
    admin.wait_for("/v1/status", |_| (written() >= 1).then_some(()));
    assert_eq!(client.call_text("counter"), "1");
    admin.wait_for("/v1/status", |_| (written() >= 2).then_some(()));

    house.gateway.kill();
    house.gateway.start_again();
    client.reconnect();

    assert_eq!(client.call_text("counter"), "2", "the same second session");
    assert_eq!(house.v2.initializes(), 1);
}

#[test]
fn which_way_a_rule_led_stays_through_a_restart_and_a_shift() {
    let whoami = "method: tools/call, name: [whoami]";
    let mut house = ruled_house(whoami, (1, 1));
    let mut clients: Vec<McpClient> = (0..20).map(|_| house.open()).collect();
    let led: Vec<String> = clients.iter_mut().map(|c| c.call_text("whoami")).collect();

    house.restart();
    let weights = json!({ "weights": { "v1": 1, "v2": 99 } });
    let admin = &house.gateway.admin;
    admin.put("/v1/routes/canary/weights", &weights);

    for (client, before) in clients.iter_mut().zip(&led) {
        client.reconnect();
        assert_eq!(client.call_text("whoami"), *before);
    }
}
