//! Bodies on their way: how they flow, how they end, and one connection after another request.

use std::collections::BTreeMap;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::backend::{Backend, fed};
use crate::support::gateway::Gateway;
use crate::support::routes::through;

fn house(backend: &Backend) -> Gateway {
    Gateway::start(&through(&backend.url()))
}

/// Sends each piece of a request's body back as it comes.
fn echo() -> Backend {
    Backend::start(|exchange| {
        exchange.begin(200, &[("content-type", "application/octet-stream")]);
        while let Some(piece) = exchange.read_piece() {
            exchange.chunk(piece);
        }
        exchange.end();
    })
}

#[test]
fn a_request_in_chunks_flows_to_the_backend_as_it_comes() {
    let backend = Backend::fixed(200, "fine");
    let gateway = house(&backend);
    let mut raw = gateway.connect();
    raw.write("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");

    for (piece, so_far) in [("one", "one"), ("two", "onetwo"), ("three", "onetwothree")] {
        raw.write(format!("{:x}\r\n{piece}\r\n", piece.len()));
        backend.wait_for(so_far, |seen| {
            (seen.last()?.body == so_far.as_bytes()).then_some(())
        });
    }
    raw.write("0\r\n\r\n");

    assert_eq!(raw.read("POST").text(), "fine");
}

#[test]
fn a_get_keeps_its_body_too() {
    let backend = Backend::start(|exchange| {
        let body = exchange.read_piece().unwrap_or_default();
        exchange.answer(200, &[], body);
    });
    let gateway = house(&backend);
    let mut raw = gateway.connect();

    raw.write(
        "GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    );

    assert_eq!(raw.read("GET").text(), "body");
}

#[test]
fn an_answer_in_chunks_flows_to_the_client_as_it_comes() {
    let (feeder, script) = fed("application/octet-stream");
    let backend = Backend::start(script);
    let gateway = house(&backend);
    let mut raw = gateway.connect();
    raw.send("GET", "/", &[], b"");

    for piece in ["one", "two", "three"] {
        feeder.chunk(piece);
        if piece == "one" {
            assert_eq!(raw.read_head("GET").status, 200);
        }
        assert_eq!(raw.read_until(piece), piece);
    }
    drop(feeder);

    assert_eq!(raw.read_piece(), None);
}

#[test]
fn both_directions_flow_at_once() {
    let backend = echo();
    let gateway = house(&backend);
    let mut raw = gateway.connect();
    raw.write("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    raw.write("4\r\nping\r\n");
    assert_eq!(raw.read_head("POST").status, 200);

    for _ in 0..20 {
        assert_eq!(raw.read_piece().as_deref(), Some(&b"ping"[..]));
        raw.write("4\r\nping\r\n");
    }
    raw.write("0\r\n\r\n");
    assert_eq!(raw.read_piece().as_deref(), Some(&b"ping"[..]));
    assert_eq!(raw.read_piece(), None);

    assert_eq!(raw.ask("POST", "/", &[], b"again").text(), "again");
}

#[test]
fn long_bodies_pass_whole_both_ways() {
    let backend = Backend::start(|exchange| {
        let body = exchange.read_body().to_vec();
        exchange.answer(200, &[], body);
    });
    let gateway = house(&backend);
    let body: Vec<u8> = (0u32..2_000_000).flat_map(u32::to_le_bytes).collect();

    let answer = gateway.connect().ask("POST", "/", &[], &body);

    assert_eq!(answer.body.len(), body.len());
    assert!(answer.body == body, "the same length, another body");
}

#[test]
fn trailers_are_not_mixed_with_fields() {
    let backend = Backend::start(|exchange| {
        exchange.read_body();
        exchange.raw(
            "HTTP/1.1 200 Fine\r\ntransfer-encoding: chunked\r\ntrailer: x-late\r\n\r\n\
             4\r\nbody\r\n0\r\nx-late: 1\r\nset-cookie: late=1\r\n\r\n",
        );
        exchange.finished();
    });
    let gateway = house(&backend);
    let mut raw = gateway.connect();

    raw.write(
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: authorization\r\n\r\n\
         4\r\nbody\r\n0\r\nauthorization: late\r\nx-late: 1\r\n\r\n",
    );

    let answer = raw.read("POST");
    assert_eq!((answer.status, answer.text().as_str()), (200, "body"));
    for late in ["x-late", "set-cookie"] {
        assert_eq!(answer.fields.get(late), None, "{late}");
    }
    let seen = backend.requests().remove(0);
    assert_eq!(seen.text(), "body");
    for late in ["x-late", "authorization"] {
        assert_eq!(seen.fields.get(late), None, "{late}");
    }
    assert_eq!(raw.ask("GET", "/", &[], b"").status, 200);
}

#[test]
fn a_client_that_waits_for_continue_is_told_to_go_on() {
    let backend = Backend::fixed(200, "fine");
    let gateway = house(&backend);
    let mut raw = gateway.connect();

    raw.write("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
    assert_eq!(raw.read_head("POST").status, 100);
    raw.write("body");

    assert_eq!(raw.read("POST").text(), "fine");
    let seen = backend.requests().remove(0);
    assert_eq!(seen.text(), "body");
    assert_eq!(seen.fields.get("expect"), None);
}

#[test]
fn requests_sent_ahead_are_answered_in_their_order() {
    let backend = Backend::start(|exchange| {
        let target = exchange.request.target.clone();
        exchange.answer(200, &[], target);
    });
    let gateway = house(&backend);
    let mut raw = gateway.connect();

    let requests = (0..20).map(|n| format!("GET /{n} HTTP/1.1\r\nhost: a\r\n\r\n"));
    raw.write(requests.collect::<String>());

    for n in 0..20 {
        assert_eq!(raw.read("GET").text(), format!("/{n}"));
    }
}

#[test]
fn a_body_that_the_backend_does_not_read_does_not_spoil_the_next_request() {
    let backend = Backend::start(|exchange| {
        exchange.answer(413, &[("connection", "close")], "too much");
        exchange.cut();
    });
    let gateway = house(&backend);

    let body = vec![b'x'; 4_000_000];
    let mut raw = gateway.connect();
    raw.write(format!(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
        body.len()
    ));
    let status = raw.read_head("POST").status;
    backend.change(|exchange| exchange.answer(200, &[], "fine"));

    assert_eq!(status, 413);
    assert_eq!(gateway.get("/").text(), "fine");
}

/// One exchange over HTTP/2 without TLS: the fields are sent in their order.
async fn over_h2(
    gateway: &Gateway,
    requests: Vec<hyper::Request<Full<Bytes>>>,
) -> Vec<(hyper::Response<()>, Bytes)> {
    let socket = tokio::net::TcpStream::connect(gateway.address)
        .await
        .unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket))
            .await
            .unwrap();
    let driven = tokio::spawn(connection);
    let mut pending = Vec::new();
    for request in requests {
        pending.push(sender.send_request(request));
    }
    let mut answers = Vec::new();
    for answer in pending {
        let (parts, body) = answer.await.expect("an answer").into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        answers.push((hyper::Response::from_parts(parts, ()), body));
    }
    drop(sender);
    let _ended = driven.await;
    answers
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(future)
}

#[test]
fn http2_with_prior_knowledge_is_spoken() {
    let backend = Backend::start(|exchange| {
        let body = exchange.read_body().to_vec();
        exchange.answer(
            201,
            &[("x-kept", "yes"), ("connection", "keep-alive")],
            body,
        );
    });
    let gateway = house(&backend);
    let request = hyper::Request::post("http://shop.example:81/x?y=z")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("x-own", "yes")
        .body(Full::from("over two"))
        .unwrap();

    let (answer, body) = block_on(over_h2(&gateway, vec![request])).remove(0);

    assert_eq!(
        (answer.status().as_u16(), &body[..]),
        (201, &b"over two"[..])
    );
    assert_eq!(answer.headers()["x-kept"], "yes");
    assert!(!answer.headers().contains_key("connection"));
    let seen = backend.requests().remove(0);
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("POST", "/x?y=z")
    );
    assert_eq!(seen.version, "HTTP/1.1");
    assert_eq!(
        seen.fields.all("host").collect::<Vec<_>>(),
        ["shop.example:81"]
    );
    assert_eq!(seen.fields.all("cookie").collect::<Vec<_>>(), ["a=1; b=2"]);
    assert_eq!(seen.fields.get("x-own"), Some("yes"));
    assert_eq!(seen.fields.get("content-length"), Some("8"));
}

