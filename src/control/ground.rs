//! Planning: from a command and what is in force to a change, or to a refusal.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Config;
use crate::judge::Judge;
use crate::listener::spec::ListenerSpec;
use crate::model::{BackendName, Generation, Percent, PlanName, RolloutId, RouteName};
use crate::rollout::spec::{KindSpec, PlanSpec, StageSpec};
use crate::rollout::{Event as Step, Phase, Plan, Refusal, State};

use super::adopt;
use super::author::Author;
use super::calendar::{self, CalendarLog};
use super::change::{Change, Draft};
use super::checklist::{self, ChecklistLog};
use super::command::{ActOnRollout, Cooldown, Recipe, SetWeights, StartRollout};
use super::contract::{self, ContractReport};
use super::desired::{Desired, RouteState, Run};
use super::error::ControlError;
use super::event::What;
use super::gates;
use super::hook_log::HookLog;
use super::reload::ReloadReport;
use super::shares;
use super::steps::{self, Moment};

/// What planning looks at.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) desired: &'a Desired,
    pub(super) config: &'a Config,
    pub(super) moment: Moment,
}

impl Ground<'_> {
    /// New weights by hand.
    pub(super) fn weights(&self, asked: &SetWeights) -> Result<Change, ControlError> {
        self.check_generation(asked.if_match)?;
        let route = &asked.route;
        let mut state = self.idle_route(route)?.clone();
        let mut weights = state.now.clone();
        for (backend, weight) in &asked.weights {
            let slot = weights
                .get_mut(backend)
                .ok_or_else(|| ControlError::UnknownBackend {
                    route: route.clone(),
                    backend: backend.clone(),
                })?;
            *slot = *weight;
        }
        if shares::total(&weights) == 0 {
            return Err(ControlError::Invalid(format!(
                "the weights of route `{route}` would all be zero"
            )));
        }
        let what = What::WeightsChanged {
            from: state.now.clone(),
            to: weights.clone(),
        };
        state.set_weights(weights);
        // Whoever decides by hand has decided.
        state.wish = None;
        Ok(Change {
            routes: BTreeMap::from([(route.clone(), state)]),
            drafts: vec![Draft {
                route: Some(route.clone()),
                rollout: None,
                author: asked.author.clone(),
                what,
            }],
            ..Change::default()
        })
    }

    /// Whether the route may have another rollout after the reverts of the last hour.
    fn is_rested(
        &self,
        asked: &StartRollout,
        state: &RouteState,
        plan: &Plan,
    ) -> Result<(), ControlError> {
        match state.rests(plan.max_reverts_per_hour, self.moment.at) {
            Some((reverts, left)) if asked.cooldown == Cooldown::Respect => {
                Err(ControlError::TooManyReverts {
                    route: asked.route.clone(),
                    reverts,
                    left_seconds: left.as_secs().max(1),
                })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// A new rollout, at its first share.
    pub(super) fn start(
        &self,
        asked: &StartRollout,
        contract: Option<ContractReport>,
    ) -> Result<(Change, RolloutId), ControlError> {
        self.check_generation(asked.if_match)?;
        let route = &asked.route;
        let mut state = self.idle_route(route)?.clone();
        if matches!(asked.recipe, Recipe::Wished) && state.wish.as_ref() != Some(&asked.to) {
            let message = format!("the file asks for no rollout to `{}` any more", asked.to);
            return Err(ControlError::Invalid(message));
        }
        Self::hooks_are_done(&state)?;
        let stable = self.stable_for(asked, &state)?;
        let (plan_name, plan) = self.plan(asked)?;
        self.can_shadow(route, &plan)?;
        self.is_rested(asked, &state, &plan)?;
        let mut routes = self.config.spec().routes.iter();
        let spec = routes.find(|spec| spec.name == *route);
        let contract = contract::admit(spec, (asked, &stable), contract)?;
        let number = self.desired.last_rollout.saturating_add(1);
        let id = RolloutId(number);
        let waived = calendar::waived(asked, &plan, id);
        state.seed = number;
        state.reverted.remove(&asked.to);
        state.trusted.insert(stable.clone());
        state.wish = None;
        state.run = Some(Box::new(Run {
            id,
            stable,
            candidate: asked.to.clone(),
            plan_name,
            judge: Judge::new(plan.terms.clone(), plan.planned()),
            plan,
            before: state.now.clone(),
            author: asked.author.clone(),
            started_at: self.moment.at,
            ended_at: None,
            state: State::new(),
            record: None,
            contract: contract.map(|report| Arc::new(report.kept())),
            shadow: None,
            rolling: None,
            hooks: HookLog::default(),
            calendar: CalendarLog::new(asked.punctuality),
            checklist: ChecklistLog::default(),
        }));
        let started = self.step(route, state, Step::Start, &asked.author);
        let mut change = started.map_err(|refusal| ControlError::Invalid(refusal.to_string()))?;
        change.last_rollout = Some(number);
        change.drafts.extend(waived);
        Ok((change, id))
    }

    /// Something done to a rollout by hand that does not go back to stable.
    pub(super) fn act(
        &self,
        route: &RouteName,
        step: Step,
        asked: &ActOnRollout,
    ) -> Result<Change, ControlError> {
        self.check_generation(asked.if_match)?;
        let state = self.route(route)?.clone();
        let stepped = self.step(route, state, step, &asked.author);
        stepped.map_err(|refusal| ControlError::NotNow {
            action: asked.action,
            rollout: asked.rollout,
            refusal,
        })
    }

    /// A new file.
    pub(super) fn reload(&self, file: Arc<Config>, author: &Author) -> (Change, ReloadReport) {
        let mut adopted = adopt::adopt(self.desired, file.spec());
        adopted.notes.extend(restarts(self.config, &file));
        let mut drafts = adopted.drafts(self.moment);
        let report = ReloadReport {
            generation: self.desired.generation,
            at: self.moment.at,
            changed: true,
            notes: adopted.notes.clone(),
        };
        drafts.push(Draft {
            route: None,
            rollout: None,
            author: author.clone(),
            what: What::ConfigReloaded {
                notes: adopted.notes,
            },
        });
        let change = Change {
            routes: adopted.routes,
            file: Some(file),
            drafts,
            ..Change::default()
        };
        (change, report)
    }

    fn step(
        &self,
        route: &RouteName,
        mut state: RouteState,
        step: Step,
        author: &Author,
    ) -> Result<Change, Refusal> {
        let stepped = steps::take(&mut state, step, self.moment)?;
        Ok(Change::of_step(route, state, stepped, author))
    }

    /// Refuses unless this is the generation in force.
    pub(super) fn check_generation(&self, asked: Option<Generation>) -> Result<(), ControlError> {
        let current = self.desired.generation;
        match asked {
            Some(expected) if expected != current => {
                Err(ControlError::GenerationMismatch { expected, current })
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn route(&self, route: &RouteName) -> Result<&RouteState, ControlError> {
        let state = self.desired.routes.get(route);
        state.ok_or_else(|| ControlError::UnknownRoute {
            route: route.clone(),
        })
    }

    fn idle_route(&self, route: &RouteName) -> Result<&RouteState, ControlError> {
        let state = self.route(route)?;
        match state.running() {
            Some(run) => Err(ControlError::RolloutRunning {
                route: route.clone(),
                rollout: run.id,
            }),
            None => Ok(state),
        }
    }

    /// Refuses while commands of the rollout before have to run: two must not migrate at once.
    fn hooks_are_done(state: &RouteState) -> Result<(), ControlError> {
        let Some(run) = state.run.as_deref() else {
            return Ok(());
        };
        let went_back = matches!(run.state.phase(), Phase::Reverted { .. } | Phase::Aborted);
        if run.hooks.is_unfinished(went_back) {
            return Err(ControlError::Invalid(format!(
                "the hooks of rollout {} have not ended yet",
                run.id
            )));
        }
        Ok(())
    }

    /// Refuses a plan with a stage in the shadow on a route whose calls are never copied.
    fn can_shadow(&self, route: &RouteName, plan: &Plan) -> Result<(), ControlError> {
        let mut routes = self.config.spec().routes.iter();
        let spec = routes.find(|spec| spec.name == *route);
        let is_rule = spec.is_some_and(|spec| spec.matches.mcp.is_some());
        if plan.shadow.is_some() && is_rule {
            return Err(ControlError::Invalid(format!(
                "calls of route `{route}` are not copied, since it has `match.mcp`: use a plan without `shadow` there"
            )));
        }
        Ok(())
    }

    fn stable_for(
        &self,
        asked: &StartRollout,
        state: &RouteState,
    ) -> Result<BackendName, ControlError> {
        let (route, to) = (&asked.route, &asked.to);
        if !state.now.contains_key(to) {
            return Err(ControlError::UnknownBackend {
                route: route.clone(),
                backend: to.clone(),
            });
        }
        let stable = shares::heaviest(&state.now).filter(|stable| stable != to);
        let stable = stable.ok_or_else(|| {
            ControlError::Invalid(format!(
                "backend `{to}` has the largest weight of route `{route}`: it is stable, not a candidate"
            ))
        })?;
        let left = state
            .cooldowns
            .get(to)
            .map(|until| until.since(self.moment.at));
        match left {
            Some(left) if !left.is_zero() && asked.cooldown == Cooldown::Respect => {
                Err(ControlError::CoolingDown {
                    route: route.clone(),
                    backend: to.clone(),
                    left_seconds: left.as_secs().max(1),
                })
            }
            Some(_) | None => Ok(stable),
        }
    }

    pub(super) fn plan(
        &self,
        asked: &StartRollout,
    ) -> Result<(Option<PlanName>, Plan), ControlError> {
        let file = self.config.spec();
        let mut routes = file.routes.iter();
        let of_route = routes
            .find(|spec| spec.name == asked.route)
            .and_then(|spec| spec.plan.clone());
        let named = |name: &PlanName| {
            let spec = file.plans.get(name).cloned();
            spec.ok_or_else(|| ControlError::UnknownPlan { plan: name.clone() })
        };
        let (name, spec) = match (&asked.recipe, of_route) {
            (Recipe::Plan(name), _) => (Some(name.clone()), named(name)?),
            (Recipe::OfRoute | Recipe::Wished, Some(name)) => (Some(name.clone()), named(&name)?),
            (Recipe::OfRoute | Recipe::Wished, None) => {
                return Err(ControlError::Invalid(format!(
                    "route `{}` names no plan, so the start must name a plan or its stages",
                    asked.route
                )));
            }
            (Recipe::Stages(stages), of_route) => {
                let base = of_route.map(|name| named(&name)).transpose()?;
                (None, with_stages(base, stages)?)
            }
        };
        let candidate = file.backends.get(&asked.to);
        let endpoints = candidate.map_or(1, |backend| backend.endpoints.len());
        let plan = Plan::of_endpoints(&spec, endpoints);
        let mut plan = plan.map_err(|error| ControlError::Invalid(error.to_string()))?;
        let hooks = plan.hooks.iter().filter_map(|hook| file.hooks.get(hook));
        plan.gates = gates::kept(&hooks).into_iter().collect();
        let of_schedule = calendar::gates_of(&plan).collect::<Vec<_>>();
        plan.gates.extend(of_schedule);
        let of_checklist = checklist::gates_of(&plan).collect::<Vec<_>>();
        plan.gates.extend(of_checklist);
        Ok((name, plan))
    }
}

fn with_stages(base: Option<PlanSpec>, stages: &[StageSpec]) -> Result<PlanSpec, ControlError> {
    if let Some(base) = base {
        return Ok(PlanSpec {
            // Stages that are named are climbed.
            kind: KindSpec::Canary,
            rolling: None,
            // A last stage of 100 percent says itself how long the bake is.
            bake: match stages.last() {
                Some(last) if last.percent == Percent::HUNDRED => None,
                Some(_) | None => base.bake,
            },
            stages: stages.to_vec(),
            ..base
        });
    }
    // Through the file's own reader, so that defaults are written down once.
    serde_json::from_value(serde_json::json!({ "stages": stages }))
        .map_err(|error| ControlError::Invalid(error.to_string()))
}

/// Whether two files have the same listeners but for who may connect and what their TLS is like,
/// which changes at once.
fn same_listeners(old: &[ListenerSpec], new: &[ListenerSpec]) -> bool {
    let bare = |spec: &ListenerSpec| (spec.address, spec.tls.is_some());
    old.iter().map(bare).eq(new.iter().map(bare))
}

/// What of a new file takes a restart.
fn restarts(old: &Config, new: &Config) -> Vec<String> {
    let (old, new) = (old.spec(), new.spec());
    let parts = [
        ("listeners", !same_listeners(&old.listeners, &new.listeners)),
        ("admin.address", old.admin.address != new.admin.address),
        (
            "admin.tls",
            old.admin.tls.is_some() != new.admin.tls.is_some(),
        ),
        ("state.file", old.state.file != new.state.file),
        ("workers", old.workers != new.workers),
    ];
    let changed = parts.iter().filter(|(_, changed)| *changed);
    changed
        .map(|(part, _)| format!("`{part}` has changed, which takes a restart"))
        .collect()
}
