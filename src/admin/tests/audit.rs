//! What is written down of calls, and what is not.

use std::path::PathBuf;

use crate::admin::wire::{AuditBody, AuditEntryBody, ErrorCode};

use super::access::{ADMIN, DEPLOYER, VIEWER, file};
use super::{Answer, Fixture};

const PUT: &str = "PUT /v1/routes/search/weights";

async fn entries(api: &Fixture, query: &str) -> Vec<AuditEntryBody> {
    let answer = api
        .ask_as(ADMIN, &format!("GET /v1/audit{query}"), "")
        .await;
    answer.json::<AuditBody>().entries
}

fn log(api: &Fixture) -> PathBuf {
    api.file
        .parent()
        .unwrap()
        .join("switchback-state/audit.jsonl")
}

async fn shift(api: &Fixture, token: &str, share: u32) -> Answer {
    let body = format!(r#"{{"weights": {{"search-v2": {share}}}, "reason": "first\ntaste"}}"#);
    api.ask_as(token, PUT, &body).await
}

#[tokio::test]
async fn a_change_is_on_disk_with_who_and_what_when_it_is_answered() {
    let api = Fixture::with(&file());

    assert_eq!(shift(&api, DEPLOYER, 7).await.status, 200);

    let text = std::fs::read_to_string(log(&api)).unwrap();
    let entry: AuditEntryBody = serde_json::from_str(text.trim_end()).unwrap();
    assert_eq!(
        (entry.who.as_str(), entry.role.as_deref()),
        ("dora", Some("deployer"))
    );
    assert_eq!((entry.method.as_str(), entry.status), ("PUT", Some(200)));
    assert_eq!(entry.path, "/v1/routes/{route}/weights");
    assert_eq!(entry.target.as_deref(), Some("search"));
    assert!(entry.source.starts_with("127.0.0.1:"));
    assert_eq!(entry.reason.as_deref(), Some("first\ntaste"));
    let weight = |standing: &Option<serde_json::Value>| {
        let standing = standing.as_ref().unwrap();
        (
            standing["weights"]["search-v2"].clone(),
            standing["generation"].clone(),
        )
    };
    let (before, after) = (weight(&entry.before), weight(&entry.after));
    assert_eq!((before.0, after.0), (0.into(), 7.into()));
    assert!(after.1.as_u64() > before.1.as_u64());
}

#[tokio::test]
async fn the_log_goes_where_a_reload_has_it_and_its_numbers_go_on() {
    let api = Fixture::with(&file());
    assert_eq!(shift(&api, DEPLOYER, 7).await.status, 200);
    let moved = file().replace(
        "admin:\n",
        "admin:\n  audit: { file: elsewhere/log.jsonl }\n",
    );
    std::fs::write(&api.file, moved).unwrap();

    let reloaded = api.ask_as(ADMIN, "POST /v1/config/reload", "{}").await;
    assert_eq!(reloaded.status, 200);
    assert_eq!(shift(&api, DEPLOYER, 8).await.status, 200);

    let lines = |path: &std::path::Path| {
        let text = std::fs::read_to_string(path).unwrap();
        let read = |line| serde_json::from_str::<AuditEntryBody>(line).unwrap();
        let entries: Vec<_> = text.lines().map(read).collect();
        entries.iter().map(|it| it.sequence).collect::<Vec<_>>()
    };
    let there = api.file.parent().unwrap().join("elsewhere/log.jsonl");
    assert_eq!((lines(&log(&api)), lines(&there)), (vec![1, 2], vec![3]));
    assert_eq!(entries(&api, "").await.len(), 1);
}

#[tokio::test]
async fn every_change_and_every_refusal_leaves_one_line_and_looking_none() {
    let api = Fixture::with(&file());
    let start = r#"{"to": "search-v2"}"#;
    for (token, line, body) in [
        (DEPLOYER, "POST /v1/routes/search/rollouts", start),
        (
            DEPLOYER,
            "POST /v1/rollouts/r-1/revert",
            r#"{"reason": "late"}"#,
        ),
        (DEPLOYER, "POST /v1/rollouts/r-1/revert", ""),
        (ADMIN, "POST /v1/config/reload", ""),
        (VIEWER, PUT, ""),
        ("wrong-0123456789abcdef", "GET /v1/status", ""),
        ("wrong-0123456789abcdef", "GET /nothing/\u{1b}", ""),
        (VIEWER, "GET /v1/status", ""),
        (VIEWER, "GET /nothing", ""),
    ] {
        let line = line.replace('\u{1b}', "%1b");
        api.ask_as(token, &line, body).await;
    }
    let evil = [
        ("origin", "http://evil.example"),
        ("x-switchback-who", "adam"),
    ];
    api.call("GET /v1/status", &evil, "").await;

    let entries = entries(&api, "").await;

    let told: Vec<_> = entries
        .iter()
        .rev()
        .map(|it| (it.who.as_str(), it.path.as_str(), it.status.unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("dora", "/v1/routes/{route}/rollouts", 201),
            ("dora", "/v1/rollouts/{id}/revert", 200),
            ("dora", "/v1/rollouts/{id}/revert", 409),
            ("adam", "/v1/config/reload", 200),
            ("vera", "/v1/routes/{route}/weights", 403),
            ("anonymous@loopback", "/v1/status", 401),
            ("anonymous@loopback", "-", 401),
            ("anonymous@loopback", "-", 403),
        ]
    );
    let numbers: Vec<_> = entries.iter().map(|it| it.sequence).collect();
    assert_eq!(numbers, [8, 7, 6, 5, 4, 3, 2, 1]);
    let reverted = entries[6].after.as_ref().unwrap();
    assert_eq!(
        (&reverted["rollout"], &reverted["state"]),
        (&"r-1".into(), &"reverted".into())
    );
    assert_eq!(entries[0].claimed.as_deref(), Some("adam"));
    assert_eq!(entries[0].code.as_deref(), Some("foreign_origin"));
}

#[tokio::test]
async fn pages_are_read_on_and_only_by_admins() {
    let api = Fixture::with(&file());
    for share in 1..=5 {
        shift(&api, DEPLOYER, share).await;
    }

    let first = entries(&api, "?limit=2").await;
    let then = entries(&api, "?limit=9&before=4").await;

    let numbers = |it: &[AuditEntryBody]| it.iter().map(|it| it.sequence).collect::<Vec<_>>();
    assert_eq!(numbers(&first), [5, 4]);
    assert_eq!(numbers(&then), [3, 2, 1]);
    for query in [
        "?limit=0",
        "?limit=1001",
        "?before=x",
        "?route=search",
        "?limit=1&limit=1",
    ] {
        let answer = api
            .ask_as(ADMIN, &format!("GET /v1/audit{query}"), "")
            .await;
        assert_eq!(answer.code(), ErrorCode::Invalid, "{query}");
    }
    let answer = api.ask_as(DEPLOYER, "GET /v1/audit", "").await;
    assert_eq!(answer.code(), ErrorCode::Forbidden);
}

#[tokio::test]
async fn no_call_breaks_a_line_of_the_log() {
    let api = Fixture::with(&file());
    let who = "x\u{202e}\u{1b}[31m";
    let fields = [
        ("authorization", "Bearer nobody-0123456789abcdef"),
        ("content-type", "application/json"),
    ];
    for path in [
        "/v1/routes/a%0d%0ab%1b%e2%80%ae/weights",
        "/v1/routes/x/weights",
    ] {
        api.call(&format!("PUT {path}"), &fields, who).await;
    }
    shift(&api, DEPLOYER, 3).await;

    let text = std::fs::read_to_string(log(&api)).unwrap();

    assert_eq!(text.lines().count(), 3);
    assert!(text.is_ascii() && !text.contains('\u{1b}') && !text.contains('\r'));
    assert!(
        !text.contains("0123456789abcdef"),
        "no token is written down: {text}"
    );
}

#[tokio::test]
async fn a_log_that_cannot_be_written_stops_no_revert_and_is_seen() {
    let elsewhere = tempfile::tempdir().unwrap();
    let blocked = elsewhere.path().join("blocked");
    std::fs::write(&blocked, "a file where a folder belongs").unwrap();
    let place = blocked.join("audit.jsonl");
    let config = file().replace(
        "admin:",
        &format!("admin:\n  audit: {{ file: {} }}", place.display()),
    );
    let api = Fixture::with(&config);

    let start = r#"{"to": "search-v2"}"#;
    api.ask_as(DEPLOYER, "POST /v1/routes/search/rollouts", start)
        .await;
    let reverted = api
        .ask_as(DEPLOYER, "POST /v1/rollouts/r-1/revert", "")
        .await;

    assert_eq!(reverted.status, 200, "{reverted:?}");
    let status = api.ask_as(VIEWER, "GET /v1/status", "").await.text;
    assert!(
        status.contains("the audit log") && status.contains("cannot be written"),
        "{status}"
    );
    let page = api.get("/metrics").await.text;
    assert!(page.contains("switchback_audit_healthy"));
}

#[tokio::test]
async fn where_nobody_is_known_the_log_has_where_they_were() {
    let api = Fixture::start();
    let fields = [
        ("content-type", "application/json"),
        ("x-switchback-who", "cli:ann"),
    ];

    api.call(PUT, &fields, r#"{"weights": {"search-v2": 7}}"#)
        .await;

    let audit: AuditBody = api.get("/v1/audit").await.json();
    assert_eq!(audit.entries[0].who, "anonymous@loopback");
    assert_eq!(audit.entries[0].claimed.as_deref(), Some("cli:ann"));
}
