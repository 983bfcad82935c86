//! Answers that come before the request is complete, or that are none at all.

use std::sync::Arc;
use std::time::Duration;

use crate::support::backend::Backend;
use crate::support::exchange::Exchange;
use crate::support::gate::{Gate, pass};
use crate::support::gateway::Gateway;
use crate::support::routes::route_with;

/// One plain route with this bound.
fn bounded(backend: &Backend, bound: &str) -> String {
    route_with("http", &[("v1", &backend.url(), 1)], &[bound])
}

/// Waits until a call of this outcome was counted.
fn wait_for_outcome(gateway: &Gateway, outcome: &str) {
    gateway.admin.wait_for("/v1/backends", |seen| {
        let text = seen.to_string();
        text.contains(&format!("\"{outcome}\":1")).then_some(())
    });
}

#[test]
fn an_event_stream_that_began_early_may_be_silent_after_the_body_has_come() {
    let backend = Backend::start(|exchange: &mut Exchange| {
        exchange.begin_events(&[]);
        exchange.event("early");
        exchange.read_body();
        pass(Duration::from_millis(600));
        exchange.event("late");
        exchange.end();
    });
    let gateway = Gateway::start(&bounded(&backend, "response_head_timeout: 200ms"));
    let mut client = gateway.connect();

    client.write("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nab");
    client.read_head("POST");
    client.read_until("early");
    client.write("cd");

    client.read_until("late");
    assert_eq!(client.read_piece(), None);
}

#[test]
fn a_backend_that_does_not_take_the_body_is_to_blame_for_the_wait() {
    let seen = Arc::new(Gate::new());
    let gate = Arc::clone(&seen);
    let backend = Backend::start(move |_: &mut Exchange| gate.wait());
    let gateway = Gateway::start(&bounded(&backend, "idle_timeout: 1s"));
    let mut client = gateway.connect();

    // More than all buffers on the way hold; most of it is never written.
    client.write("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000000\r\n\r\n");
    client.write_until_closed(vec![b'x'; 65536]);

    wait_for_outcome(&gateway, "timeout");
    seen.open();
}

#[test]
fn a_switch_of_protocols_that_nobody_asked_for_is_no_answer() {
    let backend = Backend::start(|exchange: &mut Exchange| {
        exchange.raw("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n");
        exchange.raw("connection: upgrade\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
        exchange.finished();
    });
    let gateway = Gateway::start(&bounded(&backend, "idle_timeout: 1s"));

    let fields = [("upgrade", "x"), ("connection", "upgrade")];
    let answer = gateway.connect().ask("GET", "/", &fields, b"");

    assert_eq!(answer.status, 502);
    wait_for_outcome(&gateway, "server_error");
}

#[test]
fn an_answer_that_overtakes_its_request_says_that_it_is_the_last() {
    let backend =
        Backend::start(|exchange| exchange.answer(200, &[("connection", "close")], "early"));
    let body = format!(
        "backends: {{ v1: {{ endpoints: [\"{}\"] }} }}\n\
         routes: [{{ name: all, match: {{ path: /app }}, split: {{ v1: 1 }} }}]\n",
        backend.url()
    );
    let gateway = Gateway::start(&body);
    for (target, status) in [("/app", 200), ("/nowhere", 404)] {
        for (encoding, half, rest) in [
            ("Content-Length: 10", "01234", "56789"),
            ("Transfer-Encoding: chunked", "5\r\n01234\r\n", "0\r\n\r\n"),
        ] {
            let head = format!("POST {target} HTTP/1.1\r\nHost: h\r\n{encoding}\r\n\r\n");
            let answered = |sent: String, is_last: bool| {
                let mut client = gateway.connect();
                client.write(sent);
                let answer = client.read("POST");
                let seen = (answer.status, answer.fields.closes());
                assert_eq!(seen, (status, is_last), "{head}");
                client
            };
            let mut client = answered(format!("{head}{half}"), true);
            client.write_as_far_as_taken(rest);
            assert!(client.is_closed());

            let mut client = answered(format!("{head}{half}{rest}"), false);
            assert_eq!(client.ask("GET", target, &[], b"").status, status);
        }
    }
}
