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
            needed_calls: self.pass.needed(&self.terms, self.share),
            repeated: self.repeated,
            untold: self.dropped.saturating_add(self.keys.overflowed()),
            connect_failures: self.guard.failures,
            guards: self.guard_records(),
            broken: self.broken,
            deciding: Vec::new(),
        }
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
