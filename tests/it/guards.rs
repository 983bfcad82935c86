//! Limits that the candidate may not break, whatever stable does.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::gate::pass;
use crate::support::gateway::Gateway;
use crate::support::routes::route;

struct House {
    v1: Backend,
    v2: Backend,
    gateway: Gateway,
    rollout: String,
}

/// A rollout whose comparison with stable finds next to nothing; `plan` has what is left.
fn house(plan: &str) -> House {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let arms = [("v1", &*v1.url(), 100), ("v2", &*v2.url(), 0)];
    let plan =
        format!("plans:\n  guarded:\n    stages: [{{ percent: 50, for: 1h }}]\n    {plan}\n");
    let gateway = Gateway::start(&(route("http", &arms) + &plan));
    let wanted = json!({ "to": "v2", "plan": "guarded" });
    let rollout = gateway.admin.post("/v1/routes/all/rollouts", &wanted);
    let rollout = format!("/v1/rollouts/{}", rollout["id"].as_str().expect("an id"));
    House {
        v1,
        v2,
        gateway,
        rollout,
    }
}

impl House {
    fn calls(&self, count: usize) {
        let mut raw = self.gateway.connect();
        for number in 0..count {
            let id = format!("call-{number}");
            raw.ask("GET", "/", &[("x-request-id", &id)], b"");
        }
    }

    fn call_until_reverted(&self) -> Value {
        self.gateway.admin.wait_for(&self.rollout, |seen| {
            self.calls(20);
            (seen["state"] == "reverted").then(|| seen.clone())
        })
    }
}

const LENIENT: &str = "errors: { margin: 100 }, latency: { margin: 99, pass_margin: 100 }";

#[test]
fn too_many_errors_revert_though_stable_fails_as_often() {
    let house = house(&format!(
        "judge: {{ {LENIENT}, guards: {{ max_error_rate: 0.2 }} }}"
    ));
    for backend in [&house.v1, &house.v2] {
        backend.change(|exchange| exchange.answer(503, &[], "no"));
    }

    let seen = house.call_until_reverted();

    assert_eq!(seen["revert_reason"], "error_rate_high", "{seen:#}");
    let verdict = &seen["verdict"];
    assert_eq!(verdict["broken_guard"], "error_rate", "{verdict:#}");
    let guard = &verdict["guards"][0];
    assert_eq!(
        (&guard["guard"], &guard["limit"]),
        (&json!("error_rate"), &json!(0.2))
    );
    assert!(
        guard["evidence"].as_f64() >= guard["revert_at"].as_f64(),
        "{guard}"
    );
}

#[test]
fn a_guard_watches_the_warm_up_and_pauses_too() {
    for (warmup, pause) in [("warmup: 1h", false), ("warmup: 0s", true)] {
        let guards = "guards: { max_error_rate: 0.2 }";
        let house = house(&format!("{warmup}\n    judge: {{ {LENIENT}, {guards} }}"));
        if pause {
            let path = format!("{}/pause", house.rollout);
            house.gateway.admin.post(&path, &json!({}));
        }
        for backend in [&house.v1, &house.v2] {
            backend.change(|exchange| exchange.answer(500, &[], "no"));
        }

        let seen = house.call_until_reverted();

        assert_eq!(seen["verdict"]["broken_guard"], "error_rate", "{seen:#}");
    }
}

#[test]
fn answers_that_are_too_slow_revert_though_stable_is_as_slow() {
    let house = house(&format!(
        "judge: {{ {LENIENT}, guards: {{ max_latency_p99: 5ms }} }}"
    ));
    for backend in [&house.v1, &house.v2] {
        backend.change(|exchange| {
            pass(Duration::from_millis(30));
            exchange.answer(200, &[], "late");
        });
    }

    let seen = house.call_until_reverted();

    assert_eq!(seen["revert_reason"], "latency_degraded", "{seen:#}");
    assert_eq!(seen["verdict"]["broken_guard"], "latency_p99");
    let deciding = seen["verdict"]["deciding"].as_array().expect("outcomes");
    assert!(
        deciding.iter().all(|it| it["what"] == "slow"),
        "{deciding:#?}"
    );
}

#[test]
fn a_revert_names_the_calls_that_decided_it() {
    let house = house("judge: {}");
    house.v2.change(|exchange| exchange.answer(502, &[], "no"));

    let seen = house.call_until_reverted();

    let deciding = seen["verdict"]["deciding"].as_array().expect("outcomes");
    assert!((3..=8).contains(&deciding.len()), "{deciding:#?}");
    for outcome in deciding {
        let [role, what, status] = ["role", "what", "status"].map(|name| &outcome[name]);
        assert_eq!((role, what), (&json!("candidate"), &json!("server_error")));
        assert_eq!(status, &json!(502), "{outcome}");
        let id = outcome["id"].as_str().expect("the caller's id");
        assert!(id.starts_with("call-"), "{outcome}");
        assert!(outcome["at"].is_string() && outcome["latency_seconds"].is_number());
    }
    let history = house.gateway.admin.get("/v1/history");
    let events = history["events"].as_array().expect("events");
    let told = events
        .iter()
        .find(|event| event["kind"] == "rollout_reverted");
    assert_eq!(
        told.expect("a revert")["details"]["verdict"]["deciding"],
        json!(deciding)
    );
}

#[test]
fn the_record_of_a_revert_is_whole_wherever_it_is_asked_for() {
    let house = house("judge: { guards: { max_error_rate: 0.9 } }");
    let took = house.gateway.admin.wait_for(&house.rollout, |seen| {
        house.calls(20);
        let took = &seen["verdict"]["took"];
        let both = ["stable", "candidate"].map(|arm| took[arm]["p99_seconds"].as_f64());
        both.iter().all(Option::is_some).then(|| took.clone())
    });
    for arm in ["stable", "candidate"] {
        let at = |name: &str| took[arm][name].as_f64().expect("a time");
        assert!(at("p50_seconds") <= at("p95_seconds"), "{took}");
        assert!(at("p95_seconds") <= at("p99_seconds"), "{took}");
    }
    house.v2.change(|exchange| exchange.answer(502, &[], "no"));
    let seen = house.call_until_reverted();
    let admin = house.gateway.admin;

    let why = admin.get(&format!("{}/why", house.rollout));
    let lines = why["lines"].as_array().expect("lines");
    for begin in [
        "took (p50, p95 and p99): ",
        "guard error_rate: ",
        "calls behind the decision",
    ] {
        let told = |line: &Value| line.as_str().is_some_and(|line| line.starts_with(begin));
        assert!(lines.iter().any(told), "{begin}: {lines:#?}");
    }
    let call = lines
        .iter()
        .any(|line| line.as_str().unwrap().contains("server_error (502)"));
    assert!(call, "{lines:#?}");

    let verdict = admin.ask(
        "GET",
        &format!("{}/verdict", house.rollout),
        &[],
        &Value::Null,
    );
    let verdict = verdict.json();
    for field in ["guards", "deciding", "took"] {
        assert_eq!(verdict[field], seen["verdict"][field], "{field}");
    }

    let line = house.gateway.wait_for_line("a rollout was reverted");
    let line: Value = serde_json::from_str(&line).expect("a line of JSON");
    let record = line["record"].as_str().expect("the record");
    let record: Value = serde_json::from_str(record).expect("JSON");
    assert_eq!(record, seen["verdict"]["record"]);
}
