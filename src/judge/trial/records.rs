//! What the judge says of its evidence: the record of a verdict.

use std::time::Duration;

use crate::judge::guards::GuardRecord;
use crate::judge::metrics::MetricRecord;
use crate::judge::thresholds::QUANTILES;
use crate::judge::verdict::{ErrorsRecord, LatencyRecord, QuantileRecord, Record, StageTime};
use crate::model::Role;

use super::Judge;

impl Judge {
    /// The verdict on everything taken in so far, with its numbers.
    pub fn rule(&self, time: StageTime) -> Record {
        let needed_calls = self.pass.needed(&self.terms, self.share);
        Record {
            verdict: self.verdict(time),
            e_value: self.e_value(),
            revert_at: self.terms.revert_threshold(),
            pass_at: self.terms.pass_threshold(),
            share: self.share,
            errors: self.errors_record(),
            latency: self.latency_record(),
            metrics: self.metric_records(),
            stable: self.stable,
            candidate: self.candidate,
            stage_calls: self.pass.calls().candidate,
            min_requests: self.terms.min_requests,
            needed_calls,
            needed_seconds: needed_calls.and_then(|calls| self.seconds_for(calls)),
            repeated: self.repeated,
            untold: self.dropped.saturating_add(self.keys.overflowed()),
            connect_failures: self.guard.failures,
            guards: self.guard_records(),
            broken: self.broken,
            took: None,
            deciding: Vec::new(),
        }
    }

    /// How long so many of the candidate's calls take, if they come as they did in this stage.
    fn seconds_for(&self, calls: u64) -> Option<u64> {
        let had = self.pass.calls().candidate;
        let lasted = self.judged.saturating_sub(self.stage_began).as_secs_f64();
        let seconds = calls as f64 * lasted / had.max(1) as f64;
        let known = calls == 0 || (had > 0 && lasted > 0.0);
        known.then(|| seconds.ceil() as u64)
    }

    fn metric_records(&self) -> Vec<MetricRecord> {
        let metrics = self.metrics.as_ref();
        let records = metrics.map(|metrics| metrics.records(&self.terms.metrics));
        records.unwrap_or_default()
    }

    fn guard_records(&self) -> Vec<GuardRecord> {
        let guards = self.guards.as_ref();
        let limits = guards.map(|guards| guards.records(&self.terms, self.planned));
        let mut records = limits.unwrap_or_default();
        records.extend(self.guard.record(&self.terms));
        records
    }

    fn errors_record(&self) -> ErrorsRecord {
        ErrorsRecord {
            e_value: self.errors(),
            ratio_e_value: self.bets.ratio(),
            floor_e_value: self.bets.floor(),
            margin: self.terms.error_margin,
            floor: self.terms.error_floor,
            callers: self.culprits.found(),
            pass_e_value: self.pass.errors(),
        }
    }

    fn latency_record(&self) -> LatencyRecord {
        let mut quantiles = [QuantileRecord::default(); QUANTILES.len()];
        let limit = |role, slot: usize| {
            let limits = self.limits.as_ref()?.of(role);
            limits.get(slot).map(Duration::as_secs_f64)
        };
        let checks = QUANTILES.iter().zip(self.bets.slow()).zip(&self.slow);
        let slots = quantiles.iter_mut().enumerate();
        for ((slot, record), ((quantile, e_value), slow)) in slots.zip(checks) {
            *record = QuantileRecord {
                quantile: *quantile,
                e_value,
                stable_limit_seconds: limit(Role::Stable, slot),
                candidate_limit_seconds: limit(Role::Candidate, slot),
                stable_slow: slow.stable,
                candidate_slow: slow.candidate,
            };
        }
        LatencyRecord {
            e_value: self.latency(),
            margin: self.terms.latency_margin,
            quantiles,
            pass_e_value: self.pass.latency(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::judge::{Batch, Share, Terms};
    use crate::stats::{ArmCounts, LIMITS};

    use super::*;

    fn calls(calls: u64) -> ArmCounts {
        ArmCounts {
            calls,
            reached: calls,
            ..ArmCounts::default()
        }
    }

    #[test]
    fn what_a_stage_still_needs_is_told_as_a_time_too() {
        let mut judge = Judge::new(Terms::default(), Duration::from_mins(5));
        judge.begin_stage();
        assert_eq!(judge.rule(StageTime::Running).needed_seconds, None);
        for second in 0..=60 {
            judge.weigh(&Batch {
                share: Share::exact(0.05),
                stable: ArmCounts {
                    slow: [2; LIMITS],
                    ..calls(38)
                },
                candidate: calls(2),
                ..Batch::tick(Duration::from_secs(second))
            });
        }

        let record = judge.rule(StageTime::Running);

        let (calls, seconds) = (record.needed_calls, record.needed_seconds);
        let (calls, seconds) = (calls.unwrap(), seconds.unwrap());
        let shown = format!("{calls} calls, {seconds} s");
        assert!(
            calls > 100 && seconds.abs_diff(calls / 2) <= calls / 20,
            "{shown}"
        );
    }
}
