//! What callers see when backends or clients fail, and what backends never see.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::support::backend::{Backend, fed};
use crate::support::gate::Gate;
use crate::support::gateway::Gateway;
use crate::support::ports::reserve;
use crate::support::routes::{route, route_with, through};

fn house(url: &str, more: &[&str]) -> Gateway {
    Gateway::start(&route_with("http", &[("only", url, 1)], more))
}

fn house_with_limits(backend: &Backend, limits: &str) -> Gateway {
    Gateway::start(&format!(
        "{}limits: {{ {limits} }}\n",
        through(&backend.url())
    ))
}

/// Waits until the backend's only arm has counted so many calls of an outcome.
fn wait_for_outcome(gateway: &Gateway, outcome: &str, count: u64) {
    gateway.admin.wait_for("/v1/routes/all", |seen: &Value| {
        let counted = &seen["arms"][0]["calls"]["outcomes"][outcome];
        (counted.as_u64() == Some(count)).then_some(())
    });
}

#[test]
fn a_backend_that_is_not_there_is_502() {
    let nobody = reserve();
    let gateway = house(&format!("http://{}", nobody.address), &[]);

    let answer = gateway.get("/");

    assert_eq!(answer.status, 502);
    let address = nobody.address.port().to_string();
    assert!(!answer.text().contains(&address), "{}", answer.text());
    wait_for_outcome(&gateway, "unreachable", 1);
}

/// A listener whose queue is full, so that the next connection is never answered.
fn deaf() -> (Socket, Vec<Socket>, SocketAddr) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let queued = (0..3).map(|_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _in_progress = socket.connect(&address.into());
        socket
    });
    let queued = queued.collect();
    (listener, queued, address)
}

#[test]
fn a_backend_that_does_not_take_connections_is_504() {
    let (_listener, _queued, address) = deaf();
    let gateway = house(&format!("http://{address}"), &[]);

    assert_eq!(gateway.get("/").status, 504);
    wait_for_outcome(&gateway, "unreachable", 1);
}

#[test]
fn a_backend_that_does_not_answer_is_504_and_is_let_go() {
    let backend = Backend::start(|exchange| {
        exchange.read_body();
        exchange.wait_for_close();
        exchange.cut();
    });
    let gateway = house(&backend.url(), &["response_head_timeout: 200ms"]);

    assert_eq!(gateway.get("/").status, 504);
    wait_for_outcome(&gateway, "timeout", 1);
    backend.wait_for_open_connections(0);
}

#[test]
fn an_answer_that_stalls_is_cut_where_everybody_can_see_it() {
    let (feeder, script) = fed("application/octet-stream");
    let backend = Backend::start(script);
    let gateway = house(&backend.url(), &["idle_timeout: 1s"]);
    let mut raw = gateway.connect();
    raw.send("GET", "/", &[], b"");
    raw.read_head("GET");
    feeder.chunk("begun");
    raw.read_until("begun");

    assert!(
        raw.try_read_piece().is_err(),
        "a cut answer must not look whole"
    );
    wait_for_outcome(&gateway, "timeout", 1);
}

#[test]
fn an_event_stream_may_be_silent_for_long() {
    let (feeder, script) = fed("text/event-stream");
    let backend = Backend::start(script);
    let gateway = house(
        &backend.url(),
        &["idle_timeout: 1s", "response_head_timeout: 1s"],
    );
    let mut quiet = gateway.connect();
    quiet.send("GET", "/", &[], b"");
    quiet.read_head("GET");
    // Another answer stalls for the whole bound meanwhile.
    let (stalled, script) = fed("application/octet-stream");
    backend.change(script);
    let mut other = gateway.connect();
    other.send("GET", "/", &[], b"");
    other.read_head("GET");
    stalled.chunk("begun");
    other.read_until("begun");
    assert!(other.try_read_piece().is_err());

    feeder.event("still here");

    assert_eq!(quiet.read_until("\n\n"), "data: still here\n\n");
}

