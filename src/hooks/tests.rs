//! Commands that end well, badly, late and loudly; what the file may say of a hook.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::command::{Ran, Run};
use super::runner::Ended;
use super::spec::{HookSpec, Point};

async fn run(script: &str, time: Duration) -> Ran {
    let run = Run {
        words: ["sh", "-c", script].map(str::to_owned).to_vec(),
        folder: PathBuf::from("/"),
        pass: Vec::new(),
        facts: vec![("SWITCHBACK_ROUTE", "search".to_owned())],
        time,
    };
    run.to_its_end().await
}

const LONG: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_command_says_how_it_ended_and_what_it_printed() {
    let ran = run("echo out; echo err >&2; pwd", LONG).await;
    assert_eq!((ran.ended, ran.exit_code), (Ended::Opened, Some(0)));
    assert!(
        ran.output.contains("out") && ran.output.contains("err"),
        "{}",
        ran.output
    );

    let ran = run(
        "echo $SWITCHBACK_ROUTE ${CARGO_MANIFEST_DIR:-clean}; exit 3",
        LONG,
    )
    .await;
    assert_eq!(ran.exit_code, Some(3));
    assert!(matches!(ran.ended, Ended::Failed(_)));
    assert_eq!(ran.output, "search clean");
}

#[tokio::test]
async fn a_command_that_cannot_be_started_has_failed() {
    let run = Run {
        words: vec!["/nowhere/at/all".to_owned()],
        folder: PathBuf::from("/"),
        pass: Vec::new(),
        facts: Vec::new(),
        time: LONG,
    };

    let ran = run.to_its_end().await;

    let Ended::Failed(why) = ran.ended else {
        panic!("{ran:?}");
    };
    assert!(why.contains("/nowhere/at/all"), "{why}");
}

#[tokio::test]
async fn only_the_end_of_much_output_is_kept() {
    let ran = run("yes | head -c 1000000; echo the end", LONG).await;

    assert_eq!(ran.exit_code, Some(0));
    assert!(ran.output.ends_with("the end") && ran.output.starts_with('…'));
    assert!(ran.output.len() <= 16 * 1024 + 3);
}

#[tokio::test]
async fn a_command_whose_time_is_over_is_ended_with_all_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("child");
    let script = format!("sleep 1000 & echo $! > {}; wait", mark.display());

    let ran = run(&script, Duration::from_millis(500)).await;

    assert!(
        matches!(&ran.ended, Ended::Failed(why) if why.contains("500ms")),
        "{ran:?}"
    );
    let child = std::fs::read_to_string(&mark).unwrap_or_default();
    if let Ok(child) = child.trim().parse() {
        // A signal is sent before it has worked.
        for _ in 0..6000 {
            if is_gone(child) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("process {child} goes on");
    }
}

/// Whether a process has ended; whoever adopts orphans may not have collected it yet.
fn is_gone(process: i32) -> bool {
    let pid = rustix::process::Pid::from_raw(process).unwrap();
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let is_there = rustix::process::test_kill_process(pid).is_ok();
    !is_there || state.is_empty() || state.contains(") Z") || state.contains(") X")
}

#[test]
fn what_makes_no_sense_is_told_with_its_field() {
    let url = "https://a/";
    for (fields, field) in [
        (json!({}), ""),
        (json!({ "url": url, "up": ["a"] }), "url"),
        (json!({ "url": url, "on": [] }), "on"),
        (json!({ "url": url, "on": ["event", "event"] }), "on[1]"),
        (json!({ "up": ["a"], "on": ["post_revert"] }), "on[0]"),
        (json!({ "up": [""] }), "up"),
        (json!({ "up": ["a"], "env": ["A=hunter2"] }), "env"),
        (
            json!({ "up": ["a"], "down": ["b"], "irreversible": true }),
            "irreversible",
        ),
        (json!({ "url": url, "idempotent": true }), "idempotent"),
        (json!({ "url": url, "timeout": "2m" }), "timeout"),
        (json!({ "url": url, "patience": "8d" }), "patience"),
    ] {
        let spec: HookSpec = serde_json::from_value::<HookSpec>(fields.clone()).unwrap();
        let problems = spec.problems();

        assert_eq!(problems.len(), 1, "{fields}: {problems:?}");
        assert_eq!(problems[0].0, field);
        assert!(!problems[0].1.contains("hunter"));
    }
    let good: Value = json!({ "up": ["a", "b"], "timeout": "2m", "down": ["c"], "env": ["URL"] });
    let good: HookSpec = serde_json::from_value(good).unwrap();
    assert_eq!(good.problems(), []);
    assert_eq!(
        (good.on.as_slice(), good.time()),
        (&[Point::ConfirmStart][..], Duration::from_mins(2))
    );
}
