//! Calls that look at things and change nothing.

use std::path::Path;
use std::sync::Arc;

use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;

use crate::config::{self, Config, Diagnostics, Process, Render};
use crate::control::{ControlError, Event, HistoryFilter, RolloutStatus, Status};
use crate::model::{BackendName, RolloutId, RouteName};

use super::api::{Api, Asked};
use super::error::Refusal;
use super::reply::{self, Body, json, tagged};
use super::wire::{
    AuditBody, BackendsBody, ConfigBody, ConfigCheckBody, ErrorCode, HistoryBody, RolloutsBody,
    RoutesBody,
};
use super::{
    audit, events, notices, query, render, render_contract, render_estimate, render_replay,
    render_rollout, render_tools, render_verdict, render_why,
};

/// What the text of a config file may be labelled as.
pub(super) const FILE_TYPES: [&str; 4] = [
    "application/yaml",
    "application/x-yaml",
    "application/toml",
    "application/json",
];

pub(super) fn status(api: &Api) -> Response<Body> {
    let status = api.deps.control.status();
    let mut body = render::status(&status, api.deps.readiness.lifecycle());
    body.warnings.extend(api.doors.warnings());
    let notifiers = api.deps.notifiers.status();
    body.warnings.extend(notices::warnings(&notifiers));
    body.alerts = notices::active(&api.deps.alarms);
    if !api.audit.is_healthy() {
        let path = api.audit.keep().path;
        let warning = format!(
            "the audit log {} cannot be written; changes go on",
            path.display()
        );
        body.warnings.push(warning);
    }
    tagged(json(StatusCode::OK, &body), status.generation)
}

pub(super) fn routes(api: &Api) -> Response<Body> {
    let status = api.deps.control.status();
    let body = RoutesBody {
        generation: status.generation,
        routes: render::routes(&status),
    };
    tagged(json(StatusCode::OK, &body), status.generation)
}

pub(super) fn route(api: &Api, name: &str) -> Result<Response<Body>, Refusal> {
    let status = api.deps.control.status();
    let route = status
        .routes
        .iter()
        .find(|route| route.name.as_str() == name);
    let body = render::route(route.ok_or_else(|| no_route(name))?, status.generation);
    Ok(tagged(json(StatusCode::OK, &body), status.generation))
}

pub(super) fn tools(api: &Api, name: &str) -> Result<Response<Body>, Refusal> {
    let status = api.deps.control.status();
    let mut routes = status.routes.iter();
    let route = routes.find(|route| route.name.as_str() == name);
    let route = route.ok_or_else(|| no_route(name))?.name.clone();
    let tools = api.deps.control.tools(&route);
    Ok(json(StatusCode::OK, &render_tools::tools(route, &tools)))
}

/// Compares two versions by asking both.
pub(super) async fn contract(api: &Api, asked: &Asked<'_>) -> Result<Response<Body>, Refusal> {
    let route = asked.name.parse().map_err(|_| no_route(asked.name))?;
    let wanted = query::contract(&asked.head.uri, route)?;
    let report = api.deps.control.contract(wanted).await?;
    Ok(json(StatusCode::OK, &render_contract::contract(&report)))
}

pub(super) fn no_route(name: &str) -> Refusal {
    match name.parse::<RouteName>() {
        Ok(route) => ControlError::UnknownRoute { route }.into(),
        Err(error) => Refusal::new(ErrorCode::NotFound, error.to_string()),
    }
}

pub(super) fn backends(api: &Api) -> Response<Body> {
    let status = api.deps.control.status();
    let body = BackendsBody {
        generation: status.generation,
        backends: render::backends(&status),
    };
    tagged(json(StatusCode::OK, &body), status.generation)
}

pub(super) fn backend(api: &Api, name: &str) -> Result<Response<Body>, Refusal> {
    let status = api.deps.control.status();
    let backend = status
        .backends
        .iter()
        .find(|backend| backend.name.as_str() == name);
    let Some(backend) = backend else {
        let message = match name.parse::<BackendName>() {
            Ok(name) => format!("no backend is named `{name}`"),
            Err(error) => error.to_string(),
        };
        return Err(Refusal::new(ErrorCode::NotFound, message));
    };
    let body = render::backend(backend);
    Ok(tagged(json(StatusCode::OK, &body), status.generation))
}

pub(super) async fn rollouts(api: &Api, asked: &Asked<'_>) -> Result<Response<Body>, Refusal> {
    let filter = query::rollouts(&asked.head.uri)?;
    let generation = api.deps.control.status().generation;
    let rollouts = api.deps.control.rollouts(filter).await;
    let body = RolloutsBody {
        rollouts: rollouts.found.iter().map(render_rollout::rollout).collect(),
        incomplete: rollouts
            .missing
            .map(|error| Refusal::from(error).into_message()),
    };
    Ok(tagged(json(StatusCode::OK, &body), generation))
}

