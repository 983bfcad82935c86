//! Blue-green: standby without traffic, smoke requests, one switch, and back at any time.

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::gateway::Gateway;
use crate::support::routes::route_with;

/// Healthy at once; asked twice; then judged by a judge that is soon content.
const PLAN: &str = "plans:\n  swap:\n    kind: blue_green\n    bake: 1ms\n    inconclusive: advance\n    \
     standby:\n      healthy_for: 0s\n      smoke:\n        - { path: /smoke, expect_body_contains: v2 }\n        \
     - { method: POST, path: \"/smoke?deep\", body: hello, headers: { x-probe: smoke }, expect_status: 201 }\n    \
     judge: { min_requests: 20, errors: { cap: 0.5 }, latency: { margin: 50, pass_margin: 100 } }\n  \
     brisk: { stages: [{ percent: 50, for: 1h }], cooldown: 0s }\n";

struct House {
    v1: Backend,
    v2: Backend,
    gateway: Gateway,
}

fn house() -> House {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let arms = [("v1", &*v1.url(), 100), ("v2", &*v2.url(), 0)];
    let text = route_with("http", &arms, &["sticky: [{ header: x-user }]"]);
    let gateway = Gateway::start(&(text + PLAN));
    House { v1, v2, gateway }
}

/// What a good second version answers.
fn good(v2: &Backend) {
    v2.change(|exchange| {
        let status = if exchange.request.method == "POST" {
            exchange.read_body();
            201
        } else {
            200
        };
        exchange.answer(status, &[], "I am v2");
    });
}

impl House {
    fn start(&self) -> String {
        let wanted = json!({ "to": "v2", "plan": "swap" });
        let rollout = self.gateway.admin.post("/v1/routes/all/rollouts", &wanted);
        format!("/v1/rollouts/{}", rollout["id"].as_str().expect("an id"))
    }

    fn weights(&self) -> (f64, f64) {
        let route = self.gateway.admin.get("/v1/routes/all");
        let percent = |arm: usize| route["arms"][arm]["percent"].as_f64().unwrap();
        (percent(0), percent(1))
    }

    fn call(&self, users: usize) {
        let mut raw = self.gateway.connect();
        for n in 0..users {
            let user = format!("user-{n}");
            raw.ask("GET", "/", &[("x-user", &user)], b"");
        }
    }

    fn promoted(&self) -> String {
        good(&self.v2);
        let path = self.start();
        self.gateway.admin.wait_for(&path, |seen| {
            if seen["state"] != "standby" {
                self.call(100);
            }
            (seen["state"] == "promoted").then_some(())
        });
        path
    }

    /// The first event of a kind; it gets to disk a moment after it has happened.
    fn event(&self, kind: &str) -> Value {
        self.gateway.admin.wait_for("/v1/history", |history| {
            let mut events = history["events"].as_array().expect("events").iter();
            events.rfind(|event| event["kind"] == kind).cloned()
        })
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self
            .gateway
            .admin
            .ask("POST", path, &[("x-switchback-who", "ann")], body);
        (answer.status, answer.json())
    }
}

#[test]
fn a_candidate_that_passes_its_smoke_requests_is_switched_to() {
    let house = house();

    house.promoted();

    assert_eq!(house.weights(), (0.0, 100.0));
    let asked = house.v2.requests();
    let smoke: Vec<_> = asked.iter().take(2).collect();
    assert_eq!((&*smoke[0].method, &*smoke[0].target), ("GET", "/smoke"));
    assert_eq!(
        (&*smoke[1].method, &*smoke[1].target),
        ("POST", "/smoke?deep")
    );
    assert_eq!(smoke[1].body, b"hello");
    assert_eq!(smoke[1].fields.get("x-probe"), Some("smoke"));
    assert!(
        house.v1.requests().iter().all(|it| it.target == "/"),
        "stable is not asked"
    );
    let passed = house.event("rollout_smoke_passed");
    assert_eq!(passed["details"]["requests"], 2, "{passed:#}");
}

#[test]
fn a_candidate_that_fails_a_smoke_request_gets_no_traffic_at_all() {
    let house = house();
    house
        .v2
        .change(|exchange| exchange.answer(500, &[], "I am v2"));
    let path = house.start();

    let seen = house.gateway.admin.wait_for(&path, |seen| {
        house.call(10);
        (seen["state"] == "reverted").then(|| seen.clone())
    });

    assert_eq!(seen["revert_reason"], "health_check_failed");
    assert!(house.v2.requests().iter().all(|it| it.target == "/smoke"));
    let failed = house.event("rollout_smoke_failed");
    let why = failed["details"]["why"].as_str().expect("why");
    assert!(why.contains("/smoke") && why.contains("500"), "{why}");
    let reverted = house.event("rollout_reverted");
    let details = &reverted["details"];
    assert_eq!(
        (&details["from"], &details["to"]),
        (&json!("v2"), &json!("v1"))
    );
}

