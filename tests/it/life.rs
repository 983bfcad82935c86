//! How the gateway ends, and how it comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::support::backend::{Backend, fed};
use crate::support::client::{self, Raw};
use crate::support::gate::{Board, Gate};
use crate::support::gateway::Gateway;
use crate::support::routes::{route, through};

#[test]
fn a_terminated_gateway_says_so_at_once_and_finishes_what_is_under_way() {
    let gate = Gate::new();
    let waits = gate.clone();
    let backend = Backend::start(move |exchange| {
        exchange.read_body();
        waits.wait();
        exchange.answer(200, &[], "late");
    });
    let mut gateway = Gateway::start(&through(&backend.url()));
    let mut busy = gateway.connect();
    busy.send("POST", "/", &[], b"body");
    let mut idle = gateway.connect();
    backend.wait_for_requests(1);

    gateway.signal("TERM");
    gateway.wait_until_refused();
    let ready = client::get(gateway.admin.0, "/readyz").status;
    let alive = client::get(gateway.admin.0, "/livez").status;
    assert_eq!((ready, alive), (503, 200));
    assert!(idle.is_closed(), "a connection without a request is closed");
    gate.open();

    let answer = busy.read("POST");
    assert_eq!((answer.status, answer.text().as_str()), (200, "late"));
    assert!(busy.is_closed());
    assert!(gateway.wait().success());
}

#[test]
fn a_kept_connection_is_closed_by_a_drain() {
    let backend = Backend::fixed(200, "fine");
    let mut gateway = Gateway::start(&through(&backend.url()));
    let mut raw = gateway.connect();
    assert_eq!(raw.ask("GET", "/", &[], b"").status, 200);

    gateway.signal("TERM");

    assert!(raw.is_closed());
    assert!(gateway.wait().success());
}

/// How an answer of this kind ends when it is still under way at the end of the drain.
fn end_of_drain(content_type: &'static str) -> std::io::Result<Option<Vec<u8>>> {
    let (feeder, script) = fed(content_type);
    let backend = Backend::start(script);
    let mut gateway = Gateway::start(&(through(&backend.url()) + "limits: { drain: 300ms }\n"));
    let mut raw = gateway.connect();
    raw.send("GET", "/", &[], b"");
    raw.read_head("GET");
    feeder.event("before");
    raw.read_until("before\n\n");

    gateway.signal("TERM");

    assert!(gateway.wait().success());
    raw.try_read_piece()
}

#[test]
fn a_drain_ends_in_its_time_and_event_streams_end_as_they_should() {
    assert_eq!(end_of_drain("text/event-stream").unwrap(), None);
}

#[test]
fn a_drain_ends_in_its_time_and_no_half_answer_looks_whole() {
    assert!(end_of_drain("application/octet-stream").is_err());
}

#[test]
fn an_interrupt_drains_as_well() {
    let backend = Backend::fixed(200, "fine");
    let mut gateway = Gateway::start(&through(&backend.url()));

    gateway.signal("INT");

    assert!(gateway.wait().success());
}

/// Weights that are set one after another, and the last that was acknowledged.
struct Shifter {
    acknowledged: Arc<Board<u64>>,
    asked: Arc<AtomicU64>,
    thread: thread::JoinHandle<()>,
}

impl Shifter {
    fn start(gateway: &Gateway, from: u64) -> Self {
        let acknowledged = Arc::new(Board::new(from));
        let asked = Arc::new(AtomicU64::new(from));
        let (told, asks, admin) = (
            Arc::clone(&acknowledged),
            Arc::clone(&asked),
            gateway.admin.0,
        );
        let thread = thread::spawn(move || {
            let Ok(mut raw) = Raw::try_connect(admin) else {
                return;
            };
            for weight in from + 1.. {
                asks.store(weight, Ordering::SeqCst);
                let body = json!({ "weights": { "v1": weight } }).to_string();
                let kind = [("content-type", "application/json")];
                if !raw.try_send("PUT", "/v1/routes/all/weights", &kind, body.as_bytes()) {
                    return;
                }
                match raw.try_read("PUT") {
                    Ok(answer) if answer.status == 200 => told.change(|last| *last = weight),
                    _ => return,
                }
            }
        });
        Self {
            acknowledged,
            asked,
            thread,
        }
    }
}

#[test]
fn a_kill_at_any_moment_loses_nothing_that_was_acknowledged() {
    let backend = Backend::fixed(200, "fine");
    let mut gateway = Gateway::start(&route("http", &[("v1", &backend.url(), 1)]));
    let mut weight = 1;

    for after in [1, 2, 5, 9, 14] {
        let shifter = Shifter::start(&gateway, weight);
        shifter
            .acknowledged
            .wait_until("shifts", |last| (*last >= weight + after).then_some(()));
        gateway.kill();
        shifter.thread.join().unwrap();
        let acknowledged = shifter.acknowledged.read(|last| *last);
        let asked = shifter.asked.load(Ordering::SeqCst);

        gateway.start_again();

        let seen = gateway.admin.get("/v1/routes/all");
        weight = seen["arms"][0]["weight"].as_u64().unwrap();
        assert!(
            (acknowledged..=asked).contains(&weight),
            "{weight}, but {acknowledged} was acknowledged and {asked} under way"
        );
        let history = gateway.admin.get("/v1/history?limit=1");
        let last = &history["events"][0]["details"]["to"]["v1"];
        assert_eq!(*last, json!(weight), "state and history agree: {history:#}");
        assert_eq!(gateway.get("/").status, 200);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_refuses_a_shift_with_a_reason_and_traffic_goes_on() {
    let backend = Backend::fixed(200, "fine");
    let gateway = Gateway::start(&route("http", &[("v1", &backend.url(), 1)]));
    let shift = |weight: u32| {
        let body = json!({ "weights": { "v1": weight } });
        gateway
            .admin
            .ask("PUT", "/v1/routes/all/weights", &[], &body)
    };
    assert_eq!(shift(2).status, 200);

    gateway.fill_disk();
    let refused = shift(3);

    assert!([503, 507].contains(&refused.status), "{}", refused.status);
    let said = refused.json();
    assert!(
        said["error"]["message"]
            .as_str()
            .is_some_and(|m| !m.is_empty()),
        "{said}"
    );
    assert_eq!(gateway.admin.get("/v1/routes/all")["arms"][0]["weight"], 2);
    for _ in 0..20 {
        assert_eq!(gateway.get("/").status, 200);
    }
    gateway.admin.wait_for("/v1/status", |seen: &Value| {
        let warned = seen["warnings"].as_array().is_some_and(|w| !w.is_empty());
        (warned && seen["store"]["healthy"] == false).then_some(())
    });

    gateway.empty_disk();
    gateway.admin.wait_for("/v1/status", |seen| {
        (seen["store"]["healthy"] == true).then_some(())
    });
    assert_eq!(shift(4).status, 200);
}

#[test]
fn the_state_is_one_process_at_a_time() {
    let backend = Backend::fixed(200, "fine");
    let gateway = Gateway::start(&through(&backend.url()));

    let second =
        crate::support::gateway::run(&["serve", "-c", "switchback.yaml"], gateway.folder());

    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("state"), "{said}");
    assert_eq!(gateway.get("/").status, 200);
}
