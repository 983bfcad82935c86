//! What the history keeps of the tools of a rollout.

use std::rc::Rc;
use std::time::Duration;

use crate::control::{Cooldown, Event, HistoryFilter, RolloutAction, ToolsRecord, ToolsSince};
use crate::model::{BackendName, Outcome, Role};
use crate::stats::ToolCounts;

use super::rig::{FILE, Rig, backend, route};

/// Calls of a tool that ended so, at the backend of that place: v1 or v2.
fn call(rig: &Rig, tool: &str, (place, outcome): (usize, Outcome), calls: u64) {
    let board = rig.registry.tools(&route("search"));
    board.hold_at_most(64);
    let backends: Rc<[BackendName]> = [backend("v1"), backend("v2")].into();
    let counts = ToolCounts::new(board, 0, backends);
    let shard = counts.of(Some(tool)).at(place).unwrap();
    for _ in 0..calls {
        shard.begin();
        shard.end(outcome, Duration::from_millis(1));
    }
}

async fn latest(rig: &Rig) -> Event {
    let filter = HistoryFilter {
        limit: 1,
        ..HistoryFilter::default()
    };
    rig.history(filter).await.remove(0)
}

/// Tool, calls and errors of stable, calls and errors of the candidate.
fn read(record: &ToolsRecord) -> Vec<(Option<&str>, [u64; 4])> {
    let row = |tool: &crate::control::ToolRecord| {
        let (stable, candidate) = (tool.stable, tool.candidate);
        [
            stable.calls,
            stable.errors,
            candidate.calls,
            candidate.errors,
        ]
    };
    let rows = record.tools.iter();
    rows.map(|tool| (tool.tool.as_deref(), row(tool))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_is_over_tells_its_own_calls_and_the_end_those_of_the_rollout() {
    let rig = Rig::new();
    call(&rig, "find", (0, Outcome::Success), 1000);
    let id = rig.start(Cooldown::Respect).await.unwrap();
    rig.count_stable(100);
    rig.pass(Duration::from_secs(2)).await;
    call(&rig, "find", (0, Outcome::Success), 8);
    call(&rig, "find", (1, Outcome::Success), 2);

    while latest(&rig).await.what.kind() != "rollout_advanced" {
        rig.good_second();
        rig.pass(Duration::from_secs(1)).await;
    }
    let advanced = latest(&rig).await;
    call(&rig, "find", (1, Outcome::ToolError), 5);
    rig.act(id, RolloutAction::Revert).await.unwrap().unwrap();
    let reverted = latest(&rig).await;

    let stage = advanced.tools.unwrap();
    assert_eq!(stage.of, ToolsSince::Stage);
    assert_eq!(read(&stage), [(Some("find"), [8, 0, 2, 0])]);
    let rollout = reverted.tools.unwrap();
    assert_eq!(rollout.of, ToolsSince::Rollout);
    assert_eq!(read(&rollout), [(Some("find"), [8, 0, 7, 5])]);
    assert!(
        stage.since == rollout.since,
        "the first stage began with the rollout"
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_calls_are_told_from_there_and_what_was_told_stays() {
    let rig = Rig::new();
    rig.start(Cooldown::Respect).await.unwrap();
    call(&rig, "find", (0, Outcome::Success), 8);
    rig.pass(Duration::from_mins(1)).await;
    let told = latest(&rig).await;
    assert_eq!(told.what.kind(), "rollout_extended");
    assert_eq!(
        read(told.tools.as_ref().unwrap()),
        [(Some("find"), [8, 0, 0, 0])]
    );

    let rig = Rig::over(rig.stop().await, FILE);
    assert_eq!(latest(&rig).await, told, "as it was");
    call(&rig, "find", (1, Outcome::ToolError), 3);
    rig.calls(Role::Stable, Outcome::Success, 200);
    rig.let_the_candidate_fail();
    rig.pass(Duration::from_secs(2)).await;

    let reverted = latest(&rig).await;
    assert_eq!(reverted.what.kind(), "rollout_reverted");
    let tools = reverted.tools.unwrap();
    assert_eq!(read(&tools), [(Some("find"), [0, 0, 3, 3])]);
    assert!(tools.since >= told.at);
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_rollout_without_calls_of_tools_has_no_table() {
    let rig = Rig::new();
    let id = rig.start(Cooldown::Respect).await.unwrap();
    rig.act(id, RolloutAction::Abort).await.unwrap().unwrap();

    let aborted = latest(&rig).await;

    assert_eq!(aborted.tools, None);
    let row = serde_json::to_string(&aborted).unwrap();
    assert!(!row.contains("tools"), "{row}");
}

#[test]
fn what_was_written_before_tools_were_told_can_be_read() {
    let row = r#"{"sequence":3,"at":"2026-11-21T04:31:27.000Z","generation":4,"route":"search",
        "rollout":"r-1","who":"ann","kind":"rollout_promoted"}"#;

    let event: Event = serde_json::from_str(row).unwrap();

    assert_eq!((event.what.kind(), event.tools), ("rollout_promoted", None));
}
