//! Hooks along a rollout: who keeps gates, what commands do, and what a restart does to both.

use std::fs;

use serde_json::{Value, json};

use crate::support::backend::{Backend, Exchange};
use crate::support::gate::Gate;
use crate::support::gateway::Gateway;
use crate::support::routes::route_with;

struct House {
    gateway: Gateway,
    _v1: Backend,
    v2: Backend,
}

/// A gateway whose plan `p` has these hooks, in this order.
fn house(hooks: &[(&str, &str)]) -> House {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let arms = [("v1", &*v1.url(), 100), ("v2", &*v2.url(), 0)];
    let names: Vec<&str> = hooks.iter().map(|(name, _)| *name).collect();
    let each: Vec<String> = hooks
        .iter()
        .map(|(n, it)| format!("{n}: {{ {it} }}"))
        .collect();
    let text = route_with("http", &arms, &["plan: p", "sticky: [{ header: x-user }]"])
        + &format!(
            "plans: {{ p: {{ stages: [{{ percent: 50, for: 1h }}], hooks: [{}] }} }}\nhooks: {{ {} }}\n",
            names.join(", "),
            each.join(", ")
        );
    House {
        gateway: Gateway::start(&text),
        _v1: v1,
        v2,
    }
}

impl House {
    fn start(&self) -> String {
        let wanted = json!({ "to": "v2", "reason": "ticket 7" });
        let started = self.gateway.admin.post("/v1/routes/all/rollouts", &wanted);
        format!("/v1/rollouts/{}", started["id"].as_str().unwrap())
    }

    fn until(&self, path: &str, state: &str) {
        let is = |seen: &Value| (seen["state"] == state).then_some(());
        self.gateway.admin.wait_for(path, is);
    }

    fn act(&self, path: &str, action: &str) {
        let path = format!("{path}/{action}");
        self.gateway.admin.post(&path, &json!({}));
    }

