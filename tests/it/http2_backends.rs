//! HTTP/2 towards backends: many requests over few connections, and how one stream's end is no
//! other's business.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::PATIENCE;
use crate::support::backend::Backend;
use crate::support::certs::{Desk, quoted};
use crate::support::client::Raw;
use crate::support::frames::code;
use crate::support::gate::{Gate, pass};
use crate::support::gateway::Gateway;
use crate::support::h2_backend::H2Backend;
use crate::support::h2_script::H2Script;
use crate::support::slow::wait_for_outcome;

/// A gateway with one worker in front of a backend that speaks HTTP/2.
fn before(url: &str, more: &str) -> Gateway {
    let body = format!(
        "backends: {{ only: {{ endpoints: [\"{url}\"], http2: true, {more} }} }}\n\
         routes: [{{ name: all, split: {{ only: 1 }} }}]\n"
    );
    Gateway::start_with_workers(1, &body)
}

/// Sends a request on a connection of its own and does not wait for the answer.
fn asks(gateway: &Gateway, target: &str) -> Raw {
    let mut raw = gateway.connect();
    raw.send("GET", target, &[("connection", "close")], b"");
    raw
}

#[test]
fn many_requests_share_one_connection() {
    let backend = H2Backend::start(None, 200);
    let gateway = before(&backend.url(), "");
    let mut clients: Vec<_> = (0..60)
        .map(|n| asks(&gateway, &format!("/held/{n}")))
        .collect();
    backend.wait_for("60 streams", |log| log.held == 60);

    backend.let_go();

    for client in &mut clients {
        let answer = client.read("GET");
        assert_eq!((answer.status, answer.text()), (200, "hello".to_owned()));
    }
    assert_eq!(backend.log().connections, 1);
}

#[test]
fn who_asks_is_told_once_each_time_a_request_is_sent() {
    let backend = H2Backend::start(None, 200);
    let gateway = before(&backend.url(), "");
    let told = [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "me:1"),
        ("x-forwarded-proto", "http"),
    ];

    for target in ["/", "/refused", "/leaving", "/"] {
        let fields = [("host", "me:1"), ("x-forwarded-host", "evil")];
        assert_eq!(
            gateway.connect().ask("GET", target, &fields, b"").status,
            200
        );
    }

    let log = backend.log();
    assert_eq!(log.targets, ["/", "/refused", "/refused", "/leaving", "/"]);
    for seen in log.told {
        let seen: Vec<_> = seen.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(seen, told);
    }
}

#[test]
fn a_full_connection_is_joined_by_others_up_to_a_bound_and_then_waited_for() {
    let backend = H2Backend::start(None, 200);
    let gateway = before(&backend.url(), "http2_streams: 10, http2_connections: 2");
    let mut clients: Vec<_> = (0..25)
        .map(|n| asks(&gateway, &format!("/held/{n}")))
        .collect();
    backend.wait_for("20 streams", |log| log.held >= 20);

    backend.let_go();

    for client in &mut clients {
        assert_eq!(client.read("GET").status, 200);
    }
    assert_eq!(backend.log().connections, 2);
    let page = gateway.admin.text("/metrics");
    let waited = page
        .lines()
        .find(|line| line.starts_with("switchback_upstream_streams_waited_total "));
    assert!(
        waited.is_some_and(|line| !line.ends_with(" 0")),
        "{waited:?}"
    );
}

#[test]
fn the_endpoints_own_bound_is_kept() {
    let backend = H2Backend::start(None, 3);
    let gateway = before(&backend.url(), "http2_connections: 1");
    assert_eq!(gateway.get("/").status, 200, "its settings are known now");
    let mut clients: Vec<_> = (0..9)
        .map(|n| asks(&gateway, &format!("/held/{n}")))
        .collect();
    backend.wait_for("3 streams", |log| log.held == 3);

    backend.let_go();

    for client in &mut clients {
        assert_eq!(client.read("GET").status, 200);
    }
}

/// How many requests have waited for room.
fn waited(gateway: &Gateway) -> u64 {
    let name = "switchback_upstream_streams_waited_total ";
    let page = gateway.admin.text("/metrics");
    let number = page.lines().find_map(|line| line.strip_prefix(name));
    number.map_or(0, |number| number.parse().unwrap())
}

