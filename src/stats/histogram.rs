//! Log-linear histograms of durations: 64 buckets a power of two of microseconds.
//!
//! The scheme is that of HdrHistogram (Tene): values below 128 have buckets of their own,
//! larger ones keep their first seven bits. A bucket is at most 1/64 of its values wide, so
//! its middle is within 0.8 % of everything in it.

use std::sync::OnceLock;
use std::time::Duration;

use super::counter::Counter;

/// Buckets that share the same power of two.
const GROUP: usize = 64;
/// Groups: two for the values below 128, then one for each power of two up to 2^32 µs (71 minutes).
const GROUPS: usize = 27;
/// Largest value that is told apart, in µs; larger ones count as this.
const MAX_US: u64 = (1 << 32) - 1;

/// The bucket that `us` microseconds fall into.
fn bucket_of(us: u64) -> usize {
    let us = us.min(MAX_US);
    if us < 128 {
        return us as usize;
    }
    let shift = 57 - us.leading_zeros() as usize;
    GROUP * shift + (us >> shift) as usize
}

/// The largest number of microseconds in a bucket.
fn bucket_end(bucket: usize) -> u64 {
    if bucket < 128 {
        return bucket as u64;
    }
    let shift = bucket / GROUP - 1;
    ((((bucket - GROUP * shift) + 1) as u64) << shift) - 1
}

/// A worker's histogram: one writer, many readers. Groups are made at their first use, so
/// that an idle route costs little.
#[derive(Debug, Default)]
pub struct Histogram {
    groups: [OnceLock<Box<[Counter; GROUP]>>; GROUPS],
    sum_us: Counter,
}

impl Histogram {
    /// Counts one duration. Only the histogram's one writer may call this.
    #[inline]
    pub fn record(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros())
            .unwrap_or(MAX_US)
            .min(MAX_US);
        let bucket = bucket_of(us);
        let Some(group) = self.groups.get(bucket / GROUP) else {
            return;
        };
        let counters = group.get_or_init(|| Box::new(std::array::from_fn(|_| Counter::default())));
        if let Some(counter) = counters.get(bucket % GROUP) {
            counter.add(1);
        }
        self.sum_us.add(us);
    }

    /// Adds everything counted so far to `sums`.
    pub fn add_to(&self, sums: &mut Latencies) {
        for (group, into) in self.groups.iter().zip(sums.counts.chunks_exact_mut(GROUP)) {
            let Some(group) = group.get() else { continue };
            for (counter, sum) in group.iter().zip(into) {
                *sum += counter.read();
            }
        }
        sums.sum_us += self.sum_us.read();
    }
}

/// The durations of many calls, as read from histograms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latencies {
    counts: Vec<u64>,
    sum_us: u64,
}

/// The buckets of [`Latencies`] that hold anything, each with its number.
#[derive(Debug)]
pub(super) struct FilledBuckets {
    counts: Box<[(u16, u64)]>,
    sum_us: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            counts: vec![0; GROUP * GROUPS],
            sum_us: 0,
        }
    }
}

impl Latencies {
    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all durations, each cut at 71 minutes.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us)
    }

    /// The smallest duration that a share `quantile` (0 to 1) of all calls does not exceed,
    /// to 1.6 %; `None` without any call.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let wanted = (quantile * self.count() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let position = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(Duration::from_micros(bucket_end(position)))
    }

    /// How many durations were at most `limit`, to the width of a bucket.
    pub fn count_up_to(&self, limit: Duration) -> u64 {
        let us = u64::try_from(limit.as_micros()).unwrap_or(MAX_US);
        self.counts.iter().take(bucket_of(us) + 1).sum()
    }

    /// Adds the durations of `other`.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.counts.iter_mut().zip(&other.counts) {
            *sum += more;
        }
        self.sum_us += other.sum_us;
    }

    /// What was counted since `earlier`, an older reading of the same histograms.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let counts = self
            .counts
            .iter()
            .zip(&earlier.counts)
            .map(|(now, then)| now.saturating_sub(*then))
            .collect();
        Self {
            counts,
            sum_us: self.sum_us.saturating_sub(earlier.sum_us),
        }
    }

    /// The same without the buckets that hold nothing, to be kept for long.
    pub(super) fn filled(&self) -> FilledBuckets {
        let filled = (0u16..).zip(&self.counts).filter(|(_, count)| **count > 0);
        FilledBuckets {
            counts: filled.map(|(bucket, count)| (bucket, *count)).collect(),
            sum_us: self.sum_us,
        }
    }

    /// Leaves what was counted since `earlier`, an older reading of the same histograms.
    pub(super) fn take_away(&mut self, earlier: &FilledBuckets) {
        for (bucket, then) in &earlier.counts {
            if let Some(now) = self.counts.get_mut(usize::from(*bucket)) {
                *now = now.saturating_sub(*then);
            }
        }
        self.sum_us = self.sum_us.saturating_sub(earlier.sum_us);
    }

    /// The counts of all buckets, in the order of their durations, each with the longest
    /// duration it holds. Empty buckets are left out.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let filled = self
            .counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0);
        filled.map(|(bucket, count)| (Duration::from_micros(bucket_end(bucket)), *count))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_bucket_ends_where_the_next_begins() {
        for bucket in 0..GROUP * GROUPS {
            assert_eq!(bucket_of(bucket_end(bucket)), bucket);
            assert_eq!(
                bucket_of(bucket_end(bucket) + 1),
                (bucket + 1).min(GROUP * GROUPS - 1)
            );
        }
    }

    #[test]
    fn quantiles_of_a_known_set_are_within_two_percent() {
        let histogram = Histogram::default();
        for us in 1..=100_000 {
            histogram.record(Duration::from_micros(us));
        }
        let mut sums = Latencies::default();
        histogram.add_to(&mut sums);

        for quantile in [0.01, 0.5, 0.9, 0.99, 1.0] {
            let got = sums.quantile(quantile).unwrap().as_micros() as f64;
            assert!(
                (got / (quantile * 100_000.0) - 1.0).abs() < 0.02,
                "{quantile}: {got}"
            );
        }
    }

    #[test]
    fn nothing_counted_has_no_quantile() {
        assert_eq!(Latencies::default().quantile(0.5), None);
    }

    proptest! {
        #[test]
        fn the_middle_of_a_bucket_is_within_one_percent(us in 1u64..MAX_US) {
            let bucket = bucket_of(us);
            let start = if bucket == 0 { 0 } else { bucket_end(bucket - 1) + 1 };
            let middle = (start + bucket_end(bucket)) as f64 / 2.0;

            prop_assert!((middle / us as f64 - 1.0).abs() <= 0.01);
        }

        #[test]
        fn merging_and_taking_away_are_inverse(a in prop::collection::vec(0u64..1 << 40, 0..50), b in prop::collection::vec(0u64..1 << 40, 0..50)) {
            let read = |values: &[u64]| {
                let histogram = Histogram::default();
                for us in values {
                    histogram.record(Duration::from_micros(*us));
                }
                let mut sums = Latencies::default();
                histogram.add_to(&mut sums);
                sums
            };
            let (a, b) = (read(&a), read(&b));
            let mut both = a.clone();
            both.add(&b);

            prop_assert_eq!(&both.since(&a), &b);
            both.take_away(&a.filled());
            prop_assert_eq!(both, b);
        }
    }
}
