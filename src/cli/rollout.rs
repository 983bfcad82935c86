//! `switchback rollout ...`

use std::fmt::Write;

use http::Method;

use super::api::Api;
use super::args::{
    ActArgs, CheckArgs, ListArgs, RevertArgs, RolloutName, RolloutVerb, StartArgs, WaitArgs,
};
use super::contract;
use super::estimate;
use super::failure::{Exit, Failure};
use super::output::Output;
use super::replay;
use super::wait;
use super::words::{self, Lean, Table};
use crate::admin::wire::{
    ActBody, CheckItemBody, DecisionBody, RevertBody, RolloutAction, RolloutBody, RolloutState,
    RolloutsBody, RouteBody, StageRequest, StartRolloutBody, VerdictBody, WeightsReply,
};
use crate::model::RolloutId;

/// Does one of the verbs.
pub(super) async fn run(api: Api, verb: RolloutVerb, output: Output) -> Result<Exit, Failure> {
    match verb {
        RolloutVerb::Start(args) => start(api, args, output).await,
        RolloutVerb::Pause(args) => act(api, RolloutAction::Pause, args, output).await,
        RolloutVerb::Resume(args) => act(api, RolloutAction::Resume, args, output).await,
        RolloutVerb::Approve(args) => act(api, RolloutAction::Approve, args, output).await,
        RolloutVerb::Check(args) => check(api, args, output).await,
        RolloutVerb::Promote(args) => act(api, RolloutAction::Promote, args, output).await,
        RolloutVerb::Abort(args) => act(api, RolloutAction::Abort, args, output).await,
        RolloutVerb::Revert(args) => revert(api, args, output).await,
        RolloutVerb::Wait(WaitArgs { rollout, timeout }) => {
            let id = find(&api, &rollout, Which::Latest).await?;
            wait::until_over(&api, id, timeout, output).await
        }
        RolloutVerb::List(args) => list(api, &args, output).await,
        RolloutVerb::Replay { rollout } => replay::run(api, rollout, output).await,
    }
}

async fn start(api: Api, args: StartArgs, output: Output) -> Result<Exit, Failure> {
    let estimate = estimate::ask(&api, &args).await;
    if args.dry_run {
        let tried = format!("estimate a rollout of {} on route {}", args.to, args.route);
        let estimate = estimate.map_err(|error| error.failure(api.origin(), &tried))?;
        output.answer(&estimate, estimate::text)?;
        return Ok(Exit::Done);
    }
    // Whatever keeps it from being told keeps the start from happening, too, and is told there.
    for note in estimate.map(|estimate| estimate.notes).unwrap_or_default() {
        output.note(&format!("note: {note}"));
    }
    let stages = args.stages.iter().map(|percent| StageRequest {
        percent: f64::from(*percent),
        duration: args.stage_duration,
        approve: false,
    });
    let body = StartRolloutBody {
        to: args.to,
        plan: args.plan,
        stages: Some(stages.collect()).filter(|stages: &Vec<_>| !stages.is_empty()),
        reason: args.reason,
        force: args.despite.force,
        accept_contract: args.despite.accept_contract,
        ignore_schedule: args.despite.ignore_schedule,
    };
    let path = format!("/v1/routes/{}/rollouts", args.route);
    let tried = format!("start a rollout of {} on route {}", body.to, args.route);
    let rollout: RolloutBody = api
        .send(Method::POST, &path, &body)
        .await
        .map_err(|error| {
            if let Some(broken) = contract::refused(&error) {
                output.note(&contract::text(&broken, false));
            }
            error.failure(api.origin(), &tried)
        })?;
    if args.wait {
        output.note(&format!("started {}", heading(&rollout)));
        return wait::until_over(&api, rollout.id, args.timeout, output).await;
    }
    output.answer(&rollout, |rollout| text(rollout, ""))?;
    Ok(Exit::Done)
}

async fn act(
    api: Api,
    action: RolloutAction,
    args: ActArgs,
    output: Output,
) -> Result<Exit, Failure> {
    let id = find(&api, &args.rollout, Which::Running).await?;
    let path = format!("/v1/rollouts/{id}/{}", action.as_str());
    let body = ActBody {
        reason: args.reason,
    };
    let rollout: RolloutBody = api
        .send(Method::POST, &path, &body)
        .await
        .map_err(|error| {
            error.failure(api.origin(), &format!("{} rollout {id}", action.as_str()))
        })?;
    output.answer(&rollout, |rollout| text(rollout, ""))?;
    Ok(Exit::Done)
}

