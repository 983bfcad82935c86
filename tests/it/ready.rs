//! Connections that are ready before a call needs them: where new traffic goes, and nowhere else.

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::client::Raw;
use crate::support::exchange::Exchange;
use crate::support::gate::Gate;
use crate::support::gateway::{Gateway, run};
use crate::support::h2_backend::H2Backend;
use crate::support::ports::reserve;

/// So long that no connection is made anew because of its age.
const AGELESS: &str = "trust_idle: 24h, idle_timeout: 24h";

/// One route before these backends, of which each is an endpoint, more of its keys and a weight.
fn house(backends: &[(&str, &str, u32)]) -> String {
    let (mut named, mut split) = (String::new(), Vec::new());
    for (place, (endpoint, more, weight)) in backends.iter().enumerate() {
        named += &format!("  v{place}: {{ endpoints: [\"{endpoint}\"], {AGELESS}, {more} }}\n");
        split.push(format!("v{place}: {weight}"));
    }
    let split = split.join(", ");
    format!("backends:\n{named}routes: [{{ name: all, split: {{ {split} }} }}]\n")
}

fn one_worker(backend: &Backend, more: &str) -> Gateway {
    Gateway::start_with_workers(1, &house(&[(&backend.url(), more, 1)]))
}

/// A counter without labels.
fn count(gateway: &Gateway, name: &str) -> u64 {
    let page = gateway.admin.text("/metrics");
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |count| count.parse().unwrap())
}

fn wait_for_failures(gateway: &Gateway, at_least: u64) {
    gateway.admin.wait_for("/v1/status", |_: &Value| {
        let failures = count(gateway, "switchback_connections_not_readied_total");
        (failures >= at_least).then_some(())
    });
}

/// Answers requests for `/held` when the gate opens, and others at once.
fn gated(gate: &Gate) -> Backend {
    let gate = gate.clone();
    Backend::start(move |exchange: &mut Exchange| {
        exchange.read_body();
        if exchange.request.target == "/held" {
            gate.wait();
        }
        exchange.answer(200, &[], "fine");
    })
}

fn hold(gateway: &Gateway) -> Raw {
    let mut raw = gateway.connect();
    raw.send("GET", "/held", &[], b"");
    raw
}

#[test]
fn the_first_call_finds_a_connection() {
    let backend = Backend::fixed(200, "fine");
    let gateway = one_worker(&backend, "min_idle: 2");
    backend.wait_for_connections(2);
    assert_eq!(backend.requests().len(), 0);
    gateway.admin.wait_for("/v1/status", |_: &Value| {
        (count(&gateway, "switchback_connections_readied_total") == 2).then_some(())
    });

    assert_eq!(gateway.connect().ask("POST", "/", &[], b"once").status, 200);

    let [request] = &backend.requests()[..] else {
        panic!("one request")
    };
    assert!(request.connection < 2, "{}", request.connection);
}

#[test]
fn who_takes_one_has_the_next_made_and_no_more_than_that() {
    let gate = Gate::new();
    let backend = gated(&gate);
    let gateway = one_worker(&backend, "min_idle: 1");
    backend.wait_for_connections(1);

    let mut held = Vec::new();
    for taken in 1..=4 {
        held.push(hold(&gateway));
        backend.wait_for_requests(taken);
        backend.wait_for_connections(taken + 1);
    }
    gate.open();
    for mut raw in held {
        assert_eq!(raw.read("GET").status, 200);
    }
    for _ in 0..20 {
        assert_eq!(gateway.get("/").status, 200);
    }

    assert_eq!(backend.connections(), 5, "enough of them are idle");
    let ways: Vec<usize> = backend.requests().iter().map(|it| it.connection).collect();
    assert_eq!(ways[..4], [0, 1, 2, 3]);
}

#[test]
fn never_more_than_the_pool_holds() {
    let gate = Gate::new();
    let backend = gated(&gate);
    let gateway = one_worker(&backend, "min_idle: 2, max_idle: 2");
    backend.wait_for_connections(2);
    let held: Vec<Raw> = (1..=4)
        .map(|taken| {
            let raw = hold(&gateway);
            backend.wait_for_requests(taken);
            backend.wait_for_connections(taken + 2);
            raw
        })
        .collect();
    assert_eq!(backend.open_connections(), 6);

    gate.open();
    for mut raw in held {
        assert_eq!(raw.read("GET").status, 200);
    }

    backend.wait_for_open_connections(2);
}

#[test]
fn what_the_backend_closes_is_made_again() {
    let backend = Backend::fixed(200, "fine");
    let _gateway = one_worker(&backend, "min_idle: 2");
    for round in 1..=2 {
        backend.wait_for_connections(2 * round);
        backend.hang_up();
    }

    backend.wait_for_connections(6);

    assert!(backend.open_connections() <= 2);
}

#[test]
fn a_connection_that_is_trusted_no_more_makes_way_for_a_new_one() {
    let backend = Backend::fixed(200, "fine");
    let body = house(&[(&backend.url(), "min_idle: 1", 1)]);
    let _gateway =
        Gateway::start_with_workers(1, &body.replace("trust_idle: 24h", "trust_idle: 1s"));

    backend.wait_for_connections(3);

    // The one that goes, the one that comes, and what is not noticed yet.
    assert!(backend.open_connections() <= 3);
    assert_eq!(backend.requests().len(), 0);
}

