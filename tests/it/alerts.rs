//! Rules that are broken and hold again: fired once, over once, and told to whom they name.

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::gateway::Gateway;
use crate::support::routes::route;

fn told(receiver: &Backend, kind: &str) -> Value {
    receiver.wait_for(kind, |requests| {
        let bodies = requests
            .iter()
            .map(|it| serde_json::from_slice::<Value>(&it.body));
        let mut bodies = bodies.filter_map(Result::ok);
        bodies.find(|body| body["kind"] == kind)
    })
}

#[test]
fn a_backend_that_fails_fires_an_alert_that_is_over_when_it_answers_again() {
    let receiver = Backend::fixed(204, "");
    let backend = Backend::fixed(500, "no");
    let text = route("http", &[("only", &backend.url(), 1)])
        + &format!(
            "notifiers: {{ team: {{ kind: json, url: \"{}\", events: [rollout_reverted] }}, other: {{ kind: log }} }}\n\
             alerts: [{{ name: fails, when: error_rate, route: all, above: 20%, for: 0s, notify: [team] }}]\n",
            receiver.url()
        );
    let gateway = Gateway::start(&text);
    let calls = || {
        let mut raw = gateway.connect();
        for _ in 0..40 {
            raw.ask("GET", "/", &[], b"");
        }
    };

    let active = gateway.admin.wait_for("/v1/status", |seen| {
        calls();
        seen["alerts"].get(0).cloned()
    });

    assert_eq!(
        (&active["alert"], &active["when"]),
        (&json!("fails"), &json!("error_rate"))
    );
    assert!(
        active["about"].to_string().contains("route all"),
        "{active}"
    );
    let fired = told(&receiver, "alert_fired");
    assert_eq!(fired["details"]["alert"], "fails", "{fired:#}");
    let page = gateway.admin.text("/metrics");
    assert!(
        page.contains("switchback_alert_active{alert=\"fails\"} 1"),
        "{page}"
    );
    backend.change(|exchange| {
        exchange.read_body();
        exchange.answer(200, &[], "yes");
    });

    told(&receiver, "alert_resolved");

    // The history has what is on disk.
    let fired = gateway.admin.wait_for("/v1/history", |seen| {
        let count = |kind: &str| {
            let events = seen["events"].as_array().unwrap().iter();
            events.filter(|it| it["kind"] == kind).count()
        };
        (count("alert_resolved") > 0).then(|| count("alert_fired"))
    });
    assert_eq!(fired, 1);
    assert_eq!(gateway.admin.get("/v1/status")["alerts"], json!([]));
}

#[test]
fn a_rollout_that_waits_for_somebody_too_long_is_an_alert() {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let arms = [("v1", &*v1.url(), 100), ("v2", &*v2.url(), 0)];
    let text = route("http", &arms) + "alerts: [{ name: nobody, when: held, for: 0s }]\n";
    let gateway = Gateway::start(&text);
    let wanted = json!({ "to": "v2", "stages": [{ "percent": 20, "for": "1h" }] });
    let started = gateway.admin.post("/v1/routes/all/rollouts", &wanted);
    let path = |action: &str| format!("/v1/rollouts/{}/{action}", started["id"].as_str().unwrap());

    gateway.admin.post(&path("pause"), &json!({}));

    let kind = |kind: &'static str| {
        move |seen: &Value| {
            let mut events = seen["events"].as_array().unwrap().iter();
            events.find(|it| it["kind"] == kind).cloned()
        }
    };
    let fired = gateway.admin.wait_for("/v1/history", kind("alert_fired"));
    assert!(fired["message"].to_string().contains("paused"), "{fired:#}");
    gateway.admin.post(&path("resume"), &json!({}));
    gateway
        .admin
        .wait_for("/v1/history", kind("alert_resolved"));
}

#[test]
fn what_an_alert_cannot_mean_is_told_with_its_place() {
    let base = "listeners: [{ address: 127.0.0.1:0 }]
backends: { v1: { endpoints: [\"http://127.0.0.1:3001\"] } }
routes: [{ name: all, split: { v1: 100 } }]
";
    let folder = tempfile::tempdir().unwrap();
    for (rule, said) in [
        ("when: latency_p99", "a time such as"),
        ("when: memory, above: 5%", "a size such as"),
        ("when: held, above: 5%", "no `above`"),
        ("when: error_rate, above: 2", "no share below 1"),
        ("when: connections, route: all", "not about routes"),
        ("when: error_rate, route: al", "no route `al`"),
        ("when: unhealthy, backend: v9", "no backend `v9`"),
        ("when: queue, notify: [team]", "no notifier `team`"),
    ] {
        let text = format!("{base}alerts: [{{ name: a, {rule} }}]\n");
        std::fs::write(folder.path().join("switchback.yaml"), text).unwrap();

        let checked = crate::support::gateway::run(&["check"], folder.path());

        let shown = String::from_utf8_lossy(&checked.stdout).replace(['\n', '│'], " ");
        let shown: Vec<&str> = shown.split_whitespace().collect();
        assert_eq!(checked.status.code(), Some(2), "{rule}");
        assert!(
            shown.join(" ").contains(said),
            "{rule}: {}",
            shown.join(" ")
        );
    }
}
