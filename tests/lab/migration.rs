//! The migration of `examples/migration`, run by the real binary with Python's `SQLite`: forth at the
//! start, back after a bad candidate.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::gateway::Gateway;
use crate::support::routes::route_with;

const HOOK: &str = "plans: { migrating: { stages: [{ percent: 50, for: 1h }], hooks: [schema] } }
hooks: { schema: { up: [python3, migrate.py, notes.db, up], down: [python3, migrate.py, notes.db, down, '1'], idempotent: true } }
";

fn python(folder: &Path, words: &[&str]) -> String {
    let output = Command::new("python3")
        .args(words)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every statement that makes up the schema, and the version.
fn schema(folder: &Path) -> String {
    let script = "import sqlite3; it = sqlite3.connect('notes.db'); \
         print(it.execute('SELECT sql FROM sqlite_schema').fetchall(), it.execute('PRAGMA user_version').fetchone())";
    python(folder, &["-c", script])
}

#[test]
fn a_migration_goes_forth_with_a_rollout_and_back_with_its_revert() {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(500, "v2"));
    let arms = [("v1", &*v1.url(), 100), ("v2", &*v2.url(), 0)];
    let text = route_with(
        "http",
        &arms,
        &["plan: migrating", "sticky: [{ header: x-user }]"],
    );
    let gateway = Gateway::start(&(text + HOOK));
    let folder = gateway.folder();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/migration/migrate.py");
    fs::copy(example, folder.join("migrate.py")).unwrap();
    for words in [&["up"][..], &["down", "1"], &["down", "1"]] {
        python(folder, &[&["migrate.py", "notes.db"], words].concat());
    }
    let before = schema(folder);
    assert!(!before.contains("author"), "{before}");

    let started = gateway
        .admin
        .post("/v1/routes/all/rollouts", &json!({ "to": "v2" }));
    let path = format!("/v1/rollouts/{}", started["id"].as_str().unwrap());
    gateway
        .admin
        .wait_for(&path, |seen| (seen["state"] == "running").then_some(()));
    assert!(schema(folder).contains("author"));
    gateway.admin.wait_for(&path, |seen| {
        let mut raw = gateway.connect();
        for n in 0..100 {
            raw.ask("GET", "/", &[("x-user", &format!("user-{n}"))], b"");
        }
        (seen["state"] == "reverted").then_some(())
    });

    let down = |seen: &Value| {
        let events = seen["events"].as_array().unwrap().iter();
        let mut ended = events.filter(|it| it["kind"] == "hook_ended");
        ended.find(|it| it["details"]["point"] == "down").cloned()
    };
    let down = gateway.admin.wait_for("/v1/history", down);
    assert_eq!(down["details"]["exit_code"], 0, "{down:#}");
    assert_eq!(schema(folder), before);
}
