//! Plans that begin in the shadow: copies first, traffic only for what answers like stable.

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::fake_mcp::FakeMcp;
use crate::support::gateway::Gateway;
use crate::support::ports::reserve;
use crate::support::routes::{ABSENT, route_with, ruled};

/// Twenty copies, then half of the traffic, judged by a judge that is never content.
const PLAN: &str = "plans:\n  careful:\n    shadow: { for: 0s, min_compared: 20, max_difference: 10, max_slowdown: 1000 }\n    \
     stages: [{ percent: 50, for: 1h }]\n    cooldown: 0s\n";

struct House {
    v1: Backend,
    v2: Backend,
    gateway: Gateway,
}

fn house(status: u16) -> House {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(status, "v2"));
    let arms = [("v1", &*v1.url(), 100), ("v2", &*v2.url(), 0)];
    let gateway = Gateway::start(&(route_with("http", &arms, &[]) + PLAN));
    House { v1, v2, gateway }
}

fn start(gateway: &Gateway) -> String {
    let wanted = json!({ "to": "v2", "plan": "careful" });
    let rollout = gateway.admin.post("/v1/routes/all/rollouts", &wanted);
    format!("/v1/rollouts/{}", rollout["id"].as_str().expect("an id"))
}

fn call(gateway: &Gateway, times: usize) {
    let mut raw = gateway.connect();
    for _ in 0..times {
        assert_eq!(raw.ask("GET", "/", &[], b"").text(), "v1");
    }
}

fn compared(seen: &Value) -> u64 {
    seen["shadow"]["compared"].as_u64().unwrap_or(0)
}

/// Makes so many calls, and waits until so many copies have been compared in all.
fn compare(gateway: &Gateway, path: &str, count: u64) {
    call(gateway, usize::try_from(count).unwrap());
    gateway
        .admin
        .wait_for(path, |seen| (compared(seen) >= count).then_some(()));
}

fn wait_for_state(gateway: &Gateway, path: &str, state: &str) -> Value {
    gateway
        .admin
        .wait_for(path, |seen| (seen["state"] == state).then(|| seen.clone()))
}

fn event(gateway: &Gateway, kind: &str) -> Option<Value> {
    let history = gateway.admin.get("/v1/history");
    let mut events = history["events"].as_array().expect("events").iter();
    events.rfind(|event| event["kind"] == kind).cloned()
}

fn weights(gateway: &Gateway) -> (f64, f64) {
    let route = gateway.admin.get("/v1/routes/all");
    let percent = |arm: usize| route["arms"][arm]["percent"].as_f64().unwrap();
    (percent(0), percent(1))
}

#[test]
fn a_candidate_that_answers_like_stable_gets_traffic() {
    let house = house(200);
    let path = start(&house.gateway);
    let seen = house.gateway.admin.get(&path);
    assert_eq!(seen["percent"], 0.0, "{seen:#}");
    assert_eq!(seen["stages"][0]["role"], "shadow");
    let mirrored = house.gateway.admin.get("/v1/routes/all");
    assert_eq!(mirrored["shadow"]["backend"], "v2", "{mirrored:#}");

    // No more of them: the next ones may go to either.
    call(&house.gateway, 20);
    let seen = wait_for_state(&house.gateway, &path, "running");

    assert_eq!(weights(&house.gateway), (50.0, 50.0));
    assert_eq!(seen["shadow"]["finding"], "alike", "{seen:#}");
    assert!(compared(&seen) >= 20, "{seen:#}");
    let told = event(&house.gateway, "rollout_advanced").expect("told");
    assert_eq!(told["details"]["shadow"]["min_compared"], 20, "{told:#}");
    let copies = house.v2.requests();
    let marked = |request: &&crate::support::backend::Request| {
        request.fields.get("x-switchback-shadow") == Some("true")
    };
    assert_eq!(copies.iter().filter(marked).count(), copies.len());
    let after = house.gateway.admin.get("/v1/routes/all");
    assert_eq!(
        after["shadow"],
        Value::Null,
        "the mirror ends with its stage"
    );
}

#[test]
fn a_share_that_the_candidate_had_by_hand_ends_with_the_start() {
    let house = house(200);
    let weights_of = json!({ "weights": { "v1": 90, "v2": 10 } });
    let path = "/v1/routes/all/weights";
    house.gateway.admin.put(path, &weights_of);
    assert_eq!(weights(&house.gateway), (90.0, 10.0));

    start(&house.gateway);

    assert_eq!(weights(&house.gateway), (100.0, 0.0));
    call(&house.gateway, 19);
}

