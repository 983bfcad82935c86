//! Commands, in turn or at once.

use std::sync::Arc;

use crate::model::{RevertReason, RolloutId};
use crate::rollout::Event as Step;
use crate::store::StoreError;

use super::actor::Control;
use super::author::Author;
use super::change::{Answer, Change, Draft};
use super::command::{ActOnRollout, Changed, Command, Reply, RolloutAction};
use super::error::ControlError;

/// Commands that wait for the one whose change is being written.
const QUEUE_MAX: usize = 64;

/// Counts starts that were refused.
const STARTS_REFUSED: &str = "switchback_rollout_starts_refused_total";

impl Control {
    pub(super) fn receive(&mut self, command: Command) {
        let is_handover = matches!(
            command,
            Command::HandOver(_) | Command::TakeBack | Command::PutOff(..)
        );
        if self.handover.is_on() && !is_handover {
            return refuse(command, self.handed_over());
        }
        match command {
            Command::HandOver(reply) => self.begin_handover(reply),
            Command::TakeBack => self.take_back(),
            Command::Note(what) => self.tell(Draft {
                route: None,
                rollout: None,
                author: Author::new("alerts", None),
                what: *what,
            }),
            Command::PutOff(route, goal, why) => {
                self.put_off.insert(route, (goal, why));
                self.show();
            }
            Command::Reload(author, reply) => self.ask_for_load(author, reply),
            Command::ActOnRollout(asked, reply) if goes_back(asked.action) => {
                self.go_back_by_hand(asked, reply);
            }
            Command::RevertRoute(asked, reply) => self.revert_route(asked, reply),
            Command::PushMetrics(asked, reply) => self.take_in_metrics(&asked, reply),
            command @ (Command::SetWeights(..)
            | Command::StartRollout(..)
            | Command::CheckItem(..)
            | Command::ActOnRollout(..)) => self.take_in_turn(command),
        }
    }

    fn take_in_turn(&mut self, command: Command) {
        match &self.ledger.saving {
            None => self.carry_out(command),
            Some(saving) if saving.late => {
                refuse(command, ControlError::Store(self.ledger.hung()));
            }
            Some(_) if self.queue.len() >= QUEUE_MAX => refuse(command, ControlError::Busy),
            Some(_) => self.queue.push_back(command),
        }
    }

    /// The disk hangs: those who wait for their turn are told.
    pub(super) fn queue_refused(&mut self, error: &Arc<StoreError>) {
        for command in std::mem::take(&mut self.queue) {
            refuse(command, ControlError::Store(Arc::clone(error)));
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::SetWeights(asked, reply) => {
                let planned = self.ground().weights(&asked);
                self.submit_for(planned.map(|change| (change, None)), reply);
            }
            Command::StartRollout(asked, reply) => {
                let (asked, contract) = *asked;
                let planned = self.ground().start(&asked, contract);
                if let Err(error) = &planned {
                    count_refused(error);
                }
                self.submit_for(planned.map(|(change, id)| (change, Some(id))), reply);
            }
            Command::ActOnRollout(asked, reply) => {
                let planned = self.plan_act(&asked);
                let id = asked.rollout;
                self.submit_for(planned.map(|change| (change, Some(id))), reply);
            }
            Command::CheckItem(asked, reply) => {
                let planned = self.ground().check_item(&asked);
                let id = asked.rollout;
                self.submit_for(planned.map(|change| (change, Some(id))), reply);
            }
            // What waits for nothing has not waited for its turn.
            other @ (Command::Reload(..)
            | Command::RevertRoute(..)
            | Command::PushMetrics(..)
            | Command::HandOver(_)
            | Command::TakeBack
            | Command::Note(_)
            | Command::PutOff(..)) => self.receive(other),
        }
    }

    fn plan_act(&self, asked: &ActOnRollout) -> Result<Change, ControlError> {
        let route = self.desired.route_of(asked.rollout);
        let route = route.ok_or(ControlError::UnknownRollout {
            rollout: asked.rollout,
        })?;
        if let Some(planned) = self.ground().let_pass(route, asked) {
            return planned;
        }
        let step = match asked.action {
            RolloutAction::Pause => Step::Pause,
            RolloutAction::Resume => Step::Resume,
            RolloutAction::Approve => Step::Approve,
            RolloutAction::Promote => Step::Promote,
            RolloutAction::Abort => Step::Abort,
            RolloutAction::Revert => Step::Revert(RevertReason::Manual),
        };
        self.ground().act(route, step, asked)
    }

    fn submit_for(
        &mut self,
        planned: Result<(Change, Option<RolloutId>), ControlError>,
        reply: Reply<Changed>,
    ) {
        match planned {
            Ok((mut change, rollout)) => {
                change.answer = Answer::Changed(reply, rollout);
                self.submit(change);
            }
            Err(error) => {
                // Whoever asked may have left.
                let _ = reply.send(Err(error));
            }
        }
    }
}

/// Counts a start that comes too soon after reverts.
fn count_refused(error: &ControlError) {
    let (route, reason) = if let ControlError::CoolingDown { route, .. } = error {
        (route, "cooldown")
    } else if let ControlError::TooManyReverts { route, .. } = error {
        (route, "max_reverts")
    } else {
        return;
    };
    let route = route.to_string();
    metrics::counter!(STARTS_REFUSED, "route" => route, "reason" => reason).increment(1);
}

/// Whether stable gets all of the traffic back: what waits for no disk.
fn goes_back(action: RolloutAction) -> bool {
    match action {
        RolloutAction::Abort | RolloutAction::Revert => true,
        RolloutAction::Pause
        | RolloutAction::Resume
        | RolloutAction::Approve
        | RolloutAction::Promote => false,
    }
}

pub(super) fn refuse(command: Command, error: ControlError) {
    // Whoever asked may have left.
    match command {
        Command::SetWeights(_, reply)
        | Command::StartRollout(_, reply)
        | Command::ActOnRollout(_, reply)
        | Command::CheckItem(_, reply)
        | Command::RevertRoute(_, reply) => drop(reply.send(Err(error))),
        Command::PushMetrics(_, reply) => drop(reply.send(Err(error))),
        Command::Reload(_, reply) => drop(reply.send(Err(error))),
        Command::HandOver(reply) => drop(reply.send(Err(error))),
        Command::TakeBack | Command::Note(_) | Command::PutOff(..) => {}
    }
}
