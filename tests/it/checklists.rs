//! Checklists along a rollout: ticked by persons, measured by the gateway, kept over a restart.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::gateway::{Gateway, run};
use crate::support::routes::route_with;

struct House {
    gateway: Gateway,
    _v1: Backend,
    v2: Backend,
}

/// A gateway whose plan `p` has one stage without a time, and this checklist.
fn house(checklist: &str) -> House {
    house_with(0, checklist)
}

/// The same with a judge that wants so many calls.
fn house_with(calls: u64, checklist: &str) -> House {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let arms = [("v1", &*v1.url(), 100), ("v2", &*v2.url(), 0)];
    let text = route_with("http", &arms, &["plan: p", "sticky: [{ header: x-user }]"])
        + &format!(
            "plans: {{ p: {{ stages: [{{ percent: 50, for: 0s }}], inconclusive: advance, judge: {{ min_requests: {calls} }}, checklist: {checklist} }} }}\n"
        );
    House {
        gateway: Gateway::start(&text),
        _v1: v1,
        v2,
    }
}

impl House {
    fn start(&self) -> String {
        let wanted = json!({ "to": "v2" });
        let started = self.gateway.admin.post("/v1/routes/all/rollouts", &wanted);
        format!("/v1/rollouts/{}", started["id"].as_str().unwrap())
    }

    fn until(&self, path: &str, state: &str) {
        let is = |seen: &Value| (seen["state"] == state).then_some(());
        self.gateway.admin.wait_for(path, is);
    }

    fn until_at(&self, path: &str, gate: &str) -> Value {
        self.gateway.admin.wait_for(path, |seen| {
            (seen["gate"]["gate"] == gate).then(|| seen.clone())
        })
    }

    fn event(&self, kind: &str) -> Value {
        self.gateway.admin.wait_for("/v1/history", |seen| {
            let events = seen["events"].as_array().expect("events");
            events.iter().find(|it| it["kind"] == kind).cloned()
        })
    }

    /// Calls of so many callers; how many of them the candidate answered.
    fn calls(&self, users: usize) -> usize {
        let mut raw = self.gateway.connect();
        let mut call = |n| {
            let user = format!("user-{n}");
            raw.ask("GET", "/", &[("x-user", &user)], b"").text()
        };
        let answers = (0..users).map(&mut call);
        answers.filter(|answer| answer == "v2").count()
    }

    fn tick(&self, path: &str, item: &str) {
        let path = format!("{path}/checklist");
        self.gateway.admin.post(&path, &json!({ "item": item }));
    }
}

#[test]
fn a_start_waits_until_persons_have_ticked_what_comes_before_it() {
    let mut house = house(
        "{ pre: [{ name: backup, ask: 'A backup of the index' }, { name: desk, ask: 'The desk knows' }] }",
    );
    let path = house.start();
    let seen = house.until_at(&path, "confirm_start");
    assert_eq!(seen["checklist"][0]["ask"], "A backup of the index");
    let message = seen["message"].to_string();
    assert!(message.contains("backup is open, desk is open"), "{seen:#}");
    house.event("checklist_open");

    let ticked = house
        .gateway
        .cli(&["rollout", "check", "all", "backup", "--note", "of 9:00"]);

    assert_eq!(ticked.code, Some(0), "{ticked:?}");
    assert!(
        ticked.stdout.contains("desk (The desk knows) is open"),
        "{ticked:?}"
    );
    assert_eq!(house.calls(50), 0);
    house.gateway.kill();
    house.gateway.start_again();
    let seen = house.until_at(&path, "confirm_start");
    assert_eq!(seen["checklist"][0]["state"], "done", "{seen:#}");
    assert_eq!(seen["checklist"][0]["note"], "of 9:00", "{seen:#}");
    assert_eq!(seen["checklist"][1]["state"], "open", "{seen:#}");
    assert_eq!(house.calls(50), 0);
    house.tick(&path, "desk");
    house.until(&path, "promoted");
    let why = house.gateway.admin.get(&format!("{path}/why"));
    let lines = why["lines"].to_string();
    assert!(
        lines.contains("checklist, pre: backup is done by"),
        "{why:#}"
    );
    let ticked = house.event("checklist_ticked");
    assert_eq!(ticked["details"]["item"]["item"], "desk", "{ticked:#}");
    let passed = house.event("checklist_passed");
    assert_eq!(
        passed["details"]["items"][0]["note"], "of 9:00",
        "{passed:#}"
    );
}

#[test]
fn a_budget_that_holds_lets_it_pass_and_is_on_the_record() {
    let house = house(
        "{ during: [{ name: seen, budget: { metric: calls, at_least: 5 } }], post: [{ name: errors, budget: { metric: error_rate, at_most: 1% } }] }",
    );
    let path = house.start();
    let seen = house.until_at(&path, "confirm_advance");
    assert_eq!(
        seen["checklist"][0]["budget"], "calls at least 5",
        "{seen:#}"
    );
    house.event("checklist_open");

    house.gateway.admin.wait_for(&path, |seen| {
        house.calls(40);
        (seen["state"] == "promoted").then_some(())
    });

    let seen = house.gateway.admin.get(&path);
    assert_eq!(seen["checklist"][0]["state"], "met", "{seen:#}");
    assert!(
        seen["checklist"][0]["candidate"].as_f64() >= Some(5.0),
        "{seen:#}"
    );
    assert_eq!(seen["checklist"][1]["state"], "met", "{seen:#}");
    assert_eq!(seen["checklist"][1]["candidate"], 0.0, "{seen:#}");
}

