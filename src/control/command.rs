//! What control can be asked to do.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::model::{BackendName, Generation, PlanName, RolloutId, RouteName, Weight};
use crate::rollout::spec::StageSpec;

use super::author::Author;
use super::contract::{Acceptance, ContractReport};
use super::error::ControlError;
use super::event::What;
use super::metrics::{PushMetrics, Pushed};
use super::reload::ReloadReport;

/// New weights for a route.
#[derive(Clone, Debug)]
pub struct SetWeights {
    /// The route.
    pub route: RouteName,
    /// Relative shares by backend of the route's split. Backends that are not named keep
    /// theirs. The route's weights may not all be zero.
    pub weights: BTreeMap<BackendName, Weight>,
    /// Refuse unless this is the generation in force.
    pub if_match: Option<Generation>,
    /// Who asks, and why.
    pub author: Author,
}

/// A way back to an earlier version.
#[derive(Clone, Debug)]
pub struct RevertRoute {
    /// The route.
    pub route: RouteName,
    /// The backend that gets all new traffic: one that was stable or promoted on the route. Default:
    /// what the latest rollout went away from.
    pub to: Option<BackendName>,
    /// Refuse unless this is the generation in force.
    pub if_match: Option<Generation>,
    /// Who asks, and why.
    pub author: Author,
}

/// A rollout to start.
#[derive(Clone, Debug)]
pub struct StartRollout {
    /// The route.
    pub route: RouteName,
    /// The candidate. Stable is the backend with the largest weight.
    pub to: BackendName,
    /// Its recipe.
    pub recipe: Recipe,
    /// Refuse unless this is the generation in force.
    pub if_match: Option<Generation>,
    /// What a cooldown means.
    pub cooldown: Cooldown,
    /// What an unfit contract means.
    pub contract: Acceptance,
    /// What the plan's schedule means.
    pub punctuality: Punctuality,
    /// Who asks, and why.
    pub author: Author,
}

/// Where a rollout's recipe comes from.
#[derive(Clone, Debug)]
pub enum Recipe {
    /// The plan that the route names in the file.
    OfRoute,
    /// The same, as long as the file asks for a rollout to this version.
    Wished,
    /// A plan of the file.
    Plan(PlanName),
    /// These stages (one to 32, with growing percents) in place of the ones of the route's plan,
    /// whose other settings stay; without a plan, with the defaults.
    Stages(Vec<StageSpec>),
}

/// What a cooldown, or the route's reverts of the last hour, mean to a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cooldown {
    /// Refuse while the candidate cools down, or the route had too many reverts.
    Respect,
    /// Start all the same.
    Override,
}

/// What a plan's schedule means to a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Punctuality {
    /// It begins its stages when the schedule allows.
    Respect,
    /// It waits for no window: an emergency.
    Ignore,
}

/// Something to do to a running rollout.
#[derive(Clone, Debug)]
pub struct ActOnRollout {
    /// The rollout.
    pub rollout: RolloutId,
    /// What to do.
    pub action: RolloutAction,
    /// Refuse unless this is the generation in force.
    pub if_match: Option<Generation>,
    /// Who asks, and why.
    pub author: Author,
}

/// An item of a rollout's checklist to tick.
#[derive(Clone, Debug)]
pub struct CheckItem {
    /// The rollout.
    pub rollout: RolloutId,
    /// The item's name.
    pub item: String,
    /// Refuse unless this is the generation in force.
    pub if_match: Option<Generation>,
    /// Who ticks it; the reason is the note.
    pub author: Author,
}

/// What can be done to a running rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutAction {
    /// Stay at this weight; the judge may still revert.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Say yes to the next stage.
    Approve,
    /// Give the candidate all of the traffic now.
    Promote,
    /// End without blame: stable takes all, open sessions of the candidate stay.
    Abort,
    /// Switch back: stable takes all, open sessions of the candidate are re-homed, and the
    /// candidate cools down.
    Revert,
}

impl RolloutAction {
    /// The action's name in API, CLI and log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Approve => "approve",
            Self::Promote => "promote",
            Self::Abort => "abort",
            Self::Revert => "revert",
        }
    }
}

impl fmt::Display for RolloutAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A change is on disk and in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The state with the change.
    pub generation: Generation,
    /// The rollout that was started or acted on.
    pub rollout: Option<RolloutId>,
}

/// Which events of the past to list.
#[derive(Clone, Debug, Default)]
pub struct HistoryFilter {
    /// Only those about this route.
    pub route: Option<RouteName>,
    /// Only those about this rollout.
    pub rollout: Option<RolloutId>,
    /// Only those with a smaller sequence number, for reading on.
    pub before: Option<u64>,
    /// At most this many, latest first: 1 to 1,000; 0 means 100.
    pub limit: usize,
}

/// Where the answer to a command goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, ControlError>>;

/// One command on its way to the actor.
#[derive(Debug)]
pub(super) enum Command {
    SetWeights(SetWeights, Reply<Changed>),
    StartRollout(Box<(StartRollout, Option<ContractReport>)>, Reply<Changed>),
    ActOnRollout(ActOnRollout, Reply<Changed>),
    CheckItem(CheckItem, Reply<Changed>),
    RevertRoute(RevertRoute, Reply<Changed>),
    PushMetrics(PushMetrics, Reply<Pushed>),
    Reload(Author, Reply<ReloadReport>),
    HandOver(Reply<()>),
    TakeBack,
    /// Tells of something that was found out elsewhere.
    Note(Box<What>),
    /// Why a rollout that the file asks for has not started.
    PutOff(RouteName, BackendName, String),
}
