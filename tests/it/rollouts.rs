//! Rollouts from their start to their end, by themselves and by hand.

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::gateway::Gateway;
use crate::support::routes::route_with;

struct House {
    v1: Backend,
    v2: Backend,
    gateway: Gateway,
}

/// A judge that is soon content, so that a test of the way up is short.
const LENIENT: &str = "plans:\n  quick:\n    stages: [{ percent: 20, for: 0s }, { percent: 60, for: 0s }]\n    \
     inconclusive: advance\n    judge: { min_requests: 20, errors: { cap: 0.5 }, latency: { margin: 50, pass_margin: 100 } }\n";

fn house() -> House {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let arms = [("v1", &*v1.url(), 100), ("v2", &*v2.url(), 0)];
    let text = route_with("http", &arms, &["sticky: [{ header: x-user }]"]);
    let gateway = Gateway::start(&(text + LENIENT));
    House { v1, v2, gateway }
}

impl House {
    /// Starts a rollout and gives its path.
    fn start(&self, wanted: &Value) -> String {
        let rollout = self.gateway.admin.post("/v1/routes/all/rollouts", wanted);
        format!("/v1/rollouts/{}", rollout["id"].as_str().expect("an id"))
    }

    fn start_at(&self, percent: u32) -> String {
        self.start(&json!({ "to": "v2", "stages": [{ "percent": percent, "for": "1h" }] }))
    }

    /// One call by each of so many users; the statuses.
    fn calls(&self, users: usize) -> Vec<u16> {
        let mut raw = self.gateway.connect();
        let mut call = |n| {
            let user = format!("user-{n}");
            raw.ask("GET", "/", &[("x-user", &user)], b"").status
        };
        (0..users).map(&mut call).collect()
    }

    /// Users call until `fact` finds what it wants in the rollout.
    fn call_until<R>(&self, path: &str, mut fact: impl FnMut(&Value) -> Option<R>) -> R {
        self.gateway.admin.wait_for(path, |seen| {
            self.calls(100);
            fact(seen)
        })
    }

    fn act(&self, path: &str, action: &str) -> (u16, Value) {
        let path = format!("{path}/{action}");
        let reason = json!({ "reason": format!("{action} by hand") });
        let answer = self
            .gateway
            .admin
            .ask("POST", &path, &[("x-switchback-who", "ann")], &reason);
        (answer.status, answer.json())
    }

    fn weights(&self) -> (f64, f64) {
        let route = self.gateway.admin.get("/v1/routes/all");
        let percent = |arm: usize| route["arms"][arm]["percent"].as_f64().unwrap();
        (percent(0), percent(1))
    }

