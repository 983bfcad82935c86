//! Fewer descriptors than traffic wants: whose fault that is, and what goes on meanwhile.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::backend::Backend;
use crate::support::client::Raw;
use crate::support::exchange::Exchange;
use crate::support::gate::{Gate, pass};
use crate::support::gateway::Gateway;
use crate::support::routes::through;

/// Bounds that promise more than there is, so that descriptors are what is short.
const TOO_MUCH: &str = "limits: { connections: 1000, requests: 1000 }\n";

fn gateway(files: usize, body: &str) -> Gateway {
    let limit = format!("--nofile={files}:{files}");
    Gateway::start_by(&["prlimit", &limit], 1, &format!("{body}{TOO_MUCH}"))
}

/// A backend that holds what is not `/health`, until the gate is opened.
fn gated() -> (Arc<Gate>, Backend) {
    let gate = Arc::new(Gate::new());
    let opened = Arc::clone(&gate);
    let backend = Backend::start(move |exchange: &mut Exchange| {
        exchange.read_body();
        if exchange.request.target != "/health" {
            opened.wait();
        }
        exchange.answer(200, &[], "fine");
    });
    (gate, backend)
}

fn count(gateway: &Gateway, start: &str) -> u64 {
    let page = gateway.admin.text("/metrics");
    let lines = page.lines().filter(|line| line.starts_with(start));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    values.sum()
}

fn wait_for_count(gateway: &Gateway, start: &str, least: u64) {
    let until = Instant::now() + PATIENCE;
    while count(gateway, start) < least {
        assert!(Instant::now() < until, "never {least} of {start}");
        pass(Duration::from_millis(10));
    }
}

/// Requests on connections of their own, more than there are descriptors for.
fn crowd(gateway: &Gateway, size: usize) -> Vec<Raw> {
    let mut clients: Vec<Raw> = (0..size).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.try_send("GET", "/", &[], b"");
    }
    clients
}

#[test]
fn what_this_process_lacks_counts_against_no_backend() {
    let ((gate, one), (other_gate, two)) = (gated(), gated());
    let health = "health: { path: /health, interval: 100ms, unhealthy: 1 }, max_idle: 0";
    let gateway = gateway(
        200,
        &format!(
            "backends:\n  one: {{ endpoints: [\"{}\"], {health} }}\n  \
             two: {{ endpoints: [\"{}\"], {health} }}\n\
             routes: [{{ name: all, split: {{ one: 100, two: 0 }} }}]\n",
            one.url(),
            two.url()
        ),
    );
    let start = json!({ "to": "two", "stages": [{ "percent": 50, "for": "1h" }] });
    let begun = gateway.admin.post("/v1/routes/all/rollouts", &start);
    let path = format!("/v1/rollouts/{}", begun["id"].as_str().expect("an id"));

    let clients = crowd(&gateway, 90);
    let exhausted = |backend: &str| {
        format!(
            "switchback_calls_total{{route=\"all\",backend=\"{backend}\",outcome=\"exhausted\"}}"
        )
    };
    wait_for_count(&gateway, &exhausted("two"), 3);
    // Each of them checked again while nothing is left for traffic.
    let checks = one.requests().len() + two.requests().len();
    one.wait_for("more checks", |seen| {
        let all = seen.len() + two.requests().len();
        (all >= checks + 6).then_some(())
    });

    gate.open();
    other_gate.open();
    let mut statuses = Vec::new();
    for mut client in clients {
        if let Ok(answer) = client.try_read("GET") {
            if answer.status == 503 {
                assert_eq!(answer.fields.get("retry-after"), Some("1"));
            }
            statuses.push(answer.status);
        }
    }
    assert!(statuses.contains(&200) && statuses.contains(&503));
    assert!(
        statuses.iter().all(|status| [200, 503].contains(status)),
        "{statuses:?}"
    );
    assert_eq!(count(&gateway, "switchback_endpoint_ejections_total"), 0);
    let rollout: Value = gateway.admin.get(&path);
    assert_ne!(rollout["state"], "reverted", "{rollout}");
    assert_eq!(gateway.get("/").status, 200, "all is well again");
    for backend in ["one", "two"] {
        let page = format!("/v1/backends/{backend}");
        let endpoint = gateway.admin.wait_for(&page, |seen| {
            let endpoint = &seen["fitness"]["endpoints"][0];
            (endpoint["health"] == "healthy").then(|| endpoint.clone())
        });
        assert_eq!(endpoint["failed"]["unreachable"], 0, "{endpoint}");
    }
}

