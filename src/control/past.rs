//! Every rollout there was, as far as the history goes back.
//!
//! The latest rollout of each route is in the status; the ones before are told from the event
//! that began them and the one that ended them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::model::{Percent, RolloutId, RouteName};
use crate::store::{Query, StoreReader};

use super::error::ControlError;
use super::event::{Event, What};
use super::history;
use super::status::{RolloutPhase, RolloutStatus, Status};

/// Rows of the history that are read at once: others wait for the disk meanwhile.
const ROWS_AT_ONCE: usize = 64;
const NAMED: &str = "\"rollout\":\"r-";

/// Which rollouts to list.
#[derive(Clone, Debug, Default)]
pub struct RolloutFilter {
    /// Only those of this route.
    pub route: Option<RouteName>,
    /// Only those whose phase has this name.
    pub phase: Option<String>,
    /// Only those that were started before this one.
    pub before: Option<RolloutId>,
    /// At most this many, latest first.
    pub limit: usize,
}

impl RolloutFilter {
    fn takes(&self, rollout: &RolloutStatus) -> bool {
        self.route.as_ref().is_none_or(|it| *it == rollout.route)
            && self
                .phase
                .as_ref()
                .is_none_or(|it| *it == rollout.phase.as_str())
            && self.before.is_none_or(|before| rollout.id < before)
    }
}

/// Rollouts that are asked for, and whether the history could be read for them.
#[derive(Debug)]
pub struct Rollouts {
    /// Latest first.
    pub found: Vec<RolloutStatus>,
    /// Why older ones may be missing.
    pub missing: Option<ControlError>,
}

/// The rollouts that a filter takes, latest first.
pub(super) async fn list(store: &StoreReader, now: &Status, filter: &RolloutFilter) -> Rollouts {
    let latest: Vec<_> = latest(now).cloned().collect();
    let known = latest.iter().map(|rollout| rollout.id).collect();
    let mut found: Vec<_> = latest.into_iter().filter(|it| filter.takes(it)).collect();
    let mut past = Past::new(store, known);
    let mut missing = None;
    // The history is read backwards, so each rollout that it gives is older than the one before;
    // those of the status may be older than any number of them.
    let mut from_history = 0;
    while from_history < filter.limit {
        match past.next().await {
            Ok(Some(rollout)) if filter.takes(&rollout) => {
                from_history += 1;
                found.push(rollout);
            }
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => {
                missing = Some(error);
                break;
            }
        }
    }
    found.sort_by_key(|rollout| std::cmp::Reverse(rollout.id));
    found.truncate(filter.limit);
    Rollouts { found, missing }
}

/// One rollout, whenever it was.
pub(super) async fn find(
    store: &StoreReader,
    now: &Status,
    id: RolloutId,
) -> Result<RolloutStatus, ControlError> {
    if let Some(rollout) = latest(now).find(|rollout| rollout.id == id) {
        return Ok(rollout.clone());
    }
    let mut past = Past::new(store, BTreeSet::new());
    while let Some(rollout) = past.next().await? {
        if rollout.id == id {
            return Ok(rollout);
        }
        if rollout.id < id {
            break;
        }
    }
    Err(ControlError::UnknownRollout { rollout: id })
}

/// The latest rollout of each route.
fn latest(now: &Status) -> impl Iterator<Item = &RolloutStatus> {
    let routes = now.routes.iter();
    routes.filter_map(|route| route.rollout.as_ref())
}

/// The history, read backwards.
struct Past<'a> {
    store: &'a StoreReader,
    /// Rollouts that need not be told.
    known: BTreeSet<RolloutId>,
    before: Option<u64>,
    rows: std::vec::IntoIter<Event>,
    ends: BTreeMap<RolloutId, Event>,
    is_read: bool,
}

impl<'a> Past<'a> {
    fn new(store: &'a StoreReader, known: BTreeSet<RolloutId>) -> Self {
        Self {
            store,
            known,
            before: None,
            rows: Vec::new().into_iter(),
            ends: BTreeMap::new(),
            is_read: false,
        }
    }

    /// The rollout that was started before the last one that was given.
    async fn next(&mut self) -> Result<Option<RolloutStatus>, ControlError> {
        loop {
            while let Some(event) = self.rows.next() {
                if let Some(rollout) = self.take(event) {
                    return Ok(Some(rollout));
                }
            }
            if self.is_read {
                return Ok(None);
            }
            self.read_on().await?;
        }
    }

    fn take(&mut self, event: Event) -> Option<RolloutStatus> {
        let id = event.rollout.filter(|id| !self.known.contains(id))?;
        if matches!(event.what, What::RolloutStarted { .. }) {
            let end = self.ends.remove(&id);
            return started(event, end);
        }
        self.ends.entry(id).or_insert(event);
        None
    }

    async fn read_on(&mut self) -> Result<(), ControlError> {
        let query = Query {
            before: self.before,
            limit: ROWS_AT_ONCE,
            keep: Box::new(begins_or_ends_a_rollout),
        };
        let rows = self.store.history(query).await;
        let rows = rows.map_err(|error| ControlError::Store(Arc::new(error)))?;
        self.is_read = rows.len() < ROWS_AT_ONCE;
        self.before = rows.last().map(|(sequence, _)| *sequence);
        self.rows = history::parse(rows).await.into_iter();
        Ok(())
    }
}

/// Told from the row as cheaply as can be.
fn begins_or_ends_a_rollout(row: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow)]
        kind: std::borrow::Cow<'a, str>,
    }
    if !history::names(row, NAMED) {
        return false;
    }
    let kinds = [
        "rollout_started",
        "rollout_promoted",
        "rollout_reverted",
        "rollout_aborted",
    ];
    serde_json::from_slice(row).is_ok_and(|head: Head<'_>| kinds.contains(&&*head.kind))
}

/// A rollout by its first and its last event; one whose end was lost counts as aborted.
fn started(start: Event, end: Option<Event>) -> Option<RolloutStatus> {
    let What::RolloutStarted {
        stable,
        candidate,
        plan,
        recipe,
        contract,
        ..
    } = start.what
    else {
        return None;
    };
    let ended_at = end.as_ref().map(|end| end.at);
    let shadow = end.as_ref().and_then(|end| end.what.shadow().cloned());
    let (phase, percent, revert_reason, verdict) = match end.map(|end| end.what) {
        Some(What::RolloutPromoted { verdict, .. }) => {
            (RolloutPhase::Promoted, Percent::HUNDRED, None, verdict)
        }
        Some(What::RolloutReverted { why, verdict, .. }) => {
            (RolloutPhase::Reverted, Percent::ZERO, Some(why), verdict)
        }
        Some(_) | None => (RolloutPhase::Aborted, Percent::ZERO, None, None),
    };
    Some(RolloutStatus {
        id: start.rollout?,
        route: start.route?,
        stable,
        candidate,
        plan_name: plan,
        plan: recipe,
        phase,
        gate: None,
        stage: None,
        percent,
        stage_elapsed: Duration::ZERO,
        stage_left: None,
        started_at: start.at,
        ended_at,
        author: start.author,
        revert_reason,
        was_left: false,
        verdict: verdict.map(|record| Arc::new(*record)),
        checklist: Vec::new(),
        contract,
        shadow,
        rolling: None,
    })
}
