//! `switchback metrics`: what applications found out about calls.

use clap::{Args, Subcommand};
use http::Method;

use super::api::Api;
use super::failure::{Exit, Failure};
use super::output::Output;
use super::words;
use crate::admin::wire::{MetricValueBody, PushBody, PushedBody, ValueBody};
use crate::model::{BackendName, MetricName, RouteName};

/// What to do with metrics.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(super) enum MetricsVerb {
    /// Tell the judge what was found out about a call: all of it, or nothing with exit code 5.
    Push(PushArgs),
}

// What was found out.
#[derive(Debug, Args)]
pub(super) struct PushArgs {
    /// The route.
    #[arg(value_name = "ROUTE")]
    route: RouteName,
    /// Values of metrics that a plan names, such as `liked=false tokens=812`.
    #[arg(value_name = "METRIC=VALUE", required = true, value_parser = parse_value)]
    values: Vec<(MetricName, ValueBody)>,
    /// The backend that answered the call.
    #[arg(long, value_name = "BACKEND", required_unless_present = "request_id")]
    backend: Option<BackendName>,
    /// The `x-request-id` of the call, else its `traceparent`, in place of the backend.
    #[arg(long, value_name = "ID", conflicts_with = "backend")]
    request_id: Option<String>,
    /// What tells callers apart: one that complains again and again counts once a minute.
    #[arg(long, value_name = "KEY")]
    caller: Option<String>,
}

/// `switchback metrics …`
pub(super) async fn run(api: Api, verb: MetricsVerb, output: Output) -> Result<Exit, Failure> {
    match verb {
        MetricsVerb::Push(args) => push(&api, args, output).await,
    }
}

async fn push(api: &Api, args: PushArgs, output: Output) -> Result<Exit, Failure> {
    let values = args
        .values
        .into_iter()
        .map(|(metric, value)| MetricValueBody {
            metric,
            backend: args.backend.clone(),
            request_id: args.request_id.clone(),
            value,
            key: args.caller.clone(),
        });
    let body = PushBody {
        route: args.route,
        values: values.collect(),
    };
    let pushed: PushedBody = api
        .send(Method::POST, "/v1/metrics", &body)
        .await
        .map_err(|error| error.failure(api.origin(), "push metrics"))?;
    output.answer(&pushed, text)?;
    Ok(Exit::Done)
}

fn text(pushed: &PushedBody) -> String {
    let counted = format!("{} values taken in", words::count(pushed.counted));
    match pushed.unjudged {
        0 => counted,
        unjudged => format!(
            "{counted}, {} that no judge waits for",
            words::count(unjudged)
        ),
    }
}

fn parse_value(text: &str) -> Result<(MetricName, ValueBody), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not METRIC=VALUE, such as tokens=812"))?;
    let name = name.parse().map_err(|error| format!("{error}"))?;
    let value = match value {
        "true" | "yes" => ValueBody::Answer(true),
        "false" | "no" => ValueBody::Answer(false),
        number => {
            let number: Option<f64> = number
                .parse()
                .ok()
                .filter(|number: &f64| number.is_finite());
            let why = || format!("`{value}` is neither a number nor true or false");
            ValueBody::Number(number.ok_or_else(why)?)
        }
    };
    Ok((name, value))
}
