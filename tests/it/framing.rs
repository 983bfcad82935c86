//! Messages whose ends two readers could see in different places: nobody gets another's answer.

use crate::support::backend::Backend;
use crate::support::gateway::Gateway;
use crate::support::routes::through;

fn house(backend: &Backend) -> Gateway {
    // One worker, so that one connection to the backend is used again and again.
    Gateway::start_with_workers(1, &through(&backend.url()))
}

/// A backend that answers with its target, and after the answer to `/evil` says `more`, unasked.
fn talkative(more: &'static str) -> Backend {
    Backend::start(move |exchange| {
        exchange.read_body();
        let target = exchange.request.target.clone();
        let mut bytes = format!(
            "HTTP/1.1 200 Fine\r\ncontent-length: {}\r\n\r\n{target}",
            target.len()
        );
        if exchange.request.method == "HEAD" {
            bytes.truncate(bytes.len() - target.len());
        }
        if target == "/evil" {
            bytes.push_str(more);
        }
        exchange.raw(bytes);
        exchange.finished();
    })
}

const ANSWER: &str = "HTTP/1.1 200 Fine\r\ncontent-length: 4\r\n\r\nevil";

#[test]
fn an_answer_that_nobody_asked_for_is_given_to_nobody() {
    let backend = talkative(ANSWER);
    let gateway = house(&backend);

    for _ in 0..20 {
        let (mut one, mut two) = (gateway.connect(), gateway.connect());
        assert_eq!(one.ask("GET", "/evil", &[], b"").text(), "/evil");
        assert_eq!(two.ask("GET", "/next", &[], b"").text(), "/next");
        assert_eq!(one.ask("POST", "/third", &[], b"body").text(), "/third");
    }
}

#[test]
fn a_body_behind_the_answer_to_head_is_given_to_nobody() {
    let backend = talkative(ANSWER);
    let gateway = house(&backend);

    for _ in 0..20 {
        let mut raw = gateway.connect();
        let head = raw.ask("HEAD", "/evil", &[], b"");
        assert_eq!(head.fields.get("content-length"), Some("5"));
        assert_eq!(raw.ask("GET", "/next", &[], b"").text(), "/next");
    }
}

#[test]
fn bytes_behind_an_answer_without_a_body_are_given_to_nobody() {
    let backend = Backend::start(|exchange| {
        if exchange.request.target == "/evil" {
            exchange.raw(format!("HTTP/1.1 204 Nothing\r\n\r\n{ANSWER}"));
            exchange.finished();
        } else {
            exchange.answer(200, &[], "fine");
        }
    });
    let gateway = house(&backend);

    for _ in 0..20 {
        let mut raw = gateway.connect();
        assert_eq!(raw.ask("GET", "/evil", &[], b"").status, 204);
        assert_eq!(raw.ask("GET", "/next", &[], b"").text(), "fine");
    }
}

#[test]
fn a_backend_that_switches_protocols_unasked_is_502() {
    let backend = Backend::start(|exchange| {
        exchange.raw("HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n");
        exchange.wait_for_close();
        exchange.cut();
    });
    let gateway = house(&backend);
    let fields = [("connection", "upgrade"), ("upgrade", "x")];

    let answer = gateway.connect().ask("GET", "/", &fields, b"");

    assert_eq!(answer.status, 502);
    backend.wait_for_open_connections(0);
}

#[test]
fn early_hints_do_not_pass_for_the_answer() {
    let backend = Backend::start(|exchange| {
        exchange.answer(103, &[("link", "</x>")], "");
        exchange.answer(102, &[], "");
        exchange.answer(200, &[], "the answer");
    });
    let gateway = house(&backend);

    let answer = gateway.get("/");

    assert_eq!((answer.status, answer.text().as_str()), (200, "the answer"));
    assert_eq!(answer.fields.get("link"), None);
}

#[test]
fn a_request_with_both_a_length_and_chunks_reaches_the_backend_with_one_of_them() {
    let backend = Backend::fixed(200, "fine");
    let gateway = house(&backend);

    for (first, second) in [
        ("content-length: 4", "transfer-encoding: chunked"),
        ("transfer-encoding: chunked", "content-length: 4"),
    ] {
        let mut raw = gateway.connect();
        raw.write(format!(
            "POST / HTTP/1.1\r\nhost: a\r\n{first}\r\n{second}\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        ));
        raw.read("POST");
    }

    for request in backend.requests() {
        let chunked = request.fields.get("transfer-encoding").is_some();
        assert!(
            chunked && request.fields.get("content-length").is_none(),
            "{request:?}"
        );
        assert_eq!(request.text(), "ok");
    }
}

#[test]
fn chunks_in_an_old_version_are_refused() {
    let backend = Backend::fixed(200, "fine");
    let gateway = house(&backend);
    let mut raw = gateway.connect();

    raw.write("POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");

    assert_eq!(raw.read("POST").status, 400);
    assert_eq!(backend.requests().len(), 0);
}

#[test]
fn a_body_in_broken_chunks_is_refused_and_does_not_look_whole_to_the_backend() {
    let backend = Backend::start(|exchange| {
        exchange.read_body();
        if !exchange.is_closed() {
            exchange.answer(200, &[], "whole");
        }
    });
    let gateway = house(&backend);

    for chunks in [
        "zz\r\nbody\r\n",
        "4\r\nbodyX\r\n",
        "-4\r\nbody\r\n",
        "4 \r\nbo",
        "fffffffffffffffff\r\n",
    ] {
        let mut raw = gateway.connect();
        raw.write(format!(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n{chunks}"
        ));
        raw.finish_writing();
        let answer = raw.try_read("POST");
        assert!(
            answer.is_err() || answer.is_ok_and(|a| a.status == 400),
            "{chunks:?}"
        );
    }
    backend.wait_for_open_connections(0);
    assert_eq!(gateway.get("/").text(), "whole");
}
