//! `switchback history`

use std::fmt::Write;

use super::api::Api;
use super::args::HistoryArgs;
use super::failure::{Exit, Failure};
use super::output::Output;
use super::words::{self, Lean, Table};
use crate::admin::wire::HistoryBody;

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
            event.message.clone(),
        ]);
    }
    table.render("")
}