#[test]
fn connections_that_take_all_there_is_leave_the_admin_api_its_part() {
    let backend = Backend::fixed(200, "fine");
    let body = format!(
        "backends: {{ only: {{ endpoints: [\"{}\"] }} }}\n\
         routes: [{{ name: all, split: {{ only: 1 }} }}]\n",
        backend.url()
    );
    let gateway = gateway(200, &body);
    let silent: Vec<Raw> = (0..400).map(|_| gateway.connect()).collect();
    wait_for_count(&gateway, "switchback_descriptors_short_total", 1);

    for _ in 0..20 {
        let others: Vec<Raw> = (0..20).map(|_| Raw::connect(gateway.admin.0)).collect();
        assert!(!gateway.admin.text("/readyz").is_empty());
        drop(others);
    }

    assert_eq!(count(&gateway, "switchback_accept_errors_total"), 0);
    drop(silent);
    let until = Instant::now() + PATIENCE;
    let is_served = || {
        let mut client = gateway.connect();
        client.try_send("GET", "/", &[("connection", "close")], b"")
            && client
                .try_read("GET")
                .is_ok_and(|answer| answer.status == 200)
    };
    while !is_served() {
        assert!(Instant::now() < until, "nobody is served any more");
        pass(Duration::from_millis(10));
    }
}

#[test]
fn idle_connections_to_one_backend_make_room_for_another() {
    let (first, second) = (gated(), gated());
    let body = format!(
        "backends:\n  one: {{ endpoints: [\"{}\"] }}\n  two: {{ endpoints: [\"{}\"] }}\n\
         routes:\n  - {{ name: one, match: {{ path: /one }}, split: {{ one: 1 }} }}\n  \
         - {{ name: two, match: {{ path: /two }}, split: {{ two: 1 }} }}\n",
        first.1.url(),
        second.1.url()
    );
    let gateway = gateway(200, &body);
    let mut clients: Vec<Raw> = (0..35).map(|_| gateway.connect()).collect();
    for (target, (gate, backend)) in [("/one", &first), ("/two", &second)] {
        for client in &mut clients {
            client.send("GET", target, &[], b"");
        }
        backend.wait_for_requests(35);
        gate.open();
        for client in &mut clients {
            assert_eq!(client.read("GET").status, 200, "{target}");
        }
    }
}

/// From now on the process may have descriptors below this number.
fn limit_files(gateway: &Gateway, files: u32) {
    let pid = gateway.pid().to_string();
    let soft = format!("--nofile={files}:");
    let done = Command::new("prlimit")
        .args(["--pid", &pid, &soft])
        .status();
    assert!(done.unwrap().success());
}

#[test]
fn a_process_that_may_open_nothing_more_counts_pauses_and_recovers() {
    let backend = Backend::fixed(200, "fine");
    let gateway = Gateway::start_by(&[], 1, &through(&backend.url()));
    let mut admin = Raw::connect(gateway.admin.0);
    let mut errors = || {
        let page = admin.ask("GET", "/metrics", &[], b"").text();
        let name = "switchback_accept_errors_total ";
        let mut counts = page.lines().filter_map(|line| line.strip_prefix(name));
        counts
            .next()
            .map_or(0, |count| count.parse::<u128>().unwrap())
    };
    assert_eq!(errors(), 0);

    let began = Instant::now();
    limit_files(&gateway, 10);
    let mut waiting: Vec<Raw> = (0..5).map(|_| gateway.connect()).collect();
    while errors() < 5 {
        assert!(began.elapsed() < PATIENCE, "nothing fails");
        pass(Duration::from_millis(10));
    }

    // One try in 50 ms, however many are at the door: the slower this machine the fewer.
    let (counted, most) = (errors(), began.elapsed().as_millis() / 50 + 2);
    assert!(counted <= most, "{counted} tries where {most} are due");
    limit_files(&gateway, 200);
    for client in &mut waiting {
        assert_eq!(client.ask("GET", "/", &[], b"").status, 200);
    }
    let said = gateway.wait_for_line("accepting a connection");
    let printed = gateway.printed();
    let times = printed.matches("accepting a connection").count();
    assert_eq!(times, 1, "told once for as long as it lasts: {said}");
}
