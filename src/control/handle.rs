//! The door: how everybody else talks to the single writer.

use std::sync::Arc;

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::model::{BackendName, RolloutId, RouteName};
use crate::rollout::Refusal;
use crate::stats::Registry;
use crate::store::{Store, StoreReader};

use super::author::Author;
use super::command::{
    ActOnRollout, Changed, CheckItem, Command, HistoryFilter, Reply, RevertRoute, SetWeights,
    StartRollout,
};
use super::contract::{AskContract, ContractReport, Inspector};
use super::error::ControlError;
use super::estimate::{self, AskEstimate, Estimate};
use super::event::{Event, What};
use super::history;
use super::metrics::{PushMetrics, Pushed};
use super::past::{self, RolloutFilter, Rollouts};
use super::reload::ReloadReport;
use super::status::{RolloutStatus, Status};
use super::tools::{self, ToolsStatus};

/// Asks control for changes and reads how things are. Cheap to clone, usable from any thread.
///
/// Methods that change things return when the change is on disk and in force.
#[derive(Clone, Debug)]
pub struct ControlHandle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) status: watch::Receiver<Arc<Status>>,
    pub(super) events: broadcast::Sender<Arc<Event>>,
    pub(super) history: StoreReader,
    pub(super) inspector: Inspector,
    pub(super) registry: Arc<Registry>,
}

impl ControlHandle {
    pub(super) fn new(
        (commands, status): (mpsc::Sender<Command>, watch::Receiver<Arc<Status>>),
        events: &broadcast::Sender<Arc<Event>>,
        (store, inspector): (&Store, Inspector),
        registry: &Arc<Registry>,
    ) -> Self {
        Self {
            commands,
            status,
            events: events.clone(),
            history: store.reader(),
            inspector,
            registry: Arc::clone(registry),
        }
    }

    /// Gives a route new weights.
    pub async fn set_weights(&self, request: SetWeights) -> Result<Changed, ControlError> {
        self.ask(|reply| Command::SetWeights(request, reply)).await
    }

    /// Starts a rollout; on an MCP route after the contracts of both versions were compared.
    pub async fn start_rollout(&self, request: StartRollout) -> Result<Changed, ControlError> {
        let status = self.status();
        let contract = self.inspector.before_start(&status, &request).await?;
        self.ask(|reply| Command::StartRollout(Box::new((request, contract)), reply))
            .await
    }

    /// Says why the rollout that the file asks for has not started, for whoever looks at the status.
    pub(super) fn put_off(&self, route: RouteName, goal: BackendName, why: String) {
        // Whoever is too busy to hear it is told again at the next attempt.
        let _ = self.commands.try_send(Command::PutOff(route, goal, why));
    }

    /// Compares what two versions promise, by asking both of them now.
    pub async fn contract(&self, asked: AskContract) -> Result<ContractReport, ControlError> {
        let status = self.status();
        self.inspector.on_demand(&status, asked).await
    }

    /// Ticks an item of a rollout's checklist.
    pub async fn check_item(&self, request: CheckItem) -> Result<Changed, ControlError> {
        self.ask(|reply| Command::CheckItem(request, reply)).await
    }

    /// Pauses, resumes, approves, promotes, aborts or reverts a rollout.
    ///
    /// A revert is in force before it is on disk; [`ControlError::Store`] then says that only
    /// the disk is behind.
    pub async fn act_on_rollout(&self, request: ActOnRollout) -> Result<Changed, ControlError> {
        let (action, rollout) = (request.action, request.rollout);
        let done = self.ask(|reply| Command::ActOnRollout(request, reply));
        match done.await {
            // One that only the history still has is over.
            Err(ControlError::UnknownRollout { .. }) if self.rollout(rollout).await.is_ok() => {
                Err(ControlError::NotNow {
                    action,
                    rollout,
                    refusal: Refusal::Finished,
                })
            }
            done => done,
        }
    }

    /// Gives all new traffic of a route to an earlier version, in force before it is on disk like
    /// a revert.
    pub async fn revert_route(&self, request: RevertRoute) -> Result<Changed, ControlError> {
        self.ask(|reply| Command::RevertRoute(request, reply)).await
    }

    /// Tells the judge what applications found out about calls. Nothing of it waits for the disk.
    pub async fn push_metrics(&self, request: PushMetrics) -> Result<Pushed, ControlError> {
        self.ask(|reply| Command::PushMetrics(request, reply)).await
    }

    /// Reads the config file again and puts it in force when it has no errors.
    pub async fn reload(&self, author: Author) -> Result<ReloadReport, ControlError> {
        self.ask(|reply| Command::Reload(author, reply)).await
    }

    /// Lets go of the state for another process, when what is under way is on disk. Until
    /// [`ControlHandle::take_back`] every change is refused.
    pub async fn hand_over(&self) -> Result<(), ControlError> {
        self.ask(Command::HandOver).await
    }

    /// Takes the state back, as soon as the other process has let go of it; what is in force here
    /// is then written.
    pub async fn take_back(&self) {
        // Control that has stopped wants nothing back.
        let _ = self.commands.send(Command::TakeBack).await;
    }

    /// Writes something into the history that is not control's to find out, such as an alert.
    pub async fn note(&self, what: What) -> Result<(), ControlError> {
        let noted = self.commands.send(Command::Note(Box::new(what))).await;
        noted.map_err(|_| ControlError::Stopped)
    }

    /// How things are: renewed with every change, and four times a second.
    pub fn status(&self) -> Arc<Status> {
        self.status.borrow().clone()
    }

    /// How the tools of a route do, summed up now.
    pub fn tools(&self, route: &RouteName) -> ToolsStatus {
        tools::of_route(&self.registry, route)
    }

    /// The same as [`ControlHandle::status`], for those who want to be told of a renewal.
    pub fn watch_status(&self) -> watch::Receiver<Arc<Status>> {
        self.status.clone()
    }

    /// What happens from now on. A reader that falls more than 1,024 events behind is told how
    /// many it missed; [`ControlHandle::history`] has them.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }

    /// What happened before, latest first, as far as it is on disk.
    pub async fn history(&self, filter: HistoryFilter) -> Result<Vec<Event>, ControlError> {
        history::read(&self.history, filter).await
    }

    /// What a rollout could find out at today's traffic; changes nothing.
    pub async fn estimate(&self, asked: AskEstimate) -> Result<Estimate, ControlError> {
        let (status, registry) = (self.status(), Arc::clone(&self.registry));
        // Arithmetic that takes milliseconds, for which no revert is to wait.
        let told =
            tokio::task::spawn_blocking(move || estimate::before_start(&status, &registry, asked));
        told.await.unwrap_or(Err(ControlError::Stopped))
    }

    /// Every rollout, latest first, as far as it is known.
    pub async fn rollouts(&self, filter: RolloutFilter) -> Rollouts {
        past::list(&self.history, &self.status(), &filter).await
    }

    /// One rollout, whenever it was.
    pub async fn rollout(&self, id: RolloutId) -> Result<RolloutStatus, ControlError> {
        past::find(&self.history, &self.status(), id).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, ControlError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .try_send(command(reply))
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => ControlError::Busy,
                mpsc::error::TrySendError::Closed(_) => ControlError::Stopped,
            })?;
        answer.await.map_err(|_| ControlError::Stopped)?
    }
}
