//! `switchback status` and `switchback shift`.

use std::fmt::Write;

use http::Method;

use super::api::Api;
use super::args::ShiftArgs;
use super::failure::{Exit, Failure};
use super::output::Output;
use super::rollout;
use super::words::{self, Lean, Table};
use crate::admin::wire::{
    ArmBody, AuthBody, CallersBody, CallsBody, DiagnosticBody, Lifecycle, RouteBody, SessionsBody,
    StandingBody, StatusBody, WeightsBody, WeightsReply,
};
use crate::model::{Outcome, OutcomeSet, RouteName};

/// Width of a split's bars, in places.
const BAR: usize = 20;

/// `switchback status [ROUTE]`
pub(super) async fn show(
    api: Api,
    route: Option<RouteName>,
    output: Output,
) -> Result<Exit, Failure> {
    let tried = "read the status";
    let refused = |error: super::api::ApiError| error.failure(api.origin(), tried);
    match route {
        None => {
            let status: StatusBody = api.get("/v1/status").await.map_err(refused)?;
            output.answer(&status, gateway_text)?;
        }
        Some(route) => {
            let path = format!("/v1/routes/{route}");
            let route: RouteBody = api.get(&path).await.map_err(refused)?;
            output.answer(&route, |route| {
                format!("generation {}\n\n{}", route.generation, route_text(route))
            })?;
        }
    }
    Ok(Exit::Done)
}

/// `switchback shift ROUTE BACKEND=WEIGHT...`
pub(super) async fn shift(api: Api, args: ShiftArgs, output: Output) -> Result<Exit, Failure> {
    let ShiftArgs {
        route,
        weights,
        reason,
        if_match,
    } = args;
    let mut body = WeightsBody {
        weights: std::collections::BTreeMap::new(),
        reason,
    };
    for (backend, weight) in weights {
        if body
            .weights
            .insert(backend.clone(), weight.share())
            .is_some()
        {
            return Err(Failure::new(
                Exit::Usage,
                format!("`{backend}` is given two weights"),
            ));
        }
    }
    let path = format!("/v1/routes/{route}/weights");
    let answer = match if_match {
        Some(generation) => api.send_if_match(&path, &body, generation).await,
        None => api.send(Method::PUT, &path, &body).await,
    };
    let reply: WeightsReply =
        answer.map_err(|error| error.failure(api.origin(), &format!("shift route {route}")))?;
    output.answer(&reply, |reply| {
        format!(
            "in force as generation {}\n\n{}",
            reply.generation,
            route_text(&reply.route)
        )
    })?;
    Ok(Exit::Done)
}

fn gateway_text(status: &StatusBody) -> String {
    let life = match status.lifecycle {
        Lifecycle::Starting => "starting",
        Lifecycle::Ready => "ready",
        Lifecycle::Draining => "draining",
    };
    let mut text = format!(
        "switchback {} · {life} · up {} · generation {}\n",
        status.version,
        words::span(status.uptime_seconds),
        status.generation,
    );
    for warning in &status.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    for mistake in &status.config.refused {
        text.push_str(&mistake_text(mistake));
    }
    for route in &status.routes {
        text.push('\n');
        text.push_str(&route_text(route));
    }
    text
}

/// One thing wrong with the file, and what to do about it.
fn mistake_text(mistake: &DiagnosticBody) -> String {
    let mut text = format!("  {}", mistake.file);
    if let (Some(line), Some(column)) = (mistake.line, mistake.column) {
        let _ = write!(text, ":{line}:{column}");
    }
    let _ = writeln!(text, ": {} ({})", mistake.message, mistake.code);
    if let Some(hint) = &mistake.hint {
        let _ = writeln!(text, "    hint: {hint}");
    }
    text
}