#[test]
fn a_broken_budget_holds_until_a_person_says_why_it_may_pass() {
    let house = house("{ post: [{ name: few, budget: { metric: calls, at_most: 0 } }] }");
    let path = house.start();
    // Before any call the budget holds, so the calls have to come first.
    house.until(&path, "promoted");

    let house = self::house(
        "{ during: [{ name: seen, budget: { metric: calls, at_least: 5 } }], post: [{ name: few, budget: { metric: calls, at_most: 0 } }] }",
    );
    let path = house.start();
    house.gateway.admin.wait_for(&path, |seen| {
        house.calls(40);
        (seen["gate"]["gate"] == "pre_promote").then_some(())
    });
    let broken = house.event("checklist_open");
    assert_eq!(broken["kind"], "checklist_open");
    house.gateway.admin.wait_for(&path, |seen| {
        (seen["checklist"][1]["state"] == "broken").then_some(())
    });

    let without = json!({ "item": "few" });
    let refused = house
        .gateway
        .admin
        .ask("POST", &format!("{path}/checklist"), &[], &without);

    assert_eq!(refused.status, 422, "{}", refused.text());
    let unknown = house.gateway.cli(&["rollout", "check", "all", "fiew"]);
    assert!(
        unknown.stderr.contains("there are: `seen`, `few`"),
        "{unknown:?}"
    );
    let with = json!({ "item": "few", "note": "a test of ours" });
    house
        .gateway
        .admin
        .post(&format!("{path}/checklist"), &with);
    house.until(&path, "promoted");
}

#[test]
fn a_broken_budget_reverts_where_the_item_says_so() {
    let house = house(
        "{ during: [{ name: seen, budget: { metric: calls, at_least: 5 } }, { name: few, budget: { metric: calls, at_most: 5, broken: revert } }] }",
    );
    let path = house.start();
    house.until_at(&path, "confirm_advance");

    house.gateway.admin.wait_for(&path, |seen| {
        house.calls(60);
        (seen["state"] == "reverted").then_some(())
    });

    let seen = house.gateway.admin.get(&path);
    assert_eq!(seen["revert_reason"], "gate_refused", "{seen:#}");
    let told = house.event("rollout_reverted");
    assert_eq!(told["who"], "checklist", "{told:#}");
    assert_eq!(house.calls(50), 0);
    assert!(!house.v2.requests().is_empty());
}

#[test]
fn a_few_calls_after_a_restart_break_no_budget() {
    let mut house = house_with(
        50,
        "{ during: [{ name: seen, ask: 'Has anybody looked' }, { name: errors, budget: { metric: error_rate, at_most: 5%, broken: revert } }] }",
    );
    let path = house.start();
    house.gateway.admin.wait_for(&path, |seen| {
        house.calls(60);
        (seen["gate"]["gate"] == "confirm_advance").then_some(())
    });
    house.gateway.kill();
    house.gateway.start_again();
    house.until_at(&path, "confirm_advance");

    // The first call that the candidate gets goes wrong, and no other one.
    let failed = AtomicBool::new(false);
    house.v2.change(move |exchange| {
        let status = if failed.swap(true, Ordering::SeqCst) {
            200
        } else {
            500
        };
        exchange.answer(status, &[], "v2");
    });
    let mut raw = house.gateway.connect();
    let of_candidate = (0..1000).find(|n| {
        let user = format!("user-{n}");
        raw.ask("GET", "/", &[("x-user", &user)], b"").text() == "v2"
    });
    assert!(of_candidate.is_some());
    let looked_at = || {
        let seen = house.gateway.admin.get(&path);
        assert_eq!(seen["state"], "awaiting_gate", "{seen:#}");
        (
            seen["checklist"][1]["at"].to_string(),
            seen["checklist"][1]["state"].clone(),
        )
    };
    for _ in 0..2 {
        let (before, _) = looked_at();
        let state = house
            .gateway
            .admin
            .wait_for(&path, |_| Some(looked_at()).filter(|(at, _)| *at != before));
        assert_eq!(state.1, "unmeasured");
    }

    house.calls(300);
    house.tick(&path, "seen");
    house.until(&path, "promoted");
    let why = house.gateway.admin.get(&format!("{path}/why"));
    assert!(
        why["lines"].to_string().contains("errors is met"),
        "{why:#}"
    );
}

#[test]
fn a_checklist_that_makes_no_sense_is_a_mistake_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let text = "listeners: [{ address: 127.0.0.1:0 }]
backends: { v1: { endpoints: [\"http://127.0.0.1:3001\"] } }
routes: [{ name: all, split: { v1: 100 } }]
plans:
  p:
    stages: [{ percent: 5, for: 1m }]
    checklist: { pre: [{ name: a }], post: [{ name: b, budget: { metric: cost, at_most: 1 } }] }
";
    fs::write(folder.path().join("switchback.yaml"), text).unwrap();

    let checked = run(&["check"], folder.path());

    let said = String::from_utf8_lossy(&checked.stdout) + String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.status.code(), Some(2));
    for part in ["needs `ask`, or `budget`", "`cost` is no measure", ":7:"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