fn known(status: &Status) -> impl Iterator<Item = &RolloutStatus> {
    status
        .routes
        .iter()
        .filter_map(|route| route.rollout.as_ref())
}

/// The rollout with this id, if it is the latest of its route: earlier ones are over.
pub(super) fn find<'a>(status: &'a Status, id: &str) -> Result<&'a RolloutStatus, Refusal> {
    let id: RolloutId = rollout_id(id)?;
    let found = known(status).find(|rollout| rollout.id == id);
    found.ok_or_else(|| {
        Refusal::from(ControlError::UnknownRollout { rollout: id }).hint(format!(
            "only a route's latest rollout can be acted on; /v1/rollouts/{id} shows an earlier one"
        ))
    })
}

pub(super) fn rollout_id(text: &str) -> Result<RolloutId, Refusal> {
    text.parse().map_err(|error: crate::model::RolloutIdError| {
        Refusal::new(ErrorCode::NotFound, error.to_string())
    })
}

pub(super) async fn rollout(api: &Api, id: &str) -> Result<Response<Body>, Refusal> {
    let generation = api.deps.control.status().generation;
    let rollout = any_rollout(api, id).await?;
    let body = render_rollout::rollout(&rollout);
    Ok(tagged(json(StatusCode::OK, &body), generation))
}

/// The rollout with this id, whenever it was.
pub(super) async fn any_rollout(api: &Api, id: &str) -> Result<RolloutStatus, Refusal> {
    Ok(api.deps.control.rollout(rollout_id(id)?).await?)
}

/// Why a rollout stands as it does.
pub(super) async fn why(api: &Api, asked: &Asked<'_>) -> Result<Response<Body>, Refusal> {
    let rollout = any_rollout(api, asked.name).await?;
    let events = events_of(api, rollout.id).await?;
    let body = render_why::why(&rollout, &events);
    Ok(json(StatusCode::OK, &body))
}

/// What the judge says now to the evidence behind a rollout's decisions.
pub(super) async fn replay(api: &Api, asked: &Asked<'_>) -> Result<Response<Body>, Refusal> {
    let rollout = any_rollout(api, asked.name).await?.id;
    let events = events_of(api, rollout).await?;
    // Arithmetic for which no revert is to wait.
    let replay = tokio::task::spawn_blocking(move || render_replay::replay(rollout, &events));
    let replay = replay.await.map_err(|error| {
        tracing::error!(%error, "weighing evidence again did not come to an end");
        Refusal::new(ErrorCode::Internal, "the replay did not come to an end")
    })?;
    Ok(json(StatusCode::OK, &replay))
}

/// What happened to a rollout, oldest first.
async fn events_of(api: &Api, rollout: RolloutId) -> Result<Vec<Event>, Refusal> {
    let filter = HistoryFilter {
        rollout: Some(rollout),
        limit: query::LIMIT_MAX,
        ..HistoryFilter::default()
    };
    let mut events = api.deps.control.history(filter).await?;
    events.reverse();
    Ok(events)
}

/// What a rollout could find out, before it starts.
pub(super) async fn estimate(api: &Api, asked: &Asked<'_>) -> Result<Response<Body>, Refusal> {
    let route = asked.name.parse().map_err(|_| no_route(asked.name))?;
    let wanted = query::estimate(&asked.head.uri, route)?;
    let estimate = api.deps.control.estimate(wanted).await?;
    Ok(json(StatusCode::OK, &render_estimate::estimate(&estimate)))
}

/// Whether a rollout has passed, as a status for programs that look at nothing else.
pub(super) async fn verdict(api: &Api, asked: &Asked<'_>) -> Result<Response<Body>, Refusal> {
    let asks = query::verdict(&asked.head.uri, query::Of::Rollout)?;
    let rollout = any_rollout(api, asked.name).await?;
    Ok(asks.answer(&render_verdict::of_rollout(&rollout)))
}

/// The same for the rollout that runs on a route, else its latest one.
pub(super) fn route_verdict(api: &Api, asked: &Asked<'_>) -> Result<Response<Body>, Refusal> {
    let asks = query::verdict(&asked.head.uri, query::Of::Route)?;
    let status = api.deps.control.status();
    let mut routes = status.routes.iter();
    let route = routes.find(|route| route.name.as_str() == asked.name);
    let route = route.ok_or_else(|| no_route(asked.name))?;
    let rollout = route.rollout.as_ref();
    let rollout = rollout.filter(|it| asks.to.as_ref().is_none_or(|to| *to == it.candidate));
    Ok(asks.answer(&match rollout {
        Some(rollout) => render_verdict::of_rollout(rollout),
        None => render_verdict::none_yet(&route.name, asks.to.as_ref()),
    }))
}

pub(super) async fn history(api: &Api, asked: &Asked<'_>) -> Result<Response<Body>, Refusal> {
    let filter = query::history(&asked.head.uri)?;
    let events = api.deps.control.history(filter).await?;
    let body = HistoryBody {
        events: events.iter().map(render::event).collect(),
    };
    Ok(json(StatusCode::OK, &body))
}

