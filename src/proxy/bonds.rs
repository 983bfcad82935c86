//! What binds requests that belong to no session to the servers that they were at before.
//!
//! Shared by all workers, and written down by control: a restart loses what is younger than its
//! last look. A caller without a bond goes by their key, which leads to the same backend unless
//! the weights have changed in between.

use std::sync::Arc;

use papaya::HashMap;

use crate::mcp::{Recent, RecentBounds, Spot};

use super::spec::LimitsSpec;

/// The bonds of all routes.
#[derive(Debug)]
pub struct Bonds {
    /// Callers, and the backends that they are held on.
    pub(super) callers: Arc<Recent>,
    /// Values that servers made, and the servers.
    pub(super) ties: Arc<Recent>,
    /// Backends that have answered in the era without sessions.
    speakers: HashMap<u64, ()>,
}

/// Most backends that are remembered to speak of the era without sessions; more are told by their
/// answers, one by one.
const MOST_SPEAKERS: usize = 4096;

impl Bonds {
    /// No bonds yet.
    pub fn new(limits: &LimitsSpec) -> Self {
        Self {
            callers: Arc::new(Recent::written_down(RecentBounds {
                entries: limits.held_callers,
                idle: limits.held_idle.as_secs(),
            })),
            ties: Arc::new(Recent::written_down(RecentBounds {
                entries: limits.ties,
                idle: limits.tie_idle.as_secs(),
            })),
            speakers: HashMap::new(),
        }
    }

    /// What is to be written down: callers and where they are held, values and where they were
    /// made.
    pub fn tables(&self) -> [Arc<Recent>; 2] {
        [Arc::clone(&self.callers), Arc::clone(&self.ties)]
    }

    /// A backend has answered in the era without sessions.
    pub(super) fn has_spoken(&self, spot: Spot) {
        let key = spot.route ^ spot.backend.rotate_left(1);
        let speakers = self.speakers.pin();
        if !speakers.contains_key(&key) && speakers.len() < MOST_SPEAKERS {
            speakers.insert(key, ());
        }
    }

    /// Whether a backend has answered in the era without sessions before.
    pub(super) fn speaks(&self, spot: Spot) -> bool {
        let key = spot.route ^ spot.backend.rotate_left(1);
        self.speakers.pin().contains_key(&key)
    }

    /// Makes room where it is time to, and tells how much is held. Called by one worker.
    pub(super) fn sweep(&self, tick: u64) {
        self.callers.sweep(tick);
        self.ties.sweep(tick);
        metrics::gauge!("switchback_callers_held").set(self.callers.len() as f64);
        metrics::gauge!("switchback_ties_held").set(self.ties.len() as f64);
        metrics::counter!("switchback_callers_dropped_total").absolute(self.callers.dropped());
        metrics::counter!("switchback_ties_dropped_total").absolute(self.ties.dropped());
    }
}
