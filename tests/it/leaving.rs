//! Clients over HTTP/2 that are asked to leave: by a drain, or to make room for others.

use std::sync::Arc;

use crate::support::backend::Backend;
use crate::support::frames::{Frames, code, flag, kind, request};
use crate::support::gate::Gate;
use crate::support::gateway::Gateway;
use crate::support::routes::route_with;

/// A gateway in which nothing ends by its time but what is asked to leave.
fn patient(backend: &Backend, limits: &str) -> Gateway {
    let config = route_with("http", &[("v1", &backend.url(), 1)], &["max_body: 100"]);
    let limits = format!("keep_alive: 1h, drain: 10m, drain_idle: 1h, {limits}");
    Gateway::start_with_workers(1, &format!("{config}limits: {{ {limits} }}\n"))
}

/// Reads to the end of the connection and says nothing; the code and the last stream of each word that it ends.
fn farewells(client: &mut Frames) -> Vec<(u32, u32)> {
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    let frames = std::iter::from_fn(|| client.read());
    let last = frames.filter(|frame| frame.kind == kind::GOAWAY);
    last.map(|frame| (number(&frame.payload[4..8]), number(&frame.payload[..4])))
        .collect()
}

#[test]
fn a_client_that_never_says_that_it_heard_holds_no_drain_up() {
    let backend = Backend::fixed(200, "fine");
    let mut gateway = patient(&backend, "");
    let mut client = Frames::connect_mutely(gateway.address);
    client.head(1, &request("GET", "/"), flag::END_STREAM);
    assert_eq!(client.reply(1).status, Some(200));

    gateway.signal("TERM");

    let words = farewells(&mut client);
    assert_eq!(
        words,
        [(code::NO_ERROR, (1 << 31) - 1), (code::NO_ERROR, 1)]
    );
    assert!(gateway.wait().success());
}

#[test]
fn a_client_that_never_says_that_it_heard_makes_room_for_another() {
    let backend = Backend::fixed(200, "fine");
    let gateway = patient(&backend, "connections: 2");
    let mut idle = [(); 2].map(|()| Frames::connect_mutely(gateway.address));
    for client in &mut idle {
        client.head(1, &request("GET", "/"), flag::END_STREAM);
        assert_eq!(client.reply(1).status, Some(200));
    }

    let mut other = Frames::connect(gateway.address);

    assert_eq!(other.ask(1, &request("GET", "/"), b"").status, Some(200));
}

#[test]
fn who_goes_on_asking_without_saying_that_it_heard_is_refused_in_the_end() {
    let gate = Arc::new(Gate::new());
    let opened = Arc::clone(&gate);
    let backend = Backend::start(move |exchange| {
        if exchange.request.target == "/held" {
            opened.wait();
        }
        exchange.answer(200, &[], "fine");
    });
    let mut gateway = patient(&backend, "");
    let mut client = Frames::connect_mutely(gateway.address);
    client.head(1, &request("GET", "/held"), flag::END_STREAM);
    backend.wait_for_requests(1);

    gateway.signal("TERM");

    let mut streams = (3..).step_by(2);
    let refused = streams.find(|&stream| {
        client.head(stream, &request("GET", "/"), flag::END_STREAM);
        let reply = client.reply(stream);
        assert!(!reply.closed);
        if reply.reset.is_none() {
            assert_eq!((reply.status, reply.ended), (Some(200), true));
        }
        reply.reset == Some(code::REFUSED_STREAM)
    });
    assert!(refused.is_some());
    gate.open();
    let reply = client.reply(1);
    assert_eq!((reply.status, reply.ended), (Some(200), true));
    assert_eq!(client.read_to_close(), Some(code::NO_ERROR));
    assert!(gateway.wait().success());
}

#[test]
fn who_still_sends_when_it_is_asked_to_leave_has_the_time_of_linger() {
    let backend = Backend::fixed(200, "fine");
    let mut gateway = patient(&backend, "linger: 1m");
    let mut client = Frames::connect_mutely(gateway.address);
    let mut fields = request("POST", "/");
    fields.push((b"content-length".to_vec(), b"1000".to_vec()));
    client.head(1, &fields, 0);
    assert_eq!(client.reply(1).status, Some(413));

    gateway.signal("TERM");

    // Refused, once the time to hear is over.
    let mut streams = (3..).step_by(2);
    streams.find(|&stream| {
        client.head(stream, &request("GET", "/"), flag::END_STREAM);
        client.reply(stream).reset == Some(code::REFUSED_STREAM)
    });
    client.data(1, [b'x'; 500], 0);
    client.data(1, [b'x'; 500], flag::END_STREAM);
    let rest: Vec<_> = std::iter::from_fn(|| client.read()).collect();
    assert!(rest.iter().all(|frame| frame.kind != kind::RST_STREAM));
    assert!(gateway.wait().success());
}
