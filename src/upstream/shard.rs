//! What one worker counts at one endpoint, and the sum of all workers.

use std::sync::Arc;

use crate::stats::{Counter, Gauge};

use super::ended::{Ended, Failure};

/// One worker's counts at one endpoint: one writer, any reader.
#[derive(Debug, Default)]
pub(super) struct Shard {
    answered: Counter,
    failed: [Counter; Failure::COUNT],
    /// Those of the answered whose answer broke off.
    broken_off: Counter,
    in_flight: Gauge,
    connects: Counter,
    forced: Counter,
}

/// What was counted at one endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Attempts with an answer whose status is below 500.
    pub answered: u64,
    /// Those of them whose answer broke off later.
    pub broken_off: u64,
    /// Attempts that failed, by [`Failure::index`].
    pub failed: [u64; Failure::COUNT],
    /// Attempts under way.
    pub in_flight: u64,
    /// Connections opened.
    pub connects: u64,
    /// Attempts made though the endpoint was unfit, because no other was fit.
    pub forced: u64,
}

/// The shards of one endpoint, and the sum of those that are given back.
#[derive(Debug, Default)]
pub(super) struct Shards {
    open: Vec<Arc<Shard>>,
    before: Tally,
}

impl Shard {
    /// Attempts of this worker that are under way.
    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.read()
    }

    pub(super) fn begin(&self) {
        self.in_flight.add(1);
    }

    pub(super) fn end(&self) {
        self.in_flight.add(-1);
    }

    pub(super) fn connects(&self) {
        self.connects.add(1);
    }

    /// An attempt goes to an endpoint that is unfit.
    pub(super) fn forced(&self) {
        self.forced.add(1);
    }

    pub(super) fn count(&self, ended: Ended) {
        match ended {
            Ended::Answered => self.answered.add(1),
            Ended::Failed(failure) => {
                if let Some(counter) = self.failed.get(failure.index()) {
                    counter.add(1);
                }
            }
            Ended::Unknown => {}
        }
    }

    /// An answer that was counted breaks off.
    pub(super) fn broke_off(&self) {
        self.broken_off.add(1);
    }

    fn add_to(&self, sum: &mut Tally) {
        sum.answered += self.answered.read();
        sum.broken_off += self.broken_off.read();
        for (total, counter) in sum.failed.iter_mut().zip(&self.failed) {
            *total += counter.read();
        }
        sum.in_flight += self.in_flight.read();
        sum.connects += self.connects.read();
        sum.forced += self.forced.read();
    }
}

impl Tally {
    /// Attempts that failed, in whatever way.
    pub fn failures(&self) -> u64 {
        self.failed.iter().sum::<u64>() + self.broken_off
    }

    /// Attempts that came to an end which says something.
    pub fn attempts(&self) -> u64 {
        self.answered + self.failed.iter().sum::<u64>()
    }

    /// The same with another endpoint's.
    pub fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.broken_off += other.broken_off;
        for (total, more) in self.failed.iter_mut().zip(&other.failed) {
            *total += more;
        }
        self.in_flight += other.in_flight;
        self.connects += other.connects;
        self.forced += other.forced;
    }
}

impl Shards {
    pub(super) fn join(&mut self) -> Arc<Shard> {
        let shard = Arc::new(Shard::default());
        self.open.push(Arc::clone(&shard));
        shard
    }

    /// Keeps the counts of a shard that nobody writes to any more.
    pub(super) fn leave(&mut self, shard: &Arc<Shard>) {
        let count = self.open.len();
        self.open.retain(|open| !Arc::ptr_eq(open, shard));
        if self.open.len() < count {
            shard.add_to(&mut self.before);
            self.before.in_flight = 0;
        }
    }

    pub(super) fn sum(&self) -> Tally {
        let mut sum = self.before;
        for shard in &self.open {
            shard.add_to(&mut sum);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_outlive_the_workers_share_of_an_endpoint() {
        let mut shards = Shards::default();
        let (one, two) = (shards.join(), shards.join());
        one.begin();
        one.count(Ended::Answered);
        one.count(Ended::Failed(Failure::Unanswered));
        two.count(Ended::Unknown);
        two.connects();

        one.count(Ended::Answered);
        one.broke_off();

        shards.leave(&one);
        shards.leave(&one);

        let sum = shards.sum();
        assert_eq!((sum.attempts(), sum.failures(), sum.connects), (3, 2, 1));
        assert_eq!(sum.in_flight, 0);
    }
}
