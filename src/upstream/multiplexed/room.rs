//! Who waits for room on the connections to an endpoint.

use std::cell::Cell;

use tokio::sync::Notify;

/// Those who wait, in the order of coming.
#[derive(Debug, Default)]
pub(super) struct Room {
    waiting: Cell<usize>,
    changed: Notify,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a Room);

impl Room {
    /// Whether anybody waits, who comes before others.
    pub(super) fn is_waited_for(&self) -> bool {
        self.waiting.get() > 0
    }

    /// There is room for one more.
    pub(super) fn freed(&self) {
        if self.is_waited_for() {
            self.changed.notify_one();
        }
    }

    /// There is more room, or will never be any where it was waited for.
    pub(super) fn changed(&self) {
        self.changed.notify_waiters();
    }

    /// Begins to wait.
    pub(super) fn wait(&self) -> Waiting<'_> {
        metrics::counter!("switchback_upstream_streams_waited_total").increment(1);
        self.waiting.set(self.waiting.get() + 1);
        Waiting(self)
    }
}

impl Waiting<'_> {
    /// Waits until it is worth to look again. Whoever is told and leaves has told the next one.
    pub(super) async fn told(&self) {
        self.0.changed.notified().await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get().saturating_sub(1));
    }
}
