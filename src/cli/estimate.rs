//! What a rollout could find out, told before it starts.

use std::fmt::Write;

use super::api::{Api, ApiError};
use super::args::StartArgs;
use super::words::{self, Lean, Table};
use crate::admin::wire::{EstimateBody, StageEstimateBody};

/// Asks the gateway.
pub(super) async fn ask(api: &Api, args: &StartArgs) -> Result<EstimateBody, ApiError> {
    let mut path = format!("/v1/routes/{}/estimate?to={}", args.route, args.to);
    if let Some(plan) = &args.plan {
        let _ = write!(path, "&plan={plan}");
    }
    if !args.stages.is_empty() {
        let stages: Vec<_> = args.stages.iter().map(ToString::to_string).collect();
        let each = args.stage_duration.as_millis();
        let _ = write!(path, "&stages={}&for={each}ms", stages.join(","));
    }
    api.get(&path).await
}

/// All of it, for people.
pub(super) fn text(estimate: &EstimateBody) -> String {
    let mut text = format!(
        "{} -> {} on {}: {:.1} calls a second in the last {}, {} of stable's fail, p50 {}, p99 {}\n",
        estimate.stable,
        estimate.candidate,
        estimate.route,
        estimate.calls_per_second,
        words::span(estimate.measured_seconds),
        words::percent(estimate.error_rate * 100.0),
        words::latency_or_dash(estimate.p50_ms),
        words::latency_or_dash(estimate.p99_ms),
    );
    let mut table = Table::new(&[
        ("STAGE", Lean::Right),
        ("SHARE", Lean::Right),
        ("FOR", Lean::Right),
        ("CALLS", Lean::Right),
        ("TO PASS", Lean::Right),
        ("TAKES", Lean::Right),
        ("REVERTS ERRORS FROM", Lean::Left),
        ("SLOWDOWN FROM", Lean::Right),
    ]);
    for stage in &estimate.stages {
        table.row(row(stage));
    }
    text.push_str(&table.render("  "));
    for note in &estimate.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text.push_str("supposing that:\n");
    for each in &estimate.assumptions {
        let _ = writeln!(text, "  - {each}");
    }
    text
}

fn row(stage: &StageEstimateBody) -> [String; 8] {
    let dash = || "-".to_owned();
    let errors = stage.reverted_error_rate.map(|rate| {
        let ratio = stage.reverted_error_ratio;
        let ratio = ratio.map(|ratio| format!(", {ratio:.1} times stable's"));
        let points = stage.reverted_error_points.unwrap_or_default();
        format!(
            "{} (+{points:.2} points{})",
            words::percent(rate * 100.0),
            ratio.unwrap_or_default()
        )
    });
    [
        stage.stage.to_string(),
        words::percent(stage.percent),
        words::span(stage.for_seconds),
        words::count(stage.calls.round() as u64),
        stage.calls_needed.map_or_else(dash, words::count),
        stage.seconds_needed.map_or_else(dash, words::span),
        errors.unwrap_or_else(dash),
        stage
            .reverted_slowdown
            .map_or_else(dash, |slowdown| format!("x{slowdown:.2}")),
    ]
}
