//! Clients that send a request before the answer to the last one has come.

use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use crate::support::backend::Backend;
use crate::support::gateway::Gateway;
use crate::support::routes::through;

#[test]
fn what_a_caller_sends_while_it_waits_is_answered_in_its_turn() {
    let (go, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let backend = Backend::start(move |exchange| {
        exchange.read_body();
        let target = exchange.request.target.clone();
        if target == "/0" {
            wait.lock().unwrap().recv().unwrap();
        }
        exchange.answer(200, &[], &target);
    });
    let gateway = Gateway::start_with_workers(1, &through(&backend.url()));
    let mut raw = gateway.connect();
    raw.send("GET", "/0", &[], b"");
    backend.wait_for_requests(1);

    // More than is kept meanwhile.
    for n in 1..100 {
        let body = vec![b'x'; n * 11];
        raw.send("POST", &format!("/{n}"), &[], &body);
    }
    go.send(()).unwrap();

    for n in 0..100 {
        assert_eq!(raw.read("GET").text(), format!("/{n}"));
    }
    let lengths = backend.requests().into_iter().map(|seen| seen.body.len());
    assert!(lengths.eq((0..100).map(|n| n * 11)));
}

#[test]
fn a_request_that_came_with_another_one_has_all_the_time_for_its_body() {
    let backend = Backend::start(|exchange| {
        exchange.read_body();
        exchange.answer(200, &[], "fine");
    });
    let gateway = Gateway::start(&format!(
        "{}limits: {{ request_head: 200ms }}\n",
        through(&backend.url())
    ));
    let mut raw = gateway.connect();
    let second = "POST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n";
    raw.write(format!("GET /1 HTTP/1.1\r\nhost: a\r\n\r\n{second}"));
    assert_eq!(raw.read("GET").status, 200);
    backend.wait_for_requests(2);

    raw.write("ab");
    // Nothing is to happen in this time.
    thread::sleep(Duration::from_millis(800));
    raw.write("cd");

    assert_eq!(raw.read("POST").status, 200);
    assert_eq!(backend.requests()[1].body, b"abcd");
}

#[test]
fn a_head_that_came_in_part_with_another_request_is_not_waited_for_as_an_idle_client_is() {
    let backend = Backend::fixed(200, "fine");
    let gateway = Gateway::start_with_workers(
        1,
        &format!(
            "{}limits: {{ request_head: 300ms }}\n",
            through(&backend.url())
        ),
    );
    let whole = "GET /1 HTTP/1.1\r\nhost: a\r\n\r\n";
    for part in ["G", "GET /2 HTTP/1.1", "GET /2 HTTP/1.1\r\nhost: a\r\n"] {
        let mut raw = gateway.connect();
        raw.write(format!("{whole}{whole}{part}"));
        assert_eq!(raw.read("GET").status, 200);
        assert_eq!(raw.read("GET").status, 200);

        assert_eq!(raw.read_to_close(), b"", "{part}");
    }
    let page = gateway.admin.text("/metrics");
    assert!(page.contains("limits_hit_total{limit=\"request_head\"} 3\n"));

    // The rest of it in time is a request like any other, and what comes after it is waited for.
    let mut raw = gateway.connect();
    raw.write(format!("{whole}GET /2 HTTP/1.1\r\nho"));
    assert_eq!(raw.read("GET").status, 200);
    raw.write("st: a\r\n\r\n");
    assert_eq!(raw.read("GET").status, 200);
    thread::sleep(Duration::from_millis(800));
    raw.write(whole);
    assert_eq!(raw.read("GET").status, 200);
}