#[test]
fn a_backend_that_is_down_is_tried_at_its_pace_and_not_judged_by_it() {
    let port = reserve();
    let url = format!("http://{}", port.address);
    let gateway = Gateway::start_with_workers(1, &house(&[(&url, "min_idle: 4", 1)]));

    // More than calls may fail in a row.
    wait_for_failures(&gateway, 4);

    let seen = gateway.admin.get("/v1/backends/v0");
    let endpoint = &seen["fitness"]["endpoints"][0];
    assert_eq!(endpoint["ejections"].as_u64().unwrap_or(0), 0, "{seen}");
    assert_eq!(count(&gateway, "switchback_connections_readied_total"), 0);
    let backend = Backend::start_at(port.address, |exchange: &mut Exchange| {
        exchange.answer(200, &[], "fine");
    });
    backend.wait_for_connections(4);
    assert_eq!(gateway.get("/").status, 200);
}

#[test]
fn nothing_is_made_ready_at_an_endpoint_before_a_check_finds_it_fit() {
    let fit = Gate::new();
    let backend = {
        let fit = fit.clone();
        Backend::start(move |exchange: &mut Exchange| {
            fit.wait();
            exchange.answer(200, &[], "fine");
        })
    };
    let health = "min_idle: 1, health: { path: /h, interval: 100ms, timeout: 100ms }";
    let gateway = one_worker(&backend, health);
    gateway.admin.wait_for("/v1/backends/v0", |seen: &Value| {
        (seen["fitness"]["endpoints"][0]["health"] == "unhealthy").then_some(())
    });
    assert_eq!(count(&gateway, "switchback_connections_readied_total"), 0);

    fit.open();

    gateway.admin.wait_for("/v1/status", |_: &Value| {
        (count(&gateway, "switchback_connections_readied_total") == 1).then_some(())
    });
}

#[test]
fn where_no_traffic_goes_nothing_is_made_ready() {
    let (first, second) = (Backend::fixed(200, "a"), Backend::fixed(200, "b"));
    let keys = "min_idle: 1";
    let gateway = Gateway::start_with_workers(
        1,
        &house(&[(&first.url(), keys, 1), (&second.url(), keys, 0)]),
    );
    first.wait_for_connections(1);
    assert_eq!(second.connections(), 0);

    let weights = json!({ "weights": { "v0": 1, "v1": 1 } });
    gateway.admin.put("/v1/routes/all/weights", &weights);

    second.wait_for_connections(1);
    assert_eq!(first.connections(), 1);
}

#[test]
fn a_reload_that_wants_more_closes_nothing() {
    let gate = Gate::new();
    let backend = gated(&gate);
    let gateway = one_worker(&backend, "min_idle: 1");
    backend.wait_for_connections(1);
    let mut held = hold(&gateway);
    backend.wait_for_requests(1);
    backend.wait_for_connections(2);

    gateway.rewrite_in("min_idle: 1", "min_idle: 3");

    backend.wait_for_connections(4);
    assert_eq!(backend.open_connections(), 4);
    gate.open();
    assert_eq!(held.read("GET").status, 200);
    gateway.rewrite_in("min_idle: 3", "min_idle: 0");
    assert_eq!(gateway.get("/").status, 200);
    assert_eq!((backend.connections(), backend.open_connections()), (4, 4));
}

#[test]
fn who_is_leaving_makes_nothing_ready() {
    let gate = Gate::new();
    let backend = gated(&gate);
    let body = house(&[(&backend.url(), "min_idle: 1", 1)]) + "limits: { drain_idle: 1h }\n";
    let mut gateway = Gateway::start_with_workers(1, &body);
    backend.wait_for_connections(1);
    let mut first = hold(&gateway);
    backend.wait_for_requests(1);
    backend.wait_for_connections(2);
    let mut second = gateway.connect();

    gateway.signal("TERM");
    gateway.wait_until_refused();
    let answer = second.ask("GET", "/", &[], b"");

    assert_eq!(answer.fields.get("connection"), Some("close"));
    gate.open();
    assert_eq!(first.read("GET").status, 200);
    assert!(gateway.wait().success());
    assert_eq!(backend.connections(), 2);
}

#[test]
fn one_connection_is_enough_over_http2() {
    let backend = H2Backend::start(None, 100);
    let body = house(&[(&backend.url(), "http2: true, min_idle: 3", 1)]);
    let gateway = Gateway::start_with_workers(1, &body);
    backend.wait_for("a connection", |log| log.connections == 1);

    for _ in 0..5 {
        assert_eq!(gateway.get("/").status, 200);
    }

    assert_eq!(backend.log().connections, 1);
    assert_eq!(count(&gateway, "switchback_connections_readied_total"), 1);
}

#[test]
fn a_pool_that_holds_fewer_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = house(&[("http://127.0.0.1:1", "min_idle: 3, max_idle: 2", 1)]);
    let file = folder.path().join("switchback.yaml");
    std::fs::write(
        &file,
        format!("listeners: [{{ address: \"127.0.0.1:0\" }}]\n{text}"),
    )
    .unwrap();

    let checked = run(&["check", "-c", "switchback.yaml"], folder.path());

    assert_eq!(checked.status.code(), Some(2));
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("`min_idle` is 3"), "{said}");
}
