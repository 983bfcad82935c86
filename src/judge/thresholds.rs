//! What counts as slow: limits taken from stable's recent latencies.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::Role;
use crate::stats::{LIMITS, Latencies};

use super::terms::Terms;

/// Quantiles of stable's latency that the latency check looks at; slots 0 to 4 of a trial's limits.
pub const QUANTILES: [f64; 5] = [0.5, 0.75, 0.9, 0.95, 0.99];
/// Which of [`QUANTILES`] the pass rule looks at, with a margin of its own, in the last slot.
const PASS_QUANTILE: usize = 3;
/// What older calls count for after each refresh.
const DECAY: f64 = 0.9;
/// Calls, aged ones counted in part, below which there are no limits.
const LEAST_CALLS: f64 = 50.0;
/// Parts of a call below which a bucket is forgotten.
const FORGOTTEN: f64 = 1e-3;

/// Stable's trailing latencies: each refresh ages what was there by a tenth.
///
/// Limits come from the past alone, which is all that the test's guarantee asks of them. Not
/// stored: after a restart it fills again within seconds.
#[derive(Clone, Debug, Default)]
pub struct Baseline {
    /// Calls by the longest duration of their bucket.
    calls: BTreeMap<Duration, f64>,
    read: Latencies,
}

impl Baseline {
    /// How often [`Baseline::refresh`] is to be called.
    pub const REFRESH: Duration = Duration::from_secs(10);

    /// Takes in a reading of stable's latency histogram, counted since the process began.
    pub fn refresh(&mut self, reading: &Latencies) {
        let new = reading.since(&self.read);
        self.read = reading.clone();
        if new.count() == 0 {
            return; // A silent stable is no reason to forget how it was.
        }
        for calls in self.calls.values_mut() {
            *calls *= DECAY;
        }
        self.calls.retain(|_, calls| *calls >= FORGOTTEN);
        for (duration, count) in new.buckets() {
            *self.calls.entry(duration).or_default() += count as f64;
        }
    }

    /// The limits to set, or `None` while fewer than 50 calls are known.
    pub fn limits(&self, terms: &Terms) -> Option<Limits> {
        let total: f64 = self.calls.values().sum();
        if total < LEAST_CALLS {
            return None;
        }
        let stable = QUANTILES.map(|quantile| self.quantile(quantile * total));
        Some(Limits {
            stable,
            margin: terms.latency_margin,
            pass_margin: terms.pass_margin,
        })
    }

    fn quantile(&self, wanted: f64) -> Duration {
        let mut seen = 0.0;
        let mut last = Duration::ZERO;
        for (duration, calls) in &self.calls {
            seen += calls;
            last = *duration;
            if seen >= wanted {
                break;
            }
        }
        last
    }
}

/// How long a call of each arm may take before it counts as slow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Stable's latency at each of [`QUANTILES`].
    stable: [Duration; QUANTILES.len()],
    margin: f64,
    pass_margin: f64,
}

impl Limits {
    /// The limits of one arm, by slot of a [`crate::stats::Trial`].
    pub fn of(&self, role: Role) -> [Duration; LIMITS] {
        let (margin, pass_margin) = match role {
            Role::Stable => (1.0, 1.0),
            Role::Candidate => (self.margin, self.pass_margin),
        };
        let mut limits = [Duration::ZERO; LIMITS];
        let with_pass = self.stable.iter().chain(self.stable.get(PASS_QUANTILE));
        for (slot, (limit, stable)) in limits.iter_mut().zip(with_pass).enumerate() {
            let margin = if slot < QUANTILES.len() {
                margin
            } else {
                pass_margin
            };
            *limit = stable.mul_f64(margin);
        }
        limits
    }
}

#[cfg(test)]
mod tests {
    use crate::stats::Histogram;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn reading(histogram: &Histogram) -> Latencies {
        let mut reading = Latencies::default();
        histogram.add_to(&mut reading);
        reading
    }

    #[test]
    fn there_are_no_limits_before_fifty_calls() {
        let (histogram, mut baseline) = (Histogram::default(), Baseline::default());
        (0..49).for_each(|_| histogram.record(ms(10)));
        baseline.refresh(&reading(&histogram));
        assert_eq!(baseline.limits(&Terms::default()), None);

        // The aged ones count for 44.1, so one more is not enough, but six are.
        (0..6).for_each(|_| histogram.record(ms(10)));
        baseline.refresh(&reading(&histogram));
        assert!(baseline.limits(&Terms::default()).is_some());
    }

    #[test]
    fn limits_are_stables_quantiles_times_the_margin_of_the_arm() {
        let (histogram, mut baseline) = (Histogram::default(), Baseline::default());
        (1..=1000).for_each(|each| histogram.record(ms(each)));
        baseline.refresh(&reading(&histogram));

        let limits = baseline.limits(&Terms::default()).unwrap();
        let (stable, candidate) = (limits.of(Role::Stable), limits.of(Role::Candidate));

        for (slot, expected) in [500, 750, 900, 950, 990, 950].into_iter().enumerate() {
            let off = stable[slot].as_secs_f64() / ms(expected).as_secs_f64();
            assert!((0.99..1.02).contains(&off), "slot {slot}: {off}");
            let margin = if slot == 5 { 1.5 } else { 1.2 };
            assert_eq!(candidate[slot], stable[slot].mul_f64(margin));
        }
    }

    #[test]
    fn limits_follow_stable_and_forget_how_it_was() {
        let (histogram, mut baseline) = (Histogram::default(), Baseline::default());
        let mut median_after = |refreshes: u32, latency: Duration| {
            for _ in 0..refreshes {
                (0..100).for_each(|_| histogram.record(latency));
                baseline.refresh(&reading(&histogram));
            }
            baseline.limits(&Terms::default()).unwrap().of(Role::Stable)[0]
        };

        assert!(median_after(20, ms(10)) < ms(11));
        assert!(
            median_after(3, ms(40)) < ms(11),
            "three tens of seconds are not half of it"
        );
        assert!(median_after(6, ms(40)) > ms(39));
    }

    #[test]
    fn a_silent_stable_keeps_its_limits() {
        let (histogram, mut baseline) = (Histogram::default(), Baseline::default());
        (0..60).for_each(|_| histogram.record(ms(10)));
        for _ in 0..100 {
            baseline.refresh(&reading(&histogram));
        }

        assert!(baseline.limits(&Terms::default()).is_some());
    }
}
