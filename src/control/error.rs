//! Why a command was not carried out. Nothing is half applied: an error means no change.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Diagnostics;
use crate::model::{BackendName, Generation, PlanName, RolloutId, RouteName};
use crate::rollout::Refusal;
use crate::store::StoreError;

use super::command::RolloutAction;
use super::contract::ContractReport;
use super::metrics::ValueProblem;

/// Why a command was not carried out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ControlError {
    /// No route has this name.
    #[error("no route is named `{route}`")]
    UnknownRoute {
        /// The name that was asked for.
        route: RouteName,
    },
    /// The route exists, the backend is not in its split.
    #[error("backend `{backend}` is not in the split of route `{route}`")]
    UnknownBackend {
        /// The route.
        route: RouteName,
        /// The name that was asked for.
        backend: BackendName,
    },
    /// No plan has this name.
    #[error("no plan is named `{plan}`")]
    UnknownPlan {
        /// The name that was asked for.
        plan: PlanName,
    },
    /// No rollout has this id, or it is no longer remembered.
    #[error("no rollout {rollout} is known")]
    UnknownRollout {
        /// The id that was asked for.
        rollout: RolloutId,
    },
    /// Somebody changed things since the asker looked.
    #[error("the state is at generation {current}, not {expected}")]
    GenerationMismatch {
        /// What the asker had seen.
        expected: Generation,
        /// What is in force.
        current: Generation,
    },
    /// The route's weights belong to a rollout.
    #[error("rollout {rollout} is running on route `{route}`")]
    RolloutRunning {
        /// The route.
        route: RouteName,
        /// The rollout that has its weights.
        rollout: RolloutId,
    },
    /// The rollout is not in a phase that this can be done in.
    #[error("cannot {action} rollout {rollout}")]
    NotNow {
        /// What was asked for.
        action: RolloutAction,
        /// Of which rollout.
        rollout: RolloutId,
        /// Why not.
        #[source]
        refusal: Refusal,
    },
    /// The candidate was reverted a short while ago.
    #[error(
        "backend `{backend}` was reverted on route `{route}` and cools down for {left_seconds} s"
    )]
    CoolingDown {
        /// The route.
        route: RouteName,
        /// The candidate.
        backend: BackendName,
        /// Time left, in seconds.
        left_seconds: u64,
    },
    /// The route had as many reverts in the last hour as its plan allows before it rests.
    #[error(
        "route `{route}` had {reverts} reverts within an hour, and no rollout starts for another {left_seconds} s"
    )]
    TooManyReverts {
        /// The route.
        route: RouteName,
        /// How many there were.
        reverts: usize,
        /// Time left, in seconds.
        left_seconds: u64,
    },
    /// The candidate is what stable is, or no plan is known, or a stage makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The candidate breaks what stable promises, or one of them could not be asked.
    #[error(
        "the contract of backend `{}` does not stand up to that of `{}`: {}",
        report.candidate, report.stable, report.summary()
    )]
    Contract {
        /// The route.
        route: RouteName,
        /// What was found.
        report: Box<ContractReport>,
    },
    /// The route has a gate, and what was compared is no longer what the rollout would be about.
    #[error(
        "the weights or the policy of route `{route}` changed while its versions were compared"
    )]
    Uncompared {
        /// The route.
        route: RouteName,
    },
    /// While the change was being written, a revert of the same route went ahead of it.
    #[error("a revert on route `{route}` overtook the change, which was dropped")]
    Conflict {
        /// The route.
        route: RouteName,
    },
    /// The config file has errors; the old config stays in force.
    #[error("the config file was refused")]
    Config(#[source] Arc<Diagnostics>),
    /// The store could not be opened or read; or the change could not be written, so it was
    /// not made; or, for a revert, it was made and is not on disk yet.
    #[error("the state store failed")]
    Store(#[source] Arc<StoreError>),
    /// The saved state cannot be read.
    #[error("the saved state in {} cannot be used: {why}", folder.display())]
    State {
        /// The state folder.
        folder: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// Some values of a push are not what can be judged; none of them was taken in.
    #[error("{}", of_values(.0))]
    Values(Vec<ValueProblem>),
    /// Too many commands wait already.
    #[error("control is busy: too many commands wait")]
    Busy,
    /// Control has stopped.
    #[error("control has stopped")]
    Stopped,
}

fn of_values(problems: &[ValueProblem]) -> String {
    let which = match problems.len() {
        1 => "one value of the push".to_owned(),
        count => format!("{count} values of the push"),
    };
    let first = problems.first().map(ToString::to_string);
    let first = first.unwrap_or_default();
    format!("{which} cannot be taken in, so nothing was: {first}")
}
