//! Bodies of requests that are too slow or too long, and calls that take too long as a whole.

use std::time::Duration;

use crate::support::backend::Backend;
use crate::support::client::Raw;
use crate::support::exchange::Exchange;
use crate::support::gate::pass;
use crate::support::gateway::Gateway;
use crate::support::routes::route_with;

/// A gateway before this backend, with lines for the route and for `limits`.
fn gateway(backend: &Backend, route: &[&str], limits: &str) -> Gateway {
    let config = route_with("http", &[("v1", &backend.url(), 1)], route);
    Gateway::start(&format!("{config}limits: {{ {limits} }}\n"))
}

fn taking() -> Backend {
    Backend::start(|exchange: &mut Exchange| {
        exchange.read_body();
        exchange.answer(200, &[], "taken");
    })
}

fn hits(gateway: &Gateway, limit: &str) -> String {
    let line = format!("switchback_limits_hit_total{{limit=\"{limit}\"}} ");
    let page = gateway.admin.text("/metrics");
    let hit = page.lines().find_map(|l| l.strip_prefix(&line));
    hit.expect("a known limit").to_owned()
}

/// Waits until a call of this outcome was counted.
fn wait_for_outcome(gateway: &Gateway, outcome: &str) {
    gateway.admin.wait_for("/v1/backends", |seen| {
        let text = seen.to_string();
        text.contains(&format!("\"{outcome}\":1")).then_some(())
    });
}

/// The answer to a request that is cut off, on a connection that ends behind it.
fn refused(mut client: Raw) -> u16 {
    let answer = client.read("POST");
    assert!(client.is_closed(), "nothing may follow");
    answer.status
}

#[test]
fn a_body_that_stalls_is_408_and_nobodys_fault_but_the_clients() {
    let backend = taking();
    let gateway = gateway(&backend, &[], "body_stall: 300ms");
    let mut client = gateway.connect();

    client.write("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nabc");

    assert_eq!(refused(client), 408);
    wait_for_outcome(&gateway, "cancelled");
    assert_eq!(hits(&gateway, "body_stall"), "1");
    backend.wait_for_open_connections(0);
}

#[test]
fn a_body_that_trickles_is_408_though_it_never_stalls() {
    let backend = taking();
    let limits = "body_grace: 300ms, body_rate: 1000";
    let gateway = gateway(&backend, &[], limits);
    let mut client = gateway.connect();

    client.write("POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut sent = 0;
    while hits(&gateway, "body_rate") == "0" && sent < 500 {
        client.write("1\r\nx\r\n");
        sent += 1;
        pass(Duration::from_millis(20));
    }

    assert_eq!(refused(client), 408);
}

#[test]
fn a_body_that_stalls_is_408_on_an_mcp_route_too() {
    let backend = taking();
    let config = route_with("mcp", &[("v1", &backend.url(), 1)], &[]);
    let gateway = Gateway::start(&format!("{config}limits: {{ body_stall: 300ms }}\n"));
    let mut client = gateway.connect();

    client.write("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\n{");

    assert_eq!(refused(client), 408);
    assert_eq!(backend.requests().len(), 0);
}

#[test]
fn a_body_that_says_that_it_is_too_long_is_413_before_a_byte_of_it() {
    let backend = taking();
    let gateway = gateway(&backend, &["max_body: 5"], "drain: 1s");
    let mut client = gateway.connect();

    client.write("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 6\r\n\r\n");

    assert_eq!(refused(client), 413);
    assert_eq!(backend.requests().len(), 0);
    assert_eq!(hits(&gateway, "max_body"), "1");
}

#[test]
fn a_body_that_turns_out_to_be_too_long_is_413() {
    let backend = taking();
    let gateway = gateway(&backend, &["max_body: 5"], "drain: 1s");
    let mut client = gateway.connect();

    client.write("POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n");
    client.write("3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n");

    assert_eq!(refused(client), 413);
    assert!(backend.requests().iter().all(|r| r.body.len() <= 5));
}

#[test]
fn a_body_of_exactly_the_bound_passes() {
    let backend = taking();
    let gateway = gateway(&backend, &["max_body: 5"], "drain: 1s");

    let answer = gateway.connect().ask("POST", "/", &[], b"abcde");

    assert_eq!((answer.status, answer.text()), (200, "taken".to_owned()));
}

#[test]
fn a_call_that_takes_too_long_as_a_whole_is_504() {
    let backend = Backend::start(|exchange: &mut Exchange| {
        exchange.wait_for_close();
    });
    let gateway = gateway(&backend, &["total_timeout: 300ms"], "drain: 1s");

    let answer = gateway.get("/");

    assert_eq!(answer.status, 504);
    wait_for_outcome(&gateway, "timeout");
}

#[test]
fn an_answer_that_never_ends_is_cut_at_the_end_of_its_time() {
    let backend = Backend::start(|exchange: &mut Exchange| {
        exchange.begin(200, &[]);
        while !exchange.is_closed() {
            exchange.chunk("x");
            pass(Duration::from_millis(20));
        }
    });
    let gateway = gateway(&backend, &["total_timeout: 300ms"], "drain: 1s");
    let mut client = gateway.connect();

    client.send("GET", "/", &[], b"");
    client.read_head("GET");
    let cut = loop {
        match client.try_read_piece() {
            Ok(Some(_)) => {}
            Ok(None) => break false,
            Err(_) => break true,
        }
    };

    assert!(cut, "it must not look whole");
    wait_for_outcome(&gateway, "timeout");
}

#[test]
fn what_a_client_takes_to_send_its_body_is_not_its_backends_latency() {
    let backend = taking();
    let gateway = gateway(&backend, &[], "drain: 1s");
    let mut client = gateway.connect();

    client.write("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nab");
    backend.wait_for_requests(1);
    pass(Duration::from_millis(1200));
    client.write("cd");
    assert_eq!(client.read("POST").status, 200);

    let page = gateway.admin.text("/metrics");
    let quick = page.lines().find(|line| {
        line.starts_with("switchback_call_duration_seconds_bucket") && line.contains("le=\"1\"")
    });
    assert!(quick.is_some_and(|line| line.ends_with(" 1")), "{quick:?}");
}
