//! Hooks tried by a person.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use serde_json::json;
use tokio::time::Instant;

use crate::control::Timestamp;
use crate::notify::{Message, Receiver, in_full};

use super::api::{Api, Asked};
use super::body::author;
use super::error::Refusal;
use super::reply::{self, Body};
use super::wire::{ActBody, ErrorCode, HookTestBody};

/// Longest time for a test, so that whoever asks for it has an answer before they give up.
const LONGEST_TEST: Duration = Duration::from_secs(10);

/// Posts a test to the URL of one hook, once, and tells what came back. No rollout hears of it.
pub(super) async fn test(
    api: &Api,
    asked: &Asked<'_>,
    body: &ActBody,
) -> Result<Response<Body>, Refusal> {
    let who = author(asked, body.reason.as_deref())?.who;
    let config = Arc::clone(&api.deps.control.status().config.in_force);
    let name = asked.name;
    let hooks = &config.spec().hooks;
    let Some((_, spec)) = hooks.iter().find(|(hook, _)| hook.as_str() == name) else {
        let message = format!("there is no hook `{name}`");
        return Err(Refusal::new(ErrorCode::NotFound, message));
    };
    let Some(target) = spec.url.clone() else {
        let message = format!(
            "hook `{name}` is a command, which does what it does: it is run in rollouts alone"
        );
        return Err(Refusal::new(ErrorCode::Invalid, message)
            .hint("run it yourself where that does no harm"));
    };
    let receiver = Receiver {
        target,
        secret: spec.secret(),
        ca: spec.ca.clone(),
        timeout: spec.time().min(LONGEST_TEST),
        folder: config.folder().to_owned(),
    };
    let begun = Instant::now();
    let posted = receiver.post(&message(name, &who)).await;
    let took_ms = begun.elapsed().as_secs_f64() * 1000.0;
    let body = match posted {
        Ok(answer) => HookTestBody {
            hook: name.to_owned(),
            opens: answer.status.is_success(),
            status: Some(answer.status.as_u16()),
            answer: Some(answer.text),
            took_ms,
            error: None,
        },
        Err(error) => HookTestBody {
            hook: name.to_owned(),
            opens: false,
            status: None,
            answer: None,
            took_ms,
            error: Some(in_full(&error)),
        },
    };
    Ok(reply::json(StatusCode::OK, &body))
}

/// What nobody can take for a question of a rollout's.
fn message(hook: &str, who: &str) -> Message {
    let at = Timestamp::now().to_string();
    let body = json!({
        "hook": hook, "point": "test", "test": true, "at": at, "who": who,
        "message": "this is a test: no rollout waits for the answer",
    });
    Message {
        kind: "test".to_owned(),
        key: format!("test-{hook}-{at}"),
        content_type: "application/json",
        body: body.to_string().into(),
    }
}
