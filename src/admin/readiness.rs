//! Where the process is in its life, for the health endpoints.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::wire::Lifecycle;

const STARTING: u8 = 0;
const READY: u8 = 1;
const DRAINING: u8 = 2;

/// Where the process is in its life. The process's owner writes, the API reads; clones share.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicU8>);

impl Readiness {
    /// A process that is starting.
    pub fn starting() -> Self {
        Self::default()
    }

    /// The process takes traffic now, unless it is draining already.
    pub fn ready(&self) {
        let _ = self
            .0
            .compare_exchange(STARTING, READY, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The process takes nothing new any more; there is no way back.
    pub fn draining(&self) {
        self.0.store(DRAINING, Ordering::Relaxed);
    }

    /// Where the process is.
    pub fn lifecycle(&self) -> Lifecycle {
        match self.0.load(Ordering::Relaxed) {
            STARTING => Lifecycle::Starting,
            READY => Lifecycle::Ready,
            _ => Lifecycle::Draining,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draining_process_is_never_ready_again() {
        let readiness = Readiness::starting();
        assert_eq!(readiness.lifecycle(), Lifecycle::Starting);
        readiness.ready();
        assert_eq!(readiness.clone().lifecycle(), Lifecycle::Ready);
        readiness.draining();

        readiness.ready();

        assert_eq!(readiness.lifecycle(), Lifecycle::Draining);
    }
}
