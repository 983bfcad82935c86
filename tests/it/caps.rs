//! More connections, requests and unread answers than the process takes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::PATIENCE;
use crate::support::backend::Backend;
use crate::support::client::Raw;
use crate::support::exchange::Exchange;
use crate::support::gate::{Gate, pass};
use crate::support::gateway::Gateway;
use crate::support::routes::{route, through};

fn gateway(backend: &Backend, limits: &str) -> Gateway {
    let config = through(&backend.url());
    Gateway::start(&format!("{config}limits: {{ {limits} }}\n"))
}

/// A backend that answers nobody before the gate is opened.
fn gated() -> (Arc<Gate>, Backend) {
    let gate = Arc::new(Gate::new());
    let opened = Arc::clone(&gate);
    let backend = Backend::start(move |exchange: &mut Exchange| {
        opened.wait();
        exchange.answer(200, &[], "fine");
    });
    (gate, backend)
}

fn hits(gateway: &Gateway, limit: &str) -> u64 {
    let line = format!("switchback_limits_hit_total{{limit=\"{limit}\"}} ");
    let page = gateway.admin.text("/metrics");
    let hit = page.lines().find_map(|l| l.strip_prefix(&line));
    hit.expect("a known limit").parse().unwrap()
}

fn wait_for_hit(gateway: &Gateway, limit: &str) {
    let until = Instant::now() + PATIENCE;
    while hits(gateway, limit) == 0 {
        assert!(Instant::now() < until, "nobody ran into {limit}");
        pass(Duration::from_millis(10));
    }
}

#[test]
fn a_message_beyond_the_bound_is_refused_in_json_rpc_and_anything_else_is_not() {
    let (gate, backend) = gated();
    let config = route("mcp", &[("v1", &backend.url(), 1)]);
    let gateway = Gateway::start(&format!("{config}limits: {{ requests: 1 }}\n"));
    let mut let_in = gateway.connect();
    let_in.send("GET", "/mcp", &[("accept", "text/event-stream")], b"");
    backend.wait_for_requests(1);
    let body = br#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#;
    let json = ("content-type", "application/json");
    let reads = ("accept", "application/json, text/event-stream");
    let ask = |method: &str, fields: &[(&str, &str)]| {
        let mut refused = gateway.connect();
        let answer = refused.ask(method, "/mcp", fields, body);
        assert_eq!(answer.status, 503);
        assert_eq!(answer.fields.get("retry-after"), Some("1"));
        answer
    };

    for fields in [&[json, reads][..], &[json, ("accept", "*/*")], &[json]] {
        let answer = ask("POST", fields);

        assert_eq!(answer.fields.get("content-type"), Some("application/json"));
        let said = answer.json();
        assert_eq!(
            (&said["jsonrpc"], &said["id"]),
            (&json!("2.0"), &json!(null)),
            "{said}"
        );
        assert!(said["error"]["code"].is_number(), "{said}");
    }
    for (method, fields) in [
        ("POST", &[json, ("accept", "text/*")]),
        ("POST", &[("content-type", "text/plain"), reads]),
        ("PUT", &[json, reads]),
    ] {
        let answer = ask(method, fields);
        let kind = answer.fields.get("content-type");
        assert_eq!(
            kind,
            Some("text/plain; charset=utf-8"),
            "{method} {fields:?}"
        );
    }
    gate.open();
}

#[test]
fn a_request_beyond_the_bound_is_503_and_the_others_are_not_disturbed() {
    let (gate, backend) = gated();
    let gateway = gateway(&backend, "requests: 3");
    let mut let_in: Vec<Raw> = (0..3).map(|_| gateway.connect()).collect();
    for client in &mut let_in {
        client.send("GET", "/", &[], b"");
    }
    backend.wait_for_requests(3);

    let mut refused = gateway.connect();
    let answer = refused.ask("GET", "/", &[], b"");

    assert_eq!(answer.status, 503);
    assert_eq!(answer.fields.get("retry-after"), Some("1"));
    assert!(refused.is_closed());
    assert_eq!(hits(&gateway, "requests"), 1);
    gate.open();
    for client in &mut let_in {
        assert_eq!(client.read("GET").status, 200);
    }
    assert_eq!(gateway.get("/").status, 200);
    assert_eq!(backend.requests().len(), 4);
}

