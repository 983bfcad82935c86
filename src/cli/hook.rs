//! `switchback hook`: hooks tried by a person.

use clap::Subcommand;
use http::Method;
use serde_json::json;

use super::api::Api;
use super::failure::{Exit, Failure};
use super::output::Output;
use super::words;
use crate::admin::wire::HookTestBody;
use crate::model::HookName;

/// What to do with hooks.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(super) enum HookVerb {
    /// Post a test to a hook's URL, and show what came back: exit code 1 unless that would open a gate.
    Test {
        /// The hook.
        #[arg(value_name = "NAME")]
        hook: HookName,
    },
}

/// `switchback hook …`
pub(super) async fn run(api: Api, verb: HookVerb, output: Output) -> Result<Exit, Failure> {
    let HookVerb::Test { hook } = verb;
    let path = format!("/v1/hooks/{hook}/test");
    let tested: HookTestBody = api
        .send(Method::POST, &path, &json!({}))
        .await
        .map_err(|error| error.failure(api.origin(), "test the hook"))?;
    output.answer(&tested, came_back)?;
    Ok(if tested.opens {
        Exit::Done
    } else {
        Exit::Error
    })
}

fn came_back(body: &HookTestBody) -> String {
    let took = words::latency(body.took_ms);
    let said = match (body.status, &body.error) {
        (Some(status), _) => format!("answered {status} after {took}"),
        (None, error) => format!("gave no answer: {}", error.as_deref().unwrap_or_default()),
    };
    let gate = if body.opens {
        "which would open a gate"
    } else {
        "which would not open a gate"
    };
    let answer = body.answer.as_deref().filter(|answer| !answer.is_empty());
    let answer = answer.map(|answer| format!("\n  {answer}"));
    format!("{} {said}, {gate}{}", body.hook, answer.unwrap_or_default())
}
