//! `switchback tools`: how the tools of a route do.

use super::api::{Api, ApiError};
use super::failure::{Exit, Failure};
use super::output::Output;
use super::status::bad_percent;
use super::words::{self, Lean, Table};
use crate::admin::wire::{
    ToolArmBody, ToolArmRecordBody, ToolsBody, ToolsRecordBody, ToolsSinceBody,
};
use crate::model::RouteName;

/// `switchback tools ROUTE`
pub(super) async fn show(api: Api, route: RouteName, output: Output) -> Result<Exit, Failure> {
    let path = format!("/v1/routes/{route}/tools");
    let refused = |error: ApiError| error.failure(api.origin(), "read the tools");
    let tools: ToolsBody = api.get(&path).await.map_err(refused)?;
    output.answer(&tools, text)?;
    Ok(Exit::Done)
}

fn text(body: &ToolsBody) -> String {
    if body.tools.is_empty() {
        return format!("route {}: no tool was called\n", body.route);
    }
    let mut table = Table::new(&[
        ("TOOL", Lean::Left),
        ("BACKEND", Lean::Left),
        ("CALLS", Lean::Right),
        ("ERRORS", Lean::Right),
        ("IN FLIGHT", Lean::Right),
        ("P50", Lean::Right),
        ("P95", Lean::Right),
        ("P99", Lean::Right),
    ]);
    for tool in &body.tools {
        for arm in &tool.arms {
            table.row(cells(&shown(&tool.tool), arm));
        }
    }
    format!("route {}\n{}", body.route, table.render("  "))
}

/// What the tools did on both versions of a rollout, to stand under an event of its history.
pub(super) fn under_event(record: &ToolsRecordBody) -> String {
    let mut table = Table::new(&[
        ("TOOL", Lean::Left),
        ("VERSION", Lean::Left),
        ("CALLS", Lean::Right),
        ("ERRORS", Lean::Right),
        ("P50", Lean::Right),
        ("P99", Lean::Right),
    ]);
    for tool in &record.tools {
        table.row(record_cells(&shown(&tool.tool), "stable", &tool.stable));
        table.row(record_cells("", "candidate", &tool.candidate));
    }
    let of = match record.of {
        ToolsSinceBody::Stage => "stage",
        ToolsSinceBody::Rollout => "rollout",
    };
    let since = words::moment(&record.since);
    let indent = "    ";
    let rows = table.render(indent);
    format!("{indent}tools since the {of} began ({since})\n{rows}")
}

fn record_cells(tool: &str, version: &str, arm: &ToolArmRecordBody) -> [String; 6] {
    let errors = match arm.calls {
        0 => "-".to_owned(),
        calls => words::percent(arm.errors as f64 * 100.0 / calls as f64),
    };
    [
        tool.to_owned(),
        version.to_owned(),
        words::count(arm.calls),
        errors,
        words::latency_or_dash(arm.p50_ms),
        words::latency_or_dash(arm.p99_ms),
    ]
}

/// A name as it may be shown, whatever a gateway calls one.
fn shown(name: &str) -> String {
    let mark = |c: char| {
        let plain = c.is_ascii_graphic() || c.is_alphanumeric();
        if plain { c } else { '\u{fffd}' }
    };
    name.chars().map(mark).collect()
}

fn cells(tool: &str, arm: &ToolArmBody) -> [String; 8] {
    let calls = &arm.calls;
    let errors = match calls.total {
        0 => "-".to_owned(),
        _ => words::percent(bad_percent(calls)),
    };
    [
        tool.to_owned(),
        arm.backend.to_string(),
        words::count(calls.total),
        errors,
        words::count(calls.in_flight),
        words::latency_or_dash(calls.p50_ms),
        words::latency_or_dash(calls.p95_ms),
        words::latency_or_dash(calls.p99_ms),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_tool_has_a_line_for_each_backend() {
        let calls = |total: u64, bad: u64| {
            json!({
                "total": total, "outcomes": { "success": total - bad, "tool_error": bad },
                "in_flight": 2, "open_streams": 0, "p50_ms": 12.0, "p95_ms": 30.0, "p99_ms": 1500.0
            })
        };
        let body: ToolsBody = serde_json::from_value(json!({
            "route": "search", "replaced": 0,
            "tools": [
                { "tool": "find", "arms": [
                    { "backend": "v1", "calls": calls(1900, 19) },
                    { "backend": "v2", "calls": calls(100, 50) } ] },
                { "tool": "\u{1b}[31m", "arms": [{ "backend": "v1", "calls": calls(1, 0) }] },
            ]
        }))
        .unwrap();

        assert_eq!(
            text(&body),
            "route search\n  \
             TOOL   BACKEND  CALLS  ERRORS  IN FLIGHT    P50    P95     P99\n  \
             find   v1       1,900      1%          2  12 ms  30 ms  1.50 s\n  \
             find   v2         100     50%          2  12 ms  30 ms  1.50 s\n  \
             \u{fffd}[31m  v1           1      0%          2  12 ms  30 ms  1.50 s\n"
        );
    }
}
