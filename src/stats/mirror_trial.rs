//! What the copies of one rollout came to, counted apart from all others of its route.

use std::time::Duration;

use super::histogram::{Histogram, Latencies};
use super::mirror::{Comparison, MirrorDrop, MirrorStats};

/// The copies of a rollout's stage in the shadow. Workers write, each to its own histograms;
/// control reads.
#[derive(Debug)]
pub struct MirrorTrial {
    counts: MirrorStats,
    /// By worker: the calls that were copied and had an answer like their copies, and the copies.
    latencies: Vec<[Histogram; 2]>,
}

impl MirrorTrial {
    /// Nothing yet, for this many workers.
    pub fn new(workers: usize) -> Self {
        let each = (0..workers).map(|_| Default::default());
        Self {
            counts: MirrorStats::default(),
            latencies: each.collect(),
        }
    }

    /// A copy was not sent, or not to its end.
    pub fn drop_one(&self, why: MirrorDrop) {
        self.counts.drop_one(why);
    }

    /// A call and its copy have both ended, each after its time. Only the thread of `worker` may
    /// say so.
    pub fn compare_one(&self, worker: usize, comparison: Comparison, times: [Duration; 2]) {
        self.counts.compare_one(comparison);
        match comparison {
            Comparison::Same | Comparison::Status | Comparison::Outcome => {}
            Comparison::Unanswered | Comparison::None => return,
        }
        let pair = self.latencies.get(worker).into_iter().flatten();
        pair.zip(times)
            .for_each(|(histogram, time)| histogram.record(time));
    }

    /// How many copies compared so.
    pub fn compared(&self, comparison: Comparison) -> u64 {
        self.counts.compared(comparison)
    }

    /// How many copies were dropped for this reason.
    pub fn dropped(&self, why: MirrorDrop) -> u64 {
        self.counts.dropped(why)
    }

    /// The latencies of the calls that had an answer like their copies, and of the copies.
    pub fn latencies(&self) -> [Latencies; 2] {
        let mut sums = [Latencies::default(), Latencies::default()];
        for pair in &self.latencies {
            for (histogram, sum) in pair.iter().zip(&mut sums) {
                histogram.add_to(sum);
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_summed_and_what_had_no_answer_has_no_latency() {
        let trial = MirrorTrial::new(2);
        let ms = Duration::from_millis;
        trial.compare_one(0, Comparison::Same, [ms(10), ms(20)]);
        trial.compare_one(1, Comparison::Status, [ms(10), ms(20)]);
        trial.compare_one(1, Comparison::Unanswered, [ms(10), ms(9000)]);
        trial.compare_one(0, Comparison::None, [ms(10), ms(9000)]);
        trial.drop_one(MirrorDrop::Busy);

        let [calls, copies] = trial.latencies();

        assert_eq!((calls.count(), copies.count()), (2, 2));
        assert!(copies.quantile(0.95).is_some_and(|it| it < ms(25)));
        assert_eq!(trial.compared(Comparison::Unanswered), 1);
        assert_eq!(trial.dropped(MirrorDrop::Busy), 1);
    }
}
