//! Small print between us and backends: tokens of checks, copies and stand-ins that find a fit
//! endpoint, addresses that are denied however they are written, and ends that are none.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::backend::Backend;
use crate::support::certs::{Desk, quoted};
use crate::support::client::Raw;
use crate::support::exchange::Exchange;
use crate::support::gateway::Gateway;
use crate::support::ports::reserve;

fn only(endpoint: &str, more: &str) -> String {
    format!(
        "backends: {{ only: {{ endpoints: [\"{endpoint}\"], {more} }} }}\n\
         routes: [{{ name: all, split: {{ only: 1 }} }}]\n"
    )
}

fn wait_for_health(gateway: &Gateway, backend: &str, places: &[(usize, &str)]) {
    let path = format!("/v1/backends/{backend}");
    gateway.admin.wait_for(&path, |seen: &Value| {
        let endpoints = &seen["fitness"]["endpoints"];
        let is_so = |(place, health): &(usize, &str)| endpoints[*place]["health"] == *health;
        places.iter().all(is_so).then_some(())
    });
}

#[test]
fn checks_show_the_token_that_the_file_has_now() {
    let backend = Backend::start(|exchange: &mut Exchange| {
        let shown = exchange
            .request
            .fields
            .get("authorization")
            .map(str::to_owned);
        let status = match shown.as_deref() {
            Some("Bearer second") => 200,
            _ => 401,
        };
        exchange.answer(status, &[], "");
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "first\n").unwrap();
    let health = format!(
        "health: {{ path: /h, interval: 100ms, unhealthy: 1, healthy: 1, token_file: {} }}",
        quoted(&file)
    );
    let gateway = Gateway::start(&only(&backend.url(), &health));
    wait_for_health(&gateway, "only", &[(0, "unhealthy")]);

    std::fs::write(&file, "second\n").unwrap();
    wait_for_health(&gateway, "only", &[(0, "healthy")]);

    // A token that is not there is nobody's sickness.
    std::fs::remove_file(&file).unwrap();
    gateway.wait_for_line("a health check could not be made");
    wait_for_health(&gateway, "only", &[(0, "healthy")]);
    assert!(!gateway.admin.text("/v1/config").contains("second"));
}

#[test]
fn what_must_not_be_sent_twice_does_not_go_where_a_server_may_be_hanging_up() {
    let backend = Backend::fixed(200, "fine");
    let gateway = Gateway::start_with_workers(1, &only(&backend.url(), "trust_idle: 0s"));
    let mut client = gateway.connect();

    for sent in 1..=3 {
        assert_eq!(client.ask("POST", "/", &[], b"once").status, 200);
        assert_eq!(backend.connections(), sent);
    }
    for _ in 0..3 {
        assert_eq!(client.ask("GET", "/", &[], b"").status, 200);
    }

    assert_eq!(backend.connections(), 3, "what may be repeated takes them");
    let page = gateway.admin.text("/metrics");
    let line = "switchback_idle_connections_distrusted_total 2";
    assert!(page.lines().any(|l| l == line), "{page}");
}

#[test]
fn a_flood_in_place_of_a_checks_answer_is_a_failure() {
    let backend = Backend::start(|exchange: &mut Exchange| {
        if exchange.request.target != "/h" {
            return exchange.answer(200, &[], "fine");
        }
        while !exchange.is_closed() {
            exchange.raw("HTTP/1.1 102 Wait\r\n\r\n".repeat(1000));
        }
    });
    let health = "health: { path: /h, interval: 100ms, timeout: 1m, unhealthy: 1 }";
    let gateway = Gateway::start(&only(&backend.url(), health));

    wait_for_health(&gateway, "only", &[(0, "unhealthy")]);
    assert_eq!(gateway.get("/").status, 200);
}

/// A backend whose checks fail.
fn sick() -> Backend {
    Backend::start(|exchange: &mut Exchange| {
        let status = if exchange.request.target == "/h" {
            500
        } else {
            200
        };
        exchange.answer(status, &[], "sick");
    })
}

#[test]
fn copies_go_to_fit_endpoints_alone() {
    let (real, well, sick) = (Backend::fixed(200, "real"), Backend::fixed(200, ""), sick());
    let config = |endpoints: &[&Backend]| {
        let urls: Vec<String> = endpoints
            .iter()
            .map(|b| format!("\"{}\"", b.url()))
            .collect();
        format!(
            "backends:\n  v1: {{ endpoints: [\"{}\"] }}\n  v2:\n    endpoints: [{}]\n    \
             health: {{ path: /h, interval: 100ms, unhealthy: 1, healthy: 1 }}\n\
             routes: [{{ name: all, split: {{ v1: 1 }}, shadow: {{ backend: v2, percent: 100 }} }}]\n",
            real.url(),
            urls.join(", ")
        )
    };
    let copies = |backend: &Backend| {
        let requests = backend.requests();
        requests.iter().filter(|r| r.target == "/x").count()
    };
    let gateway = Gateway::start(&config(&[&well, &sick]));
    wait_for_health(&gateway, "v2", &[(0, "healthy"), (1, "unhealthy")]);

    for _ in 0..30 {
        assert_eq!(gateway.get("/x").text(), "real");
    }
    well.wait_for("every copy", |seen| {
        (seen.iter().filter(|r| r.target == "/x").count() == 30).then_some(())
    });
    assert_eq!(copies(&sick), 0);

    drop(gateway);
    let gateway = Gateway::start(&config(&[&sick]));
    wait_for_health(&gateway, "v2", &[(0, "unhealthy")]);
    for _ in 0..5 {
        assert_eq!(gateway.get("/x").text(), "real");
    }
    let page = gateway.admin.text("/metrics");
    let dropped = "switchback_shadow_dropped_total{route=\"all\",reason=\"unfit\"} 5";
    assert!(page.contains(dropped), "{page}");
    assert_eq!(copies(&sick), 0);
}

#[test]
fn a_stand_in_that_cannot_be_reached_has_others_behind_it() {
    let nobody = reserve();
    let (stable, bad) = (Backend::fixed(200, "stable"), Backend::fixed(500, "bad"));
    let config = format!(
        "backends:\n  v1: {{ endpoints: [\"http://{}\", \"{}\"], ejection: {{ connect_failures: 0 }} }}\n  \
         v2: {{ endpoints: [\"{}\"] }}\n\
         routes: [{{ name: all, split: {{ v1: 1, v2: 0 }}, shield: {{}} }}]\n",
        nobody.address,
        stable.url(),
        bad.url()
    );
    let gateway = Gateway::start(&config);
    let start = json!({ "to": "v2", "stages": [{ "percent": 50, "for": "1h" }] });
    gateway.admin.post("/v1/routes/all/rollouts", &start);

    for _ in 0..100 {
        let answer = gateway.get("/x");
        assert_eq!((answer.status, answer.text().as_str()), (200, "stable"));
    }
}

#[test]
fn an_address_is_denied_however_it_is_written() {
    let backend = Backend::fixed(200, "reached");
    let port = backend.address.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
        "127.1",
        "2130706433",
    ] {
        let endpoint = format!("http://{host}:{port}");
        let gateway = Gateway::start(&only(&endpoint, "deny: [\"127.0.0.0/8\", \"::1/128\"]"));

        assert_eq!(gateway.get("/").status, 502, "{host}");
    }
    assert!(backend.requests().is_empty());
    let gateway = Gateway::start(&only(&backend.url(), "deny: [\"169.254.0.0/16\"]"));
    assert_eq!(gateway.get("/").text(), "reached");
}

