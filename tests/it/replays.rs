//! The evidence behind decisions, weighed again.

use serde_json::{Value, json};

use crate::support::backend::{Backend, Request};
use crate::support::gateway::{Gateway, run};
use crate::support::routes::route;

const PLANS: &str = "plans:\n  half: { stages: [{ percent: 50, for: 1h }] }\n  \
                     brisk: { stages: [{ percent: 10, for: 1ms }, { percent: 50, for: 1ms }], inconclusive: advance,
                     judge: { min_requests: 0 } }\n";

fn start(gateway: &Gateway, plan: &str) -> String {
    let wanted = json!({ "to": "v2", "plan": plan });
    let rollout = gateway.admin.post("/v1/routes/all/rollouts", &wanted);
    rollout["id"].as_str().expect("an id").to_owned()
}

fn kinds(replay: &Value) -> Vec<&str> {
    let decisions = replay["decisions"].as_array().expect("decisions").iter();
    decisions
        .map(|it| it["kind"].as_str().expect("a kind"))
        .collect()
}

#[test]
fn a_revert_is_found_again_by_api_and_command_and_after_a_kill() {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(500, "v2"));
    let arms = [("v1", &*v1.url(), 100), ("v2", &*v2.url(), 0)];
    let mut gateway = Gateway::start(&(route("http", &arms) + PLANS));
    let id = start(&gateway, "half");
    gateway
        .admin
        .wait_for(&format!("/v1/rollouts/{id}"), |seen| {
            gateway.get("/");
            (seen["state"] == "reverted").then_some(())
        });

    let path = format!("/v1/rollouts/{id}/replay");
    let replay = gateway.admin.get(&path);
    assert_eq!(kinds(&replay), ["rollout_reverted"], "{replay:#}");
    let decision = &replay["decisions"][0];
    assert_eq!(decision["then"]["verdict"], "revert", "{replay:#}");
    assert_eq!(decision["now"], decision["then"], "{replay:#}");
    assert!(decision["batches"].as_u64() > Some(0), "{replay:#}");
    assert_eq!(replay["same"], true, "{replay:#}");
    let admin = format!("http://{}", gateway.admin.0);
    let said = run(
        &["--admin", &admin, "rollout", "replay", &id],
        gateway.folder(),
    );
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success() && text.contains("the same"), "{text}");

    let history = gateway.admin.text("/v1/history");
    assert!(
        history.contains("rollout_reverted") && !history.contains("\"tape\""),
        "the tape is the judge's: {history}"
    );

    gateway.kill();
    gateway.start_again();

    let again = gateway.admin.get(&path);
    assert_eq!(again, replay);
}

#[test]
fn every_step_that_evidence_led_to_is_found_again() {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let arms = [("v1", &*v1.url(), 100), ("v2", &*v2.url(), 0)];
    let gateway = Gateway::start(&(route("http", &arms) + PLANS));
    let id = start(&gateway, "brisk");
    gateway
        .admin
        .wait_for(&format!("/v1/rollouts/{id}"), |seen| {
            gateway.get("/");
            (seen["state"] == "promoted").then_some(())
        });

    let replay = gateway.admin.get(&format!("/v1/rollouts/{id}/replay"));

    assert_eq!(kinds(&replay), ["rollout_advanced", "rollout_promoted"]);
    assert_eq!(replay["same"], true, "{replay:#}");
}

#[test]
fn a_step_through_a_gate_is_found_again() {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let desk = Backend::fixed(200, "go");
    let arms = [("v1", &*v1.url(), 100), ("v2", &*v2.url(), 0)];
    let plans = PLANS.replace("brisk: { ", "brisk: { hooks: [desk], ");
    let hooks = format!(
        "hooks: {{ desk: {{ url: \"{}\", on: [pre_stage, pre_promote, post_stage] }} }}\n",
        desk.url()
    );
    let gateway = Gateway::start(&(route("http", &arms) + &plans + &hooks));
    let id = start(&gateway, "brisk");
    gateway
        .admin
        .wait_for(&format!("/v1/rollouts/{id}"), |seen| {
            gateway.get("/");
            (seen["state"] == "promoted").then_some(())
        });

    let replay = gateway.admin.get(&format!("/v1/rollouts/{id}/replay"));

    assert_eq!(
        kinds(&replay),
        ["rollout_advanced", "rollout_promoted"],
        "{replay:#}"
    );
    assert_eq!(replay["same"], true, "{replay:#}");
    let told = desk.wait_for("the first stage's end", |asked| {
        let is_told = |it: &&Request| it.fields.get("x-switchback-event") == Some("post_stage");
        asked.iter().find(is_told).map(Request::json)
    });
    assert_eq!(told["verdict"], told["event"]["verdict"], "{told:#}");
}

#[test]
fn a_candidate_that_is_found_dead_leaves_a_record_and_a_tape_that_agree() {
    let v1 = Backend::fixed(200, "v1");
    let v2 = Backend::start(|exchange| {
        let is_check = exchange.request.target == "/health";
        exchange.answer(if is_check { 503 } else { 200 }, &[], "v2");
    });
    let arms = [("v1", &*v1.url(), 100), ("v2", &*v2.url(), 0)];
    let checked = "health: { path: /health, interval: 2s, unhealthy: 2 }, connect_timeout: 2s }";
    let text = route("http", &arms) + PLANS;
    let place = text.rfind("connect_timeout: 2s }").expect("the candidate");
    let text = text[..place].to_owned() + checked + &text[place + "connect_timeout: 2s }".len()..];
    let gateway = Gateway::start(&text);
    let id = start(&gateway, "half");
    gateway
        .admin
        .wait_for(&format!("/v1/rollouts/{id}"), |seen| {
            gateway.get("/");
            (seen["state"] == "reverted").then_some(())
        });

    let replay = gateway
        .admin
        .wait_for(&format!("/v1/rollouts/{id}/replay"), |seen| {
            (!kinds(seen).is_empty()).then(|| seen.clone())
        });

    assert_eq!(replay["same"], true, "{replay:#}");
}

#[test]
fn what_a_person_did_has_nothing_to_weigh() {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let arms = [("v1", &*v1.url(), 100), ("v2", &*v2.url(), 0)];
    let gateway = Gateway::start(&(route("http", &arms) + PLANS));
    let id = start(&gateway, "half");
    gateway
        .admin
        .post(&format!("/v1/rollouts/{id}/revert"), &json!({}));

    let replay = gateway.admin.get(&format!("/v1/rollouts/{id}/replay"));

    assert_eq!((kinds(&replay).len(), &replay["same"]), (0, &json!(true)));
    let unknown = "/v1/rollouts/r-999/replay";
    let answer = gateway.admin.ask("GET", unknown, &[], &Value::Null);
    assert_eq!(answer.status, 404);
}
