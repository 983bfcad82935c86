//! How sessions over HTTP+SSE move: in turns, with what their clients say to calls that stay behind, and
//! past the process that has their streams.

use serde_json::json;

use crate::support::fake_sse::{FakeSse, SseClient};
use crate::support::house::{
    SseHouse as House, assert_unknown, hang, ping, sse_house as house, sse_house_with as house_with,
};

const WAITED: &str = "switchback_stream_moves_waited_total";

#[test]
fn a_revert_moves_so_many_at_once_and_the_others_in_their_turn() {
    let house = house_with((1, 0), "", "limits: { stream_moves: 2 }\n");
    let (first, path) = house.at_candidate();
    let mut clients = vec![first];
    clients.extend((0..4).map(|_| house.open_at("v2")));
    let opened = house.v1.opened();
    house.v1.hold_openings();

    house.revert(&path);
    house.wait_for_metric(WAITED, 3);
    house.v1.wait_for_held(2);

    // What was opened before may still have its stream, and nobody else has opened one.
    assert_eq!(house.v1.opened(), opened + 2);
    house.v1.answer_held(true);
    house.v1.wait_for_held(2);
    assert_eq!(house.v1.opened(), opened + 4);
    house.v1.answer_held(false);
    for client in &mut clients {
        let (_, news) = client.next_event().expect("news");
        assert!(news.contains("list_changed"), "{news}");
        assert_eq!(client.call_text("whoami"), "v1");
    }
    house.wait_for_sessions(0, "rehomed", 5);
}

/// Two sessions of a candidate that was reverted, one of which waits for its turn to move: the
/// other's new home has not answered yet.
fn one_waits() -> (House, [SseClient; 2]) {
    let house = house_with((1, 0), "", "limits: { stream_moves: 1 }\n");
    let (one, path) = house.at_candidate();
    let other = house.open_at("v2");
    house.v1.hold_openings();
    house.revert(&path);
    house.wait_for_metric(WAITED, 1);
    (house, [one, other])
}

#[test]
fn a_message_waits_for_the_turn_of_its_session() {
    let (house, [mut one, mut other]) = one_waits();

    std::thread::scope(|scope| {
        let asked = scope.spawn(|| (one.call_text("whoami"), other.call_text("whoami")));
        house.v1.wait_for_held(1);
        house.v1.answer_held(false);
        assert_eq!(asked.join().unwrap(), ("v1".into(), "v1".into()));
    });
}

#[test]
fn a_message_waits_for_a_new_home_where_its_server_was_started_again() {
    let mut house = house((1, 1), "");
    let mut client = house.open_at("v2");
    house.shift(1, 0);
    house.v1.hold_openings();
    let address = house.v2.backend.address;
    house.v2.backend.stop();
    house.v2 = FakeSse::start_at(address, "v2");
    house.v1.wait_for_held(1);

    // From now on nobody waits for long; whoever is moved already has the time that was theirs.
    house.gateway.rewrite_in(
        "protocol: mcp",
        "protocol: mcp\n    response_head_timeout: 50ms",
    );

    assert_eq!(client.post(&ping(90)).status, 503);
    house
        .gateway
        .rewrite_in("response_head_timeout: 50ms", "response_head_timeout: 60s");
    house.v1.answer_held(false);

    assert_eq!(client.call_text("whoami"), "v1");
    assert_eq!(house.v2.methods(), [""; 0], "it has never heard of it");
}

#[test]
fn a_session_that_may_stay_when_its_turn_comes_stays() {
    let (house, [mut one, mut other]) = one_waits();
    house.v1.wait_for_held(1);

    house.shift(1, 1);
    house.v1.answer_held(false);
    house.wait_for_sessions(0, "rehomed", 1);

    let mut homes = [one.call_text("whoami"), other.call_text("whoami")];
    homes.sort();
    assert_eq!(homes, ["v1", "v2"]);
}

#[test]
fn a_session_whose_turn_takes_too_long_is_not_said_to_be_gone() {
    let (house, [mut one, mut other]) = one_waits();
    house.v1.wait_for_held(1);
    // From now on nobody waits for long; whoever is moved already has the time that was theirs.
    house.gateway.rewrite_in(
        "protocol: mcp",
        "protocol: mcp\n    response_head_timeout: 50ms",
    );

    for client in [&mut one, &mut other] {
        let answer = client.post(&ping(90));
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.fields.get("retry-after").is_some());
    }
    house
        .gateway
        .rewrite_in("response_head_timeout: 50ms", "response_head_timeout: 60s");
    house.v1.answer_held(false);

    assert_eq!(one.call_text("whoami"), "v1");
    assert_eq!(other.call_text("whoami"), "v1");
}

