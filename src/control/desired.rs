//! What is desired: the one document that survives a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::judge::{Judge, Record};
use crate::model::{BackendName, Generation, Percent, PlanName, RolloutId, RouteName, Weight};
use crate::rollout::{self, Plan, RollingReport, ShadowReport};

use super::author::Author;
use super::calendar::CalendarLog;
use super::checklist::ChecklistLog;
use super::contract::ContractReport;
use super::hook_log::HookLog;
use super::shares::{self, Weights};
use super::timestamp::Timestamp;

/// Over which reverts are counted.
const HOUR: Duration = Duration::from_hours(1);
/// Most reverts that are remembered: the highest `max_reverts_per_hour`.
const MAX_REVERTS: usize = 100;
/// The form of the document that this version writes.
const VERSION: u32 = 1;

/// What is desired. `control` alone changes it; what is published is made of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Desired {
    version: u32,
    pub(super) generation: Generation,
    /// The number of the latest rollout of any route.
    pub(super) last_rollout: u64,
    pub(super) routes: BTreeMap<RouteName, RouteState>,
}

/// What is desired of one route.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct RouteState {
    /// The file's weights when they were last seen.
    pub(super) file: Weights,
    /// The weights in force.
    pub(super) now: Weights,
    /// The number of the route's latest rollout, 0 before the first.
    pub(super) seed: u64,
    /// Backends that were reverted and have had no traffic since.
    #[serde(default)]
    pub(super) reverted: BTreeSet<BackendName>,
    /// Since when a backend that had a share has none, so that its open sessions drain.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) idle: BTreeMap<BackendName, Timestamp>,
    /// Until when no rollout of a backend starts.
    #[serde(default)]
    pub(super) cooldowns: BTreeMap<BackendName, Timestamp>,
    /// When it was reverted, as far as that is an hour ago at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) reverts: Vec<Timestamp>,
    /// Backends that were stable or promoted: where a person may go back to.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) trusted: BTreeSet<BackendName>,
    /// The backend that the file gives the traffic to, while no rollout to it has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) wish: Option<BackendName>,
    /// Up to when its timed weights have been looked at; `None` before it had any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) timed: Option<Timestamp>,
    /// The rollout that runs, else the latest one.
    #[serde(default)]
    pub(super) run: Option<Box<Run>>,
}

/// One attempt at shipping a version.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) id: RolloutId,
    pub(super) stable: BackendName,
    pub(super) candidate: BackendName,
    pub(super) plan_name: Option<PlanName>,
    pub(super) plan: Plan,
    /// The route's weights when it started.
    pub(super) before: Weights,
    pub(super) author: Author,
    pub(super) started_at: Timestamp,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) state: rollout::State,
    pub(super) judge: Judge,
    /// What the judge last said.
    pub(super) record: Option<Record>,
    /// What the candidate promised when it started, compared with what stable did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) contract: Option<Arc<ContractReport>>,
    /// What copies of calls came to, in the stage in the shadow and after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) shadow: Option<ShadowReport>,
    /// How the candidate's endpoints do that take over in batches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rolling: Option<RollingReport>,
    /// What its hooks did.
    #[serde(default)]
    pub(super) hooks: HookLog,
    /// What the calendar did.
    #[serde(default)]
    pub(super) calendar: CalendarLog,
    /// What is known of its checklist.
    #[serde(default)]
    pub(super) checklist: ChecklistLog,
}

impl Run {
    /// The route's weights with the candidate at this share.
    pub(super) fn weights_at(&self, percent: Percent) -> Weights {
        shares::at(&self.before, &self.stable, &self.candidate, percent)
    }
}

impl Desired {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            version: VERSION,
            generation: Generation::default(),
            last_rollout: 0,
            routes: BTreeMap::new(),
        }
    }

    /// Notes which backends have lost their share against `before`, and which have one again.
    pub(super) fn note_idle(&mut self, before: &Self, at: Timestamp) {
        for (name, state) in &mut self.routes {
            state.note_idle(before.routes.get(name), at);
        }
    }

    /// Reads the document; the error is for the operator.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let unreadable = |error: serde_json::Error| format!("the document is damaged ({error})");
        let Versioned { version } = serde_json::from_slice(bytes).map_err(unreadable)?;
        if version > VERSION {
            return Err(format!(
                "the document has version {version}, this version of Switchback knows up to {VERSION}"
            ));
        }
        serde_json::from_slice(bytes).map_err(unreadable)
    }

    /// Writes the document.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// The route whose latest rollout this is.
    pub(super) fn route_of(&self, id: RolloutId) -> Option<&RouteName> {
        let mut routes = self.routes.iter();
        routes
            .find(|(_, route)| route.run.as_ref().is_some_and(|run| run.id == id))
            .map(|(name, _)| name)
    }
}

impl RouteState {
    /// The rollout that runs.
    pub(super) fn running(&self) -> Option<&Run> {
        self.run.as_deref().filter(|run| !run.state.is_finished())
    }

    /// Notes that the route was switched back.
    pub(super) fn note_revert(&mut self, at: Timestamp) {
        self.reverts.retain(|then| is_recent(*then, at));
        self.reverts.push(at);
        if self.reverts.len() > MAX_REVERTS {
            self.reverts.remove(0);
        }
    }

    /// How long no rollout starts, when so many reverts within an hour are too many; 0 are never.
    pub(super) fn rests(&self, most: u32, now: Timestamp) -> Option<(usize, Duration)> {
        let recent = self.reverts.iter().filter(|at| is_recent(**at, now));
        let recent: Vec<_> = recent.collect();
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let spare = recent.len().checked_sub(most)?;
        // The one whose hour is over next makes room.
        let oldest = recent.get(spare).filter(|_| most > 0)?;
        let left = HOUR.saturating_sub(now.since(**oldest));
        Some((recent.len(), left))
    }

    /// Notes which backends have lost their share against `before`, and which have one again.
    pub(super) fn note_idle(&mut self, before: Option<&Self>, at: Timestamp) {
        let now = &self.now;
        self.idle
            .retain(|name, _| now.get(name).is_some_and(|now| *now == Weight::ZERO));
        for (name, weight) in now {
            let had = before.and_then(|before| before.now.get(name));
            let had_share = had.is_some_and(|had| *had != Weight::ZERO);
            if *weight == Weight::ZERO && had_share {
                self.idle.entry(name.clone()).or_insert(at);
            }
        }
    }

    /// Puts new weights in force. A backend with traffic is no longer one that was reverted.
    pub(super) fn set_weights(&mut self, weights: Weights) {
        self.reverted.retain(|name| {
            let weight = weights.get(name);
            weight.is_some_and(|weight| *weight == Weight::ZERO)
        });
        self.now = weights;
    }
}

/// Whether something happened within the hour. What is yet to come for longer than that was told by a
/// clock that has been put back since.
fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    now.since(at) < HOUR && at.since(now) < HOUR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverts_of_a_clock_that_was_ahead_are_forgotten() {
        let now = Timestamp::now();
        let mut state = RouteState::default();
        state.note_revert(now.after(24 * HOUR));
        assert_eq!(state.rests(1, now), None);

        state.note_revert(now.before(Duration::from_mins(1)));

        let left = HOUR.saturating_sub(Duration::from_mins(1));
        assert_eq!(state.rests(1, now), Some((1, left)));
        assert_eq!(state.reverts.len(), 1);
    }
}
