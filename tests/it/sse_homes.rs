//! Sessions over HTTP+SSE while versions change: they move, on the stream that their clients have.

use serde_json::json;

use crate::support::fake_sse::{FakeSse, SseClient};
use crate::support::house::{
    SseHouse as House, assert_unknown, hang, ping, sse_house as house, sse_house_with as house_with,
};

#[test]
fn a_revert_moves_a_session_on_its_own_stream() {
    let house = house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    client.request("logging/setLevel", json!({ "level": "debug" }));
    client.request("resources/subscribe", json!({ "uri": "a://b" }));
    let before = house.v1.methods().len();

    house.revert(&path);

    let (_, news) = client.next_event().expect("news");
    assert!(news.contains("notifications/tools/list_changed"), "{news}");
    assert_eq!(client.call_text("whoami"), "v1");
    assert_eq!(client.call_text("counter"), "1");
    let told = [
        "initialize",
        "notifications/initialized",
        "logging/setLevel",
        "resources/subscribe",
        "tools/call",
        "tools/call",
    ];
    assert_eq!(house.v1.methods()[before..], told);
    house.wait_for_sessions(0, "rehomed", 1);
    house.v2.wait_for_streams(0);
}

#[test]
fn a_call_under_way_at_a_revert_ends_where_it_is() {
    let house = house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    let slow = client.begin("tools/call", hang());
    house.v2.wait_for_hanging(1);

    house.revert(&path);
    assert_eq!(client.call_text("whoami"), "v1");
    house.v2.answer_hanging();

    let answer = client.wait_for(slow);
    assert_eq!(answer["result"]["content"][0]["text"], "v2");
    house.v2.wait_for_streams(0);
    assert_eq!(client.call_text("whoami"), "v1");
}

#[test]
fn a_killed_backend_costs_its_sessions_the_calls_under_way_and_no_other() {
    let mut house = house((1, 1), "");
    let mut clients: Vec<_> = (0..4).map(|_| house.open_at("v2")).collect();
    let slow = clients[0].begin("tools/call", hang());
    house.v2.wait_for_hanging(1);

    house.v2.backend.stop();

    let answer = clients[0].wait_for(slow);
    assert_eq!(answer["error"]["code"], -32000, "{answer}");
    for client in &mut clients {
        assert_eq!(client.call_text("whoami"), "v1");
        assert_eq!(client.call_text("counter"), "1");
    }
    house.wait_for_outcome(1, "broken", 1);
    house.wait_for_sessions(0, "rehomed", 4);
}

#[test]
fn a_session_is_moved_as_often_as_it_has_to_be() {
    let mut house = house((1, 1), "");
    let mut client = house.open_at("v2");
    let (one, two) = (house.v1.backend.address, house.v2.backend.address);

    house.v2.backend.stop();
    assert_eq!(client.call_text("whoami"), "v1");
    house.v2 = FakeSse::start_at(two, "v2");
    house.v1.backend.stop();
    assert_eq!(client.call_text("whoami"), "v2");
    house.v1 = FakeSse::start_at(one, "v1");
    house.v2.backend.stop();

    assert_eq!(client.call_text("whoami"), "v1");
}

#[test]
fn a_session_of_a_backend_without_a_share_stays() {
    let house = house((1, 0), "");
    let mut client = house.open_at("v1");

    house.shift(0, 1);

    assert_eq!(client.call_text("whoami"), "v1");
    assert_eq!(
        SseClient::open(house.gateway.address, "/sse").call_text("whoami"),
        "v2"
    );
    assert_eq!(client.call_text("whoami"), "v1");
}

#[test]
fn a_session_of_a_backend_without_a_share_moves_when_the_limit_is_over() {
    let house = house((1, 0), "drain: 1s");
    let mut client = house.open_at("v1");
    house.wait_for_sessions(0, "open", 1);

    house.shift(0, 1);

    let (_, news) = client.next_event().expect("news");
    assert!(news.contains("list_changed"), "{news}");
    assert_eq!(client.call_text("whoami"), "v2");
    house.wait_for_sessions(1, "open", 1);
}

#[test]
fn where_sessions_are_severed_a_revert_ends_the_stream_and_its_url() {
    let house = house((1, 0), "on_loss: sever");
    let (mut client, path) = house.at_candidate();

    house.revert(&path);

    while client.next_event().is_some() {}
    let asked = house.v2.methods().len();
    assert_unknown(&client.post(&ping(1)));
    assert_unknown(&client.post(&ping(2)));
    assert_eq!(house.v2.methods().len(), asked);
    assert_eq!(lost(&house), 1, "once, however much is said to it");
    house.wait_for_sessions(1, "lost", 1);
}

/// Sessions of v2 that were lost, as they are counted now; what the API tells may be a second old.
fn lost(house: &House) -> u64 {
    house.metric("switchback_sessions_lost_total{route=\"all\",backend=\"v2\"}")
}

#[test]
fn a_session_without_a_record_ends_with_its_backend() {
    let house = house_with((1, 0), "", "limits: { session_records: 0 }\n");
    let (mut client, path) = house.at_candidate();

    house.revert(&path);

    while client.next_event().is_some() {}
    assert_unknown(&client.post(&ping(1)));
    assert_unknown(&client.post(&ping(2)));
    assert_eq!(lost(&house), 1);
    house.wait_for_sessions(1, "lost", 1);
}

#[test]
fn a_session_that_nobody_takes_stays_and_can_be_moved_later() {
    let mut house = house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    let address = house.v1.backend.address;
    house.v1.backend.stop();

    house.revert(&path);
    assert_unknown(&client.post(&ping(90)));
    house.v1 = FakeSse::start_at(address, "v1");

    assert_eq!(client.call_text("whoami"), "v1");
}

#[test]
fn a_stream_that_nothing_was_said_on_is_opened_elsewhere() {
    let house = house((0, 1), "");
    let mut client = SseClient::connect(house.gateway.address, "/sse", &[]);
    house.shift(1, 1);
    let wanted = json!({ "to": "v2", "stages": [{ "percent": 99, "for": "1h" }] });
    let rollout = house.gateway.admin.post("/v1/routes/all/rollouts", &wanted);
    house.revert(&format!("/v1/rollouts/{}", rollout["id"].as_str().unwrap()));
    house.v1.wait_for_streams(1);

    let opened = client.request("initialize", SseClient::opening());

    assert_eq!(opened["result"]["serverInfo"]["name"], "fake-v1");
}

#[test]
fn a_server_that_ends_a_stream_ends_its_session() {
    let house = house((1, 0), "");
    let mut client = house.open_at("v1");

    house.v1.end_streams();

    while client.next_event().is_some() {}
    assert_eq!(client.post(&ping(1)).status, 404);
    house.wait_for_sessions(0, "open", 0);
}
