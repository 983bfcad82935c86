//! Whether every thread still shows signs of life.

use std::time::Duration;

use tokio::time::Instant;

/// Time between two looks.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Silence after which a thread counts as stuck.
const STUCK_AFTER: Duration = Duration::from_secs(15);
const STUCK: &str = "switchback_threads_stuck";

/// What was seen of each thread's pulse.
#[derive(Debug, Default)]
pub(super) struct Vitals {
    seen: Vec<(u64, Instant)>,
    stuck: usize,
}

impl Vitals {
    /// Nothing was seen yet.
    pub(super) fn new() -> Self {
        crate::telemetry::describe_gauge(
            STUCK,
            "Threads that have shown no sign of life for 15 seconds",
        );
        Self::default()
    }

    /// Looks at every pulse; tells whether all threads are alive, and says so when that changes.
    pub(super) fn look(&mut self, pulses: &[u64], now: Instant) -> bool {
        self.seen.resize(pulses.len(), (u64::MAX, now));
        let mut stuck = 0;
        for (seen, pulse) in self.seen.iter_mut().zip(pulses) {
            if seen.0 != *pulse {
                *seen = (*pulse, now);
            } else if now.saturating_duration_since(seen.1) >= STUCK_AFTER {
                stuck += 1;
            }
        }
        if stuck != self.stuck {
            self.stuck = stuck;
            metrics::gauge!(STUCK).set(stuck as f64);
            if stuck > 0 {
                tracing::error!(stuck, "threads show no sign of life");
            } else {
                tracing::info!("all threads show signs of life again");
            }
        }
        stuck == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pulse_that_stands_still_is_noticed_and_one_that_goes_on_is_not() {
        let mut vitals = Vitals::new();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);

        assert!(vitals.look(&[1, 1], at(0)));
        assert!(vitals.look(&[2, 1], at(14)));
        assert!(!vitals.look(&[3, 1], at(15)));
        assert!(vitals.look(&[4, 2], at(16)));
    }
}
