//! `switchback contract`: what a version promises less, or more, than another.

use std::fmt::Write;

use super::api::{Api, ApiError};
use super::args::ContractArgs;
use super::failure::{Exit, Failure};
use super::output::Output;
use crate::admin::wire::{ContractBody, ContractResultBody, ErrorCode, SeverityBody};

/// `switchback contract ROUTE`
pub(super) async fn show(api: Api, args: ContractArgs, output: Output) -> Result<Exit, Failure> {
    let mut path = format!("/v1/routes/{}/contract", args.route);
    let asked = [("candidate", &args.backend), ("against", &args.against)];
    for (name, backend) in asked {
        if let Some(backend) = backend {
            let mark = if path.contains('?') { '&' } else { '?' };
            // Writing to a `String` never fails.
            let _ = write!(path, "{mark}{name}={backend}");
        }
    }
    let contract: ContractBody = api.get(&path).await.map_err(|error| {
        let tried = format!("compare contracts on route {}", args.route);
        error.failure(api.origin(), &tried)
    })?;
    output.answer(&contract, |contract| text(contract, args.all))?;
    Ok(match contract.result {
        ContractResultBody::Compatible | ContractResultBody::Risky => Exit::Done,
        ContractResultBody::Breaking | ContractResultBody::Unknown => Exit::Error,
    })
}

/// The contract in a refusal, if that is what it is about.
pub(super) fn refused(error: &ApiError) -> Option<ContractBody> {
    let ApiError::Refused { body, .. } = error else {
        return None;
    };
    let details = body
        .details
        .as_ref()
        .filter(|_| body.code == ErrorCode::Contract)?;
    serde_json::from_value(details.get("contract")?.clone()).ok()
}

/// The changes by severity, the worst first, each with its reason.
pub(super) fn text(contract: &ContractBody, all: bool) -> String {
    let mut text = format!(
        "contract of {} against {}: {}\n",
        contract.candidate, contract.stable, contract.summary
    );
    let counts = contract.counts;
    for (severity, head, count) in [
        (SeverityBody::Breaking, "breaking", counts.breaking),
        (SeverityBody::Risky, "risky", counts.risky),
        (SeverityBody::Compatible, "compatible", counts.compatible),
        (SeverityBody::Info, "info", counts.info),
    ] {
        if count == 0 {
            continue;
        }
        let harmless = matches!(severity, SeverityBody::Compatible | SeverityBody::Info);
        if harmless && !all {
            let _ = writeln!(text, "\n{head}: {count} (--all shows them)");
            continue;
        }
        let _ = writeln!(text, "\n{head}: {count}");
        let mut shown = 0;
        for change in contract.changes.iter().filter(|it| it.severity == severity) {
            let _ = writeln!(text, "  {}\n    {}", change.message, change.reason);
            shown += 1;
        }
        if shown < count {
            let _ = writeln!(text, "  … and {} more", count - shown);
        }
    }
    text.push_str(hint(contract.result));
    text
}

fn hint(result: ContractResultBody) -> &'static str {
    match result {
        ContractResultBody::Compatible => "",
        ContractResultBody::Risky => {
            "\ntry: a rollout with a small first stage; the judge sees which calls fail\n"
        }
        ContractResultBody::Breaking => {
            "\ntry: keep the old promises beside the new ones, or ship under a route of its own\n"
        }
        ContractResultBody::Unknown => {
            "\ntry: see that both servers run; `contract` of the route has path, token and time\n"
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_worst_is_shown_first_and_the_harmless_on_demand() {
        let change = |severity: &str, message: &str| {
            json!({ "severity": severity, "rule": "r", "part": "tool", "name": "t",
                "message": message, "reason": "Because." })
        };
        let contract: ContractBody = serde_json::from_value(json!({
            "stable": "v1", "candidate": "v2", "at": "2026-11-21T04:00:00.000Z",
            "result": "breaking", "summary": "breaking: 2 breaking, 1 compatible",
            "counts": { "breaking": 2, "risky": 0, "compatible": 1, "info": 0 },
            "changes": [change("breaking", "tool t is lost"), change("compatible", "tool u is new")]
        }))
        .unwrap();

        let short = text(&contract, false);
        let long = text(&contract, true);

        assert_eq!(
            short,
            "contract of v2 against v1: breaking: 2 breaking, 1 compatible\n\n\
             breaking: 2\n  tool t is lost\n    Because.\n  … and 1 more\n\n\
             compatible: 1 (--all shows them)\n\n\
             try: keep the old promises beside the new ones, or ship under a route of its own\n"
        );
        assert!(long.contains("compatible: 1\n  tool u is new\n"), "{long}");
    }
}
