//! Back to an earlier version by hand, also after a promotion.

use tokio::time::Instant;

use crate::model::{BackendName, RevertReason, Weight};
use crate::rollout::{Event as Step, Finish, Phase};

use super::actor::Control;
use super::command::{Changed, Reply, RevertRoute};
use super::desired::RouteState;
use super::error::ControlError;
use super::event::What;
use super::reverts::Asked;
use super::shares;
use super::steps::{self, Moment, Stepped};

impl Control {
    /// A person's way back to an earlier version of a route.
    pub(super) fn revert_route(&mut self, asked: RevertRoute, reply: Reply<Changed>) {
        let seen = Instant::now();
        match self.try_revert_route(&asked) {
            Ok((state, stepped)) => {
                let who = Asked::by_hand(asked.author, reply, seen);
                self.go_back(&asked.route, state, stepped, who);
            }
            Err(error) => {
                // Whoever asked may have left.
                let _ = reply.send(Err(error));
            }
        }
    }

    fn try_revert_route(&self, asked: &RevertRoute) -> Result<(RouteState, Stepped), ControlError> {
        let ground = self.ground();
        ground.check_generation(asked.if_match)?;
        let state = ground.route(&asked.route)?;
        match &asked.to {
            Some(to) => self.revert_to(asked, state.clone(), to),
            None => self.revert_latest(state.clone()).ok_or_else(|| {
                ControlError::Invalid(format!(
                    "no rollout of route `{}` runs or was promoted, so there is no version to go back to: name one",
                    asked.route
                ))
            }),
        }
    }

    /// Back by what the latest rollout did.
    fn revert_latest(&self, mut state: RouteState) -> Option<(RouteState, Stepped)> {
        if let Some(stepped) = self.end_running(&mut state) {
            return Some((state, stepped));
        }
        after_promotion(state, self.moment())
    }

    /// All new traffic to a backend.
    fn revert_to(
        &self,
        asked: &RevertRoute,
        mut state: RouteState,
        to: &BackendName,
    ) -> Result<(RouteState, Stepped), ControlError> {
        if !state.now.contains_key(to) {
            return Err(ControlError::UnknownBackend {
                route: asked.route.clone(),
                backend: to.clone(),
            });
        }
        if !state.is_trusted(to) {
            return Err(ControlError::Invalid(format!(
                "backend `{to}` was never stable or promoted on route `{}`: start a rollout of it, or set weights",
                asked.route
            )));
        }
        let stepped = self.end_running(&mut state);
        let has_ended = stepped.is_some();
        let mut stepped = stepped.unwrap_or_default();
        let weights = shares::all_on(&state.now, to);
        let moment = self.moment();
        let what = state.go_back_to(to, weights, moment);
        if what.is_none() && !has_ended {
            return Err(ControlError::Invalid(format!(
                "backend `{to}` has all of the traffic of route `{}` already",
                asked.route
            )));
        }
        // The rollout's own way back is the same one.
        if what.is_some() && !matches!(stepped.finish, Some(Finish::Reverted { .. })) {
            state.note_revert(moment.at);
        }
        stepped.whats.extend(what);
        Ok((state, stepped))
    }

    /// Reverts the rollout that runs; aborts it before its first traffic.
    fn end_running(&self, state: &mut RouteState) -> Option<Stepped> {
        state.running()?;
        let moment = self.moment();
        let reverted = steps::take(state, Step::Revert(RevertReason::Manual), moment);
        reverted
            .or_else(|_| steps::take(state, Step::Abort, moment))
            .ok()
    }
}

/// Back from a rollout whose candidate was promoted, as long as it has traffic.
pub(super) fn after_promotion(
    mut state: RouteState,
    moment: Moment,
) -> Option<(RouteState, Stepped)> {
    let run = state.run.as_deref()?;
    let (id, from, to) = (run.id, run.candidate.clone(), run.stable.clone());
    let had = state.now.get(&from).copied().unwrap_or_default();
    if run.state.phase() != Phase::Promoted || had == Weight::ZERO {
        return None;
    }
    let weights = shares::moved(&state.now, &from, &to)?;
    state.note_revert(moment.at);
    let stepped = Stepped {
        rollout: Some(id),
        whats: state.go_back_to(&to, weights, moment).into_iter().collect(),
        ..Stepped::default()
    };
    Some((state, stepped))
}

impl RouteState {
    /// Whether a backend was stable or promoted on this route.
    fn is_trusted(&self, backend: &BackendName) -> bool {
        let of_run = self.run.as_ref().map(|run| &run.stable);
        self.trusted.contains(backend) || of_run == Some(backend)
    }

    /// Puts the weights in force that leave others for an earlier version.
    fn go_back_to(
        &mut self,
        to: &BackendName,
        weights: shares::Weights,
        moment: Moment,
    ) -> Option<What> {
        let left = |name: &BackendName, before: Weight| {
            before != Weight::ZERO && weights.get(name).copied().unwrap_or_default() == Weight::ZERO
        };
        let gone = self
            .now
            .iter()
            .filter(|(name, before)| left(name, **before));
        let gone: Vec<_> = gone.map(|(name, _)| name.clone()).collect();
        let from = shares::heaviest(&self.now)
            .filter(|name| name != to)
            .or_else(|| gone.first().cloned())?;
        let cooldown = self.run.as_ref().map(|run| run.plan.cooldown);
        for name in gone {
            let until = cooldown.map(|cooldown| moment.at.after(cooldown));
            self.cooldowns
                .extend(until.map(|until| (name.clone(), until)));
            self.reverted.insert(name);
        }
        self.set_weights(weights);
        // Whoever goes back by hand has decided against what the file asks for.
        self.wish = None;
        Some(What::RouteReverted {
            from,
            to: to.clone(),
            why: RevertReason::Manual,
            actuation_us: 0,
        })
    }
}
