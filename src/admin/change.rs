//! Calls that change things, each of them through control.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Response, StatusCode};

use crate::control::{
    self, Acceptance, ActOnRollout, Changed, CheckItem, Cooldown, Punctuality, Recipe, RevertRoute,
    SetWeights, StartRollout, Status,
};
use crate::model::{BackendName, Generation, Percent, RouteName, Weight};
use crate::rollout::spec::StageSpec;

use super::api::{Api, Asked};
use super::body::{author, if_match, parse};
use super::endpoints::Call;
use super::error::Refusal;
use super::read::{find, no_route, rollout_id};
use super::reply::{Body, json, tagged};
use super::wire::{
    ActBody, CheckItemBody, ErrorCode, ReloadBody, RevertBody, RolloutAction, StageRequest,
    StartRolloutBody, WeightsBody, WeightsReply,
};
use super::{hook, notices, pushes, render, render_rollout};

/// Does what a call with a body of JSON asks for.
pub(super) async fn call(
    api: &Api,
    call: Call,
    asked: &Asked<'_>,
    body: &[u8],
) -> Result<Response<Body>, Refusal> {
    match call {
        Call::SetWeights => set_weights(api, asked, &parse(body)?).await,
        Call::RevertRoute => revert_route(api, asked, parse(body)?).await,
        Call::StartRollout => start_rollout(api, asked, parse(body)?).await,
        Call::CheckItem => check_item(api, asked, &parse(body)?).await,
        Call::Act(action) => act(api, asked, action, &parse(body)?).await,
        Call::Reload => reload(api, asked, &parse(body)?).await,
        Call::PushMetrics => pushes::push(api, asked, parse(body)?).await,
        Call::TestNotifier => notices::test(api, asked, &parse(body)?).await,
        Call::TestHook => hook::test(api, asked, &parse(body)?).await,
        Call::Status
        | Call::Routes
        | Call::Route
        | Call::Contract
        | Call::Backends
        | Call::Backend
        | Call::Rollouts
        | Call::Rollout
        | Call::Verdict
        | Call::RouteVerdict
        | Call::Why
        | Call::Replay
        | Call::Estimate
        | Call::History
        | Call::Audit
        | Call::Events
        | Call::Check
        | Call::Config
        | Call::Metrics
        | Call::Livez
        | Call::Readyz
        | Call::Startupz
        | Call::OpenApi
        | Call::Home
        | Call::Notifiers
        | Call::Tools => Err(Refusal::new(ErrorCode::NotFound, "this changes nothing")),
    }
}

async fn set_weights(
    api: &Api,
    asked: &Asked<'_>,
    body: &WeightsBody,
) -> Result<Response<Body>, Refusal> {
    let request = SetWeights {
        route: route_name(asked.name)?,
        weights: weights(body)?,
        if_match: if_match(&asked.head.headers)?,
        author: author(asked, body.reason.as_deref())?,
    };
    let name = request.route.clone();
    let Changed { generation, .. } = api.deps.control.set_weights(request).await?;
    show_route(api, &name, generation).await
}

async fn revert_route(
    api: &Api,
    asked: &Asked<'_>,
    body: RevertBody,
) -> Result<Response<Body>, Refusal> {
    let request = RevertRoute {
        route: route_name(asked.name)?,
        to: body.to,
        if_match: if_match(&asked.head.headers)?,
        author: author(asked, body.reason.as_deref())?,
    };
    let name = request.route.clone();
    let Changed { generation, .. } = api.deps.control.revert_route(request).await?;
    show_route(api, &name, generation).await
}

async fn show_route(
    api: &Api,
    name: &RouteName,
    generation: Generation,
) -> Result<Response<Body>, Refusal> {
    let status = shows(api, generation).await;
    let route = status.routes.iter().find(|route| route.name == *name);
    let body = WeightsReply {
        generation,
        route: render::route(
            route.ok_or_else(|| no_route(name.as_str()))?,
            status.generation,
        ),
    };
    Ok(tagged(json(StatusCode::OK, &body), generation))
}

fn weights(body: &WeightsBody) -> Result<BTreeMap<BackendName, Weight>, Refusal> {
    let each = body.weights.iter().map(|(backend, share)| {
        let weight = Weight::new(*share)
            .map_err(|error| invalid(format!("backend `{backend}`: {error}")))?;
        Ok((backend.clone(), weight))
    });
    each.collect()
}

