//! `switchback history`

use std::fmt::Write;

use super::api::Api;
use super::args::HistoryArgs;
use super::failure::{Exit, Failure};
use super::output::Output;
use super::words::{self, Lean, Table};
use crate::admin::wire::{EventBody, HistoryBody};

/// Lists what happened, latest first.
pub(super) async fn list(api: Api, args: HistoryArgs, output: Output) -> Result<Exit, Failure> {
    let history: HistoryBody = api
        .get(&path(&args))
        .await
        .map_err(|error| error.failure(api.origin(), "read the history"))?;
    output.answer(&history, text)?;
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

fn text(history: &HistoryBody) -> String {
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

    #[test]
    fn the_reason_that_was_given_is_shown() {
        let history = serde_json::from_value(json!({ "events": [{
            "sequence": 2, "at": "2026-11-21T04:31:27Z", "kind": "rollout_aborted",
            "generation": 3, "route": "search", "rollout": "r-1", "who": "alice",
            "reason": "customers complain", "message": "rollout aborted", "details": {},
        }]}));

        let shown = text(&history.unwrap());

        assert!(
            shown.contains("alice  rollout aborted (customers complain)"),
            "{shown}"
        );
    }
}
