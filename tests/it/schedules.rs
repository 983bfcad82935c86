//! Rollouts that wait for a window, who lets them pass, and what never waits.

use std::fs;

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::gateway::{Gateway, run};
use crate::support::routes::route_with;

/// Open at every minute of every day.
const ALWAYS: &str = "{ open: \"* * * * *\", for: 1h }";
/// Open for a minute on a day that comes round every few years.
const HARDLY: &str = "{ open: \"0 0 29 2 *\", for: 1m, timezone: Europe/Berlin }";

struct House {
    gateway: Gateway,
    _v1: Backend,
    v2: Backend,
}

/// A gateway whose plan `p` has one stage, of this time, and this schedule.
fn house(time: &str, schedule: &str, window: &str) -> House {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let arms = [("v1", &*v1.url(), 100), ("v2", &*v2.url(), 0)];
    let text = route_with("http", &arms, &["plan: p", "sticky: [{ header: x-user }]"])
        + &format!(
            "plans: {{ p: {{ stages: [{{ percent: 50, for: {time} }}], inconclusive: advance, judge: {{ min_requests: 0 }}, schedule: {schedule} }} }}\n\
             windows: {{ w: {window} }}\n"
        );
    House {
        gateway: Gateway::start(&text),
        _v1: v1,
        v2,
    }
}

impl House {
    fn start(&self, more: &Value) -> String {
        let mut wanted = json!({ "to": "v2", "reason": "ticket 7" });
        let fields = wanted.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        let started = self.gateway.admin.post("/v1/routes/all/rollouts", &wanted);
        format!("/v1/rollouts/{}", started["id"].as_str().unwrap())
    }

    fn until(&self, path: &str, state: &str) {
        let is = |seen: &Value| (seen["state"] == state).then_some(());
        self.gateway.admin.wait_for(path, is);
    }

    /// What the rollout says once it waits before a gate for its schedule.
    fn until_closed(&self, path: &str, gate: &str) -> Value {
        self.gateway.admin.wait_for(path, |seen| {
            let closed = seen["gate"]["gate"] == gate && seen["gate"]["schedule"].is_object();
            closed.then(|| seen.clone())
        })
    }

    fn act(&self, path: &str, action: &str) {
        let path = format!("{path}/{action}");
        self.gateway
            .admin
            .post(&path, &json!({ "reason": "it is urgent" }));
    }

    fn event(&self, kind: &str) -> Value {
        self.gateway.admin.wait_for("/v1/history", |seen| {
            let events = seen["events"].as_array().expect("events");
            events.iter().find(|it| it["kind"] == kind).cloned()
        })
    }

    fn calls(&self, users: usize) -> Vec<String> {
        let mut raw = self.gateway.connect();
        let mut call = |n| {
            let user = format!("user-{n}");
            raw.ask("GET", "/", &[("x-user", &user)], b"").text()
        };
        (0..users).map(&mut call).collect()
    }
}

#[test]
fn a_start_in_a_freeze_waits_over_a_restart_and_begins_when_it_is_over() {
    let mut house = house("1h", "{ freeze: [w] }", ALWAYS);

    let path = house.start(&json!({}));

    let seen = house.until_closed(&path, "pre_stage");
    assert_eq!(seen["state"], "awaiting_gate", "{seen:#}");
    assert_eq!(seen["gate"]["schedule"]["freeze"], "w", "{seen:#}");
    assert!(
        seen["message"].to_string().contains("freeze window w"),
        "{seen:#}"
    );
    let told = house.event("rollout_awaiting_window");
    assert_eq!(told["details"]["freeze"], "w", "{told:#}");
    assert!(house.calls(50).iter().all(|answer| answer == "v1"));

    house.gateway.kill();
    house.gateway.start_again();

    house.until_closed(&path, "pre_stage");
    assert!(house.calls(50).iter().all(|answer| answer == "v1"));
    house.gateway.rewrite_in(ALWAYS, HARDLY);
    house.until(&path, "running");
    assert!(house.v2.requests().is_empty());
    assert!(house.calls(50).iter().any(|answer| answer == "v2"));
}

#[test]
fn a_start_outside_its_windows_says_when_it_opens_and_can_be_aborted() {
    let house = house("1h", "{ start: [w] }", HARDLY);

    let path = house.start(&json!({}));

    let seen = house.until_closed(&path, "pre_stage");
    let opens_at = seen["gate"]["schedule"]["opens_at"].as_str().unwrap();
    // Midnight in Berlin, in winter.
    assert!(opens_at.ends_with("-02-28T23:00:00.000Z"), "{seen:#}");
    assert!(seen["gate"]["schedule"].get("freeze").is_none(), "{seen:#}");
    assert!(seen["message"].to_string().contains(opens_at), "{seen:#}");
    house.act(&path, "abort");
    house.until(&path, "aborted");
    assert!(house.v2.requests().is_empty());
}

