//! Events as notifiers are told of them, and how it stands with notifiers.

use http::{Response, StatusCode};

use crate::control::{Event, Timestamp, What};
use crate::notify::{Alarms, Answer, Notice, NotifierStatus, TestError};
use crate::telemetry::{Kind, Page};

use super::api::{Api, Asked};
use super::body::author;
use super::error::Refusal;
use super::render;
use super::reply::{Body, json};
use super::wire::{ActBody, AlertBody, ErrorCode, NotifierBody, NotifierTestBody, NotifiersBody};

/// An event as notifiers are told of it: with the words that the API has for it.
pub fn notice(event: &Event) -> Notice {
    let body = render::event(event);
    Notice {
        sequence: body.sequence,
        at: body.at.clone(),
        kind: body.kind.clone(),
        route: body.route.clone(),
        rollout: body.rollout,
        who: body.who.clone(),
        reason: body.reason.clone(),
        text: body.message.clone(),
        body: serde_json::to_value(&body).unwrap_or_default(),
    }
}

/// One sentence on what hooks did and alerts say; nothing on what is told elsewhere.
pub(super) fn sentence(what: &What) -> String {
    if let What::RolloutHeld { why, hook, .. } = what {
        return format!(
            "the rollout would be switched back for {why}, but there is no way back after {hook}: it \
             is held until a person decides"
        );
    }
    if let What::AlertFired {
        alert,
        when,
        about,
        value,
        limit,
    } = what
    {
        return format!("alert {alert} fires: {when} of {about} is {value}, more than {limit}");
    }
    if let What::AlertResolved {
        alert,
        when,
        about,
        value,
        ..
    } = what
    {
        return format!("alert {alert} is over: {when} of {about} is {value}");
    }
    if let What::HookStarted { hook, point } = what {
        return format!("hook {hook} runs for {point}");
    }
    let What::HookEnded {
        hook,
        point,
        result,
        why,
        ..
    } = what
    else {
        return String::new();
    };
    let why = why.as_ref().map(|why| format!(": {why}"));
    format!(
        "hook {hook}, for {point}: {result}{}",
        why.unwrap_or_default()
    )
}

/// Every notifier.
pub(super) fn list(api: &Api) -> Response<Body> {
    let status = api.deps.notifiers.status();
    let body = NotifiersBody {
        notifiers: status.into_iter().map(notifier).collect(),
    };
    json(StatusCode::OK, &body)
}

fn notifier(status: NotifierStatus) -> NotifierBody {
    NotifierBody {
        notifier: status.name,
        kind: status.kind.as_str().to_owned(),
        url: status.url,
        signed: status.signed,
        waiting: status.waiting as u64,
        sent: status.sent,
        failed: status.failed,
        dropped: status.dropped,
        error: status.error,
    }
}

/// Posts a test to one notifier and tells what came back.
pub(super) async fn test(
    api: &Api,
    asked: &Asked<'_>,
    body: &ActBody,
) -> Result<Response<Body>, Refusal> {
    let author = author(asked, body.reason.as_deref())?;
    let notice = Notice::test(Timestamp::now().to_string(), author.who);
    let name = asked.name;
    let body = match api.deps.notifiers.test(name, &notice).await {
        Ok((answer, took)) => tested(name, answer, took.as_secs_f64() * 1000.0),
        Err(TestError::Post(error)) => NotifierTestBody {
            notifier: name.to_owned(),
            arrived: false,
            status: None,
            answer: None,
            took_ms: None,
            error: Some(error),
        },
        Err(error @ TestError::Unknown(_)) => {
            return Err(Refusal::new(ErrorCode::NotFound, error.to_string()));
        }
    };
    Ok(json(StatusCode::OK, &body))
}

fn tested(name: &str, answer: Option<Answer>, took_ms: f64) -> NotifierTestBody {
    let status = answer.as_ref().map(|answer| answer.status);
    let arrived = status.is_none_or(|status| status.is_success());
    NotifierTestBody {
        notifier: name.to_owned(),
        arrived,
        status: status.map(|status| status.as_u16()),
        answer: answer.map(|answer| answer.text),
        took_ms: Some(took_ms),
        error: status
            .filter(|_| !arrived)
            .map(|status| format!("the receiver answered {status}")),
    }
}

/// What waits for each notifier, as metrics; what became of the rest is counted where it is done.
pub(super) fn metrics(notifiers: &[NotifierStatus], page: &mut Page) {
    const WAITING: &str = "switchback_notices_waiting";
    page.family(WAITING, Kind::Gauge, "Notices that wait for a notifier");
    for one in notifiers {
        let labels = [("notifier", one.name.as_str())];
        page.sample(WAITING, &labels, one.waiting as u64);
    }
}

/// What is to be said of notifiers that cannot be told.
pub(super) fn warnings(notifiers: &[NotifierStatus]) -> impl Iterator<Item = String> + '_ {
    notifiers.iter().filter_map(|one| {
        let error = one.error.as_ref()?;
        Some(format!("notifier {} cannot be told: {error}", one.name))
    })
}

/// Alerts that fire.
pub(super) fn active(alarms: &Alarms) -> Vec<AlertBody> {
    let each = alarms.status().into_iter();
    let active = each.filter_map(|(spec, reading)| {
        let reading = reading?;
        Some(AlertBody {
            when: spec.when.as_str().to_owned(),
            about: reading.about,
            value: reading.value,
            above: spec.limit(),
            alert: spec.name,
        })
    });
    active.collect()
}

/// Every alert of the file, as metrics.
pub(super) fn alerts(alarms: &Alarms, page: &mut Page) {
    const ACTIVE: &str = "switchback_alert_active";
    page.family(ACTIVE, Kind::Gauge, "1 while an alert fires, else 0");
    for (spec, reading) in alarms.status() {
        let labels = [("alert", spec.name.as_str())];
        page.sample(ACTIVE, &labels, reading.is_some());
    }
}
