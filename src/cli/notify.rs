//! `switchback notify`: who is told of what happens.

use clap::Subcommand;
use http::Method;
use serde_json::json;

use super::api::Api;
use super::failure::{Exit, Failure};
use super::output::Output;
use super::words::{self, Lean, Table};
use crate::admin::wire::{NotifierTestBody, NotifiersBody};
use crate::model::NotifierName;

/// What to do with notifiers.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(super) enum NotifyVerb {
    /// List notifiers, and whether they can be told.
    List,
    /// Tell a notifier that this is a test, and show what came back: exit code 1 unless it took it.
    Test {
        /// The notifier.
        #[arg(value_name = "NAME")]
        notifier: NotifierName,
    },
}

/// `switchback notify …`
pub(super) async fn run(api: Api, verb: NotifyVerb, output: Output) -> Result<Exit, Failure> {
    match verb {
        NotifyVerb::List => list(&api, output).await,
        NotifyVerb::Test { notifier } => test(&api, &notifier, output).await,
    }
}

async fn list(api: &Api, output: Output) -> Result<Exit, Failure> {
    let notifiers: NotifiersBody = api
        .get("/v1/notifiers")
        .await
        .map_err(|error| error.failure(api.origin(), "list the notifiers"))?;
    output.answer(&notifiers, text)?;
    Ok(Exit::Done)
}

async fn test(api: &Api, notifier: &NotifierName, output: Output) -> Result<Exit, Failure> {
    let path = format!("/v1/notifiers/{notifier}/test");
    let tested: NotifierTestBody = api
        .send(Method::POST, &path, &json!({}))
        .await
        .map_err(|error| error.failure(api.origin(), "test the notifier"))?;
    output.answer(&tested, came_back)?;
    Ok(if tested.arrived {
        Exit::Done
    } else {
        Exit::Error
    })
}

fn text(body: &NotifiersBody) -> String {
    if body.notifiers.is_empty() {
        return "nobody is told: the config file has no `notifiers`".to_owned();
    }
    let mut table = Table::new(&[
        ("NOTIFIER", Lean::Left),
        ("KIND", Lean::Left),
        ("URL", Lean::Left),
        ("SIGNED", Lean::Left),
        ("SENT", Lean::Right),
        ("WAITING", Lean::Right),
        ("FAILED", Lean::Right),
        ("DROPPED", Lean::Right),
        ("LATEST FAILURE", Lean::Left),
    ]);
    for one in &body.notifiers {
        table.row([
            one.notifier.to_string(),
            one.kind.clone(),
            one.url.clone().unwrap_or_else(|| "-".to_owned()),
            if one.signed { "yes" } else { "no" }.to_owned(),
            words::count(one.sent),
            words::count(one.waiting),
            words::count(one.failed),
            words::count(one.dropped),
            one.error.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table.render("")
}

fn came_back(body: &NotifierTestBody) -> String {
    let took = body.took_ms.map(words::latency);
    let took = took
        .map(|took| format!(" after {took}"))
        .unwrap_or_default();
    let said = match (body.status, &body.error) {
        (Some(status), _) => format!("answered {status}{took}"),
        (None, Some(error)) => format!("gave no answer: {error}"),
        (None, None) => "wrote a line to the log".to_owned(),
    };
    let answer = body.answer.as_deref().filter(|answer| !answer.is_empty());
    let answer = answer
        .map(|answer| format!("\n  {answer}"))
        .unwrap_or_default();
    format!("{} {said}{answer}", body.notifier)
}
