//! Crowds of slow clients, one kind after the other: all of them are cut, nobody else waits for
//! them, and nothing of them is left.

use std::time::{Duration, Instant};

use crate::process::{open_files, raise_open_files, resident_bytes};
use crate::size;
use crate::support::PATIENCE;
use crate::support::backend::Backend;
use crate::support::client::Raw;
use crate::support::exchange::Exchange;
use crate::support::gate::pass;
use crate::support::gateway::Gateway;
use crate::support::routes::through;

/// What a client writes before it is silent, and the bound that it runs into.
const KINDS: [(&str, &str); 3] = [
    ("", "first_byte"),
    ("GET / HTTP/1.1\r\nhos", "request_head"),
    (
        "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 500\r\n\r\nabc",
        "body_stall",
    ),
];

fn gateway(backend: &Backend) -> Gateway {
    let limits = "first_byte: 3s, request_head: 3s, body_stall: 3s";
    Gateway::start(&format!(
        "{}limits: {{ {limits} }}\n",
        through(&backend.url())
    ))
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
    let backend = Backend::start(|exchange: &mut Exchange| {
        exchange.read_body();
        exchange.answer(200, &[], "fine");
    });
    let gateway = gateway(&backend);
    assert_eq!(gateway.get("/").status, 200);
    let before = open_files(gateway.pid());

    for (written, limit) in KINDS {
        let mut crowd: Vec<Raw> = (0..count).map(|_| gateway.connect()).collect();
        for client in &mut crowd {
            client.write(written);
        }
        assert_eq!(gateway.get("/").status, 200, "beside {limit}");

        for client in &mut crowd {
            client.read_to_close();
        }

        assert_eq!(hits(&gateway, limit), count, "{limit}");
        drop(crowd);
        // A connection to the backend may be kept for the next request.
        wait_for_files(&gateway, before + 2);
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
