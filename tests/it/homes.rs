//! Sessions while versions change: drained, moved, severed, and counted.

use serde_json::json;

use crate::support::fake_mcp::{FakeMcp, Mood, Wire, session_of};
use crate::support::gateway::{Gateway, run};
use crate::support::house::{assert_unknown, house, house_with, ping};
use crate::support::mcp_client::McpClient;
use crate::support::routes::route_with;

#[test]
fn sessions_of_a_backend_without_a_share_stay_until_the_limit_and_then_move() {
    let house = house((1, 0), "drain: 1s");
    let mut client = house.open();

    house.shift(0, 1);
    assert_eq!(client.call_text("whoami"), "v1");
    assert_eq!(house.open().call_text("whoami"), "v2");
    house.wait_for_standing(0, "drained");

    assert_eq!(client.call_text("whoami"), "v2");
    house.wait_for_sessions(1, "rehomed", 1);
}

#[test]
fn a_share_that_comes_back_ends_the_drain() {
    let house = house((1, 0), "drain: 1h");
    let mut client = house.open();

    house.shift(0, 1);
    house.wait_for_standing(0, "draining");
    house.gateway.admin.wait_for("/v1/routes/all", |seen| {
        (seen["arms"][0]["sessions"]["draining"] == 1).then_some(())
    });
    house.shift(1, 1);

    house.wait_for_standing(0, "open");
    assert_eq!(client.call_text("whoami"), "v1");
}

#[test]
fn where_sessions_drain_a_revert_leaves_them_until_the_limit() {
    let house = house((1, 0), "on_loss: drain, drain: 2s");
    let (mut client, path) = house.at_candidate();
    let mut stream = client.listen();
    stream.read_until("open");

    house.revert(&path);
    assert_eq!(client.call_text("whoami"), "v2");
    house.wait_for_standing(1, "reverted");

    while stream.read_piece().is_some() {}
    assert_eq!(client.call_text("whoami"), "v1");
}

#[test]
fn where_sessions_are_severed_a_revert_ends_them_and_the_backend_is_not_asked() {
    let house = house((1, 0), "on_loss: sever");
    let (mut client, path) = house.at_candidate();
    let mut stream = client.listen();
    stream.read_until("open");

    house.revert(&path);

    while stream.read_piece().is_some() {}
    let asked = house.v2.methods().len() + house.v1.methods().len();
    for id in 0..3 {
        assert_unknown(&client.post(&ping(id)));
    }
    assert_eq!(client.delete().status, 404);
    assert_eq!(house.v2.methods().len() + house.v1.methods().len(), asked);
    house.wait_for_sessions(1, "lost", 1);
}

#[test]
fn a_session_without_a_record_is_severed_by_a_revert() {
    let house = house_with((1, 0), "", "limits: { session_records: 0 }\n");
    let (mut client, path) = house.at_candidate();

    house.revert(&path);

    assert_unknown(&client.post(&ping(1)));
    house.wait_for_sessions(1, "lost", 1);
}

#[test]
fn a_session_whose_new_home_will_not_have_it_is_404_and_can_be_moved_later() {
    let mut house = house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    let url = house.v1.backend.address;
    house.revert(&path);

    house.v1.backend.stop();
    assert_unknown(&client.post(&ping(1)));
    house.v1 = FakeMcp::start_at(url, "v1");

    assert_eq!(client.call_text("whoami"), "v1");
}

#[test]
fn a_killed_backend_costs_its_sessions_no_call() {
    let mut house = house((1, 1), "");
    let mut clients: Vec<_> = (0..4).map(|_| house.open_at("v2")).collect();

    house.v2.backend.stop();

    for client in &mut clients {
        assert_eq!(client.call_text("counter"), "1");
        assert_eq!(client.call_text("whoami"), "v1");
    }
    house.wait_for_sessions(0, "rehomed", 4);
}

#[test]
fn sessions_of_a_killed_backend_are_404_where_they_are_not_moved() {
    for (session, more) in [
        ("on_loss: sever", ""),
        ("on_loss: rehome", "limits: { session_records: 0 }\n"),
    ] {
        let mut house = house_with((1, 1), session, more);
        let mut client = house.open_at("v2");

        house.v2.backend.stop();

        assert_unknown(&client.post(&ping(1)));
        assert_eq!(house.open().call_text("whoami"), "v1");
    }
}

#[test]
fn a_session_is_moved_as_often_as_it_has_to_be() {
    let servers = ["v1", "v2", "v3"].map(FakeMcp::start);
    let urls = [servers[0].url(), servers[1].url(), servers[2].url()];
    let arms = [
        ("v1", &*urls[0], 1),
        ("v2", &*urls[1], 1),
        ("v3", &*urls[2], 1),
    ];
    let gateway = Gateway::start(&route_with("mcp", &arms, &[]));
    let mut client = McpClient::open(gateway.address, "/mcp");
    let id = client.session.clone();
    let mut left: Vec<_> = servers.into_iter().collect();
    let mut seen = Vec::new();

    while let Some(home) = {
        let name = client.call_text("whoami");
        seen.push(name.clone());
        (left.len() > 1).then_some(name)
    } {
        let number = home.trim_start_matches('v');
        let at = left
            .iter()
            .position(|server| urls[number.parse::<usize>().unwrap() - 1] == server.url());
        left.remove(at.unwrap()).backend.stop();
    }

    seen.sort();
    assert_eq!(seen, ["v1", "v2", "v3"]);
    assert_eq!(client.session, id);
}

