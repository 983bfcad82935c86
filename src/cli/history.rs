//! `switchback history`

use std::fmt::Write;

use super::api::Api;
use super::args::HistoryArgs;
use super::failure::{Exit, Failure};
use super::output::Output;
use super::tools;
use super::words::{self, Lean, Table};
use crate::admin::wire::{EventBody, HistoryBody};

/// Lists what happened, latest first.
pub(super) async fn list(api: Api, args: HistoryArgs, output: Output) -> Result<Exit, Failure> {
    let history: HistoryBody = api
        .get(&path(&args))
        .await
        .map_err(|error| error.failure(api.origin(), "read the history"))?;
    output.answer(&history, |history| text(history, &args))?;
    Ok(Exit::Done)
}

fn path(args: &HistoryArgs) -> String {
    let mut path = format!("/v1/history?limit={}", args.limit);
    if let Some(route) = &args.route {
        let _ = write!(path, "&route={route}");
    }
    if let Some(rollout) = &args.rollout {
        let _ = write!(path, "&rollout={rollout}");
    }
    path
}

fn text(history: &HistoryBody, args: &HistoryArgs) -> String {
    if history.events.is_empty() {
        return "nothing has happened yet".to_owned();
    }
    let mut table = Table::new(&[
        ("WHEN (UTC)", Lean::Left),
        ("WHAT", Lean::Left),
        ("ROUTE", Lean::Left),
        ("ROLLOUT", Lean::Left),
        ("BY", Lean::Left),
        ("MESSAGE", Lean::Left),
    ]);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for event in &history.events {
        table.row([
            words::moment(&event.at),
            event.kind.replace('_', " "),
            or_dash(event.route.as_ref().map(ToString::to_string)),
            or_dash(event.rollout.map(|id| id.to_string())),
            event.who.clone(),
            message(event),
        ]);
        if let Some(tools) = event.tools.as_ref().filter(|_| args.tools) {
            table.under(&tools::under_event(tools));
        }
    }
    table.render("")
}

/// What happened, and why when somebody said so.
fn message(event: &EventBody) -> String {
    match &event.reason {
        Some(reason) if !reason.is_empty() => format!("{} ({reason})", event.message),
        Some(_) | None => event.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Two events: an abort, of which it is known what the tools did, and an older one.
    fn history() -> HistoryBody {
        let arm = |calls: u64, errors: u64, p50: f64| json!({"calls": calls, "errors": errors, "p50_ms": p50, "p99_ms": 2.0 * p50});
        let unused = json!({"calls": 0, "errors": 0});
        let history = serde_json::from_value(json!({ "events": [{
            "sequence": 2, "at": "2026-11-21T04:31:27Z", "kind": "rollout_aborted",
            "generation": 3, "route": "search", "rollout": "r-1", "who": "alice",
            "reason": "customers complain", "message": "rollout aborted", "details": {},
            "tools": { "of": "rollout", "since": "2026-11-21T04:30:00Z", "tools": [
                { "tool": "find", "stable": arm(1900, 19, 12.0), "candidate": arm(100, 50, 30.0) },
                { "tool": "_other", "stable": arm(1, 0, 5.0), "candidate": unused },
            ] },
        }, {
            "sequence": 1, "at": "2026-11-21T04:30:00Z", "kind": "rollout_started",
            "generation": 2, "who": "alice", "message": "rollout started", "details": {},
        }]}));
        history.unwrap()
    }

    fn args(tools: bool) -> HistoryArgs {
        HistoryArgs {
            route: None,
            rollout: None,
            tools,
            limit: 50,
        }
    }

    #[test]
    fn what_the_tools_did_stands_under_its_event_for_those_who_ask() {
        let shown = text(&history(), &args(true));

        let lines: Vec<_> = shown.lines().skip(1).collect();
        assert!(lines[0].contains("rollout aborted"), "{shown}");
        assert_eq!(
            lines[1..7],
            [
                "    tools since the rollout began (2026-11-21 04:30:00)",
                "    TOOL    VERSION    CALLS  ERRORS     P50    P99",
                "    find    stable     1,900      1%   12 ms  24 ms",
                "            candidate    100     50%   30 ms  60 ms",
                "    _other  stable         1      0%  5.0 ms  10 ms",
                "            candidate      0       -       -      -",
            ],
            "{shown}"
        );
        assert!(lines[7].contains("rollout started"), "{shown}");
        assert!(!text(&history(), &args(false)).contains("find"));
    }

    #[test]
    fn the_reason_that_was_given_is_shown() {
        let shown = text(&history(), &args(false));

        assert!(
            shown.contains("alice  rollout aborted (customers complain)"),
            "{shown}"
        );
    }
}
