//! Connections that switch to another protocol: asked for, agreed to, and passed on unread.

use std::sync::Arc;

use crate::support::backend::Backend;
use crate::support::client::Raw;
use crate::support::exchange::Exchange;
use crate::support::gate::Gate;
use crate::support::gateway::Gateway;
use crate::support::routes::{route, route_with, through};

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const AGREE: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A backend that agrees and then sends everything back, in capitals, until the client ends.
fn echo() -> Backend {
    Backend::start(|exchange: &mut Exchange| {
        if exchange.request.fields.get("upgrade").is_none() {
            return exchange.answer(200, &[], exchange.request.target.clone());
        }
        exchange.raw(AGREE);
        while let Some(bytes) = exchange.read_bytes() {
            exchange.raw(bytes.to_ascii_uppercase());
        }
        exchange.raw("bye");
        exchange.cut();
    })
}

fn agreed(gateway: &Gateway) -> Raw {
    let mut client = gateway.connect();
    client.write(ASK);
    let head = client.read_head("GET");
    assert_eq!(head.status, 101, "{head:?}");
    client
}

#[test]
fn bytes_go_both_ways_once_the_backend_has_agreed() {
    let backend = echo();
    let gateway = Gateway::start(&through(&backend.url()));

    let mut client = gateway.connect();
    client.write(ASK);
    let head = client.read_head("GET");

    let field = |name| head.fields.get(name);
    assert_eq!(
        (head.status, field("upgrade"), field("connection")),
        (101, Some("websocket"), Some("upgrade"))
    );
    assert_eq!(
        field("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(
        (field("content-length"), field("transfer-encoding")),
        (None, None)
    );
    for piece in ["hello", "\0\r\n\r\n#x", "get / http/1.1\n\n"] {
        client.write(piece);
        assert_eq!(
            client.read_exactly(piece.len()),
            piece.to_ascii_uppercase().as_bytes()
        );
    }
    let asked = &backend.requests()[0];
    assert_eq!(asked.fields.get("upgrade"), Some("websocket"));
    assert_eq!(asked.fields.get("connection"), Some("upgrade"));
    assert_eq!(asked.fields.get("sec-websocket-version"), Some("13"));

    // The client ends; the backend still has something to say.
    client.finish_writing();
    assert_eq!(client.read_to_close(), b"bye");
    backend.wait_for_open_connections(0);
    let metrics = gateway.admin.text("/metrics");
    assert!(metrics.contains("switchback_upgrades_total 1"), "{metrics}");
    assert!(
        metrics.contains("switchback_upgraded_bytes_total{direction=\"to_client\"}"),
        "{metrics}"
    );
}

#[test]
fn much_passes_both_ways_at_once() {
    let backend = echo();
    let gateway = Gateway::start(&through(&backend.url()));
    let mut client = agreed(&gateway);

    for round in 0..200_u32 {
        let piece = vec![b'a' + (round % 26) as u8; 30_000];
        client.write(&piece);
        assert_eq!(client.read_exactly(piece.len()), piece.to_ascii_uppercase());
    }
}

#[test]
fn a_backend_that_breaks_off_ends_the_clients_connection_too() {
    let backend = Backend::start(|exchange: &mut Exchange| {
        exchange.raw(format!("{AGREE}early"));
        exchange.read_bytes();
        exchange.reset();
    });
    let gateway = Gateway::start(&through(&backend.url()));
    let mut client = agreed(&gateway);

    assert_eq!(client.read_exactly(5), b"early");
    client.write("x");
    assert!(client.read_to_close().is_empty());
}

#[test]
fn a_client_that_leaves_is_told_to_the_backend() {
    let backend = echo();
    let gateway = Gateway::start(&through(&backend.url()));

    drop(agreed(&gateway));

    backend.wait_for_open_connections(0);
}

#[test]
fn a_wish_that_is_not_granted_is_an_ordinary_request() {
    let backend = Backend::start(|exchange: &mut Exchange| {
        exchange.read_body();
        let target = exchange.request.target.clone();
        exchange.answer(200, &[], target);
    });
    let gateway = Gateway::start(&through(&backend.url()));

    // Refused by the backend: what stands behind is the next request.
    let mut client = gateway.connect();
    client.write(format!("{ASK}GET /next HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_eq!(client.read("GET").text(), "/chat");
    assert_eq!(client.read("GET").text(), "/next");
    assert_eq!(client.ask("GET", "/third", &[], b"").text(), "/third");

    // Not asked for clearly, or not in a form that is passed on.
    for lines in [
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 4\r\n",
    ] {
        let body = if lines.contains("Length") { "body" } else { "" };
        client.write(format!(
            "GET /plain HTTP/1.1\r\nHost: h\r\n{lines}\r\n{body}"
        ));
        assert_eq!(client.read("GET").text(), "/plain", "{lines:?}");
        let seen = backend.requests().pop().unwrap();
        assert_eq!(
            (
                seen.fields.get("upgrade"),
                seen.fields.get("http2-settings")
            ),
            (None, None),
            "{lines:?}"
        );
        assert_eq!(seen.text(), body);
    }
    client.write(format!(
        "{}body",
        ASK.replace("GET", "POST")
            .replace("\r\n\r\n", "\r\nContent-Length: 4\r\n\r\n")
    ));
    assert_eq!(client.read("POST").status, 200);
    assert_eq!(
        backend.requests().pop().unwrap().fields.get("upgrade"),
        None
    );
}

#[test]
fn a_switch_to_something_else_is_502() {
    for agree in [
        "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        "HTTP/1.1 101 X\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n",
    ] {
        let backend = Backend::start(move |exchange: &mut Exchange| {
            exchange.raw(agree);
            exchange.finished();
        });
        let gateway = Gateway::start(&through(&backend.url()));
        let mut client = gateway.connect();
        client.write(ASK);
        assert_eq!(client.read("GET").status, 502, "{agree:?}");
        backend.wait_for_open_connections(0);
    }
}

#[test]
fn a_client_that_goes_on_before_the_answer_has_no_tunnel() {
    let gate = Arc::new(Gate::new());
    let opened = Arc::clone(&gate);
    let backend = Backend::start(move |exchange: &mut Exchange| {
        opened.wait();
        exchange.raw(AGREE);
        while let Some(bytes) = exchange.read_bytes() {
            exchange.raw(bytes);
        }
        exchange.cut();
    });
    let gateway = Gateway::start(&through(&backend.url()));
    let mut client = gateway.connect();

    client.write(format!("{ASK}\u{1}\u{2}not http\n\n"));
    gate.open();

    let came = client.read_to_close();
    assert!(
        !String::from_utf8_lossy(&came).contains("not http"),
        "{came:?}"
    );
    backend.wait_for_open_connections(0);
}

#[test]
fn routes_say_whether_connections_may_switch() {
    let backend = echo();
    let off = route_with("http", &[("v1", &backend.url(), 1)], &["upgrades: []"]);
    for config in [off, route("mcp", &[("v1", &backend.url(), 1)])] {
        let gateway = Gateway::start(&config);
        let mut client = gateway.connect();
        client.write(ASK);
        assert_eq!(client.read("GET").text(), "/chat");
    }
}

#[test]
fn a_silent_connection_ends_after_the_routes_idle_time() {
    let backend = echo();
    let gateway = Gateway::start(&route_with(
        "http",
        &[("v1", &backend.url(), 1)],
        &["idle_timeout: 1s"],
    ));
    let mut client = agreed(&gateway);

    client.write("a");
    assert_eq!(client.read_exactly(1), b"A");

    client.read_to_close();
    backend.wait_for_open_connections(0);
}

#[test]
fn a_connection_stays_through_shifts_and_ends_with_the_drain() {
    let (one, two) = (echo(), echo());
    let config = |a: u32, b: u32| {
        format!(
            "{}limits: {{ drain: 5s }}\n",
            route("http", &[("one", &one.url(), a), ("two", &two.url(), b)])
        )
    };
    let mut gateway = Gateway::start(&config(1, 0));
    let mut client = agreed(&gateway);

    gateway.rewrite(&config(0, 1));
    while gateway.get("/").status != 200 || two.requests().is_empty() {}
    client.write("still");
    assert_eq!(client.read_exactly(5), b"STILL");
    gateway.signal("TERM");
    gateway.wait_until_refused();
    client.write("here");
    assert_eq!(client.read_exactly(4), b"HERE");

    client.read_to_close();
    assert!(gateway.wait().success());
    assert_eq!(
        one.requests().len()
            + two
                .requests()
                .iter()
                .filter(|r| r.target == "/chat")
                .count(),
        one.requests().len()
    );
}
