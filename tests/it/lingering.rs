//! Connections that are over while their clients are still there.

use std::time::{Duration, Instant};

use crate::support::PATIENCE;
use crate::support::gate::pass;
use crate::support::hostile::House;

/// A request that is refused, behind which nothing is read as one.
const REFUSED: &str = "GET /#x HTTP/1.1\r\nHost: h\r\n\r\n";

fn wait_for_hit(house: &House, limit: &str) {
    let name = format!("limits_hit_total{{limit=\"{limit}\"}}");
    let until = Instant::now() + PATIENCE;
    while house.count(&name) == 0 {
        assert!(Instant::now() < until, "nobody ran into {limit}");
        pass(Duration::from_millis(10));
    }
}

#[test]
fn who_stays_is_not_waited_for_for_ever() {
    let house = House::with("limits: { linger: 200ms }\n");
    let mut client = house.gateway.connect();

    client.write(REFUSED);

    assert_eq!(client.read("GET").status, 400);
    wait_for_hit(&house, "linger");
}

#[test]
fn who_goes_on_sending_gets_the_answer_and_is_cut_off_at_the_bound() {
    let house = House::with("limits: { linger: 1m, linger_bytes: 100000 }\n");
    let mut client = house.gateway.connect();

    client.write(REFUSED);
    client.write(vec![b'x'; 50_000]);
    assert_eq!(client.read("GET").status, 400);
    client.write_as_far_as_taken(vec![b'x'; 4_000_000]);

    wait_for_hit(&house, "linger_bytes");
}
