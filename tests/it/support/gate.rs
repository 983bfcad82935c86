//! Facts that one thread waits for and another makes true.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::PATIENCE;

/// Closed until a test opens it; scripts wait at it.
#[derive(Clone, Default)]
pub struct Gate(Arc<Board<bool>>);

impl Gate {
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        self.0.change(|open| *open = true);
    }

    /// Waits until the gate is open.
    pub fn wait(&self) {
        self.0
            .wait_until("a gate to open", |open| open.then_some(()));
    }

    /// Waits until the gate is open, at most this long: how scripts take their time.
    pub fn wait_at_most(&self, limit: Duration) {
        self.0.wait_at_most(limit, |open| open.then_some(()));
    }
}

/// Lets this much time pass. Only for scripted slowness and between two looks at a fact that
/// nobody can announce, such as another process's port.
pub fn pass(time: Duration) {
    Gate::new().wait_at_most(time);
}

/// A value that threads change and wait on.
#[derive(Default)]
pub struct Board<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Board<T> {
    pub fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            changed: Condvar::new(),
        }
    }

    pub fn change<R>(&self, by: impl FnOnce(&mut T) -> R) -> R {
        // A poisoned lock only says that some test failed; the value is still a value.
        let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        let result = by(&mut value);
        self.changed.notify_all();
        result
    }

    pub fn read<R>(&self, by: impl FnOnce(&T) -> R) -> R {
        by(&self.value.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until `fact` holds; fails the test after [`PATIENCE`].
    pub fn wait_until<R>(&self, what: &str, fact: impl FnMut(&T) -> Option<R>) -> R {
        self.wait_at_most(PATIENCE, fact)
            .unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain for {what}"))
    }

    /// Waits until `fact` holds, at most this long.
    pub fn wait_at_most<R>(
        &self,
        limit: Duration,
        mut fact: impl FnMut(&T) -> Option<R>,
    ) -> Option<R> {
        let mut found = None;
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        let _unused = self
            .changed
            .wait_timeout_while(value, limit, |value| {
                found = fact(value);
                found.is_none()
            })
            .unwrap_or_else(PoisonError::into_inner);
        found
    }
}
