//! What people see, from values as the wire brings them.

use serde_json::json;

use super::*;

fn calls(total: u64, tool_errors: u64) -> serde_json::Value {
    json!({
        "total": total, "outcomes": { "success": total - tool_errors, "tool_error": tool_errors },
        "in_flight": 3, "open_streams": 1,
        "mean_ms": 20.0, "p50_ms": 18.4, "p95_ms": 61.0, "p99_ms": 1204.0
    })
}

fn route() -> serde_json::Value {
    json!({
        "route": "search", "generation": 42, "matches": "any host /mcp", "protocol": "mcp",
        "arms": [
            { "backend": "search-v1", "weight": 9500, "percent": 95.0, "role": "stable",
              "standing": "open", "calls": calls(123_456, 12), "recent": calls(11_800, 2) },
            { "backend": "search-v2", "weight": 500, "percent": 5.0, "role": "candidate",
              "standing": "open", "calls": calls(640, 31), "recent": calls(610, 31) },
        ],
        "shadow": { "backend": "search-v3", "percent": 10.0, "calls": calls(50, 0),
                    "recent": calls(5, 0) },
        "rollout": {
            "id": "r-3", "route": "search", "stable": "search-v1", "candidate": "search-v2",
            "plan": "careful", "state": "awaiting_approval", "percent": 5.0, "stage": 1,
            "stages": [
                { "percent": 5.0, "for_seconds": 300.0, "approve": true },
                { "percent": 50.0, "for_seconds": 600.0, "approve": false },
            ],
            "stage_elapsed_seconds": 331.0, "started_at": "2026-11-21T04:31:27Z", "who": "ci",
            "message": "stage 1 passed; waiting for an approval",
            "verdict": {
                "decision": "hold", "summary": "no worse than agreed so far",
                "evidence": 1.84, "revert_at": 100.0, "pass_at": 20.0, "checks": [],
                "stage_calls": 610, "min_calls": 50, "record": {},
                "stable": { "calls": 11_800, "bad": 2, "bad_counted": 2 },
                "candidate": { "calls": 610, "bad": 31, "bad_counted": 3 },
                "more_calls_needed": 410
            }
        }
    })
}

#[test]
fn a_route_shows_its_split_its_backends_and_its_rollout() {
    let route: RouteBody = serde_json::from_value(route()).unwrap();

    insta::assert_snapshot!(route_text(&route));
}

#[test]
fn a_gateway_shows_what_an_operator_must_know_first() {
    let mut quiet = route();
    quiet["rollout"] = serde_json::Value::Null;
    quiet["shadow"] = serde_json::Value::Null;
    quiet["arms"][1]["standing"] = json!("reverted");
    quiet["arms"][1]["role"] = serde_json::Value::Null;
    quiet["arms"][1]["recent"] =
        json!({ "total": 0, "outcomes": {}, "in_flight": 0, "open_streams": 0 });
    let status = json!({
        "version": "0.1.0", "lifecycle": "ready", "generation": 42,
        "started_at": "2026-11-21T04:00:00Z", "uptime_seconds": 4000.0,
        "config": { "file": "switchback.yaml", "loaded_at": "2026-11-21T04:00:00Z", "refused": [] },
        "store": { "healthy": false, "since": "2026-11-21T04:31:27Z", "error": "disk full" },
        "warnings": ["the state folder cannot be written"],
        "routes": [quiet],
    });
    let status: StatusBody = serde_json::from_value(status).unwrap();

    insta::assert_snapshot!(gateway_text(&status));
}

#[test]
fn a_refused_file_shows_every_mistake_with_its_place_and_what_to_do() {
    let mistakes: Vec<DiagnosticBody> = serde_json::from_value(json!([
        { "code": "unknown-key", "message": "unknown key `splt`", "hint": "did you mean `split`?",
          "file": "switchback.yaml", "line": 4, "column": 37 },
        { "code": "unreadable", "message": "cannot read the file", "file": "switchback.yaml" },
    ]))
    .unwrap();

    let text: String = mistakes.iter().map(mistake_text).collect();

    assert_eq!(
        text,
        "  switchback.yaml:4:37: unknown key `splt` (unknown-key)\n    \
         hint: did you mean `split`?\n  \
         switchback.yaml: cannot read the file (unreadable)\n"
    );
}
