//! What the calls themselves say, looked at now and then: failures of a whole backend, and
//! endpoints that fail more often than the others.

use std::collections::VecDeque;
use std::time::Duration;

use crate::upstream::shard::Tally;
use crate::upstream::spec::{BreakerSpec, OutliersSpec};

/// Time between the readings that a window is told from.
const READING_EVERY: Duration = Duration::from_secs(1);

/// Attempts that ended, and those of them that failed.
pub(super) type Counts = (u64, u64);

/// The latest readings of a backend's counts.
#[derive(Debug, Default)]
pub(super) struct Window {
    readings: VecDeque<(Duration, Counts)>,
}

impl Window {
    /// Whether too many attempts have failed within the window. `counts` only grow.
    pub(super) fn is_over(&mut self, spec: &BreakerSpec, counts: Counts, now: Duration) -> bool {
        let Some(limit) = spec.failure_percent else {
            self.readings.clear();
            return false;
        };
        let is_due = |(at, _): &(Duration, Counts)| now >= *at + READING_EVERY;
        if self.readings.back().is_none_or(is_due) {
            self.readings.push_back((now, counts));
        }
        // One reading at or before the beginning of the window is what it is told from.
        let begins = now.saturating_sub(spec.window);
        while self.readings.get(1).is_some_and(|(at, _)| *at <= begins) {
            self.readings.pop_front();
        }
        let Some((_, before)) = self.readings.front() else {
            return false;
        };
        let attempts = counts.0.saturating_sub(before.0);
        let failures = counts.1.saturating_sub(before.1);
        attempts >= u64::from(spec.min_calls)
            && failures as f64 >= limit.fraction() * attempts as f64
    }

    /// Begins anew: what failed before counts no more.
    pub(super) fn clear(&mut self) {
        self.readings.clear();
    }
}

/// The places of those that fail more often than the others together, the worst first.
pub(super) fn outliers(counts: &[Counts], spec: &OutliersSpec) -> Vec<usize> {
    let least = u64::from(spec.min_calls);
    let all = counts
        .iter()
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let mut found: Vec<(usize, f64)> = Vec::new();
    for (place, (attempts, failures)) in counts.iter().copied().enumerate() {
        let others = all.0 - attempts;
        if attempts < least || others < least {
            continue;
        }
        let above = failures as f64 / attempts as f64 - (all.1 - failures) as f64 / others as f64;
        if above >= spec.points.fraction() {
            found.push((place, above));
        }
    }
    found.sort_by(|one, other| other.1.total_cmp(&one.1));
    found.into_iter().map(|(place, _)| place).collect()
}

/// What happened between two readings of an endpoint.
pub(super) fn since(now: &Tally, before: &Tally) -> Counts {
    (
        now.attempts().saturating_sub(before.attempts()),
        now.failures().saturating_sub(before.failures()),
    )
}

#[cfg(test)]
mod tests {
    use crate::model::Percent;

    use super::*;

    fn spec() -> BreakerSpec {
        BreakerSpec {
            failure_percent: Some(Percent::whole(50)),
            ..BreakerSpec::default()
        }
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_takes_enough_calls_and_a_share_of_failures() {
        let over = |attempts: u64, failures: u64| {
            let mut window = Window::default();
            window.is_over(&spec(), (1000, 1000), at(0));
            window.is_over(&spec(), (1000 + attempts, 1000 + failures), at(1))
        };

        assert!(over(20, 10));
        assert!(!over(19, 19), "too few calls");
        assert!(!over(30, 14), "too few failures");
    }

    #[test]
    fn what_is_older_than_the_window_counts_no_more() {
        let mut window = Window::default();
        let mut told = Vec::new();
        for second in 0..40 {
            let failures = if second >= 1 { 30 } else { 0 };
            told.push(window.is_over(&spec(), (failures, failures), at(second)));
        }

        let over: Vec<usize> = (0..40).filter(|second| told[*second]).collect();
        assert_eq!(over, (1..=10).collect::<Vec<_>>());
        assert!(window.readings.len() <= 12);
    }

    #[test]
    fn without_a_share_nothing_is_ever_too_much() {
        let mut window = Window::default();
        let spec = BreakerSpec::default();
        window.is_over(&spec, (0, 0), at(0));

        assert!(!window.is_over(&spec, (1000, 1000), at(1)));
        assert!(window.readings.is_empty());
    }

    #[test]
    fn an_outlier_fails_more_often_than_the_others_together() {
        let found = |counts: &[Counts]| outliers(counts, &OutliersSpec::default());

        assert_eq!(found(&[(100, 50), (100, 1)]), [0]);
        assert_eq!(found(&[(100, 50), (100, 45)]), [] as [usize; 0]);
        assert_eq!(found(&[(100, 5), (100, 99), (100, 60), (100, 2)]), [1, 2]);
        assert_eq!(found(&[(49, 49), (100, 0)]), [] as [usize; 0], "too few");
        assert_eq!(found(&[(100, 99), (49, 0)]), [] as [usize; 0], "alone");
        assert_eq!(found(&[]), [] as [usize; 0]);
    }
}
