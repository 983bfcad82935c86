//! What happened in about the last minute: differences between readings of the same counts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::stats::{CallKey, CallSummary, Registry};

/// Readings that are kept.
const READINGS: usize = 12;

type Reading = BTreeMap<CallKey, CallSummary>;

/// Keeps readings of the last minute. One task takes them, anybody asks.
#[derive(Debug, Default)]
pub struct Recent {
    readings: Mutex<VecDeque<Reading>>,
}

impl Recent {
    /// How often a reading is to be taken, so that the kept ones span a minute.
    pub const EVERY: Duration = Duration::from_secs(5);

    /// Reads every count, forgetting the oldest reading.
    pub fn take(&self, registry: &Registry) {
        let reading = registry
            .keys()
            .into_iter()
            .map(|key| {
                let sum = registry.sum(&key);
                (key, sum)
            })
            .collect();
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        if readings.len() == READINGS {
            readings.pop_front();
        }
        readings.push_back(reading);
    }

    /// What `now`, the present sum of `key`, has beyond the oldest reading. Before the first
    /// reading, and for counts that it did not have, that is all of it.
    pub fn since(&self, key: &CallKey, now: &CallSummary) -> CallSummary {
        let readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        match readings.front().and_then(|oldest| oldest.get(key)) {
            Some(then) => now.since(then),
            None => now.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::Outcome;
    use crate::stats::Traffic;

    use super::*;

    #[test]
    fn calls_are_recent_until_a_minute_of_readings_has_passed() {
        let (registry, recent) = (Registry::default(), Recent::default());
        let key = CallKey {
            route: "r".parse().unwrap(),
            backend: "b".parse().unwrap(),
            traffic: Traffic::Real,
        };
        recent.take(&registry);
        let shard = registry.calls(0, &key);
        shard.begin();
        shard.end(Outcome::Success, Duration::from_millis(1));

        let mut seen = Vec::new();
        for _ in 0..=READINGS {
            recent.take(&registry);
            seen.push(recent.since(&key, &registry.sum(&key)).total());
        }

        assert_eq!(seen.first(), Some(&1));
        assert_eq!(seen.last(), Some(&0));
    }
}
