//! The board in lines, for a pipeline's log.

use tokio::time::Instant;

use super::banner;
use super::board::{Board, VERSIONS};
use super::view::latencies;
use crate::cli::words::{self, Lean, Table};

/// One line on how things are.
pub(super) fn line(board: &Board, now: Instant) -> String {
    let [stable, new] = board.now(now);
    let rollout = board.rollout().map_or_else(
        || "no rollout".to_owned(),
        |rollout| {
            let stands = rollout.state.as_str().replace('_', " ");
            let evidence = rollout
                .verdict
                .as_ref()
                .map_or_else(String::new, |verdict| {
                    format!(", evidence {}", words::evidence(verdict.evidence))
                });
            let stage = rollout.stage.map_or_else(String::new, |stage| {
                format!(", stage {stage}/{}", rollout.stages.len())
            });
            format!("{stands}{stage}{evidence}")
        },
    );
    let arm = |name: &str, now: &super::board::Now| {
        let [p50, p95, _] = latencies(now);
        let errors = words::percent(now.error_percent);
        format!(
            "{name} {:>4.0}/s {errors:>5} bad p50 {p50} p95 {p95}",
            now.per_second
        )
    };
    format!(
        "{:>4.0}s  v2 gets {:>4}  {}  {}  lost {}  {rollout}",
        (now - board.started).as_secs_f64(),
        words::percent(board.split_percent()),
        arm("v1", &stable),
        arm("v2", &new),
        board.lost,
    )
}

/// The table at the end.
pub(super) fn summary(board: &Board, now: Instant) -> String {
    let mut table = Table::new(&[
        ("VERSION", Lean::Left),
        ("CALLS", Lean::Right),
        ("ERRORS", Lean::Right),
        ("P50", Lean::Right),
        ("P95", Lean::Right),
        ("P99", Lean::Right),
        ("SESSIONS", Lean::Right),
    ]);
    for ((name, arm), now) in VERSIONS.iter().zip(&board.arms).zip(board.now(now)) {
        let [p50, p95, p99] = latencies(&now);
        let (calls, errors) = (words::count(arm.calls), words::count(arm.errors));
        table.row([
            (*name).to_owned(),
            calls,
            errors,
            p50,
            p95,
            p99,
            arm.sessions.to_string(),
        ]);
    }
    let mut text = format!("\n{}", table.render(""));
    match &board.ending {
        Some(ending) => text.extend(
            banner::sentences(board, ending)
                .iter()
                .map(|said| format!("\n{}", said.trim())),
        ),
        None => text.push_str("\nThe demo was over before the rollout was."),
    }
    text
}