#[test]
fn an_approval_lets_it_pass_one_gate_and_the_promotion_waits_again() {
    let house = house("0s", "{ start: [w] }", HARDLY);
    let path = house.start(&json!({}));
    house.until_closed(&path, "pre_stage");

    house.act(&path, "approve");

    let seen = house.until_closed(&path, "pre_promote");
    assert_eq!(seen["percent"], 50.0, "{seen:#}");
    let waived = house.event("rollout_window_waived");
    assert_eq!(waived["details"]["gate"], "pre_stage", "{waived:#}");
    assert_eq!(waived["reason"], "it is urgent", "{waived:#}");
    house.act(&path, "approve");
    house.until(&path, "promoted");
}

#[test]
fn an_approval_lets_the_first_stage_begin_whatever_gates_come_before_it() {
    let house = house(
        "1h",
        "{ freeze: [w] }, checklist: { pre: [{ name: desk, ask: 'The desk knows' }] }",
        ALWAYS,
    );
    let path = house.start(&json!({}));
    house.until_closed(&path, "confirm_start");

    house.act(&path, "approve");

    let desk = json!({ "item": "desk" });
    house
        .gateway
        .admin
        .post(&format!("{path}/checklist"), &desk);
    house.until(&path, "running");
}

#[test]
fn a_candidate_that_fails_is_reverted_while_the_rollout_waits() {
    let house = house("0s", "{ start: [w] }", HARDLY);
    let path = house.start(&json!({}));
    house.until_closed(&path, "pre_stage");
    house.act(&path, "approve");
    house.until_closed(&path, "pre_promote");
    house.v2.change(|exchange| {
        exchange.read_body();
        exchange.answer(500, &[], "broken");
    });

    house.gateway.admin.wait_for(&path, |seen| {
        house.calls(100);
        (seen["state"] == "reverted").then_some(())
    });

    let seen = house.gateway.admin.get(&path);
    assert_eq!(seen["revert_reason"], "error_rate_high", "{seen:#}");
    assert!(house.calls(50).iter().all(|answer| answer == "v1"));
}

#[test]
fn an_emergency_is_started_without_regard_to_its_schedule_and_that_is_kept() {
    let house = house("0s", "{ freeze: [w] }", ALWAYS);

    let path = house.start(&json!({ "ignore_schedule": true }));

    house.until(&path, "promoted");
    let waived = house.event("rollout_window_waived");
    assert_eq!(
        waived["rollout"],
        path.trim_start_matches("/v1/rollouts/"),
        "{waived:#}"
    );
    assert_eq!(waived["reason"], "ticket 7", "{waived:#}");
}

#[test]
fn a_pipeline_that_waits_is_told_what_for() {
    let house = house("1h", "{ freeze: [w] }", ALWAYS);
    let start = ["rollout", "start", "all", "--to", "v2"];

    let waited = house
        .gateway
        .cli(&[&start[..], &["--wait", "--timeout", "1s"]].concat());

    assert_eq!(waited.code, Some(4), "{waited:?}");
    let waits = "waits for its schedule: in the freeze window w";
    assert!(waited.stderr.contains(waits), "{waited:?}");
    let status = house.gateway.cli(&["status"]);
    assert!(status.stdout.contains(waits), "{status:?}");
    // The one that waits is a rollout that runs.
    let again = house
        .gateway
        .cli(&[&start[..], &["--ignore-schedule"]].concat());
    assert_eq!(again.code, Some(5), "{again:?}");
}

#[test]
fn windows_that_are_not_understood_are_mistakes_with_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let text = "listeners: [{ address: 127.0.0.1:0 }]
backends: { v1: { endpoints: [\"http://127.0.0.1:3001\"] } }
routes: [{ name: all, split: { v1: 100 } }]
plans: { p: { stages: [{ percent: 5, for: 1m }], schedule: { start: [ofice], freeze: [x] } } }
windows:
  office: { open: \"0 9 * * mon-fri\", for: 10s }
  noon: { open: \"0 25 * * *\", for: 1h }
  never: { open: \"0 0 31 6 *\", for: 1h }
  away: { open: \"0 9 * * *\", for: 1h, timezone: Europe/Berln }
";
    fs::write(folder.path().join("switchback.yaml"), text).unwrap();

    let checked = run(&["check"], folder.path());

    let said = String::from_utf8_lossy(&checked.stdout) + String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.status.code(), Some(2));
    for part in [
        "there is no window `ofice`; did you mean `office`?",
        "there is no window `x`; declare it under `windows`",
        "`for` is 10s, but must be from 1m to 30days",
        "`25` is no hour: numbers from 0 to 23",
        "never comes round",
        "did you mean `Europe/Berlin`?",
        ":7:",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