#[test]
fn one_that_answers_otherwise_is_reverted_before_any_traffic() {
    let house = house(404);
    let path = start(&house.gateway);

    call(&house.gateway, 20);
    let seen = wait_for_state(&house.gateway, &path, "reverted");

    assert_eq!(seen["revert_reason"], "shadow_diverged", "{seen:#}");
    assert_eq!(seen["shadow"]["finding"], "different");
    assert_eq!(weights(&house.gateway), (100.0, 0.0));
    let told = event(&house.gateway, "rollout_reverted").expect("told");
    let status = told["details"]["shadow"]["status"].as_u64();
    assert!(status.is_some_and(|count| count >= 20), "{told:#}");
    let why = house.gateway.admin.get(&format!("{path}/why"));
    let lines = why["lines"].as_array().unwrap();
    let has = |text: &str| {
        lines
            .iter()
            .any(|line| line.as_str().unwrap().contains(text))
    };
    assert!(
        has("shadow: different") && has("shadow_diverged"),
        "{why:#}"
    );
    let copies = house.v2.requests().len();
    call(&house.gateway, 20);
    assert_eq!(
        house.v2.requests().len(),
        copies,
        "neither calls nor copies"
    );
    assert_eq!(house.v1.requests().len(), 40);
}

#[test]
fn one_that_cannot_be_reached_answers_no_copies() {
    let nobody = reserve();
    let v1 = Backend::fixed(200, "v1");
    let dead = format!("http://{}", nobody.address);
    let arms = [("v1", &*v1.url(), 100), ("v2", &*dead, 0)];
    let gateway = Gateway::start(&(route_with("http", &arms, &[]) + PLAN));
    let path = start(&gateway);

    call(&gateway, 40);

    let seen = wait_for_state(&gateway, &path, "reverted");
    assert_eq!(seen["revert_reason"], "shadow_diverged", "{seen:#}");
    let unanswered = seen["shadow"]["unanswered"].as_u64();
    assert!(unanswered.is_some_and(|count| count >= 20), "{seen:#}");
}

#[test]
fn too_few_copies_are_waited_for_through_restarts_and_pauses() {
    let mut house = house(200);
    let path = start(&house.gateway);
    compare(&house.gateway, &path, 10);
    assert_eq!(
        wait_for_state(&house.gateway, &path, "extended")["percent"],
        0.0
    );

    // Stopped in order, so that all of it is on disk.
    house.gateway.signal("TERM");
    house.gateway.wait();
    house.gateway.start_again();

    let seen = house.gateway.admin.get(&path);
    assert!(compared(&seen) >= 10, "{seen:#}");
    house
        .gateway
        .admin
        .post(&format!("{path}/pause"), &json!({}));
    compare(&house.gateway, &path, 25);
    let seen = house.gateway.admin.get(&path);
    assert_eq!(
        (&seen["state"], &seen["percent"]),
        (&json!("paused"), &json!(0.0))
    );
    house
        .gateway
        .admin
        .post(&format!("{path}/resume"), &json!({}));
    wait_for_state(&house.gateway, &path, "running");
}

#[test]
fn the_files_own_shadow_gives_way_for_the_stage_and_comes_back() {
    let backends = ["v1", "v2", "v3"].map(|name| Backend::fixed(200, name));
    let urls = backends.each_ref().map(Backend::url);
    let arms = [
        ("v1", &*urls[0], 100),
        ("v2", &*urls[1], 0),
        ("v3", &*urls[2], ABSENT),
    ];
    let line = "shadow: { backend: v3, percent: 40, timeout: 3s }";
    let gateway = Gateway::start(&(route_with("http", &arms, &[line]) + PLAN));
    let mirror = || {
        let shadow = gateway.admin.get("/v1/routes/all")["shadow"].clone();
        (shadow["backend"].clone(), shadow["percent"].clone())
    };
    assert_eq!(mirror(), (json!("v3"), json!(40.0)));

    let path = start(&gateway);

    assert_eq!(mirror(), (json!("v2"), json!(100.0)));
    call(&gateway, 5);
    backends[1].wait_for_requests(5);
    assert_eq!(backends[2].requests().len(), 0);
    gateway.admin.post(&format!("{path}/abort"), &json!({}));
    assert_eq!(mirror(), (json!("v3"), json!(40.0)));
}

#[test]
fn a_rule_whose_calls_are_never_copied_takes_no_such_plan() {
    let (v1, v2) = (FakeMcp::start("v1"), FakeMcp::start("v2"));
    let rule = "method: tools/call, name: [whoami]";
    let gateway = Gateway::start(&(ruled(&v1.url(), &v2.url(), rule, (1, 0)) + PLAN));
    let wanted = json!({ "to": "v2", "plan": "careful" });

    let refused = gateway
        .admin
        .ask("POST", "/v1/routes/canary/rollouts", &[], &wanted);

    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("not copied"), "{}", refused.text());
}