    /// The first event of a kind, the latest first, once there is one with what `fact` finds.
    fn event(&self, kind: &str, mut fact: impl FnMut(&Value) -> bool) -> Value {
        self.gateway.admin.wait_for("/v1/history", |seen| {
            let events = seen["events"].as_array().expect("events");
            let found = events.iter().find(|it| it["kind"] == kind && fact(it));
            found.cloned()
        })
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.gateway.folder().join(name)).unwrap_or_default()
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

fn says(exchange: &mut Exchange, status: u16, text: &str) {
    exchange.read_body();
    exchange.answer(status, &[("connection", "close")], text);
}

#[test]
fn a_gate_that_is_not_ready_is_asked_again_until_it_opens() {
    let desk = Backend::start(|exchange| says(exchange, 425, "not yet"));
    let house = house(&[("desk", &*format!("url: \"{}/hunter2\"", desk.url()))]);
    let path = house.start();

    desk.wait_for_requests(2);
    assert_eq!(house.gateway.admin.get(&path)["state"], "awaiting_gate");
    assert!(house.calls(50).iter().all(|answer| answer == "v1"));
    desk.change(|exchange| says(exchange, 200, "go"));

    house.until(&path, "running");
    let asked = desk.requests()[0].json();
    for (field, expected) in [
        ("hook", "desk"),
        ("point", "confirm_start"),
        ("route", "all"),
        ("stable", "v1"),
        ("candidate", "v2"),
        ("reason", "ticket 7"),
    ] {
        assert_eq!(asked[field], expected, "{asked:#}");
    }
    let ended = house.event("hook_ended", |_| true);
    assert_eq!(ended["details"]["result"], "ok", "{ended:#}");
    let keys: Vec<_> = desk
        .requests()
        .iter()
        .map(|it| it.fields.get("idempotency-key").map(str::to_owned))
        .collect();
    assert!(keys.windows(2).all(|pair| pair[0] == pair[1]), "{keys:?}");
}

#[test]
fn a_no_keeps_a_rollout_from_starting_and_nobody_gets_the_candidate() {
    let desk = Backend::start(|exchange| says(exchange, 403, "the shop is closed"));
    let house = house(&[("desk", &*format!("url: \"{}\"", desk.url()))]);

    let path = house.start();

    house.until(&path, "aborted");
    let ended = house.event("hook_ended", |_| true);
    assert_eq!(ended["details"]["result"], "refused");
    assert!(
        ended["message"].to_string().contains("the shop is closed"),
        "{ended:#}"
    );
    assert_eq!(desk.requests().len(), 1);
    assert!(house.v2.requests().is_empty());
}

#[test]
fn no_answer_ends_as_the_file_says() {
    for (says, state) in [
        ("hold", "paused"),
        ("abort", "aborted"),
        ("ignore", "running"),
    ] {
        let hook = format!("url: \"http://127.0.0.1:1/\", patience: 0s, on_failure: {says}");
        let house = house(&[("desk", &*hook)]);

        let path = house.start();

        house.until(&path, state);
        let ended = house.event("hook_ended", |_| true);
        assert_eq!(ended["details"]["result"], "failed", "{says}");
    }
}

#[test]
fn a_keeper_that_asks_for_a_wait_without_end_has_not_answered() {
    let desk = Backend::start(|exchange| {
        exchange.read_body();
        let never = u64::MAX.to_string();
        exchange.answer(503, &[("retry-after", &*never)], "");
    });
    let house = house(&[(
        "desk",
        &*format!("url: \"{}\", on_failure: abort", desk.url()),
    )]);

    let path = house.start();

    house.until(&path, "aborted");
}

#[test]
fn a_gate_that_hangs_holds_up_no_revert_and_is_asked_no_more() {
    let gate = Gate::new();
    let held = gate.clone();
    let desk = Backend::start(move |exchange| {
        exchange.read_body();
        held.wait();
    });
    let hook = format!(
        "url: \"{}\", on: [confirm_start, pre_revert, event], timeout: 1m",
        desk.url()
    );
    let house = house(&[("desk", &*hook)]);
    let path = house.start();
    desk.wait_for("the question", |asked| {
        let is_gate = |it: &crate::support::backend::Request| {
            it.fields.get("x-switchback-event") == Some("confirm_start")
        };
        asked.iter().any(is_gate).then_some(())
    });

    house.act(&path, "revert");

    house.until(&path, "reverted");
    assert!(house.calls(50).iter().all(|answer| answer == "v1"));
    desk.wait_for("the notice", |asked| {
        let told = asked
            .iter()
            .any(|it| it.fields.get("x-switchback-event") == Some("pre_revert"));
        told.then_some(())
    });
    gate.open();
}

/// A command that writes down what it is run for.
const WRITES: &str = "up: [sh, -c, 'echo up $SWITCHBACK_ROUTE $SWITCHBACK_CANDIDATE $SWITCHBACK_POINT >> log; echo done'], \
     down: [sh, -c, 'echo down $SWITCHBACK_REASON >> log']";

#[test]
fn a_command_runs_before_the_start_and_another_after_the_way_back() {
    let house = house(&[("schema", WRITES)]);

    let path = house.start();

    house.until(&path, "running");
    assert_eq!(house.file("log"), "up all v2 confirm_start\n");
    let ended = house.event("hook_ended", |_| true);
    assert_eq!(ended["details"]["exit_code"], 0, "{ended:#}");
    assert_eq!(ended["details"]["output"], "done", "{ended:#}");
    house.act(&path, "revert");
    house.event("hook_ended", |it| it["details"]["point"] == "down");
    assert_eq!(house.file("log"), "up all v2 confirm_start\ndown manual\n");
    // The next one may start, and migrates again.
    let wanted = json!({ "to": "v2", "force": true });
    let again = house.gateway.admin.post("/v1/routes/all/rollouts", &wanted);
    house.until(
        &format!("/v1/rollouts/{}", again["id"].as_str().unwrap()),
        "running",
    );
    assert_eq!(house.file("log").lines().count(), 3);
}

#[test]
fn a_command_that_fails_holds_the_rollout_and_its_down_is_not_run() {
    let script = "up: [sh, -c, 'echo oh no; test -e ready'], down: [sh, -c, 'echo down >> log']";
    let house = house(&[("schema", script)]);
    let path = house.start();
    house.until(&path, "paused");
    let ended = house.event("hook_ended", |_| true);
    assert_eq!(
        (&ended["details"]["exit_code"], &ended["details"]["output"]),
        (&json!(1), &json!("oh no"))
    );
    assert!(house.v2.requests().is_empty());

    fs::write(house.gateway.folder().join("ready"), "").unwrap();
    house.act(&path, "resume");

    house.until(&path, "running");
    house.act(&path, "abort");
    house.event("hook_ended", |it| it["details"]["point"] == "down");
    assert_eq!(house.file("log"), "down\n");
}

#[test]
fn hooks_of_one_gate_have_their_turns_in_the_order_of_the_plan() {
    let desk = Backend::start(|exchange| says(exchange, 200, ""));
    let asks = format!("url: \"{}\", on: [confirm_start, pre_stage]", desk.url());
    let house = house(&[
        ("zed", "up: [sh, -c, 'echo zed >> log']"),
        ("desk", &*asks),
        (
            "abe",
            "up: [sh, -c, 'echo abe >> log'], on: [pre_stage, confirm_start]",
        ),
    ]);

    let path = house.start();

    house.until(&path, "running");
    assert_eq!(house.file("log"), "zed\nabe\nabe\n");
    let points: Vec<Value> = desk
        .requests()
        .iter()
        .map(|it| it.json()["point"].clone())
        .collect();
    assert_eq!(points, ["confirm_start", "pre_stage"]);
}

#[test]
fn a_command_under_a_kill_is_run_again_only_where_the_file_says_so() {
    for (idempotent, state, runs) in [(false, "paused", 1), (true, "running", 2)] {
        // It waits for a file that is there after the kill.
        let script = format!(
            "idempotent: {idempotent}, up: [sh, -c, 'echo begun >> log; until test -e ready; do sleep 0.05; done']"
        );
        let mut house = house(&[("schema", &*script)]);
        let path = house.start();
        house.event("hook_started", |_| true);
        // Looked at beside the status, which nothing changes in the meantime.
        let begun = |_: &Value| (!house.file("log").is_empty()).then_some(());
        house.gateway.admin.wait_for("/v1/status", begun);

        house.gateway.kill();
        fs::write(house.gateway.folder().join("ready"), "").unwrap();
        house.gateway.start_again();

        house.until(&path, state);
        assert_eq!(
            house.file("log").lines().count(),
            runs,
            "idempotent: {idempotent}"
        );
        if !idempotent {
            let ended = house.event("hook_ended", |_| true);
            assert!(
                ended["message"].to_string().contains("idempotent"),
                "{ended:#}"
            );
        }
    }
}

#[test]
fn a_command_goes_on_to_its_end_when_the_gateway_is_gone() {
    let script = "up: [sh, -c, 'echo begun >> log; until test -e ready; do sleep 0.05; done; \
         for n in 1 2 3; do echo $n; echo $n >&2; done; echo whole >> log; mv log whole']";
    let mut house = house(&[("schema", script)]);
    house.start();
    house.gateway.admin.wait_for("/v1/status", |_| {
        (!house.file("log").is_empty()).then_some(())
    });

    house.gateway.kill();
    fs::write(house.gateway.folder().join("ready"), "").unwrap();
    house.gateway.start_again();

    // Looked at beside the status, which has nothing to do with it.
    let is_whole = |_: &Value| (!house.file("whole").is_empty()).then_some(());
    house.gateway.admin.wait_for("/v1/status", is_whole);
    assert_eq!(house.file("whole"), "begun\nwhole\n");
}

#[test]
fn behind_a_point_of_no_return_a_bad_candidate_is_held_and_a_person_may_still_revert() {
    let house = house(&[("drop", "up: ['true'], irreversible: true")]);
    let path = house.start();
    house.until(&path, "running");
    house.v2.change(|exchange| says(exchange, 500, "broken"));

    house.gateway.admin.wait_for(&path, |seen| {
        house.calls(100);
        (seen["state"] == "paused").then_some(())
    });

    let held = house.event("rollout_held", |_| true);
    assert_eq!(held["details"]["why"], "error_rate_high", "{held:#}");
    assert_eq!(held["details"]["hook"], "drop");
    let history = house.gateway.admin.get("/v1/history");
    let count = |kind: &str| {
        let events = history["events"].as_array().unwrap().iter();
        events.filter(|it| it["kind"] == kind).count()
    };
    assert_eq!(
        (count("rollout_held"), count("rollout_reverted")),
        (1, 0),
        "{history:#}"
    );
    house.act(&path, "revert");
    house.until(&path, "reverted");
    assert!(house.calls(50).iter().all(|answer| answer == "v1"));
}

#[test]
fn behind_a_point_of_no_return_a_hook_that_ends_a_rollout_holds_it_with_one_alarm() {
    let ends = "url: \"http://127.0.0.1:1/\", on: [pre_stage], patience: 0s, on_failure: abort";
    let house = house(&[("drop", "up: ['true'], irreversible: true"), ("desk", ends)]);

    let path = house.start();

    let held = house.event("rollout_held", |_| true);
    assert_eq!(held["details"]["why"], "gate_refused", "{held:#}");
    house.until(&path, "paused");
    let count = |seen: &Value, kind: &str| {
        let events = seen["events"].as_array().unwrap().iter();
        events.filter(|it| it["kind"] == kind).count()
    };
    house.act(&path, "resume");
    let history = house.gateway.admin.wait_for("/v1/history", |seen| {
        (count(seen, "rollout_paused") == 2).then(|| seen.clone())
    });
    assert_eq!(count(&history, "rollout_held"), 1, "{history:#}");
    assert_eq!(house.gateway.admin.get(&path)["state"], "paused");
}

#[test]
fn a_person_tries_a_hook_and_no_rollout_hears_of_it() {
    let desk = Backend::start(|exchange| says(exchange, 200, "go"));
    let house = house(&[
        ("desk", &*format!("url: \"{}/secret\"", desk.url())),
        ("schema", WRITES),
    ]);

    let tried = house.gateway.cli(&["hook", "test", "desk"]);

    assert_eq!(tried.code, Some(0), "{tried:?}");
    assert!(
        tried.stdout.contains("200") && tried.stdout.contains("go"),
        "{tried:?}"
    );
    let asked = &desk.requests()[0];
    assert_eq!(asked.fields.get("x-switchback-event"), Some("test"));
    let body = asked.json();
    assert_eq!(
        (&body["test"], &body["point"]),
        (&json!(true), &json!("test"))
    );
    desk.change(|exchange| says(exchange, 403, "closed"));
    let refused = house.gateway.cli(&["hook", "test", "desk"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stdout.contains("would not open a gate"),
        "{refused:?}"
    );
    assert_eq!(house.gateway.cli(&["hook", "test", "schema"]).code, Some(5));
    assert_eq!(house.gateway.cli(&["hook", "test", "nobody"]).code, Some(5));
    assert_eq!(house.file("log"), "", "commands are not run");
    let history = house.gateway.admin.text("/v1/history");
    assert!(!history.contains("hook"), "{history}");
}

#[test]
fn a_hook_that_is_not_there_is_a_mistake_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let text = "listeners: [{ address: 127.0.0.1:0 }]
backends: { v1: { endpoints: [\"http://127.0.0.1:3001\"] } }
routes: [{ name: all, split: { v1: 100 } }]
plans: { p: { stages: [{ percent: 5, for: 1m }], hooks: [desk, desk] } }
hooks: { other: { url: \"https://u:hunter2@a/hunter3\" } }
";
    fs::write(folder.path().join("switchback.yaml"), text).unwrap();

    let checked = crate::support::gateway::run(&["check"], folder.path());

    let said = String::from_utf8_lossy(&checked.stdout) + String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.status.code(), Some(2));
    assert!(!said.contains("hunter"), "{said}");
}