#[test]
fn a_promoted_candidate_is_switched_back_from_at_once() {
    let house = house();
    let path = house.promoted();

    let (status, seen) = house.post(&format!("{path}/revert"), &json!({ "reason": "sorry" }));

    assert_eq!(status, 200, "{seen:#}");
    assert_eq!(house.weights(), (100.0, 0.0));
    let (status, verdict) = house.post("/v1/routes/all/verdict", &json!({}));
    assert_eq!(
        (status, &verdict["verdict"]),
        (417, &json!("fail")),
        "{verdict:#}"
    );
    let told = house.event("route_reverted");
    assert_eq!(
        (&told["who"], &told["reason"]),
        (&json!("ann"), &json!("sorry"))
    );
    assert_eq!(told["details"]["why"], "manual", "{told:#}");
    let (again, _) = house.post(&format!("{path}/revert"), &json!({}));
    assert_eq!(again, 409, "there is nothing to go back from");
    let (forward, seen) = house.post("/v1/routes/all/revert", &json!({ "to": "v2" }));
    assert_eq!(forward, 200, "it was promoted once: {seen:#}");
    assert_eq!(house.weights(), (0.0, 100.0));
}

#[test]
fn a_route_goes_back_only_to_what_was_trusted() {
    let house = house();
    let (status, seen) = house.post("/v1/routes/all/revert", &json!({ "to": "v2" }));
    assert_eq!(status, 422, "never stable: {seen:#}");
    assert_eq!(house.post("/v1/routes/all/revert", &json!({})).0, 422);
    assert_eq!(
        house
            .post("/v1/routes/all/revert", &json!({ "to": "v9" }))
            .0,
        422
    );
    assert_eq!(house.post("/v1/routes/none/revert", &json!({})).0, 404);

    let stages = json!([{ "percent": 50, "for": "1h" }]);
    house.post(
        "/v1/routes/all/rollouts",
        &json!({ "to": "v2", "stages": stages }),
    );
    let (status, seen) = house.post("/v1/routes/all/revert", &json!({}));

    assert_eq!(status, 200, "{seen:#}");
    assert_eq!(house.weights(), (100.0, 0.0));
    house.event("rollout_reverted");
}

#[test]
fn a_route_with_too_many_reverts_rests_unless_it_is_forced() {
    let house = house();
    let wanted = json!({ "to": "v2", "plan": "brisk" });
    for _ in 0..3 {
        assert_eq!(house.post("/v1/routes/all/rollouts", &wanted).0, 201);
        assert_eq!(house.post("/v1/routes/all/revert", &json!({})).0, 200);
    }

    let (status, refused) = house.post("/v1/routes/all/rollouts", &wanted);

    assert_eq!(status, 429, "{refused:#}");
    let left = refused["error"]["details"]["left_seconds"].as_u64();
    assert!(left.is_some_and(|left| left > 0), "{refused:#}");
    let counted = "switchback_rollout_starts_refused_total{route=\"all\",reason=\"max_reverts\"} 1";
    assert!(house.gateway.admin.text("/metrics").contains(counted));
    let forced = json!({ "to": "v2", "plan": "brisk", "force": true });
    assert_eq!(house.post("/v1/routes/all/rollouts", &forced).0, 201);
}

#[test]
fn a_way_back_that_ends_a_rollout_is_one_revert() {
    let backends = ["v1", "v2", "v3"].map(|name| Backend::fixed(200, name));
    let urls = [&backends[0], &backends[1], &backends[2]].map(Backend::url);
    let arms = [
        ("v1", &*urls[0], 100),
        ("v2", &*urls[1], 0),
        ("v3", &*urls[2], 0),
    ];
    let plan = "plans: { p: { stages: [{ percent: 50, for: 1h }], cooldown: 0s, max_reverts_per_hour: 2 } }\n";
    let gateway = Gateway::start(&(route_with("http", &arms, &["plan: p"]) + plan));
    let post = |path: &str, body: Value| {
        let answer = gateway.admin.ask("POST", path, &[], &body);
        (answer.status, answer.json())
    };
    let start = |to: &str| post("/v1/routes/all/rollouts", json!({ "to": to }));
    assert_eq!(start("v2").0, 201);
    assert_eq!(post("/v1/rollouts/r-1/promote", json!({})).0, 200);
    assert_eq!(start("v3").0, 201);

    let (status, seen) = post("/v1/routes/all/revert", json!({ "to": "v1" }));

    assert_eq!(status, 200, "{seen:#}");
    let (status, seen) = start("v3");
    assert_eq!(status, 201, "one revert, and two are allowed: {seen:#}");
    assert_eq!(post("/v1/rollouts/r-3/revert", json!({})).0, 200);
    assert_eq!(start("v3").0, 429, "two");
}

#[test]
fn a_stage_without_traffic_is_not_said_to_be_inconclusive() {
    let house = house();
    house.call(100);

    let told = house
        .gateway
        .admin
        .get("/v1/routes/all/estimate?to=v2&plan=swap");

    assert!(told["calls_per_second"].as_f64() > Some(0.0), "{told:#}");
    let notes = told["notes"].as_array().expect("notes");
    let of_standby = |note: &&Value| note.to_string().contains("stage 1 ");
    assert!(!notes.iter().any(|note| of_standby(&note)), "{notes:#?}");
}
