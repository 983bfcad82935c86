//! What a rollout could find out at today's traffic, before it starts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::judge::{StageEstimate, Today, estimate};
use crate::model::{BackendName, OutcomeSet, PlanName, RouteName};
use crate::rollout::Plan;
use crate::stats::{CallKey, CallSummary, Registry, Traffic};

use super::author::Author;
use super::command::{Cooldown, Punctuality, Recipe, StartRollout};
use super::contract::Acceptance;
use super::desired::Desired;
use super::error::ControlError;
use super::ground::Ground;
use super::status::{RouteStatus, Status};
use super::steps::Moment;
use super::timestamp::Timestamp;

/// A rollout that somebody thinks of.
#[derive(Clone, Debug)]
pub struct AskEstimate {
    /// The route.
    pub route: RouteName,
    /// The candidate.
    pub to: BackendName,
    /// Its recipe.
    pub recipe: Recipe,
}

/// What it could find out.
#[derive(Clone, Debug)]
pub struct Estimate {
    /// The route.
    pub route: RouteName,
    /// The version that is trusted.
    pub stable: BackendName,
    /// The version on trial.
    pub candidate: BackendName,
    /// Name of its plan; `None` when the stages were named.
    pub plan_name: Option<PlanName>,
    /// Its recipe.
    pub plan: Plan,
    /// How long today was looked at.
    pub measured: Duration,
    /// Calls a second on the route.
    pub rate: f64,
    /// Which part of stable's calls went badly.
    pub error_rate: f64,
    /// Stable's calls.
    pub calls: CallSummary,
    /// What each stage could find out.
    pub stages: Vec<StageEstimate>,
}

/// What had been counted at some moment, of every route and backend.
#[derive(Debug)]
pub struct Mark {
    /// The moment, since the process began.
    pub(super) at: Duration,
    pub(super) sums: BTreeMap<CallKey, CallSummary>,
}

impl Mark {
    fn since(&self, registry: &Registry, key: &CallKey) -> CallSummary {
        let now = registry.sum(key);
        match self.sums.get(key) {
            Some(then) => now.since(then),
            None => now,
        }
    }
}

/// What a rollout could find out.
pub(super) fn before_start(
    status: &Status,
    registry: &Registry,
    asked: AskEstimate,
) -> Result<Estimate, ControlError> {
    let mut routes = status.routes.iter();
    let route = routes.find(|route| route.name == asked.route);
    let route = route.ok_or_else(|| ControlError::UnknownRoute {
        route: asked.route.clone(),
    })?;
    let stable = stable_of(route, &asked.to)?;
    let (plan_name, plan) = plan_of(status, &asked)?;
    let seen = Seen::of(status, registry, route);
    let calls = seen.calls_of(&stable);
    let error_rate = bad_part(
        &calls,
        status.config.in_force.spec().bad_outcomes(&asked.route),
    );
    let today = Today {
        rate: seen.rate(),
        error_rate,
        latency: &calls.latency,
    };
    let stages = plan.stages().iter();
    let stages: Vec<_> = stages
        .map(|stage| (stage.percent.fraction(), stage.duration))
        .collect();
    let stages = estimate(&plan.terms, today, &stages);
    Ok(Estimate {
        route: asked.route,
        stable,
        candidate: asked.to,
        plan_name,
        plan,
        measured: seen.time,
        rate: today.rate,
        error_rate,
        calls,
        stages,
    })
}

fn stable_of(route: &RouteStatus, to: &BackendName) -> Result<BackendName, ControlError> {
    if !route.arms.iter().any(|arm| arm.backend == *to) {
        return Err(ControlError::UnknownBackend {
            route: route.name.clone(),
            backend: to.clone(),
        });
    }
    let others = route.arms.iter().filter(|arm| arm.backend != *to);
    // The first of equals, as at a start.
    let stable = others.rev().max_by_key(|arm| arm.weight.share());
    let stable = stable.map(|arm| arm.backend.clone());
    stable.ok_or_else(|| {
        let message = format!("route `{}` has no other backend than `{to}`", route.name);
        ControlError::Invalid(message)
    })
}

fn plan_of(status: &Status, asked: &AskEstimate) -> Result<(Option<PlanName>, Plan), ControlError> {
    // A plan depends on the file alone.
    let ground = Ground {
        desired: &Desired::new(),
        config: &status.config.in_force,
        moment: Moment {
            now: Duration::ZERO,
            at: Timestamp::now(),
        },
    };
    ground.plan(&StartRollout {
        route: asked.route.clone(),
        to: asked.to.clone(),
        recipe: asked.recipe.clone(),
        if_match: None,
        cooldown: Cooldown::Override,
        contract: Acceptance::Accept,
        punctuality: Punctuality::Ignore,
        author: Author::new("estimate", None),
    })
}

fn bad_part(calls: &CallSummary, bad: OutcomeSet) -> f64 {
    let mut counted = [0_u64; 2];
    for outcome in crate::model::Outcome::ALL {
        if !outcome.tells_nothing() {
            let count = calls.count(outcome);
            counted[0] += count;
            counted[1] += if bad.contains(outcome) { count } else { 0 };
        }
    }
    let [all, bad] = counted;
    bad as f64 / all.max(1) as f64
}

/// The calls of a route in the last minutes.
struct Seen {
    time: Duration,
    calls: BTreeMap<BackendName, CallSummary>,
}

impl Seen {
    fn of(status: &Status, registry: &Registry, route: &RouteStatus) -> Self {
        let mark = status.lately.clone().unwrap_or_else(|| {
            Arc::new(Mark {
                at: Duration::ZERO,
                sums: BTreeMap::new(),
            })
        });
        let calls = route.arms.iter().map(|arm| {
            let key = CallKey {
                route: route.name.clone(),
                backend: arm.backend.clone(),
                traffic: Traffic::Real,
            };
            (arm.backend.clone(), mark.since(registry, &key))
        });
        Self {
            calls: calls.collect(),
            time: status.uptime.saturating_sub(mark.at),
        }
    }

    fn calls_of(&self, backend: &BackendName) -> CallSummary {
        self.calls.get(backend).cloned().unwrap_or_default()
    }

    fn rate(&self) -> f64 {
        let calls: u64 = self.calls.values().map(CallSummary::total).sum();
        calls as f64 / self.time.as_secs_f64().max(1.0)
    }
}