pub(super) async fn audit(api: &Api, asked: &Asked<'_>) -> Result<Response<Body>, Refusal> {
    let page = query::audit(&asked.head.uri)?;
    // Lines of refused calls are not waited for when they are answered, so whoever reads waits.
    api.audit.settled().await;
    let keep = api.audit.keep();
    // Reading files may wait for a disk, which control's thread must not.
    let read = tokio::task::spawn_blocking(move || audit::read(&keep, page)).await;
    let refused = |why: &dyn std::fmt::Display| {
        let message = format!("the audit log cannot be read: {why}");
        Refusal::new(ErrorCode::Unavailable, message)
    };
    let entries = read
        .map_err(|error| refused(&error))?
        .map_err(|error| refused(&error))?;
    Ok(json(StatusCode::OK, &AuditBody { entries }))
}

pub(super) async fn events(api: &Api, asked: &Asked<'_>) -> Result<Response<Body>, Refusal> {
    let last = last_event(&asked.head.headers)?;
    let place = api.readers.clone().try_acquire_owned().map_err(|_| {
        Refusal::new(ErrorCode::TooMany, "too many readers of events already")
            .hint("close one of them, or poll /v1/history")
    })?;
    let (doors, caller) = (Arc::clone(&api.doors), asked.caller.clone());
    let stays = Box::new(move || doors.may_stay(&caller));
    let stream = events::open(api, last, place, stays).await?;
    Ok(reply::stream(
        StatusCode::OK,
        "text/event-stream",
        stream.boxed_unsync(),
    ))
}

fn last_event(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let Some(field) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let sequence = field.to_str().ok().and_then(|text| text.parse().ok());
    sequence
        .map(Some)
        .ok_or_else(|| Refusal::new(ErrorCode::BadRequest, "Last-Event-ID is the id of an event"))
}

pub(super) fn config(api: &Api) -> Result<Response<Body>, Refusal> {
    let status = api.deps.control.status();
    let config = serde_json::to_value(status.config.in_force.spec()).map_err(|error| {
        tracing::error!(%error, "the config in force could not be written as JSON");
        Refusal::new(
            ErrorCode::Internal,
            "the config could not be written as JSON",
        )
    })?;
    let body = ConfigBody {
        generation: status.generation,
        config,
    };
    Ok(tagged(json(StatusCode::OK, &body), status.generation))
}

/// Checks a text as if it were the config file, or with an empty body the file itself.
pub(super) async fn check(
    api: &Api,
    asked: &Asked<'_>,
    body: &[u8],
) -> Result<Response<Body>, Refusal> {
    let in_force = api.deps.control.status().config.path.clone();
    let text = std::str::from_utf8(body)
        .map_err(|_| Refusal::new(ErrorCode::BadRequest, "the body is not UTF-8 text"))?
        .to_owned();
    let named = if text.trim().is_empty() {
        in_force
    } else {
        in_force.with_extension(extension(&asked.head.headers))
    };
    // Reading files may wait for a disk, which control's thread must not.
    let checked = tokio::task::spawn_blocking(move || look(&named, &text)).await;
    let checked = checked.map_err(|error| {
        tracing::error!(%error, "checking a config file did not come to an end");
        Refusal::new(ErrorCode::Internal, "the check did not come to an end")
    })?;
    let body = match checked {
        Ok(_) => ConfigCheckBody {
            valid: true,
            diagnostics: Vec::new(),
            rendered: None,
        },
        Err(diagnostics) => ConfigCheckBody {
            valid: false,
            diagnostics: render::diagnostics(&diagnostics),
            rendered: Some(diagnostics.render(Render::Plain)),
        },
    };
    Ok(json(StatusCode::OK, &body))
}

fn look(file: &Path, text: &str) -> Result<Config, Diagnostics> {
    if text.trim().is_empty() {
        return config::load(file);
    }
    let folder = file.parent().unwrap_or_else(|| Path::new("."));
    config::parse(file, text, &Process::new(folder))
}

/// The ending of the name of a file with the labelled type.
fn extension(headers: &HeaderMap) -> &'static str {
    let label = headers.get(http::header::CONTENT_TYPE);
    let label = label.and_then(|label| label.to_str().ok()).unwrap_or("");
    match label
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_ascii_lowercase()
        .as_str()
    {
        "application/toml" => "toml",
        "application/json" => "json",
        _ => "yaml",
    }
}

pub(super) fn metrics(api: &Api) -> Response<Body> {
    let status = api.deps.control.status();
    let lifecycle = api.deps.readiness.lifecycle();
    let page = api.deps.metrics.render(|page| {
        super::metrics::render(&status, lifecycle, page);
        notices::metrics(&api.deps.notifiers.status(), page);
        notices::alerts(&api.deps.alarms, page);
    });
    reply::whole(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        page,
    )
}