async fn start_rollout(
    api: &Api,
    asked: &Asked<'_>,
    body: StartRolloutBody,
) -> Result<Response<Body>, Refusal> {
    let request = StartRollout {
        route: route_name(asked.name)?,
        to: body.to,
        recipe: match (body.plan, body.stages) {
            (None, None) => Recipe::OfRoute,
            (Some(plan), None) => Recipe::Plan(plan),
            (None, Some(stages)) => Recipe::Stages(each_stage(stages)?),
            (Some(_), Some(_)) => {
                let message = "a rollout follows a plan or stages of its own, not both";
                return Err(invalid(message.to_owned()));
            }
        },
        if_match: if_match(&asked.head.headers)?,
        cooldown: if body.force {
            Cooldown::Override
        } else {
            Cooldown::Respect
        },
        contract: if body.accept_contract {
            Acceptance::Accept
        } else {
            Acceptance::ByPolicy
        },
        punctuality: if body.ignore_schedule {
            Punctuality::Ignore
        } else {
            Punctuality::Respect
        },
        author: author(asked, body.reason.as_deref())?,
    };
    let changed = api.deps.control.start_rollout(request).await?;
    let id = changed.rollout.map(|id| id.to_string()).unwrap_or_default();
    show_rollout(api, StatusCode::CREATED, &id, changed.generation).await
}

fn each_stage(stages: Vec<StageRequest>) -> Result<Vec<StageSpec>, Refusal> {
    let each = stages.into_iter().map(|stage| {
        Ok(StageSpec {
            percent: Percent::new(stage.percent).map_err(|error| invalid(error.to_string()))?,
            duration: stage.duration,
            approve: stage.approve,
        })
    });
    each.collect()
}

async fn act(
    api: &Api,
    asked: &Asked<'_>,
    action: RolloutAction,
    body: &ActBody,
) -> Result<Response<Body>, Refusal> {
    let request = ActOnRollout {
        rollout: rollout_id(asked.name)?,
        action: match action {
            RolloutAction::Pause => control::RolloutAction::Pause,
            RolloutAction::Resume => control::RolloutAction::Resume,
            RolloutAction::Approve => control::RolloutAction::Approve,
            RolloutAction::Promote => control::RolloutAction::Promote,
            RolloutAction::Abort => control::RolloutAction::Abort,
            RolloutAction::Revert => control::RolloutAction::Revert,
        },
        if_match: if_match(&asked.head.headers)?,
        author: author(asked, body.reason.as_deref())?,
    };
    let changed = api.deps.control.act_on_rollout(request).await?;
    show_rollout(api, StatusCode::OK, asked.name, changed.generation).await
}

async fn check_item(
    api: &Api,
    asked: &Asked<'_>,
    body: &CheckItemBody,
) -> Result<Response<Body>, Refusal> {
    let request = CheckItem {
        rollout: rollout_id(asked.name)?,
        item: body.item.clone(),
        if_match: if_match(&asked.head.headers)?,
        author: author(asked, body.note.as_deref())?,
    };
    let changed = api.deps.control.check_item(request).await?;
    show_rollout(api, StatusCode::OK, asked.name, changed.generation).await
}

async fn show_rollout(
    api: &Api,
    code: StatusCode,
    id: &str,
    generation: Generation,
) -> Result<Response<Body>, Refusal> {
    let status = shows(api, generation).await;
    let body = render_rollout::rollout(find(&status, id)?);
    Ok(tagged(json(code, &body), generation))
}

async fn reload(api: &Api, asked: &Asked<'_>, body: &ActBody) -> Result<Response<Body>, Refusal> {
    let author = author(asked, body.reason.as_deref())?;
    let report = api.deps.control.reload(author).await?;
    let body = ReloadBody {
        generation: report.generation,
        at: report.at.to_string(),
        changed: report.changed,
        notes: report.notes,
    };
    Ok(tagged(json(StatusCode::OK, &body), report.generation))
}

/// Control's picture, once it shows this generation or a later one. Control renews it with
/// every change, so this hardly waits; when control stops meanwhile, what there is will do.
async fn shows(api: &Api, generation: Generation) -> Arc<Status> {
    let mut pictures = api.deps.control.watch_status();
    let shown = pictures.wait_for(|status| status.generation >= generation);
    drop(shown.await);
    api.deps.control.status()
}

fn route_name(text: &str) -> Result<RouteName, Refusal> {
    text.parse().map_err(|_| no_route(text))
}

fn invalid(message: String) -> Refusal {
    Refusal::new(ErrorCode::Invalid, message)
}