#[test]
fn a_call_that_stayed_behind_hears_what_its_client_notifies() {
    let house = house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    let slow = client.begin("tools/call", hang());
    house.v2.wait_for_hanging(1);
    house.revert(&path);
    assert_eq!(client.call_text("whoami"), "v1");

    let notice = json!({ "jsonrpc": "2.0", "method": "notifications/roots/list_changed" });
    assert_eq!(client.post(&notice).status, 202);

    house.v2.wait_for_message("roots/list_changed");
    house.v1.wait_for_message("roots/list_changed");
    house.v2.answer_hanging();
    client.wait_for(slow);
    house.v2.wait_for_streams(0);
    assert_eq!(client.post(&notice).status, 202);
    assert_eq!(house.metric("switchback_messages_left_behind_total"), 1);
}

#[test]
fn a_call_that_stayed_behind_and_is_taken_back_keeps_nothing_open() {
    let house = house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    let slow = client.begin("tools/call", hang());
    house.v2.wait_for_hanging(1);
    house.revert(&path);
    assert_eq!(client.call_text("whoami"), "v1");

    assert_eq!(client.cancel(slow).status, 202);

    house.v2.wait_for_streams(0);
    house.wait_for_outcome(1, "cancelled", 1);
    house.v2.wait_for_message("notifications/cancelled");
}

#[test]
fn a_call_that_is_lost_inside_an_event_is_told_after_it() {
    let more = "limits: { event_bytes: 1024 }\n";
    let mut house = house_with((1, 0), "", more);
    let (mut client, path) = house.at_candidate();
    let slow = client.begin("tools/call", hang());
    house.v2.wait_for_hanging(1);
    house.revert(&path);
    assert_eq!(client.call_text("whoami"), "v1");
    house.v1.write(&format!("data: \"{}", "x".repeat(5_000)));
    client.wait_for_part("xxxxx");

    house.v2.backend.stop();
    house.v1.write("\"\n\n");

    let (_, long) = client.next_event().expect("the long event");
    assert_eq!(long.len(), 5_002);
    let answer = client.wait_for(slow);
    assert_eq!(answer["error"]["code"], -32000, "{answer}");
    assert_eq!(client.call_text("whoami"), "v1");
    house.wait_for_outcome(1, "broken", 1);
}

#[test]
fn a_stream_that_breaks_off_inside_an_event_ends_and_says_nothing_more() {
    let more = "limits: { event_bytes: 1024 }\n";
    let mut house = house_with((1, 0), "", more);
    let mut client = house.open_at("v1");
    client.begin("tools/call", hang());
    house.v1.write(&format!("data: \"{}", "x".repeat(5_000)));
    client.wait_for_part("xxxxx");

    house.v1.backend.stop();

    assert_eq!(client.next_event(), None);
    assert!(!client.rest().contains("-32000"), "{}", client.rest());
    house.wait_for_outcome(0, "broken", 1);
}

#[test]
fn after_a_takeover_messages_find_a_session_that_has_moved() {
    let mut house = house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    house.revert(&path);
    assert_eq!(client.call_text("counter"), "1");

    let old = house.gateway.begins_to_be_taken_over();
    client.reconnect();

    // Its stream is the old process's still.
    assert_eq!(client.call_text("counter"), "2");
    let target = client.target.clone();
    drop(client);
    old.end();
    house.v1.wait_for_streams(0);
    let mut late = SseClient::open(house.gateway.address, "/sse");
    assert_eq!(late.post_to(&target, &ping(1)).status, 404);
    assert_eq!(late.call_text("whoami"), "v1");
}

#[test]
fn what_a_new_home_says_while_it_opens_a_session_is_told_but_no_second_url() {
    let house = house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    house.v1.begin_with(concat!(
        "event: endpoint\ndata: /messages?sessionId=ID\n\n",
        "event: endpoint\ndata: /elsewhere?sessionId=ID\n\n",
        "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n",
    ));

    house.revert(&path);

    let (_, said) = client.next_event().expect("what it said");
    assert!(said.contains("notifications/message"), "{said}");
    let (_, news) = client.next_event().expect("news");
    assert!(news.contains("list_changed"), "{news}");
    assert_eq!(client.call_text("whoami"), "v1");
}

#[test]
fn a_new_home_that_compresses_its_stream_is_none() {
    let house = house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    house.v1.pack_streams();

    house.revert(&path);

    assert_unknown(&client.post(&ping(90)));
}