#[test]
fn a_connection_beyond_the_bound_waits_for_a_place() {
    let (gate, backend) = gated();
    let gateway = gateway(&backend, "connections: 2");
    let mut busy: Vec<Raw> = (0..2).map(|_| gateway.connect()).collect();
    for client in &mut busy {
        client.send("GET", "/", &[("connection", "close")], b"");
    }
    backend.wait_for_requests(2);
    let mut waiting = gateway.connect();
    waiting.send("GET", "/third", &[], b"");

    wait_for_hit(&gateway, "connections");
    assert_eq!(backend.requests().len(), 2);
    gate.open();

    assert_eq!(waiting.read("GET").status, 200);
    for client in &mut busy {
        assert_eq!(client.read("GET").status, 200);
    }
}

#[test]
fn idle_connections_make_room_for_those_that_ask() {
    let backend = Backend::fixed(200, "fine");
    let gateway = gateway(&backend, "connections: 2");
    let mut idle: Vec<Raw> = (0..2).map(|_| gateway.connect()).collect();
    for client in &mut idle {
        assert_eq!(client.ask("GET", "/", &[], b"").status, 200);
    }

    assert_eq!(gateway.get("/").status, 200);

    assert!(hits(&gateway, "connections") >= 1);
}

#[test]
fn a_client_has_so_many_connections_and_leaves_room_for_others() {
    let backend = Backend::fixed(200, "fine");
    let gateway = gateway(&backend, "connections_per_client: 2");
    let mut first = gateway.connect();
    let mut second = gateway.connect();
    assert_eq!(first.ask("GET", "/", &[], b"").status, 200);
    assert_eq!(second.ask("GET", "/", &[], b"").status, 200);

    assert!(gateway.connect().is_closed());
    let mut other = Raw::connect_from([127, 0, 0, 2], gateway.address);
    assert_eq!(other.ask("GET", "/", &[], b"").status, 200);
    assert_eq!(hits(&gateway, "connections_per_client"), 1);

    drop(first);
    let until = Instant::now() + PATIENCE;
    let again = || {
        let mut client = gateway.connect();
        client.try_send("GET", "/", &[], b"") && client.try_read("GET").is_ok()
    };
    while !again() {
        assert!(Instant::now() < until, "its place is never free again");
    }
}

#[test]
fn those_who_do_not_read_cost_so_much_and_those_who_do_get_everything() {
    const PIECES: usize = 256;
    let backend = Backend::start(|exchange: &mut Exchange| {
        exchange.begin(200, &[]);
        for _ in 0..PIECES {
            exchange.chunk([b'x'; 16384]);
        }
        exchange.end();
    });
    let gateway = gateway(&backend, "buffered_bytes: 1048576");
    let mut unread: Vec<Raw> = (0..60).map(|_| gateway.connect()).collect();
    for client in &mut unread {
        client.send("GET", "/", &[], b"");
        client.read_head("GET");
    }

    let answer = gateway.get("/");

    assert_eq!((answer.status, answer.body.len()), (200, PIECES * 16384));
    assert!(hits(&gateway, "buffered_bytes") > 0);
    let body = {
        let mut client = unread.pop().unwrap();
        let mut read = 0;
        while let Some(piece) = client.read_piece() {
            read += piece.len();
        }
        read
    };
    assert_eq!(body, PIECES * 16384);
}

#[test]
fn few_files_are_enough_for_the_admin_api_and_for_whoever_has_something_to_say() {
    let backend = Backend::fixed(200, "fine");
    let config = through(&backend.url());
    let files = ["prlimit", "--nofile=400:400"];
    let gateway = Gateway::start_by(&files, 2, &config);

    let silent: Vec<Raw> = (0..300).map(|_| gateway.connect()).collect();
    wait_for_hit(&gateway, "connections");

    assert_eq!(gateway.get("/").status, 200);
    let page = gateway.admin.text("/metrics");
    assert!(
        page.contains("\nswitchback_accept_errors_total 0\n"),
        "no file is missing"
    );
    drop(silent);
}