#[test]
fn an_answer_with_a_length_that_breaks_off_does_not_look_whole() {
    let backend = Backend::start(|exchange| {
        exchange.raw("HTTP/1.1 200 Fine\r\ncontent-length: 10\r\n\r\nhalf");
        exchange.cut();
    });
    let gateway = house(&backend.url(), &[]);
    let mut raw = gateway.connect();
    raw.send("GET", "/", &[], b"");
    assert_eq!(
        raw.read_head("GET").fields.get("content-length"),
        Some("10")
    );

    raw.read_until("half");

    assert!(raw.try_read_piece().is_err());
    wait_for_outcome(&gateway, "broken", 1);
}

#[test]
fn an_answer_in_chunks_that_breaks_off_does_not_look_whole() {
    let backend = Backend::start(|exchange| {
        exchange.begin(200, &[]);
        exchange.chunk("half");
        exchange.cut();
    });
    let gateway = house(&backend.url(), &[]);
    let mut raw = gateway.connect();
    raw.send("GET", "/", &[], b"");
    raw.read_head("GET");

    raw.read_until("half");

    assert!(raw.try_read_piece().is_err());
    wait_for_outcome(&gateway, "broken", 1);
}

#[test]
fn an_answer_that_is_none_is_502() {
    let wrong = [
        "nonsense\r\n\r\n",
        "HTTP/1.1 abc Fine\r\n\r\n",
        "HTTP/1.1 200 Fine\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        "HTTP/1.1 200 Fine\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 Fine\r\nx y: 1\r\n\r\n",
        "HTTP/1.1 200",
        "",
    ];
    let next = AtomicUsize::new(0);
    let backend = Backend::start(move |exchange| {
        exchange.raw(wrong[next.fetch_add(1, Ordering::SeqCst)]);
        exchange.cut();
    });
    let gateway = house(&backend.url(), &[]);

    for answer in wrong {
        assert_eq!(gateway.get("/").status, 502, "{answer:?}");
    }
    assert_eq!(backend.requests().len(), wrong.len());
}

#[test]
fn an_answers_head_without_bound_is_502() {
    let backend = Backend::start(|exchange| {
        exchange.raw("HTTP/1.1 200 Fine\r\n");
        while !exchange.is_closed() {
            exchange.raw(format!("x-more: {}\r\n", "x".repeat(4000)));
        }
    });
    let gateway = house(&backend.url(), &[]);

    assert_eq!(gateway.get("/").status, 502);
}

#[test]
fn connections_that_the_backend_closed_cost_no_request() {
    let (all_here, gate) = (Gate::new(), Gate::new());
    let (answering, closing) = (all_here.clone(), gate.clone());
    let backend = Backend::start(move |exchange| {
        exchange.read_body();
        // Not before each caller has a connection of its own.
        answering.wait();
        exchange.answer(200, &[], "fine");
        closing.wait();
        exchange.cut();
    });
    let gateway = Gateway::start_with_workers(1, &through(&backend.url()));
    let mut callers: Vec<_> = (0..8).map(|_| gateway.connect()).collect();
    for caller in &mut callers {
        caller.send("GET", "/", &[], b"");
    }
    backend.wait_for_requests(8);
    all_here.open();
    for caller in &mut callers {
        assert_eq!(caller.read("GET").status, 200);
    }

    gate.open();
    backend.wait_for_open_connections(0);
    let plain = |exchange: &mut crate::support::backend::Exchange| {
        exchange.read_body();
        exchange.answer(200, &[], "fine");
    };
    backend.change(plain);

    for (method, caller) in ["GET", "POST"].into_iter().cycle().zip(&mut callers) {
        assert_eq!(caller.ask(method, "/", &[], b"body").status, 200);
    }
    assert_eq!(backend.requests().len(), 16);
}

#[test]
fn connections_are_used_again() {
    let backend = Backend::fixed(200, "fine");
    let gateway = Gateway::start_with_workers(1, &through(&backend.url()));

    for _ in 0..20 {
        assert_eq!(gateway.get("/").status, 200);
    }

    assert_eq!(backend.connections(), 1);
}

