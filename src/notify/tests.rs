//! What is told, in which form, and what a queue does when it is full.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::model::NotifierName;

use super::spec::{EVENTS, NotifierKind, NotifierSpec};
use super::{Notice, Notifiers};

fn notice(sequence: u64, kind: &str) -> Notice {
    let body = json!({ "sequence": sequence, "kind": kind, "details": { "why": "manual" } });
    Notice {
        sequence,
        at: "2026-01-02T03:04:05.678Z".to_owned(),
        kind: kind.to_owned(),
        route: Some("search".parse().unwrap()),
        rollout: Some("r-7".parse().unwrap()),
        who: "ann".to_owned(),
        reason: Some("<!channel> & more".to_owned()),
        text: "rollout switched back: manual".to_owned(),
        body,
    }
}

fn spec(fields: &Value) -> NotifierSpec {
    serde_json::from_value(fields.clone()).unwrap()
}

fn told(kind: NotifierKind) -> Value {
    let message = notice(9, "rollout_reverted").message(kind, "/switchback/here");
    assert_eq!(message.key, "9-2026-01-02T03:04:05.678Z");
    assert_eq!(message.kind, "rollout_reverted");
    serde_json::from_slice(&message.body).unwrap()
}

#[test]
fn a_chat_gets_one_line_in_which_nothing_is_more_than_text() {
    let text = told(NotifierKind::Slack);

    assert_eq!(
        text,
        json!({ "text": "*search*: rollout switched back: manual (rollout r-7), by ann: \
                         &lt;!channel&gt; &amp; more" })
    );
}

#[test]
fn a_chat_never_gets_more_than_it_takes() {
    let mut long = notice(1, "config_refused");
    long.text = "é".repeat(10_000);

    let message = long.message(NotifierKind::Slack, "");

    let body: Value = serde_json::from_slice(&message.body).unwrap();
    assert_eq!(body["text"].as_str().unwrap().chars().count(), 2001);
}

#[test]
fn a_cloud_event_has_what_its_specification_asks_for() {
    let event = told(NotifierKind::Cloudevents);

    for (field, expected) in [
        ("specversion", "1.0"),
        ("id", "9-2026-01-02T03:04:05.678Z"),
        ("source", "/switchback/here"),
        ("type", "dev.switchback.rollout_reverted"),
        ("time", "2026-01-02T03:04:05.678Z"),
        ("subject", "routes/search"),
        ("datacontenttype", "application/json"),
    ] {
        assert_eq!(event[field], expected, "{field}");
    }
    assert_eq!(event["data"], told(NotifierKind::Json));
}

#[test]
fn a_notifier_wants_what_the_file_says() {
    let all = spec(&json!({ "kind": "log" }));
    let some = spec(&json!({
        "kind": "log", "events": ["rollout_*", "store_failed"], "routes": ["search"],
    }));
    let (search, other) = ("search".parse().unwrap(), "other".parse().unwrap());

    assert!(EVENTS.iter().all(|event| all.wants(event, Some(&other))));
    assert!(some.wants("rollout_reverted", Some(&search)));
    assert!(some.wants("store_failed", None));
    assert!(!some.wants("rollout_reverted", Some(&other)));
    assert!(!some.wants("weights_changed", Some(&search)));
}

#[test]
fn what_makes_no_sense_is_told_with_its_field() {
    let url = "https://a/";
    for (fields, field) in [
        (json!({ "kind": "json" }), ""),
        (json!({ "kind": "log", "url": url }), "url"),
        (
            json!({ "kind": "json", "url": url, "events": ["rollout_lost"] }),
            "events[0]",
        ),
        (
            json!({ "kind": "json", "url": url, "timeout": "99ms" }),
            "timeout",
        ),
        (
            json!({ "kind": "json", "url": url, "patience": "25h" }),
            "patience",
        ),
        (json!({ "kind": "json", "url": url, "queue": 0 }), "queue"),
        (
            json!({ "kind": "json", "url": url, "queue": 10_001 }),
            "queue",
        ),
        (
            json!({ "kind": "json", "url": url, "secret_env": "A", "secret_file": "a" }),
            "secret_env",
        ),
        (
            json!({ "kind": "json", "url": url, "secret_env": "hunter-2" }),
            "secret_env",
        ),
    ] {
        let problems = spec(&fields).problems();

        assert_eq!(problems.len(), 1, "{fields}: {problems:?}");
        assert_eq!(problems[0].0, field);
        assert!(!problems[0].1.contains("hunter"));
    }
    for good in [
        json!({ "kind": "slack", "url": url, "events": ["*"], "secret_env": "A_1" }),
        json!({ "kind": "log", "timeout": "1m", "patience": "0s", "queue": 10_000 }),
    ] {
        assert_eq!(spec(&good).problems(), []);
    }
}

#[tokio::test]
async fn a_full_queue_lets_go_of_the_oldest_and_a_removed_notifier_of_all() {
    let notifiers = Notifiers::default();
    let name: NotifierName = "team".parse().unwrap();
    let one = spec(&json!({ "kind": "json", "url": "http://127.0.0.1:9/", "queue": 3 }));
    notifiers.adopt(&BTreeMap::from([(name.clone(), one)]), Path::new("."));

    // Nothing else runs on this thread until this test waits.
    for sequence in 1..=5 {
        notifiers.tell(&Arc::new(notice(sequence, "rollout_paused")));
    }

    let status = notifiers.status();
    assert_eq!((status[0].waiting, status[0].dropped), (3, 2));
    notifiers.tell_to(
        &[name, "nobody".parse().unwrap()],
        &Arc::new(notice(6, "x")),
    );
    assert_eq!(notifiers.status()[0].dropped, 3);
    notifiers.adopt(&BTreeMap::new(), Path::new("."));
    assert!(notifiers.status().is_empty());
}

#[test]
fn waits_are_spread_around_what_they_should_be() {
    let wait = Duration::from_secs(10);

    for _ in 0..100 {
        let spread = super::courier::jittered(wait);
        assert!((wait / 2..=wait * 3 / 2).contains(&spread), "{spread:?}");
    }
}