async fn check(api: Api, args: CheckArgs, output: Output) -> Result<Exit, Failure> {
    let id = find(&api, &args.rollout, Which::Running).await?;
    let tried = format!("tick {} of rollout {id}", args.item);
    let body = CheckItemBody {
        item: args.item,
        note: args.note,
    };
    let path = format!("/v1/rollouts/{id}/checklist");
    let rollout: RolloutBody = api
        .send(Method::POST, &path, &body)
        .await
        .map_err(|error| error.failure(api.origin(), &tried))?;
    output.answer(&rollout, |rollout| text(rollout, ""))?;
    Ok(Exit::Done)
}

/// Back, also after a promotion.
async fn revert(api: Api, args: RevertArgs, output: Output) -> Result<Exit, Failure> {
    let RevertArgs {
        rollout,
        to,
        reason,
    } = args;
    let Some(to) = to else {
        let id = find(&api, &rollout, Which::Latest).await?;
        let args = ActArgs {
            rollout: RolloutName::Id(id),
            reason,
        };
        return act(api, RolloutAction::Revert, args, output).await;
    };
    let RolloutName::Route(route) = rollout else {
        return Err(Failure::new(
            Exit::Usage,
            "--to takes the name of a route, not of a rollout",
        )
        .mend("`switchback rollout revert ROUTE --to BACKEND`"));
    };
    let path = format!("/v1/routes/{route}/revert");
    let tried = format!("revert route {route} to {to}");
    let body = RevertBody {
        to: Some(to),
        reason,
    };
    let reply: WeightsReply = api
        .send(Method::POST, &path, &body)
        .await
        .map_err(|error| error.failure(api.origin(), &tried))?;
    output.answer(&reply, |reply| {
        let arms = reply.route.arms.iter();
        let arms = arms.map(|arm| format!("{} {}", arm.backend, words::percent(arm.percent)));
        format!(
            "{}: {}\n",
            reply.route.route,
            arms.collect::<Vec<_>>().join(", ")
        )
    })?;
    Ok(Exit::Done)
}

async fn list(api: Api, args: &ListArgs, output: Output) -> Result<Exit, Failure> {
    let mut path = format!("/v1/rollouts?limit={}", args.limit);
    if let Some(route) = &args.route {
        let _ = write!(path, "&route={route}");
    }
    if let Some(state) = args.state {
        let _ = write!(path, "&state={}", state.as_str());
    }
    if let Some(before) = args.before {
        let _ = write!(path, "&before={before}");
    }
    let all: RolloutsBody = api
        .get(&path)
        .await
        .map_err(|error| error.failure(api.origin(), "list the rollouts"))?;
    if let Some(why) = &all.incomplete {
        output.note(&format!("earlier rollouts are missing: {why}"));
    }
    output.answer(&all, list_text)?;
    Ok(Exit::Done)
}

/// Which rollout the name of a route stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// The one that runs; to act on any other makes no sense.
    Running,
    /// The one that runs, else the latest.
    Latest,
}

pub(super) async fn find(
    api: &Api,
    name: &RolloutName,
    which: Which,
) -> Result<RolloutId, Failure> {
    let route = match name {
        RolloutName::Id(id) => return Ok(*id),
        RolloutName::Route(route) => route,
    };
    let status: RouteBody = api
        .get(&format!("/v1/routes/{route}"))
        .await
        .map_err(|error| error.failure(api.origin(), &format!("find the rollout of {route}")))?;
    status
        .rollout
        .filter(|rollout| which == Which::Latest || !rollout.state.is_over())
        .map(|rollout| rollout.id)
        .ok_or_else(|| {
            Failure::new(Exit::Refused, format!("no rollout runs on route {route}"))
                .mend("`switchback rollout list` shows the ones that did")
        })
}

