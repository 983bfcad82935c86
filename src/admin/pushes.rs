//! Pushes of metrics, from the wire to control.

use http::{Response, StatusCode};
use xxhash_rust::xxh3::xxh3_64;

use crate::control::{PushMetrics, PushedValue, Whose};
use crate::judge::Value;

use super::api::{Api, Asked};
use super::error::Refusal;
use super::reply::{Body, json};
use super::wire::{ErrorCode, MetricValueBody, PushBody, PushedBody, ValueBody};

/// Most values of a push.
const VALUES_MAX: usize = 1000;
/// Longest key of a caller, in bytes.
const KEY_BYTES: usize = 256;

/// Hands what was pushed to control.
pub(super) async fn push(
    api: &Api,
    asked: &Asked<'_>,
    body: PushBody,
) -> Result<Response<Body>, Refusal> {
    if !asked.caller.covers(body.route.as_str()) {
        return Err(Refusal::new(
            ErrorCode::OutOfScope,
            "this route is not among those that your token may push metrics of",
        ));
    }
    if !(1..=VALUES_MAX).contains(&body.values.len()) {
        let message = format!(
            "a push has 1 to {VALUES_MAX} values, and this one has {}",
            body.values.len()
        );
        return Err(Refusal::new(ErrorCode::Invalid, message));
    }
    let values = body.values.into_iter().enumerate().map(value);
    let request = PushMetrics {
        route: body.route,
        values: values.collect::<Result<_, _>>()?,
    };
    let pushed = api.deps.control.push_metrics(request).await?;
    let body = PushedBody {
        counted: pushed.counted,
        unjudged: pushed.unjudged,
    };
    Ok(json(StatusCode::OK, &body))
}

fn value((index, body): (usize, MetricValueBody)) -> Result<PushedValue, Refusal> {
    let wrong = |why: &str| Refusal::new(ErrorCode::Invalid, format!("values[{index}]: {why}"));
    let about = match (body.backend, body.request_id) {
        (Some(backend), None) => Whose::Backend(backend),
        (None, Some(id)) => {
            let why = "a request id is 1 to 64 letters, digits and `-_.:/+=`";
            Whose::request(&id).ok_or_else(|| wrong(why))?
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err(wrong(
                "it is about a `backend` or a `request_id`, one of the two",
            ));
        }
    };
    let length = body.key.as_ref().map(String::len);
    if length.is_some_and(|length| !(1..=KEY_BYTES).contains(&length)) {
        return Err(wrong("a key has 1 to 256 bytes"));
    }
    Ok(PushedValue {
        metric: body.metric,
        about,
        value: match body.value {
            ValueBody::Answer(answer) => Value::Answer(answer),
            ValueBody::Number(number) => Value::Number(number),
        },
        key: body.key.map(|key| xxh3_64(key.as_bytes())),
    })
}
