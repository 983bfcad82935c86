//! `switchback audit`

use std::fmt::Write;

use serde_json::Value;

use super::api::Api;
use super::args::AuditArgs;
use super::failure::{Exit, Failure};
use super::output::Output;
use super::words::{self, Lean, Table};
use crate::admin::wire::{AuditBody, AuditEntryBody};

/// Lists who changed what, and who was refused, latest first.
pub(super) async fn list(api: Api, args: AuditArgs, output: Output) -> Result<Exit, Failure> {
    let mut path = format!("/v1/audit?limit={}", args.limit);
    if let Some(before) = args.before {
        // Writing to a `String` never fails.
        let _ = write!(path, "&before={before}");
    }
    let audit: AuditBody = api
        .get(&path)
        .await
        .map_err(|error| error.failure(api.origin(), "read the audit log"))?;
    output.answer(&audit, text)?;
    Ok(Exit::Done)
}

fn text(audit: &AuditBody) -> String {
    if audit.entries.is_empty() {
        return "nothing has been written down yet".to_owned();
    }
    let mut table = Table::new(&[
        ("NO", Lean::Right),
        ("WHEN (UTC)", Lean::Left),
        ("WHO", Lean::Left),
        ("FROM", Lean::Left),
        ("WHAT", Lean::Left),
        ("ON", Lean::Left),
        ("RESULT", Lean::Left),
        ("CHANGE", Lean::Left),
    ]);
    for entry in &audit.entries {
        table.row([
            entry.sequence.to_string(),
            words::moment(&entry.at),
            entry.who.clone(),
            entry.source.clone(),
            format!("{} {}", entry.method, entry.path),
            entry.target.clone().unwrap_or_else(|| "-".to_owned()),
            result(entry),
            change(entry),
        ]);
    }
    plain(&table.render(""))
}

fn result(entry: &AuditEntryBody) -> String {
    let status = entry.status.map_or("?".to_owned(), |it| it.to_string());
    match &entry.code {
        Some(code) => format!("{status} {code}"),
        None => status,
    }
}

/// What differs between before and after, and why when somebody said so.
fn change(entry: &AuditEntryBody) -> String {
    let mut said: Vec<String> = Vec::new();
    if let (Some(Value::Object(before)), Some(Value::Object(after))) = (&entry.before, &entry.after)
    {
        let differing = after
            .iter()
            .filter(|(key, now)| before.get(*key) != Some(now));
        said.extend(differing.map(|(key, now)| {
            let was = before.get(key).unwrap_or(&Value::Null);
            format!("{key} {was} -> {now}")
        }));
    }
    if let Some(reason) = &entry.reason {
        said.push(format!("({reason})"));
    }
    said.join(" ")
}

/// What others wrote must not command the terminal that shows it.
fn plain(text: &str) -> String {
    let deceives = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| if deceives(c) { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_changed_is_shown_and_commands_no_terminal() {
        let audit = serde_json::from_value(json!({ "entries": [{
            "sequence": 7, "at": "2026-11-21T04:31:27Z", "who": "ci", "source": "127.0.0.1:5",
            "method": "PUT", "path": "/v1/routes/{route}/weights", "target": "sea\u{202e}rch",
            "before": {"generation": 3, "weights": {"a": 1}},
            "after": {"generation": 4, "weights": {"a": 1}},
            "status": 200, "reason": "first\u{1b}[31m taste",
        }]}));

        let shown = text(&audit.unwrap());

        assert!(
            shown.contains("generation 3 -> 4 (first\u{fffd}[31m taste)"),
            "{shown}"
        );
        assert!(
            shown.contains("sea\u{fffd}rch") && !shown.contains("weights {"),
            "{shown}"
        );
    }
}
