//! How long a way back takes: from the outcome that decides it to the first request on stable.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::BackendName;

/// Nothing has happened yet.
const NEVER: u64 = u64::MAX;
/// How long workers are waited for that have not taken the snapshot over.
const WORKERS_WITHIN: Duration = Duration::from_secs(10);

/// One revert, as the workers see it. Control makes it with the snapshot that goes back; workers
/// write, control reads.
#[derive(Debug)]
pub struct Turn {
    stable: BackendName,
    decided: Instant,
    /// When the first request was assigned to stable, in µs after `decided`.
    first_us: AtomicU64,
    /// When each worker ran by the snapshot, in µs after `decided`.
    workers: Vec<AtomicU64>,
}

impl Turn {
    /// A revert to `stable` that was decided by what a worker recorded at `decided`.
    pub fn new(stable: BackendName, decided: Instant, workers: usize) -> Self {
        Self {
            stable,
            decided,
            first_us: AtomicU64::new(NEVER),
            workers: (0..workers).map(|_| AtomicU64::new(NEVER)).collect(),
        }
    }

    /// Worker: a request of the route goes to this backend.
    pub fn assigned(&self, backend: &BackendName) {
        if self.first_us.load(Ordering::Relaxed) == NEVER && *backend == self.stable {
            self.first_us
                .fetch_min(self.elapsed_us(), Ordering::Relaxed);
        }
    }

    /// Worker: new requests go by the snapshot from now on.
    pub fn in_force(&self, worker: usize) {
        if let Some(at) = self.workers.get(worker) {
            at.fetch_min(self.elapsed_us(), Ordering::Relaxed);
        }
    }

    /// Control: how long it took, once that is known: until the first request, or until every
    /// worker was ready for one. That nobody asks for a while is not the way back's time.
    pub fn took(&self) -> Option<Duration> {
        let is_over = known(&self.first_us).is_some()
            || self.all_ready().is_some()
            || self.decided.elapsed() >= WORKERS_WITHIN;
        is_over.then(|| self.so_far())
    }

    /// Control: how long it took, by what is known now.
    pub fn so_far(&self) -> Duration {
        let first = known(&self.first_us).into_iter();
        // That some workers are ready says nothing while a request may come to another one.
        let took = first.chain(self.all_ready()).min();
        let some = || self.workers.iter().filter_map(known).max();
        took.or_else(some).unwrap_or_else(|| self.decided.elapsed())
    }

    /// When the last worker ran by the snapshot, once all do.
    fn all_ready(&self) -> Option<Duration> {
        let ready: Option<Vec<_>> = self.workers.iter().map(known).collect();
        ready?.into_iter().max()
    }

    fn elapsed_us(&self) -> u64 {
        u64::try_from(self.decided.elapsed().as_micros()).unwrap_or(NEVER - 1)
    }
}

fn known(at_us: &AtomicU64) -> Option<Duration> {
    let us = at_us.load(Ordering::Relaxed);
    (us != NEVER).then(|| Duration::from_micros(us))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn() -> Turn {
        Turn::new("v1".parse().unwrap(), Instant::now(), 2)
    }

    fn backend(name: &str) -> BackendName {
        name.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_request_on_stable_counts() {
        let turn = turn();
        tokio::time::advance(Duration::from_millis(2)).await;
        turn.assigned(&backend("v2"));
        assert_eq!(turn.took(), None);

        tokio::time::advance(Duration::from_millis(1)).await;
        turn.assigned(&backend("v1"));
        tokio::time::advance(Duration::from_millis(5)).await;
        turn.assigned(&backend("v1"));
        (0..2).for_each(|worker| turn.in_force(worker));

        assert_eq!(turn.took(), Some(Duration::from_millis(3)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_is_ready_is_no_request() {
        let turn = turn();
        tokio::time::advance(Duration::from_millis(1)).await;
        turn.in_force(0);
        tokio::time::advance(Duration::from_millis(2)).await;
        turn.assigned(&backend("v1"));

        assert_eq!(turn.took(), Some(Duration::from_millis(3)));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_request_the_last_worker_counts() {
        let turn = turn();
        for (worker, ms) in [(1, 2), (0, 3)] {
            assert_eq!(turn.took(), None);
            tokio::time::advance(Duration::from_millis(ms)).await;
            turn.in_force(worker);
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        turn.assigned(&backend("v1"));

        assert_eq!(turn.took(), Some(Duration::from_millis(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_is_gone_is_not_waited_for_for_ever() {
        let turn = turn();
        tokio::time::advance(Duration::from_millis(2)).await;
        turn.in_force(0);
        assert_eq!(turn.took(), None);

        tokio::time::advance(WORKERS_WITHIN).await;

        assert_eq!(turn.took(), Some(Duration::from_millis(2)));
    }
}
