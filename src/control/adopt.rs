//! How a file and what is desired come together.
//!
//! The file owns which routes and backends there are; weights belong to the store. A weight
//! changes only where the file's own weight is not the one that was last seen.

use std::collections::BTreeMap;

use crate::config::spec::ConfigSpec;
use crate::model::{BackendName, Percent, RolloutId, RouteName, Weight};
use crate::proxy::spec::RouteSpec;
use crate::rollout::Event;

use super::author::Author;
use super::change::Draft;
use super::desired::{Desired, RouteState, Run};
use super::event::What;
use super::shares::{self, Weights};
use super::steps::{self, Moment};
use super::wish;

/// What becomes of everything desired under a file.
#[derive(Debug, Default)]
pub(super) struct Adoption {
    /// Every route of the file.
    pub(super) routes: BTreeMap<RouteName, RouteState>,
    /// Weights that changed: before and after.
    pub(super) changed: Vec<(RouteName, Weights, Weights)>,
    /// Rollouts that cannot go on, because their route or a backend of theirs is gone from the file.
    pub(super) orphans: Vec<(RouteName, RolloutId, String)>,
    /// For the operator.
    pub(super) notes: Vec<String>,
}

/// Brings what is desired under a file.
pub(super) fn adopt(desired: &Desired, file: &ConfigSpec) -> Adoption {
    let mut adoption = Adoption::default();
    for spec in &file.routes {
        let state = match desired.routes.get(&spec.name) {
            Some(old) => match wish::sought(spec, old, file) {
                Some(sought) => adoption.seek((spec, file), old, sought),
                None => adoption.carry_over(spec, old),
            },
            None => RouteState {
                file: spec.split.clone(),
                now: spec.split.clone(),
                ..RouteState::default()
            },
        };
        adoption.routes.insert(spec.name.clone(), state);
    }
    for (name, old) in &desired.routes {
        if adoption.routes.contains_key(name) {
            continue;
        }
        adoption.notes.push(format!("route {name} is gone"));
        if let Some(run) = old.running() {
            adoption.orphan(name, run, format!("route {name} is gone from the file"));
        }
    }
    adoption
}

impl Adoption {
    fn carry_over(&mut self, spec: &RouteSpec, old: &RouteState) -> RouteState {
        let mut state = old.clone();
        state.wish = None;
        state.file.clone_from(&spec.split);
        if let Some(run) = old.running() {
            let mut parts = [&run.stable, &run.candidate].into_iter();
            match parts.find(|name| !spec.split.contains_key(*name)) {
                None => {
                    self.keep_under_rollout(spec, old, &mut state);
                    return state;
                }
                Some(gone) => {
                    let why = format!("backend {gone} is gone from route {}", spec.name);
                    self.orphan(&spec.name, run, why);
                    state.now = run.weights_at(Percent::ZERO);
                }
            }
        }
        let weights = taken(&spec.split, &old.file, &state.now);
        if weights != old.now {
            self.notes.push(format!(
                "route {}: weights changed with the file",
                spec.name
            ));
            let change = (spec.name.clone(), old.now.clone(), weights.clone());
            self.changed.push(change);
        } else if spec.split != state.now && old.file == spec.split {
            self.notes.push(format!(
                "route {}: weights set through the API were kept",
                spec.name
            ));
        }
        state.set_weights(weights);
        let in_split = |name: &BackendName| spec.split.contains_key(name);
        state.cooldowns.retain(|name, _| in_split(name));
        state.trusted.retain(in_split);
        state
    }

    /// Under a running rollout the set of backends follows the file, the weights do not.
    fn keep_under_rollout(&mut self, spec: &RouteSpec, old: &RouteState, state: &mut RouteState) {
        if spec.split != old.file {
            self.notes.push(format!(
                "route {}: a rollout is running, so the file's weights are not taken and a new backend gets none",
                spec.name
            ));
        }
        let follow = |weights: &mut Weights| {
            weights.retain(|name, _| spec.split.contains_key(name));
            for name in spec.split.keys() {
                weights.entry(name.clone()).or_insert(Weight::ZERO);
            }
        };
        follow(&mut state.now);
        if let Some(run) = state.run.as_deref_mut() {
            follow(&mut run.before);
        }
    }

    pub(super) fn orphan(&mut self, route: &RouteName, run: &Run, why: String) {
        self.notes
            .push(format!("rollout {} is aborted: {why}", run.id));
        self.orphans.push((route.clone(), run.id, why));
    }
}

/// The weights of a route without a rollout: `now`, with what the file changed since `seen`.
fn taken(file: &Weights, seen: &Weights, now: &Weights) -> Weights {
    let weight = |name, of_file: &Weight| match (seen.get(name), now.get(name)) {
        (Some(seen), Some(now)) if seen == of_file => *now,
        _ => *of_file,
    };
    let taken: Weights = file
        .iter()
        .map(|(name, of_file)| (name.clone(), weight(name, of_file)))
        .collect();
    // Otherwise nobody would get the traffic; the file as a whole is the other thing that was asked for.
    if shares::total(&taken) == 0 {
        return file.clone();
    }
    taken
}

impl Adoption {
    /// Ends the rollouts that cannot go on, and says what happened.
    pub(super) fn drafts(&mut self, moment: Moment) -> Vec<Draft> {
        let author = |reason: Option<&str>| Author::new("file", reason);
        let mut drafts = Vec::new();
        for (route, rollout, why) in &self.orphans {
            if let Some(state) = self.routes.get_mut(route) {
                let weights = state.now.clone();
                // A running rollout can always be aborted; the file has set the weights already.
                let _ = steps::take(state, Event::Abort, moment);
                state.now = weights;
            }
            drafts.push(Draft {
                route: Some(route.clone()),
                rollout: Some(*rollout),
                author: author(Some(why)),
                what: What::RolloutAborted,
            });
        }
        for (route, from, to) in &self.changed {
            drafts.push(Draft {
                route: Some(route.clone()),
                rollout: None,
                author: author(None),
                what: What::WeightsChanged {
                    from: from.clone(),
                    to: to.clone(),
                },
            });
        }
        drafts
    }
}