#[test]
fn a_name_without_an_address_is_502_and_looked_up_once_for_all() {
    let gateway = Gateway::start(&only("http://no-such-name.invalid:1", ""));

    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| assert_eq!(gateway.get("/").status, 502));
        }
    });
}

/// A server over TLS that does one thing with each connection.
fn tls_server(
    config: ServerConfig,
    script: impl Fn(&mut StreamOwned<ServerConnection, TcpStream>) + Send + Sync + 'static,
) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (config, script) = (Arc::new(config), Arc::new(script));
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            let script = Arc::clone(&script);
            thread::spawn(move || {
                let mut stream = StreamOwned::new(tls, socket);
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    match stream.read(&mut byte) {
                        Ok(1) => head.push(byte[0]),
                        _ => return,
                    }
                }
                script(&mut stream);
            });
        }
    });
    port
}

fn desk() -> Desk {
    let desk = Desk::new();
    desk.issue("server", &["localhost"]);
    desk
}

fn trusting(desk: &Desk) -> String {
    format!("tls: {{ ca: {} }}", quoted(&desk.at("ca.pem")))
}

#[test]
fn an_answer_over_tls_that_ends_without_a_farewell_is_cut() {
    let desk = desk();
    let port = tls_server(desk.server("server", false), |stream| {
        let _unused = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhalf");
        let _unused = stream.sock.shutdown(std::net::Shutdown::Both);
    });
    let gateway = Gateway::start(&only(
        &format!("https://localhost:{port}"),
        &trusting(&desk),
    ));
    let mut client = gateway.connect();

    client.send("POST", "/", &[], b"");

    assert!(client.try_read("POST").is_err(), "it looks whole");
}

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const AGREE: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn echoes(client: &mut Raw) {
    client.write(ASK);
    assert_eq!(client.read_head("GET").status, 101);
    for round in 0..50_u32 {
        let piece = vec![b'a' + (round % 26) as u8; 20_000];
        client.write(&piece);
        assert_eq!(client.read_exactly(piece.len()), piece.to_ascii_uppercase());
    }
}

