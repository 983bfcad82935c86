//! What a file asks for that is not to be had at once: another version, by a rollout.
//!
//! On a route with `promote: auto` the file names the backend that is to have the traffic. Where
//! another one has it, no weight changes: the route keeps a wish, which the [sponsor] turns into a
//! rollout. A wish is fulfilled once: after a revert the file must ask for something else first.
//!
//! [sponsor]: super::sponsor

use std::collections::BTreeSet;

use crate::config::spec::ConfigSpec;
use crate::model::{BackendName, Percent, Weight};
use crate::proxy::spec::{PromoteSpec, RouteSpec};

use super::adopt::Adoption;
use super::desired::{Desired, RouteState};
use super::shares::{self, Weights};

/// The backend that the file gives a route's traffic to and that is to get it by a rollout alone;
/// `None` where the file's weights count, or can only count.
pub(super) fn sought(spec: &RouteSpec, old: &RouteState, file: &ConfigSpec) -> Option<Sought> {
    if spec.promote == PromoteSpec::Manual {
        return None;
    }
    let goal = shares::heaviest(&spec.split)?;
    let stable = stable(old)?;
    if !file.backends.contains_key(&stable) {
        return None;
    }
    let there = |name: &&BackendName| file.backends.contains_key(*name);
    let arms = old
        .now
        .iter()
        .filter(|(_, weight)| **weight != Weight::ZERO);
    let arms = arms.map(|(name, _)| name).filter(there).cloned();
    let mut arms: BTreeSet<BackendName> = arms.collect();
    arms.extend(spec.split.keys().cloned());
    if let Some(run) = old.running() {
        let parts = [&run.stable, &run.candidate].into_iter();
        arms.extend(parts.filter(there).cloned());
    }
    Some(Sought { goal, arms })
}

/// What a file wants of a route that follows it by rollouts.
#[derive(Debug)]
pub(super) struct Sought {
    /// Who is to have the traffic.
    goal: BackendName,
    /// Every backend that the route still needs.
    arms: BTreeSet<BackendName>,
}

/// Backends that have the traffic of a route that follows its file by rollouts, and that a new
/// file no longer has: the path of the route's split, and what to do.
pub(super) fn cut_off(desired: &Desired, file: &ConfigSpec) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    for (index, spec) in file.routes.iter().enumerate() {
        let state = desired.routes.get(&spec.name);
        let stable = state.and_then(stable);
        if spec.promote == PromoteSpec::Auto
            && let Some(stable) = stable
            && !file.backends.contains_key(&stable)
        {
            let message = format!(
                "`{stable}` has the traffic of this route and is gone from `backends`: keep it there \
                 until the rollout to the new one is over"
            );
            problems.push((format!("routes[{index}].split"), message));
        }
    }
    problems
}

/// Who has a route's traffic, but for the rollout that runs.
fn stable(state: &RouteState) -> Option<BackendName> {
    match state.running() {
        Some(run) => Some(run.stable.clone()),
        None => shares::heaviest(&state.now),
    }
}

impl Adoption {
    /// Brings a route under a file that names who is to have its traffic.
    pub(super) fn seek(
        &mut self,
        (spec, file): (&RouteSpec, &ConfigSpec),
        old: &RouteState,
        sought: Sought,
    ) -> RouteState {
        let Sought { goal, arms } = sought;
        let mut state = old.clone();
        state.file.clone_from(&spec.split);
        let is_new = shares::heaviest(&old.file).as_ref() != Some(&goal);
        if let Some(run) = old.running() {
            let why = if !arms.contains(&run.candidate) {
                Some(format!("backend {} is gone from the file", run.candidate))
            } else if is_new && run.candidate != goal {
                let route = &spec.name;
                Some(format!(
                    "the file gives the traffic of route {route} to {goal}"
                ))
            } else {
                None
            };
            if let Some(why) = why {
                self.orphan(&spec.name, run, why);
                state.now = run.weights_at(Percent::ZERO);
            }
        }
        follow(&mut state.now, &arms);
        if let Some(run) = state
            .run
            .as_deref_mut()
            .filter(|run| !run.state.is_finished())
        {
            follow(&mut run.before, &arms);
        }
        let leads = old.running().is_some_and(|run| run.candidate == goal);
        let has_it = shares::heaviest(&state.now).as_ref() == Some(&goal);
        if leads || has_it {
            state.wish = None;
        } else if is_new {
            self.notes.push(format!(
                "route {}: the file asks for {goal}, which gets the traffic by a rollout",
                spec.name
            ));
            state.wish = Some(goal);
        }
        // A version may leave the file and come back before its cooldown is over.
        let is_there = |name: &BackendName| file.backends.contains_key(name);
        state.cooldowns.retain(|name, _| is_there(name));
        state.trusted.retain(|name| arms.contains(name));
        state
    }
}

/// The weights of these backends alone; of new ones, none.
fn follow(weights: &mut Weights, arms: &BTreeSet<BackendName>) {
    weights.retain(|name, _| arms.contains(name));
    for name in arms {
        weights.entry(name.clone()).or_insert(Weight::ZERO);
    }
}