fn list_text(all: &RolloutsBody) -> String {
    if all.rollouts.is_empty() {
        return "no such rollouts yet".to_owned();
    }
    let mut table = Table::new(&[
        ("ID", Lean::Left),
        ("ROUTE", Lean::Left),
        ("STABLE", Lean::Left),
        ("CANDIDATE", Lean::Left),
        ("STATE", Lean::Left),
        ("SHARE", Lean::Right),
        ("STARTED", Lean::Left),
        ("BY", Lean::Left),
        ("HOW IT STANDS", Lean::Left),
    ]);
    for rollout in &all.rollouts {
        table.row([
            rollout.id.to_string(),
            rollout.route.to_string(),
            rollout.stable.to_string(),
            rollout.candidate.to_string(),
            state_word(rollout.state),
            words::percent(rollout.percent),
            words::moment(&rollout.started_at),
            rollout.who.clone(),
            rollout.message.clone(),
        ]);
    }
    table.render("")
}

/// One rollout for people, each line with this much in front.
pub(super) fn text(rollout: &RolloutBody, indent: &str) -> String {
    let mut text = format!("{indent}rollout {}\n", heading(rollout));
    let present = rollout.stage.filter(|_| !rollout.state.is_over());
    let spec = present.and_then(|stage| {
        let spec = rollout.stages.get((stage as usize).saturating_sub(1))?;
        Some((stage, spec))
    });
    if let Some((stage, spec)) = spec {
        let _ = writeln!(
            text,
            "{indent}  stage {stage} of {}: {} for {}, {} so far",
            rollout.stages.len(),
            words::percent(rollout.percent),
            words::span(spec.for_seconds),
            words::span(rollout.stage_elapsed_seconds),
        );
    }
    let present = rollout
        .checklist
        .iter()
        .filter(|_| !rollout.state.is_over());
    for item in present {
        let what = item.ask.as_ref().or(item.budget.as_ref());
        let what = what.map(|what| format!(" ({what})")).unwrap_or_default();
        let _ = writeln!(
            text,
            "{indent}  checklist, {}: {}{what} is {}",
            item.part, item.item, item.state
        );
    }
    if let Some(contract) = &rollout.contract {
        let _ = writeln!(text, "{indent}  contract: {}", contract.summary);
    }
    if let Some(reason) = rollout.revert_reason {
        let _ = writeln!(text, "{indent}  reason: {reason}");
    }
    if !rollout.message.is_empty() {
        let _ = writeln!(text, "{indent}  {}", rollout.message);
    }
    if let Some(verdict) = rollout
        .verdict
        .as_ref()
        .filter(|_| !rollout.state.is_over())
    {
        text.push_str(&verdict_text(verdict, indent));
    }
    text
}

fn verdict_text(verdict: &VerdictBody, indent: &str) -> String {
    let decision = match verdict.decision {
        DecisionBody::Advance => "advance",
        DecisionBody::Hold => "hold",
        DecisionBody::Revert => "revert",
    };
    let mut text = format!(
        "{indent}  verdict {decision}: {}\n{indent}  evidence {} (at {} it is reverted); stable {} calls, {} bad; candidate {} calls, {} bad\n",
        verdict.summary,
        words::evidence(verdict.evidence),
        words::evidence(verdict.revert_at),
        words::count(verdict.stable.calls),
        words::count(verdict.stable.bad),
        words::count(verdict.candidate.calls),
        words::count(verdict.candidate.bad),
    );
    for guard in &verdict.guards {
        let _ = writeln!(
            text,
            "{indent}  guard {}: {} of {} over its limit {}, evidence {} (at {} it reverts)",
            guard.guard,
            words::count(guard.over),
            words::count(guard.calls),
            guard.limit,
            words::evidence(guard.evidence),
            words::evidence(guard.revert_at)
        );
    }
    if let Some(more) = verdict.more_calls_needed {
        let time = verdict.more_seconds_needed;
        let time = time.map(|seconds| format!(", {} at this rate", words::span(seconds as f64)));
        let _ = writeln!(
            text,
            "{indent}  a pass needs about {} more calls of the candidate's{}",
            words::count(more),
            time.unwrap_or_default()
        );
    }
    text
}

/// `r-3 on search: search-v1 -> search-v2, running`
pub(super) fn heading(rollout: &RolloutBody) -> String {
    format!(
        "{} on {}: {} -> {}, {}",
        rollout.id,
        rollout.route,
        rollout.stable,
        rollout.candidate,
        state_word(rollout.state)
    )
}

fn state_word(state: RolloutState) -> String {
    state.as_str().replace('_', " ")
}