#[test]
fn what_a_backend_has_read_is_never_sent_again() {
    let backend = Backend::start(|exchange| {
        exchange.read_body();
        if exchange.request.target == "/fine" {
            return exchange.answer(200, &[], "fine");
        }
        exchange.cut();
    });
    let gateway = Gateway::start_with_workers(1, &through(&backend.url()));
    let mut raw = gateway.connect();

    for (method, target) in [("POST", "/once"), ("GET", "/get"), ("PUT", "/put")] {
        // On a connection that was used before: the case that tempts to try again.
        assert_eq!(raw.ask("GET", "/fine", &[], b"").status, 200);
        assert_eq!(raw.ask(method, target, &[], b"body").status, 502);
    }

    let targets: Vec<_> = backend.requests().into_iter().map(|r| r.target).collect();
    assert_eq!(
        targets,
        ["/fine", "/once", "/fine", "/get", "/fine", "/put"]
    );
}

/// What is counted of a caller who leaves in the middle of an answer of this kind.
fn left_behind(content_type: &'static str, outcome: &str) {
    let backend = Backend::start(move |exchange| {
        exchange.begin(200, &[("content-type", content_type)]);
        exchange.chunk("begun");
        exchange.wait_for_close();
        exchange.cut();
    });
    let gateway = house(&backend.url(), &[]);
    let mut raw = gateway.connect();
    raw.send("GET", "/", &[], b"");
    raw.read_head("GET");
    raw.read_until("begun");

    drop(raw);

    backend.wait_for_open_connections(0);
    wait_for_outcome(&gateway, outcome, 1);
}

#[test]
fn a_caller_who_leaves_takes_the_backends_call_along() {
    left_behind("application/octet-stream", "cancelled");
}

#[test]
fn a_caller_who_leaves_an_event_stream_ends_it_as_usual() {
    left_behind("text/event-stream", "success");
}

