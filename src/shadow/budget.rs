//! How much the copies of a route may hold, over all workers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::mcp::{SessionBounds, SessionTable};
use crate::model::RouteName;
use crate::stats::MirrorDrop;

/// The budgets of all routes, and the callers' sessions at their shadows; shared by all workers
/// and kept across snapshots.
#[derive(Debug)]
pub struct Shadows {
    budgets: Mutex<HashMap<RouteName, Arc<Budget>>>,
    /// The callers' sessions at shadows.
    pub sessions: Arc<SessionTable>,
}

impl Shadows {
    /// Shadows of which at most so many sessions are kept.
    pub fn new(bounds: SessionBounds) -> Self {
        Self {
            budgets: Mutex::default(),
            sessions: Arc::new(SessionTable::new(bounds)),
        }
    }

    /// The budget of a route. Asked when a snapshot changes.
    pub fn budget(&self, route: &RouteName) -> Arc<Budget> {
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(budgets.entry(route.clone()).or_default())
    }
}

/// How much the copies of a route hold now.
#[derive(Debug, Default)]
pub struct Budget {
    copies: AtomicUsize,
    bytes: AtomicUsize,
}

/// A copy's part of the budget; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// Takes a copy's part, if there is still so much.
    ///
    /// # Errors
    /// [`MirrorDrop::Busy`] or [`MirrorDrop::Bytes`], whichever bound is reached.
    pub(super) fn take(
        self: &Arc<Self>,
        bytes: usize,
        bounds: (usize, usize),
    ) -> Result<Permit, MirrorDrop> {
        let (max_copies, max_bytes) = bounds;
        if self.copies.fetch_add(1, Ordering::Relaxed) >= max_copies {
            self.copies.fetch_sub(1, Ordering::Relaxed);
            return Err(MirrorDrop::Busy);
        }
        if self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > max_bytes {
            self.copies.fetch_sub(1, Ordering::Relaxed);
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(MirrorDrop::Bytes);
        }
        Ok(Permit {
            budget: Arc::clone(self),
            bytes,
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.copies.fetch_sub(1, Ordering::Relaxed);
        self.budget.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_hold_and_what_is_dropped_is_given_back() {
        let budget = Arc::new(Budget::default());
        let bounds = (2, 100);
        let first = budget.take(60, bounds).unwrap();

        assert_eq!(budget.take(60, bounds).unwrap_err(), MirrorDrop::Bytes);
        let second = budget.take(40, bounds).unwrap();
        assert_eq!(budget.take(0, bounds).unwrap_err(), MirrorDrop::Busy);
        drop((first, second));
        assert!(budget.take(100, bounds).is_ok());
    }
}