    fn state(&self, path: &str) -> String {
        self.gateway.admin.get(path)["state"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// The kinds of what happened, oldest first.
    fn history(&self) -> Vec<String> {
        let history = self.gateway.admin.get("/v1/history");
        let events = history["events"].as_array().expect("events").iter().rev();
        events
            .map(|event| event["kind"].as_str().unwrap().to_owned())
            .collect()
    }
}

#[test]
fn a_candidate_that_fails_is_reverted_by_itself_and_said_why() {
    let house = house();
    house
        .v2
        .change(|exchange| exchange.answer(500, &[], "broken"));
    let path = house.start_at(50);

    let seen = house.call_until(&path, |seen| {
        (seen["state"] == "reverted").then(|| seen.clone())
    });

    assert_eq!(seen["revert_reason"], "error_rate_high");
    let verdict = &seen["verdict"];
    assert_eq!(verdict["decision"], "revert", "{verdict:#}");
    assert!(
        verdict["evidence"].as_f64() >= verdict["revert_at"].as_f64(),
        "{verdict:#}"
    );
    assert_eq!(house.weights(), (100.0, 0.0));
    let reached = house.v2.requests().len();
    assert!(house.calls(100).iter().all(|status| *status == 200));
    assert_eq!(
        house.v2.requests().len(),
        reached,
        "nobody is sent there again"
    );
    assert_eq!(house.history(), ["rollout_started", "rollout_reverted"]);
}

#[test]
fn a_candidate_that_dies_is_reverted_for_its_health() {
    let mut house = house();
    let path = house.start_at(50);
    house.calls(20);

    house.v2.stop();

    let seen = house.call_until(&path, |seen| {
        (seen["state"] == "reverted").then(|| seen.clone())
    });
    assert_eq!(seen["revert_reason"], "health_check_failed", "{seen:#}");
    assert!(house.calls(100).iter().all(|status| *status == 200));
}

#[test]
fn stable_that_fails_as_well_is_not_the_candidates_fault() {
    let house = house();
    for backend in [&house.v1, &house.v2] {
        backend.change(|exchange| {
            let turn = exchange.request.fields.get("x-user").map_or(0, str::len);
            let failed = exchange
                .request
                .fields
                .get("x-user")
                .is_some_and(|u| u.ends_with('3'));
            exchange.answer(if failed { 500 } else { 200 }, &[], turn.to_string());
        });
    }
    let path = house.start_at(50);

    for _ in 0..6 {
        house.calls(100);
    }

    assert_eq!(house.state(&path), "running");
}

#[test]
fn a_healthy_candidate_climbs_every_stage_and_is_promoted() {
    let house = house();
    let path = house.start(&json!({ "to": "v2", "plan": "quick" }));
    assert_eq!(house.weights(), (80.0, 20.0));

    house.call_until(&path, |seen| (seen["state"] == "promoted").then_some(()));

    assert_eq!(house.weights(), (0.0, 100.0));
    let mut history = house.history();
    // A stage may end before it has had its calls, and goes on then.
    history.retain(|kind| kind != "rollout_extended");
    assert_eq!(
        history,
        ["rollout_started", "rollout_advanced", "rollout_promoted"]
    );
}

#[test]
fn without_traffic_nothing_is_concluded() {
    let house = house();
    let path = house.start(&json!({ "to": "v2", "plan": "quick" }));

    house
        .gateway
        .admin
        .wait_for(&path, |seen| (seen["state"] == "extended").then_some(()));

    assert_eq!(house.weights(), (80.0, 20.0));
}

#[test]
fn a_pause_holds_the_share_and_a_resume_goes_on() {
    let house = house();
    let path = house.start(&json!({ "to": "v2", "plan": "quick" }));

    let (status, seen) = house.act(&path, "pause");
    assert_eq!((status, &seen["state"]), (200, &json!("paused")));
    assert_eq!(house.act(&path, "pause").0, 409);
    for _ in 0..5 {
        house.calls(100);
    }
    assert_eq!(
        (house.state(&path).as_str(), house.weights()),
        ("paused", (80.0, 20.0))
    );

    assert_eq!(house.act(&path, "resume").0, 200);
    assert_eq!(house.act(&path, "resume").0, 409);
    house.call_until(&path, |seen| (seen["state"] == "promoted").then_some(()));
}

#[test]
fn a_paused_candidate_that_fails_is_reverted_all_the_same() {
    let house = house();
    let path = house.start_at(50);
    house.act(&path, "pause");

    house
        .v2
        .change(|exchange| exchange.answer(500, &[], "broken"));

    house.call_until(&path, |seen| (seen["state"] == "reverted").then_some(()));
}

#[test]
fn a_stage_that_asks_waits_for_an_approval() {
    let house = house();
    let text = LENIENT.replace(
        "percent: 20, for: 0s",
        "percent: 20, for: 0s, approve: true",
    );
    let arms = [("v1", &*house.v1.url(), 100), ("v2", &*house.v2.url(), 0)];
    let route = route_with("http", &arms, &["sticky: [{ header: x-user }]"]);
    house.gateway.rewrite(&(route + &text));
    house.gateway.admin.post("/v1/config/reload", &json!({}));
    let path = house.start(&json!({ "to": "v2", "plan": "quick" }));
    assert_eq!(house.act(&path, "approve").0, 409, "too early");

    house.call_until(&path, |seen| {
        (seen["state"] == "awaiting_approval").then_some(())
    });
    assert_eq!(house.weights(), (80.0, 20.0));
    let (status, seen) = house.act(&path, "approve");

    assert_eq!((status, &seen["percent"]), (200, &json!(60.0)), "{seen:#}");
    assert_eq!(house.weights(), (40.0, 60.0));
}

#[test]
fn a_rollout_ends_by_hand_as_it_is_told() {
    for (action, state, weights) in [
        ("promote", "promoted", (0.0, 100.0)),
        ("abort", "aborted", (100.0, 0.0)),
        ("revert", "reverted", (100.0, 0.0)),
    ] {
        let house = house();
        let path = house.start_at(30);
        assert_eq!(house.weights(), (70.0, 30.0));

        let (status, seen) = house.act(&path, action);

        assert_eq!((status, &seen["state"]), (200, &json!(state)), "{seen:#}");
        assert_eq!(house.weights(), weights);
        for again in ["pause", "resume", "approve", "promote", "abort", "revert"] {
            if (action, again) != ("promote", "revert") {
                assert_eq!(house.act(&path, again).0, 409, "{again} after {action}");
            }
        }
        let history = house.gateway.admin.get("/v1/history");
        let last = &history["events"][0];
        assert_eq!(last["kind"], format!("rollout_{state}"));
        assert_eq!(
            (&last["who"], &last["reason"]),
            (&json!("ann"), &json!(format!("{action} by hand")))
        );
    }
}

#[test]
fn a_reverted_candidate_cools_down_unless_it_is_forced() {
    let house = house();
    let path = house.start_at(30);
    house.act(&path, "revert");
    let again = json!({ "to": "v2", "stages": [{ "percent": 5, "for": "1h" }] });

    let refused = house
        .gateway
        .admin
        .ask("POST", "/v1/routes/all/rollouts", &[], &again);
    assert_eq!(refused.status, 429, "{}", refused.text());
    let mut forced = again;
    forced["force"] = json!(true);
    house.start(&forced);

    assert_eq!(house.weights(), (95.0, 5.0));
}

#[test]
fn a_running_rollout_keeps_weights_and_other_rollouts_out() {
    let house = house();
    house.start_at(30);
    let by_hand = json!({ "weights": { "v2": 50 } });
    let other = json!({ "to": "v2", "stages": [{ "percent": 5, "for": "1h" }] });

    let weights = house
        .gateway
        .admin
        .ask("PUT", "/v1/routes/all/weights", &[], &by_hand);
    let rollout = house
        .gateway
        .admin
        .ask("POST", "/v1/routes/all/rollouts", &[], &other);

    assert_eq!((weights.status, rollout.status), (409, 409));
    assert_eq!(house.weights(), (70.0, 30.0));
}

#[test]
fn a_rollout_and_its_history_survive_a_restart_in_the_middle() {
    let mut house = house();
    let path = house.start(&json!({ "to": "v2", "plan": "quick", "reason": "release 2" }));
    // It may be over between two looks.
    house.call_until(&path, |seen| {
        (seen["percent"].as_f64() >= Some(60.0)).then_some(())
    });
    let (status, _) = house.act(&path, "pause");
    let over = status == 409;
    let (state, weights, history) = (house.state(&path), house.weights(), house.history());

    house.gateway.kill();
    house.gateway.start_again();

    assert_eq!((house.state(&path), house.weights()), (state, weights));
    assert_eq!(house.history(), history);
    let text = house.gateway.admin.text("/v1/history");
    assert!(text.contains("release 2"), "{text}");
    if !over {
        assert_eq!(house.act(&path, "resume").0, 200);
    }
    house.call_until(&path, |seen| (seen["state"] == "promoted").then_some(()));
}

#[test]
fn events_are_told_as_they_happen_and_again_to_those_who_missed_them() {
    let house = house();
    let mut events = house.gateway.admin.events();

    let path = house.start_at(30);
    house.act(&path, "pause");
    house.act(&path, "revert");

    let mut kind = || events.next()["kind"].as_str().unwrap().to_owned();
    let kinds = [kind(), kind(), kind()];
    assert_eq!(
        kinds,
        ["rollout_started", "rollout_paused", "rollout_reverted"]
    );
    assert_eq!(house.history(), kinds);
}
