//! Files that name another version, on a route that follows them by rollouts.

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::gateway::Gateway;
use crate::support::routes::{ABSENT, route_with};

/// Never conclusive, so that a rollout stays where it is; a revert rests for two seconds.
const PLAN: &str = "plans:\n  slow: { stages: [{ percent: 20, for: 1h }], cooldown: 2s, max_reverts_per_hour: 0 }\n";

struct House {
    v1: Backend,
    v2: Backend,
    gateway: Gateway,
}

impl House {
    fn new() -> Self {
        let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
        let gateway = Gateway::start(&file(&v1, &v2, (1, ABSENT)));
        Self { v1, v2, gateway }
    }

    /// Rewrites the file, with these shares.
    fn write(&self, shares: (u32, u32)) {
        self.gateway.rewrite(&file(&self.v1, &self.v2, shares));
    }

    fn revert(&self, route: &Value) {
        let id = route["rollout"]["id"].as_str().expect("an id");
        let path = format!("/v1/rollouts/{id}/revert");
        self.gateway.admin.post(&path, &json!({}));
    }

    /// Has the file go back to the first version, and forth to the second one.
    fn back_and_forth(&self) {
        self.write((1, ABSENT));
        self.until(|route| route["arms"].as_array().is_some_and(|arms| arms.len() == 1));
        self.write((ABSENT, 100));
    }

    /// Waits until the route is like this.
    fn until(&self, like: impl Fn(&Value) -> bool) -> Value {
        self.gateway
            .admin
            .wait_for("/v1/routes/all", |route| like(route).then(|| route.clone()))
    }
}

fn file(v1: &Backend, v2: &Backend, shares: (u32, u32)) -> String {
    let arms = [("v1", &*v1.url(), shares.0), ("v2", &*v2.url(), shares.1)];
    route_with("http", &arms, &["plan: slow", "promote: auto"]) + PLAN
}

fn runs_to_v2(route: &Value) -> bool {
    route["rollout"]["candidate"] == "v2" && route["rollout"]["state"] == "running"
}

fn percents(route: &Value) -> Vec<f64> {
    let arms = route["arms"].as_array().expect("arms").iter();
    arms.map(|arm| arm["percent"].as_f64().expect("a percent"))
        .collect()
}

#[test]
fn a_file_that_names_another_version_starts_a_rollout_to_it() {
    let house = House::new();

    house.write((ABSENT, 100));
    let route = house.until(runs_to_v2);

    assert_eq!(percents(&route), [80.0, 20.0]);
    assert!(route["wish"].is_null(), "{route}");
    let history = house.gateway.admin.get("/v1/history");
    let mut events = history["events"].as_array().expect("events").iter();
    let started = events.find(|event| event["kind"] == "rollout_started");
    assert_eq!(started.expect("a start")["who"], "file");
    let never = |event: &Value| event["kind"] != "weights_changed";
    assert!(history["events"].as_array().unwrap().iter().all(never));
}

#[test]
fn what_was_reverted_waits_for_its_rest_and_for_a_file_that_asks_anew() {
    let house = House::new();
    house.write((ABSENT, 100));
    let first = house.until(runs_to_v2);
    house.revert(&first);
    let route = house.until(|route| route["rollout"]["state"] == "reverted");
    assert_eq!(percents(&route), [100.0, 0.0]);

    house.back_and_forth();

    house.until(|route| runs_to_v2(route) && route["rollout"]["id"] != first["rollout"]["id"]);
}

#[test]
fn what_the_file_asks_for_outlives_a_kill() {
    let mut house = House::new();
    house.write((ABSENT, 100));
    let first = house.until(runs_to_v2);
    let is_next =
        |route: &Value| runs_to_v2(route) && route["rollout"]["id"] != first["rollout"]["id"];
    house.revert(&first);
    house.back_and_forth();
    house.until(|route| route["wish"]["backend"] == "v2" || is_next(route));

    house.gateway.kill();
    house.gateway.start_again();

    house.until(is_next);
}

#[test]
fn the_version_that_has_the_traffic_cannot_leave_the_file() {
    let house = House::new();
    let text = file(&house.v1, &house.v2, (ABSENT, 1));
    let of_v1 = format!("  v1: {{ endpoints: [\"{}\"]", house.v1.url());
    let rest: Vec<&str> = text.lines().filter(|it| !it.starts_with(&of_v1)).collect();

    house.gateway.rewrite(&rest.join("\n"));

    let told = house.gateway.admin.wait_for("/v1/status", |status| {
        let refused = status["config"]["refused"].as_array().expect("a list");
        (!refused.is_empty()).then(|| status["config"]["refused"].to_string())
    });
    assert!(told.contains("has the traffic of this route"), "{told}");
    assert_eq!(house.gateway.get("/").text(), "v1");
}
