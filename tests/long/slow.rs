//! Crowds of slow clients, one kind after the other: all of them are cut, nobody else waits for
//! them, and nothing of them is left.

use std::time::{Duration, Instant};

use crate::process::{open_files, raise_open_files, resident_bytes};
use crate::size;
use crate::support::PATIENCE;
use crate::support::backend::Backend;
use crate::support::certs::{Desk, Secure};
use crate::support::client::Raw;
use crate::support::exchange::Exchange;
use crate::support::gate::pass;
use crate::support::gateway::Gateway;
use crate::support::routes::through;

/// A kind of slow client.
struct Kind {
    /// What it writes before it is slow.
    begins: &'static [u8],
    /// What it writes now and then after that.
    goes_on: &'static [u8],
    /// The bound that it runs into.
    limit: &'static str,
}

const fn kind(begins: &'static [u8], goes_on: &'static [u8], limit: &'static str) -> Kind {
    Kind {
        begins,
        goes_on,
        limit,
    }
}

const POST: &[u8] = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5000\r\n\r\nabc";
/// A preface, settings, and a block of fields that does not end.
const HALF_A_BLOCK: &[u8] =
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\0\0\0\0\x01\x82";

const KINDS: [Kind; 8] = [
    kind(b"", b"", "first_byte"),
    kind(b"GET / HTTP/1.1\r\nhos", b"", "request_head"),
    kind(
        b"GET / HTTP/1.1\r\nhost: h\r\n",
        b"x: y\r\n",
        "request_head",
    ),
    kind(b"PRI * HT", b"", "first_byte"),
    kind(HALF_A_BLOCK, b"", "request_head"),
    kind(POST, b"", "body_stall"),
    kind(POST, b"x", "body_rate"),
    kind(b"GET /long HTTP/1.1\r\nhost: h\r\n\r\n", b"", "client_read"),
];

const LIMITS: &str = "first_byte: 3s, tls_handshake: 3s, request_head: 3s, client_read: 3s";

/// A gateway with short bounds. Of a body's two only one is near, so that a busy machine does not
/// choose between them.
fn gateway(backend: &Backend, limit: &str) -> Gateway {
    let body = match limit {
        "body_rate" => "body_stall: 2m, body_grace: 2s",
        _ => "body_stall: 3s, body_grace: 2m",
    };
    Gateway::start(&format!(
        "{}limits: {{ {LIMITS}, {body} }}\n",
        through(&backend.url())
    ))
}

/// A backend with a short answer and a long one.
fn backend() -> Backend {
    Backend::start(|exchange: &mut Exchange| {
        let is_long = exchange.request.target == "/long";
        exchange.read_body();
        if !is_long {
            return exchange.answer(200, &[], "fine");
        }
        exchange.begin(200, &[]);
        for _ in 0..256 {
            exchange.chunk([b'x'; 16_384]);
        }
        exchange.end();
    })
}

/// A crowd of one kind runs into its bound, each client once, while others are served; then
/// nothing of it is left.
fn hold(gateway: &Gateway, count: usize, kind: &Kind, others: impl Fn() -> u16) {
    let limit = kind.limit;
    let (files, before) = (open_files(gateway.pid()), hits(gateway, limit));
    let mut crowd: Vec<Raw> = (0..count).map(|_| gateway.connect()).collect();
    for client in &mut crowd {
        client.write(kind.begins);
    }

    let until = Instant::now() + PATIENCE;
    while hits(gateway, limit) < before + count {
        let hit = hits(gateway, limit) - before;
        assert!(Instant::now() < until, "{limit}: {hit} of {count}");
        for client in &mut crowd {
            client.write_as_far_as_taken(kind.goes_on);
        }
        assert_eq!(others(), 200, "beside {limit}");
        pass(Duration::from_millis(100));
    }

    for client in &mut crowd {
        client.read_to_close();
    }
    assert_eq!(hits(gateway, limit), before + count, "{limit}");
    drop(crowd);
    // A connection to the backend may be kept for the next request.
    wait_for_files(gateway, files + 2);
}

fn hits(gateway: &Gateway, limit: &str) -> usize {
    let line = format!("switchback_limits_hit_total{{limit=\"{limit}\"}} ");
    let page = gateway.admin.text("/metrics");
    let hit = page.lines().find_map(|l| l.strip_prefix(&line));
    hit.expect("a known limit").parse().unwrap()
}

/// Waits until the gateway has no more files open than this.
fn wait_for_files(gateway: &Gateway, at_most: usize) {
    let until = Instant::now() + PATIENCE;
    while open_files(gateway.pid()) > at_most {
        let open = open_files(gateway.pid());
        assert!(Instant::now() < until, "{open} files, not {at_most}");
        pass(Duration::from_millis(50));
    }
}

#[test]
fn slow_clients_of_every_kind_are_cut_and_nobody_waits_for_them() {
    let _alone = size::alone();
    raise_open_files();
    let count = size::of("slow_clients", 200, 2000);
    let backend = backend();

    for kind in &KINDS {
        let gateway = gateway(&backend, kind.limit);
        assert_eq!(gateway.get("/").status, 200);
        hold(&gateway, count, kind, || gateway.get("/").status);
    }
}

#[test]
fn slow_handshakes_are_cut_and_nobody_waits_for_them() {
    let _alone = size::alone();
    raise_open_files();
    let count = size::of("slow_handshakes", 200, 2000);
    let (desk, backend) = (Desk::new(), backend());
    let tls = format!(
        "tls: {{ certificates: [{}] }}",
        desk.issue("server", &["a.example"])
    );
    let body = format!("{}limits: {{ {LIMITS} }}\n", through(&backend.url()));
    let gateway = Gateway::start_listening(2, &tls, &body);

    let client = desk.client(None, &[]);
    let asked = || {
        let mut secure = Secure::connect(gateway.address, "a.example", &client).unwrap();
        secure.get("/").unwrap().status
    };

    for kind in [
        kind(b"", b"", "first_byte"),
        kind(b"\x16", b"", "tls_handshake"),
        kind(b"\x16\x03\x01\x01\x00", b"\x01", "tls_handshake"),
    ] {
        hold(&gateway, count, &kind, asked);
    }
}

#[test]
fn a_silent_connection_costs_little() {
    const MOST_BYTES: u64 = 16 * 1024;
    let _alone = size::alone();
    raise_open_files();
    let count = size::of("silent_clients", 500, 2000);
    let backend = Backend::fixed(200, "fine");
    let gateway = Gateway::start(&through(&backend.url()));
    assert_eq!(gateway.get("/").status, 200);
    let before = resident_bytes(gateway.pid());

    let crowd: Vec<Raw> = (0..count).map(|_| gateway.connect()).collect();
    assert_eq!(gateway.get("/").status, 200);

    let grown = resident_bytes(gateway.pid()).saturating_sub(before);
    let each = grown / count as u64;
    println!("{each} bytes each");
    assert!(each <= MOST_BYTES, "{each} bytes each");
    drop(crowd);
}