fn wait_for_waiting(gateway: &Gateway, count: u64) {
    let until = Instant::now() + PATIENCE;
    while waited(gateway) < count {
        assert!(Instant::now() < until, "{} wait", waited(gateway));
        pass(Duration::from_millis(10));
    }
}

#[test]
fn what_is_full_by_the_endpoints_own_bound_is_joined_by_another_connection() {
    let backend = H2Backend::start(None, 3);
    let gateway = before(&backend.url(), "http2_connections: 2");
    assert_eq!(gateway.get("/").status, 200, "its settings are known now");
    let mut clients: Vec<_> = (0..9)
        .map(|n| asks(&gateway, &format!("/held/{n}")))
        .collect();
    backend.wait_for("6 streams", |log| log.held >= 6);

    backend.let_go();

    for client in &mut clients {
        assert_eq!(client.read("GET").status, 200);
    }
    assert_eq!(backend.log().connections, 2);
}

#[test]
fn who_waits_for_room_comes_in_its_turn_and_who_leaves_makes_way() {
    let backend = H2Backend::start(None, 1);
    let gateway = before(&backend.url(), "http2_connections: 1");
    assert_eq!(gateway.get("/").status, 200, "its settings are known now");
    let mut first = asks(&gateway, "/held/first");
    backend.wait_for("a stream", |log| log.held == 1);
    let mut waiting = Vec::new();
    for number in 0..5 {
        waiting.push(asks(&gateway, &format!("/{number}")));
        wait_for_waiting(&gateway, number + 1);
    }

    drop(waiting.remove(2));
    wait_for_outcome(&gateway, "cancelled", 1);
    backend.let_go();

    assert_eq!(first.read("GET").status, 200);
    for client in &mut waiting {
        assert_eq!(client.read("GET").status, 200);
    }
    let targets = &backend.log().targets;
    assert_eq!(targets[2..], ["/0", "/1", "/3", "/4"]);
    assert_eq!(backend.log().connections, 1);
}

#[test]
fn an_endpoint_that_closes_further_connections_is_not_asked_over_them() {
    let ends = Gate::new();
    let door = ends.clone();
    // Room for one, which it takes until the test ends.
    let backend = H2Script::start_with(vec![(3, 1)], move |line, number| {
        if number == 1 {
            door.wait();
        }
        line.fine();
    });
    let gateway = before(&backend.url(), "http2_connections: 2");
    assert_eq!(gateway.get("/").status, 200, "its settings are known now");
    let mut first = asks(&gateway, "/");
    backend.wait_for("the first request", |seen| seen.requests == 2);
    backend.set_full(true);
    let mut waiting: Vec<_> = (0..5).map(|_| asks(&gateway, "/")).collect();
    wait_for_waiting(&gateway, 5);
    backend.wait_for("two tries", |seen| seen.connections >= 3);
    let tried = backend.seen().connections;
    assert!(tried < 10, "{tried} connections");

    // Nobody comes, and nothing ends, that would have it tried again.
    backend.set_full(false);

    for client in &mut waiting {
        assert_eq!(client.read("GET").text(), "fine");
    }
    ends.open();
    assert_eq!(first.read("GET").status, 200);
}

#[test]
fn who_waits_at_an_endpoint_that_leaves_goes_to_it_anew() {
    let leaves = Gate::new();
    let door = leaves.clone();
    // Room for one, which it takes until it leaves.
    let backend = H2Script::start_with(vec![(3, 1)], move |line, number| {
        if number == 1 {
            door.wait();
            line.go_away(line.stream, code::NO_ERROR);
            return;
        }
        line.fine();
    });
    let gateway = before(&backend.url(), "http2_connections: 1");
    assert_eq!(gateway.get("/").status, 200, "its settings are known now");
    let _first = asks(&gateway, "/");
    backend.wait_for("the first request", |seen| seen.requests == 2);
    let mut waits = asks(&gateway, "/");
    wait_for_waiting(&gateway, 1);

    leaves.open();

    assert_eq!(waits.read("GET").text(), "fine");
    assert_eq!(backend.seen().connections, 2);
}