#[test]
fn http2_streams_share_a_connection() {
    let backend = Backend::start(|exchange| {
        let target = exchange.request.target.clone();
        exchange.answer(200, &[], target);
    });
    let gateway = house(&backend);
    let request = |n| {
        let uri = format!("http://a/{n}");
        hyper::Request::get(uri).body(Full::default()).unwrap()
    };

    let answers = block_on(over_h2(&gateway, (0..50).map(request).collect()));

    let bodies = answers.into_iter().map(|(_, body)| body);
    assert!(bodies.enumerate().all(|(n, body)| body == format!("/{n}")));
    let mut seen = BTreeMap::new();
    for request in backend.requests() {
        *seen.entry(request.target).or_insert(0) += 1;
    }
    assert!(
        seen.len() == 50 && seen.values().all(|times| *times == 1),
        "{seen:?}"
    );
}

#[test]
fn http2_refuses_two_hosts_and_hidden_paths() {
    let backend = Backend::fixed(200, "fine");
    let gateway = house(&backend);
    let request = |uri: &str, host: Option<&str>| {
        let mut request = hyper::Request::get(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        request.body(Full::default()).unwrap()
    };

    let answers = block_on(over_h2(
        &gateway,
        vec![
            request("http://a/x", Some("b")),
            request("http://a/x/../y", None),
            request("http://a/x", Some("a")),
        ],
    ));

    let statuses: Vec<_> = answers.iter().map(|(a, _)| a.status().as_u16()).collect();
    assert_eq!(statuses, [400, 400, 200]);
    assert_eq!(backend.requests().len(), 1);
}