#[test]
fn an_answer_that_only_its_connection_ends_is_not_cut_so_that_it_looks_whole() {
    let backend = Backend::start(|exchange| {
        exchange.begin(200, &[("content-type", "text/event-stream")]);
        exchange.chunk("begun");
        exchange.wait_for_close();
        exchange.cut();
    });
    let gateway = house(&backend.url(), &[]);
    let mut old = TcpStream::connect(gateway.address).unwrap();
    old.write_all(b"GET / HTTP/1.0\r\nhost: a\r\n\r\n").unwrap();
    let (mut came, mut piece) = (Vec::new(), [0; 1024]);
    while !came.ends_with(b"begun") {
        let read = old.read(&mut piece).unwrap();
        came.extend_from_slice(&piece[..read]);
    }

    old.shutdown(Shutdown::Write).unwrap();

    let ended = old.read(&mut piece).map_err(|error| error.kind());
    assert_eq!(ended, Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_caller_who_leaves_before_there_is_an_answer_takes_the_backends_call_along() {
    let backend = Backend::start(|exchange| {
        exchange.read_body();
        exchange.wait_for_close();
        exchange.cut();
    });
    let gateway = house(&backend.url(), &[]);
    for (count, (method, body)) in [("GET", &b""[..]), ("POST", b"body")].iter().enumerate() {
        let mut raw = gateway.connect();
        raw.send(method, "/", &[], body);
        backend.wait_for_requests(count + 1);

        drop(raw);

        backend.wait_for_open_connections(0);
    }
    wait_for_outcome(&gateway, "cancelled", 2);
}

#[test]
fn a_caller_who_leaves_in_the_middle_of_its_body_leaves_half_a_request() {
    let backend = Backend::start(|exchange| {
        exchange.read_body();
        if !exchange.is_closed() {
            exchange.answer(200, &[], "whole");
        }
    });
    let gateway = house(&backend.url(), &[]);
    let mut raw = gateway.connect();
    raw.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf");
    backend.wait_for("half a body", |seen| {
        (seen.last()?.body == b"half").then_some(())
    });

    drop(raw);

    backend.wait_for_open_connections(0);
    assert_eq!(backend.requests()[0].text(), "half");
    assert_eq!(gateway.get("/").text(), "whole");
}

#[test]
fn a_client_that_never_says_anything_is_hung_up_on() {
    let backend = Backend::fixed(200, "fine");
    let gateway = house_with_limits(&backend, "first_byte: 200ms");

    let mut raw = gateway.connect();

    assert!(raw.is_closed());
}

#[test]
fn a_head_that_comes_too_slowly_is_hung_up_on() {
    let backend = Backend::fixed(200, "fine");
    let gateway = house_with_limits(&backend, "request_head: 500ms");
    let mut slow = TcpStream::connect(gateway.address).unwrap();
    let mut watched = slow.try_clone().unwrap();
    let closed = std::thread::spawn(move || std::io::copy(&mut watched, &mut std::io::sink()));

    slow.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx-slow: ")
        .unwrap();
    // A byte now and then: the bound is for the whole head, not for a pause in it.
    while !closed.is_finished() && slow.write_all(b"x").is_ok() {
        Gate::new().wait_at_most(std::time::Duration::from_millis(20));
    }

    let _closed_or_reset = closed.join().unwrap();
    assert_eq!(backend.requests().len(), 0);
}

#[test]
fn a_second_head_that_comes_too_slowly_is_hung_up_on() {
    let backend = Backend::fixed(200, "fine");
    let gateway = house_with_limits(&backend, "request_head: 500ms");
    let mut raw = gateway.connect();
    assert_eq!(raw.ask("GET", "/", &[], b"").status, 200);

    raw.write("GET / HTTP/1.1\r\n");

    raw.read_to_close();
    assert_eq!(backend.requests().len(), 1);
}

#[test]
fn a_connection_without_requests_is_closed_after_its_time() {
    let backend = Backend::fixed(200, "fine");
    let gateway = house_with_limits(&backend, "keep_alive: 1s");
    let mut raw = gateway.connect();
    assert_eq!(raw.ask("GET", "/", &[], b"").status, 200);

    assert!(raw.is_closed());
}

#[test]
fn too_many_fields_are_431() {
    let backend = Backend::fixed(200, "fine");
    let gateway = house_with_limits(&backend, "request_fields: 20");
    let with = |count: usize| {
        let fields = (1..count).map(|n| format!("x-{n}: y\r\n"));
        let mut raw = gateway.connect();
        raw.write(format!(
            "GET / HTTP/1.1\r\nhost: a\r\n{}\r\n",
            fields.collect::<String>()
        ));
        raw.read("GET").status
    };

    assert_eq!((with(20), with(21)), (200, 431));
    assert_eq!(backend.requests().len(), 1);
}

#[test]
fn too_large_a_head_is_431() {
    let backend = Backend::fixed(200, "fine");
    let gateway = house_with_limits(&backend, "request_head_bytes: 8192");
    let with = |bytes: usize| {
        let mut raw = gateway.connect();
        raw.write(format!(
            "GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
            "y".repeat(bytes)
        ));
        raw.read("GET").status
    };

    assert_eq!(with(8000), 200);
    assert_eq!(with(9000), 431);
    assert_eq!(backend.requests().len(), 1);
}

#[test]
fn a_backend_that_comes_back_is_used_at_once() {
    let mut backend = Backend::fixed(200, "before");
    let gateway = Gateway::start(&route("http", &[("only", &backend.url(), 1)]));
    let mut raw = gateway.connect();
    assert_eq!(raw.ask("GET", "/", &[], b"").text(), "before");
    let address = backend.address;

    backend.stop();
    assert_eq!(raw.ask("GET", "/", &[], b"").status, 502);
    let _backend = Backend::start_at(address, |exchange| exchange.answer(200, &[], "after"));

    assert_eq!(raw.ask("GET", "/", &[], b"").text(), "after");
}