#[test]
fn a_connection_switches_protocols_over_tls_and_beside_http2() {
    let desk = desk();
    let mut config = desk.server("server", false);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let port = tls_server(config, |stream| {
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        let _unused = stream.write_all(AGREE.as_bytes());
        let mut bytes = [0; 16_384];
        while let Ok(length @ 1..) = stream.read(&mut bytes) {
            if stream
                .write_all(&bytes[..length].to_ascii_uppercase())
                .is_err()
            {
                return;
            }
        }
    });
    let endpoint = format!("https://localhost:{port}");

    for http2 in ["", ", http2: true"] {
        let more = format!("{}{http2}", trusting(&desk));
        let gateway = Gateway::start(&only(&endpoint, &more));
        echoes(&mut gateway.connect());
    }
}

#[test]
fn a_connection_switches_protocols_where_requests_go_over_http2() {
    let backend = Backend::start(|exchange: &mut Exchange| {
        exchange.raw(AGREE);
        while let Some(bytes) = exchange.read_bytes() {
            exchange.raw(bytes.to_ascii_uppercase());
        }
        exchange.cut();
    });
    let gateway = Gateway::start(&only(&backend.url(), "http2: true"));

    echoes(&mut gateway.connect());
}

#[test]
fn a_client_of_http_1_0_sees_that_an_answer_was_cut() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let whole = format!("{chunked}4\r\nfine\r\n0\r\n\r\n");
    let cut = format!("{chunked}4\r\nhalf\r\n");
    for (answer, is_whole) in [(whole, true), (cut, false)] {
        let backend = Backend::start(move |exchange: &mut Exchange| {
            exchange.raw(&answer);
            exchange.cut();
        });
        let gateway = Gateway::start(&only(&backend.url(), ""));
        let mut client = TcpStream::connect(gateway.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();

        client
            .write_all(b"GET / HTTP/1.0\r\nHost: h\r\n\r\n")
            .unwrap();
        let mut read = Vec::new();
        let ended = client.read_to_end(&mut read);

        assert_eq!(
            ended.is_ok(),
            is_whole,
            "{}",
            String::from_utf8_lossy(&read)
        );
    }
}