#[test]
fn nobody_is_given_to_a_dead_candidate() {
    let mut house = house((1, 0), "");
    let (_client, _path) = house.at_candidate();
    house.v2.backend.stop();

    for _ in 0..10 {
        assert_eq!(house.open().call_text("whoami"), "v1");
    }
}

#[test]
fn a_call_under_way_at_a_revert_ends_where_it_is() {
    let house = house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    house.v2.set_wire(Wire::Events);
    house
        .v2
        .set_mood(Mood::Slow(std::time::Duration::from_millis(700)));
    let calls = house.v2.calls();
    let call = json!({
        "jsonrpc": "2.0", "id": 9, "method": "tools/call",
        "params": { "name": "work", "arguments": {} },
    });
    let mut under_way = client.post_aside(&call);
    house.v2.wait_for_calls(calls + 1);

    house.revert(&path);

    assert_eq!(client.call_text("whoami"), "v1");
    let answer = under_way.read("POST");
    assert!(answer.text().contains("done late"), "{}", answer.text());
}

#[test]
fn the_stream_at_a_new_home_begins_with_the_news_once() {
    let house = house((1, 0), "");
    let (client, path) = house.at_candidate();
    let mut stream = client.listen();
    stream.read_until("open");
    house.revert(&path);
    while stream.read_piece().is_some() {}

    let fields = [
        ("accept", "text/event-stream"),
        ("mcp-session-id", client.session.as_str()),
        ("last-event-id", "of-the-old-server"),
    ];
    let mut stream = house.gateway.connect();
    stream.send("GET", "/mcp", &fields, b"");
    assert_eq!(stream.read_head("GET").status, 200);
    let news = stream.read_until("open");

    let event = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n";
    assert!(news.starts_with(event), "{news}");
    assert_eq!(news.matches("list_changed").count(), 1, "{news}");
    let asked = house.v1.backend.requests();
    let asked = asked.iter().rfind(|r| r.method == "GET").unwrap();
    assert_eq!(asked.fields.get("last-event-id"), None);
    assert_eq!(
        session_of(asked),
        house.v1.sessions().last().map(|id| &**id)
    );
    drop(stream);
    let again = client.listen().read_until("open");
    assert!(!again.contains("list_changed"), "{again}");
}

#[test]
fn the_stream_of_a_killed_backend_ends_as_it_should_and_opens_elsewhere() {
    let mut house = house((1, 1), "");
    let client = house.open_at("v2");
    let mut stream = client.listen();
    stream.read_until("open");

    house.v2.backend.stop();

    while stream.read_piece().is_some() {}
    client.listen().read_until("list_changed");
    house.v1.wait_for_streams(1);
}

#[test]
fn a_stream_that_stayed_behind_ends_when_its_session_moves() {
    let mut servers = [FakeMcp::start("v1"), FakeMcp::start("v2")];
    let arms = [("v1", &*servers[0].url(), 1), ("v2", &*servers[1].url(), 1)];
    let gateway = Gateway::start(&route_with("mcp", &arms, &[]));
    let mut client = McpClient::open(gateway.address, "/mcp");
    let home = usize::from(client.call_text("whoami") == "v2");
    let mut stream = client.listen();
    stream.read_until("open");

    // New connections are refused; the stream goes on.
    servers[home].backend.stop_but_streams();

    client.reconnect();
    let other = ["v2", "v1"][home];
    while client.call_text("whoami") != other {}
    while stream.read_piece().is_some() {}
}

#[test]
fn sessions_are_counted_by_backend_and_state() {
    let house = house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    house.revert(&path);
    client.call("whoami");

    house.gateway.admin.wait_for("/v1/routes/all", |seen| {
        let sessions = |arm: usize| &seen["arms"][arm]["sessions"];
        let here = sessions(0)["rehomed"] == 1 && sessions(0)["open"].as_u64() >= Some(1);
        (here && sessions(1)["open"] == 0).then_some(())
    });

    let page = house.gateway.admin.text("/metrics");
    for line in [
        "switchback_sessions_rehomed_total{route=\"all\",backend=\"v1\"} 1\n",
        "switchback_sessions_lost_total{route=\"all\",backend=\"v1\"} 0\n",
        "switchback_sessions{route=\"all\",backend=\"v2\",state=\"open\"} 0\n",
    ] {
        assert!(page.contains(line), "{line}{page}");
    }
    let admin = format!("http://{}", house.gateway.admin.0);
    for verb in [
        &["status", "--admin", &admin][..],
        &["backend", "v1", "--admin", &admin],
    ] {
        let said = run(verb, house.gateway.folder());
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.contains("1 re-homed"), "{said}");
    }
}