/// One route for people: its split, how its backends do now, its rollout.
pub(super) fn route_text(route: &RouteBody) -> String {
    let mut table = Table::new(&[
        ("BACKEND", Lean::Left),
        ("ROLE", Lean::Left),
        ("WEIGHT", Lean::Right),
        ("SHARE OF NEW TRAFFIC", Lean::Left),
        ("CALLS", Lean::Right),
        ("LAST 10 S", Lean::Right),
        ("ERRORS", Lean::Right),
        ("P50", Lean::Right),
        ("P95", Lean::Right),
        ("P99", Lean::Right),
    ]);
    for arm in &route.arms {
        table.row(arm_cells(arm));
    }
    let mut text = format!(
        "route {} ({}, {})\n{}",
        route.route,
        route.protocol,
        route.matches,
        table.render("  ")
    );
    text.push_str(&sessions_text(route));
    text.push_str(&callers_text(route));
    if let Some(auth) = &route.auth {
        text.push_str(&auth_text(auth));
    }
    if let Some(shadow) = &route.shadow {
        let _ = writeln!(
            text,
            "  shadow: {} of the eligible calls to {}, {} so far, {} errors",
            words::percent(shadow.percent),
            shadow.backend,
            words::count(shadow.calls.total),
            words::percent(bad_percent(&shadow.calls)),
        );
    }
    if let Some(wish) = &route.wish {
        let why = wish
            .why
            .as_deref()
            .unwrap_or("its rollout is about to start");
        let _ = writeln!(text, "  the file asks for {}: {why}", wish.backend);
    }
    if let Some(rollout) = &route.rollout {
        text.push_str(&rollout::text(rollout, "  "));
    }
    text
}

/// The MCP sessions of a route's backends, of those that have or had any.
fn sessions_text(route: &RouteBody) -> String {
    let each = route.arms.iter().filter_map(|arm| {
        let sessions = arm.sessions.filter(|it| *it != SessionsBody::default())?;
        Some(format!("{} {}", arm.backend, words::sessions(&sessions)))
    });
    let each: Vec<String> = each.collect();
    match each.as_slice() {
        [] => String::new(),
        some => format!("  sessions: {}\n", some.join("; ")),
    }
}

/// The callers without sessions of a route's backends, of those that have any.
fn callers_text(route: &RouteBody) -> String {
    let each = route.arms.iter().filter_map(|arm| {
        let callers = arm.callers.filter(|it| *it != CallersBody::default())?;
        Some(format!("{} {}", arm.backend, words::callers(&callers)))
    });
    let each: Vec<String> = each.collect();
    match each.as_slice() {
        [] => String::new(),
        some => format!("  callers: {}\n", some.join("; ")),
    }
}

/// What a route asks of its callers, and how it stands with the keys.
fn auth_text(auth: &AuthBody) -> String {
    let keys = match (auth.jwks.keys, auth.jwks.age_seconds) {
        (Some(count), Some(age)) => format!("{count} keys, read {} ago", words::span(age)),
        (Some(count), None) => format!("{count} keys"),
        (None, _) => "no keys yet, so nobody is let in".to_owned(),
    };
    let mut text = format!("  tokens: of {}, {keys}\n", auth.issuer);
    if let Some(error) = &auth.jwks.error {
        let _ = writeln!(text, "    keys of {}: {}", auth.jwks.source, error);
    }
    text
}

fn arm_cells(arm: &ArmBody) -> [String; 10] {
    let role = match (arm.role, arm.standing) {
        (Some(role), _) => role.as_str(),
        (None, StandingBody::Reverted) => "reverted",
        (None, StandingBody::Draining) => "draining",
        (None, StandingBody::Drained) => "drained",
        (None, StandingBody::Open) => "-",
    };
    let errors = match arm.recent.total {
        0 => "-".to_owned(),
        _ => words::percent(bad_percent(&arm.recent)),
    };
    [
        arm.backend.to_string(),
        role.to_owned(),
        arm.weight.to_string(),
        format!(
            "{} {:>6}",
            words::bar(arm.percent, BAR),
            words::percent(arm.percent)
        ),
        words::count(arm.calls.total),
        words::count(arm.recent.total),
        errors,
        words::latency_or_dash(arm.recent.p50_ms),
        words::latency_or_dash(arm.recent.p95_ms),
        words::latency_or_dash(arm.recent.p99_ms),
    ]
}

/// Share of the calls that the server is to blame for.
pub(super) fn bad_percent(calls: &CallsBody) -> f64 {
    let bad: u64 = Outcome::ALL
        .into_iter()
        .filter(|outcome| OutcomeSet::BAD.contains(*outcome))
        .filter_map(|outcome| calls.outcomes.get(outcome.as_str()))
        .sum();
    100.0 * bad as f64 / calls.total.max(1) as f64
}

#[cfg(test)]
mod tests;