#[test]
fn an_answer_is_whole_or_seen_to_be_cut_wherever_it_ends() {
    let framed = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n6\r\nefghij\r\n0\r\n\r\n";
    let cuts = [framed, chunked].into_iter().flat_map(|whole| {
        (0..whole.len()).flat_map(move |at| [false, true].map(|resets| (&whole[..at], resets)))
    });
    let cuts: Vec<(&str, bool)> = cuts.collect();
    let next = AtomicUsize::new(0);
    let script = cuts.clone();
    let backend = Backend::start(move |exchange: &mut Exchange| {
        let (part, resets) = script[next.fetch_add(1, Ordering::SeqCst)];
        exchange.raw(part);
        if resets {
            exchange.reset();
        } else {
            exchange.cut();
        }
    });
    let gateway = Gateway::start_with_workers(1, &only(&backend.url(), ""));

    for (part, resets) in cuts {
        let mut client = gateway.connect();
        client.send("POST", "/", &[("connection", "close")], b"");
        let head = client.read_head("POST");
        let whole = loop {
            match client.try_read_piece() {
                Ok(Some(_)) => {}
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        let seen = (head.status, whole);
        // A reset may overtake what was sent before it.
        let is_right = seen == (502, true) || (part.contains("\r\n\r\n") && seen == (200, false));
        assert!(is_right, "{part:?} {resets}: {seen:?}");
    }
}

#[test]
fn a_wish_to_switch_goes_over_a_connection_of_its_own() {
    // Every connection but a new one is dead.
    let seen = Mutex::new(HashSet::new());
    let backend = Backend::start(move |exchange: &mut Exchange| {
        if !seen.lock().unwrap().insert(exchange.request.connection) {
            return exchange.reset();
        }
        if exchange.request.fields.get("upgrade").is_none() {
            return exchange.answer(200, &[], "fine");
        }
        exchange.raw(AGREE);
        while let Some(bytes) = exchange.read_bytes() {
            exchange.raw(bytes.to_ascii_uppercase());
        }
        exchange.cut();
    });
    let gateway = Gateway::start_with_workers(1, &only(&backend.url(), ""));
    assert_eq!(gateway.get("/").status, 200);

    echoes(&mut gateway.connect());
}

#[test]
fn answers_that_break_off_open_the_breaker() {
    let backend = Backend::start(|exchange: &mut Exchange| {
        exchange.begin(200, &[]);
        exchange.chunk("half");
        exchange.cut();
    });
    let breaker =
        "breaker: { failure_percent: 50, min_calls: 20, open_time: 1m, max_open_time: 1m }";
    let gateway = Gateway::start(&only(&backend.url(), breaker));
    let is_refused = || {
        let mut client = gateway.connect();
        client.send("GET", "/", &[], b"");
        client.read_head("GET").status == 503
    };

    let until = std::time::Instant::now() + PATIENCE;
    while !is_refused() {
        assert!(std::time::Instant::now() < until, "it never opens");
    }
}

#[test]
fn nothing_is_unpacked_to_be_looked_at() {
    // A few bytes that would be a thousand times as many.
    let packed: Vec<u8> = [0x1f, 0x8b, 8, 0]
        .into_iter()
        .chain((0..100_000).map(|n| n as u8))
        .collect();
    let sent = packed.clone();
    let backend = Backend::start(move |exchange: &mut Exchange| {
        exchange.read_body();
        let fields = [
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
        ];
        exchange.answer(200, &fields, &sent);
    });
    let config = only(&backend.url(), "").replace("name: all,", "name: all, protocol: mcp,");
    let gateway = Gateway::start(&config);

    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call" }).to_string();
    let fields = [("content-type", "application/json")];
    let answer = gateway.connect().ask("POST", "/", &fields, call.as_bytes());

    assert_eq!((answer.status, answer.body), (200, packed));
}
