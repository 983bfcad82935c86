//! Clients that do not read what they asked for.

use std::time::Duration;

use crate::support::backend::Backend;
use crate::support::exchange::Exchange;
use crate::support::gate::pass;
use crate::support::gateway::Gateway;
use crate::support::routes::through;

#[test]
fn a_client_that_does_not_read_holds_its_backend_no_longer_than_it_may() {
    let backend = Backend::start(|exchange: &mut Exchange| {
        exchange.begin(200, &[]);
        while !exchange.is_closed() {
            exchange.chunk([b'x'; 16384]);
        }
    });
    let config = format!("{}limits: {{ client_read: 1s }}\n", through(&backend.url()));
    let gateway = Gateway::start(&config);
    let mut client = gateway.connect();

    client.send("GET", "/", &[], b"");
    client.read_head("GET");

    backend.wait_for_open_connections(0);
    let metrics = gateway.admin.text("/metrics");
    assert!(metrics.contains("switchback_limits_hit_total{limit=\"client_read\"} 1"));
}

#[test]
fn a_client_that_reads_slowly_gets_everything() {
    let backend = Backend::start(|exchange: &mut Exchange| {
        exchange.begin(200, &[]);
        for _ in 0..800 {
            exchange.chunk([b'x'; 16384]);
        }
        exchange.end();
    });
    let config = format!("{}limits: {{ client_read: 1s }}\n", through(&backend.url()));
    let gateway = Gateway::start(&config);
    let mut client = gateway.connect();

    client.send("GET", "/", &[], b"");
    client.read_head("GET");
    let mut read = 0;
    while let Some(piece) = client.read_piece() {
        if read % (256 * 16384) == 0 {
            pass(Duration::from_millis(500));
        }
        read += piece.len();
    }

    assert_eq!(read, 800 * 16384);
}
