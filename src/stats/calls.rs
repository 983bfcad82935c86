//! The counts of one worker for one backend of one route, and their sum.

use std::time::Duration;

use crate::model::Outcome;

use super::counter::{Counter, Gauge};
use super::histogram::{Histogram, Latencies};

/// One worker's counts of the calls that one backend answered on one route.
#[derive(Debug, Default)]
pub struct CallStats {
    outcomes: [Counter; Outcome::COUNT],
    latency: Histogram,
    in_flight: Gauge,
    streams: Gauge,
}

impl CallStats {
    /// A call begins.
    #[inline]
    pub fn begin(&self) {
        self.in_flight.add(1);
    }

    /// A call that began has ended so, `latency` after its start.
    #[inline]
    pub fn end(&self, outcome: Outcome, latency: Duration) {
        self.in_flight.add(-1);
        self.count(outcome, latency);
    }

    /// What began as a call is counted as another one.
    pub fn withdraw(&self) {
        self.in_flight.add(-1);
    }

    /// What began as a call turned out to be a stream, which is counted apart.
    pub fn becomes_stream(&self) {
        self.in_flight.add(-1);
        self.streams.add(1);
    }

    /// A stream that began has ended; one that counts as a call tells how, and the latency
    /// that it had.
    pub fn end_stream(&self, counts: Option<(Outcome, Duration)>) {
        self.streams.add(-1);
        if let Some((outcome, latency)) = counts {
            self.count(outcome, latency);
        }
    }

    fn count(&self, outcome: Outcome, latency: Duration) {
        if !outcome.tells_nothing() {
            self.latency.record(latency);
        }
        if let Some(counter) = self.outcomes.get(outcome.index()) {
            counter.add(1);
        }
    }

    /// Calls that have ended so far.
    pub fn ended(&self) -> u64 {
        self.outcomes.iter().map(Counter::read).sum()
    }

    /// Adds everything counted so far to `sum`.
    pub fn add_to(&self, sum: &mut CallSummary) {
        for (counter, total) in self.outcomes.iter().zip(&mut sum.outcomes) {
            *total += counter.read();
        }
        self.latency.add_to(&mut sum.latency);
        sum.in_flight += self.in_flight.read();
        sum.streams += self.streams.read();
    }
}

/// The calls of many workers, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallSummary {
    /// Finished calls by [`Outcome::index`].
    pub outcomes: [u64; Outcome::COUNT],
    /// Durations of the finished calls whose caller stayed.
    pub latency: Latencies,
    /// Calls under way.
    pub in_flight: u64,
    /// Open streams that carry no call.
    pub streams: u64,
}

impl CallSummary {
    /// Finished calls, whatever their outcome.
    pub fn total(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// Finished calls with this outcome.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(outcome.index()).copied().unwrap_or(0)
    }

    /// Adds the calls of `other`.
    pub fn add(&mut self, other: &Self) {
        for (total, count) in self.outcomes.iter_mut().zip(&other.outcomes) {
            *total += count;
        }
        self.latency.add(&other.latency);
        self.in_flight += other.in_flight;
        self.streams += other.streams;
    }

    /// What happened since `earlier`, an older reading of the same counts; what is under way
    /// stays as it is now.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut outcomes = self.outcomes;
        for (now, then) in outcomes.iter_mut().zip(&earlier.outcomes) {
            *now = now.saturating_sub(*then);
        }
        Self {
            outcomes,
            latency: self.latency.since(&earlier.latency),
            in_flight: self.in_flight,
            streams: self.streams,
        }
    }
}
