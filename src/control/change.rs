//! A change before it is made: what a command, the file or a plan wants.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Config;
use crate::model::{Generation, RolloutId, RouteName};
use crate::rollout::TrialUse;

use super::author::Author;
use super::certificates::Renewal;
use super::command::{Changed, Reply};
use super::desired::RouteState;
use super::error::ControlError;
use super::event::What;
use super::reload::ReloadReport;
use super::steps::Stepped;

/// A change before it is made.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Routes as they are to be; all of them when `file` is given.
    pub(super) routes: BTreeMap<RouteName, RouteState>,
    /// The file that is to be in force.
    pub(super) file: Option<Arc<Config>>,
    /// What that file makes of the `tls` sections.
    pub(super) renewal: Option<Renewal>,
    /// The number of the latest rollout, when it grows.
    pub(super) last_rollout: Option<u64>,
    /// Trials to begin.
    pub(super) trials: BTreeMap<RouteName, TrialUse>,
    /// What to tell when it is made.
    pub(super) drafts: Vec<Draft>,
    /// Who waits for it.
    pub(super) answer: Answer,
}

/// An event before it has its place in the history.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) route: Option<RouteName>,
    pub(super) rollout: Option<RolloutId>,
    pub(super) author: Author,
    pub(super) what: What,
}

/// Who waits for a change.
#[derive(Debug, Default)]
pub(super) enum Answer {
    /// Nobody: a plan's own step.
    #[default]
    Nobody,
    /// A command.
    Changed(Reply<Changed>, Option<RolloutId>),
    /// Everybody who asked for this reload.
    Reloaded(Vec<Reply<ReloadReport>>, ReloadReport),
}

impl Answer {
    /// The change is on disk and in force.
    pub(super) fn done(self, generation: Generation) {
        match self {
            Self::Nobody => {}
            Self::Changed(reply, rollout) => {
                let changed = Changed {
                    generation,
                    rollout,
                };
                // Whoever asked may have left; the change stands.
                let _ = reply.send(Ok(changed));
            }
            Self::Reloaded(replies, report) => {
                for reply in replies {
                    let report = ReloadReport {
                        generation,
                        ..report.clone()
                    };
                    let _ = reply.send(Ok(report));
                }
            }
        }
    }

    /// The change was not made.
    pub(super) fn refused(self, error: &ControlError) {
        match self {
            Self::Nobody => {}
            Self::Changed(reply, _) => {
                let _ = reply.send(Err(error.clone()));
            }
            Self::Reloaded(replies, _) => {
                for reply in replies {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }
}

impl Change {
    /// The change that a step of a route's rollout makes.
    pub(super) fn of_step(
        route: &RouteName,
        state: RouteState,
        stepped: Stepped,
        author: &Author,
    ) -> Self {
        let draft = |what| Draft {
            route: Some(route.clone()),
            rollout: stepped.rollout,
            author: author.clone(),
            what,
        };
        Self {
            drafts: stepped.whats.into_iter().map(draft).collect(),
            trials: stepped
                .trial
                .map(|of| (route.clone(), of))
                .into_iter()
                .collect(),
            routes: BTreeMap::from([(route.clone(), state)]),
            ..Self::default()
        }
    }
}
