//! Every way to change what runs, under load: each request is counted, and none is lost.

use std::time::Duration;

use serde_json::json;

use crate::support::backend::Backend;
use crate::support::gateway::Gateway;
use crate::support::load::Load;
use crate::support::routes::route_with;

#[test]
fn five_reloads_six_shifts_and_a_revert_under_load_lose_no_request() {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let file = |seconds: u32| {
        let arms = [("v1", v1.url(), 100), ("v2", v2.url(), 0)];
        let arms = arms
            .each_ref()
            .map(|(name, url, share)| (*name, url.as_str(), *share));
        route_with("http", &arms, &[&format!("idle_timeout: {seconds}s")])
    };
    let gateway = Gateway::start(&file(60));
    let load = Load::start(gateway.address, 16, Duration::from_millis(2));
    let generation = || gateway.admin.get("/v1/status")["generation"].clone();

    for number in 1..=5 {
        let before = generation();
        gateway.rewrite(&file(60 + number));
        gateway.admin.wait_for("/v1/status", |seen| {
            (seen["generation"] != before).then_some(())
        });
        load.wait_for_more(100);
    }
    for share in 1..=6 {
        let weights = json!({ "weights": { "v1": 100, "v2": share * 20 } });
        gateway.admin.put("/v1/routes/all/weights", &weights);
        load.wait_for_more(100);
    }
    let weights = json!({ "weights": { "v1": 100, "v2": 0 } });
    gateway.admin.put("/v1/routes/all/weights", &weights);
    let stages = json!([{ "percent": 50, "for": "1h" }]);
    let wanted = json!({ "to": "v2", "stages": stages });
    let rollout = gateway.admin.post("/v1/routes/all/rollouts", &wanted);
    load.wait_for_more(200);
    let id = rollout["id"].as_str().unwrap();
    gateway
        .admin
        .post(&format!("/v1/rollouts/{id}/revert"), &json!({}));
    load.wait_for_more(200);

    let tally = load.stop();
    assert_eq!((tally.lost, tally.refused), (Vec::new(), 0));
    assert!(tally.answered >= 1500, "{}", tally.answered);
    assert!(!v2.requests().is_empty(), "both versions had traffic");
}