#[test]
fn a_client_that_leaves_takes_its_stream_back_and_no_other() {
    let backend = H2Backend::start(None, 200);
    let gateway = before(&backend.url(), "");
    let leaves = asks(&gateway, "/held/leaves");
    let mut stays = asks(&gateway, "/held/stays");
    backend.wait_for("2 streams", |log| log.held == 2);

    drop(leaves);

    backend.wait_for("a reset", |log| log.taken_back == 1);
    backend.let_go();
    assert_eq!(stays.read("GET").status, 200);
    assert_eq!(backend.log().connections, 1);
}

#[test]
fn events_that_nobody_reads_harm_no_others() {
    const CLIENTS: usize = 15;
    let backend = H2Backend::start(None, 200);
    let gateway = before(&backend.url(), "");
    let mut stays = asks(&gateway, "/held/stays");
    backend.wait_for("a stream", |log| log.held == 1);

    let _clients: Vec<_> = (0..CLIENTS)
        .map(|n| asks(&gateway, &format!("/events/{n}")))
        .collect();
    backend.wait_for("full streams", |log| log.stuck == CLIENTS);

    backend.let_go();
    assert_eq!(stays.read("GET").text(), "hello");
    assert_eq!(backend.log().connections, 1);
}

#[test]
fn an_answer_that_the_backend_breaks_off_is_seen_to_be_cut() {
    let backend = H2Backend::start(None, 200);
    let gateway = before(&backend.url(), "");

    let mut client = asks(&gateway, "/cut");

    assert!(client.try_read("GET").is_err(), "no end of the body");
    assert_eq!(gateway.get("/").status, 200);
    assert_eq!(backend.log().connections, 1, "the others go on");
}

#[test]
fn a_connection_that_is_on_its_way_out_costs_no_request() {
    let backend = H2Backend::start(None, 200);
    let gateway = before(&backend.url(), "");

    for _ in 0..5 {
        assert_eq!(gateway.get("/leaving").status, 200);
        assert_eq!(gateway.get("/").status, 200);
    }

    assert!(backend.log().connections > 1);
}

#[test]
fn what_the_backend_has_not_looked_at_is_sent_again_whatever_it_is() {
    let backend = H2Backend::start(None, 200);
    let gateway = before(&backend.url(), "");

    for method in ["GET", "DELETE"] {
        let mut client = gateway.connect();
        let target = format!("/refused/{method}");
        client.send(method, &target, &[("connection", "close")], b"");

        assert_eq!(client.read(method).status, 200, "{method}");
    }

    assert_eq!(backend.log().targets.len(), 4);
}

#[test]
fn bodies_go_both_ways() {
    let backend = H2Backend::start(None, 200);
    let gateway = before(&backend.url(), "");
    let mut client = gateway.connect();

    client.send(
        "POST",
        "/",
        &[("connection", "close")],
        &vec![b'x'; 300_000],
    );

    assert_eq!(client.read("POST").text(), "hello");
}

#[test]
fn over_tls_it_is_agreed_on_in_the_handshake() {
    let desk = Desk::new();
    desk.issue("server", &["localhost"]);
    let backend = H2Backend::start(Some(desk.server("server", false)), 200);
    let trust = format!("tls: {{ ca: {} }}", quoted(&desk.at("ca.pem")));
    let gateway = before(&backend.url(), &trust);

    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(gateway.get("/").text(), "hello"));
        }
    });

    assert_eq!(
        backend.log().connections,
        1,
        "those who came first waited for one"
    );
}

#[test]
fn a_backend_that_does_not_speak_it_is_unreachable_or_broken() {
    let desk = Desk::new();
    desk.issue("server", &["localhost"]);
    let tls = crate::support::certs::TlsBackend::start(desk.server("server", false), "x");
    let trust = format!("tls: {{ ca: {} }}", quoted(&desk.at("ca.pem")));
    let plain = Backend::fixed(200, "x");

    assert_eq!(before(&tls.url(), &trust).get("/").status, 502);
    assert_eq!(before(&plain.url(), "").get("/").status, 502);
}
