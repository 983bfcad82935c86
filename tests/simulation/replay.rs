//! A judge that watches a replayed trace, as `control` would have it watch a route.

use std::ops::ControlFlow;
use std::time::Duration;

use switchback::judge::{Baseline, Batch, Judge, Limits, Record, Share, StageTime, Terms, Verdict};
use switchback::model::{Outcome, Role};
use switchback::stats::{ArmCounts, BadCall, Histogram, LIMITS, Latencies};

use super::trace::{Bench, Request, Scenario};

/// What came of one replication.
#[derive(Clone, Debug)]
pub(crate) struct Replayed {
    /// The revert, if there was one.
    pub(crate) revert: Option<Revert>,
    /// Whether the stage was shown to be fine when its time was over, by stage.
    pub(crate) passed: Vec<bool>,
}

/// The moment of a revert.
#[derive(Clone, Debug)]
pub(crate) struct Revert {
    pub(crate) t: f64,
    /// Candidate calls until then.
    pub(crate) calls: u64,
    /// Those that failed or took far too long.
    pub(crate) bad: u64,
    pub(crate) record: Record,
}

/// Counts that pile up until the judge is woken.
pub(crate) struct Gatherer {
    stable: ArmCounts,
    candidate: ArmCounts,
    bad: Vec<BadCall>,
    limits: Option<[[u64; LIMITS]; 2]>,
    baseline: Baseline,
    histogram: Histogram,
    terms: Terms,
}

impl Gatherer {
    pub(crate) fn new(terms: Terms) -> Self {
        Self {
            stable: ArmCounts::default(),
            candidate: ArmCounts::default(),
            bad: Vec::new(),
            limits: None,
            baseline: Baseline::default(),
            histogram: Histogram::default(),
            terms,
        }
    }

    /// Takes stable's latencies of the last ten seconds into the limits.
    pub(crate) fn refresh(&mut self) {
        let mut reading = Latencies::default();
        self.histogram.add_to(&mut reading);
        self.baseline.refresh(&reading);
        let us = |limits: &Limits, role| limits.of(role).map(|limit| limit.as_micros() as u64);
        self.limits = self
            .baseline
            .limits(&self.terms)
            .map(|limits| Role::BOTH.map(|role| us(&limits, role)));
    }

    /// Stable's latencies count from before the rollout on.
    pub(crate) fn see_stable(&self, latency: Duration) {
        self.histogram.record(latency);
    }

    /// Counts a call and says whether the judge has to be woken for it.
    pub(crate) fn call(&mut self, call: BadCall, latency_us: u64) -> bool {
        let arm = match call.role {
            Role::Stable => &mut self.stable,
            Role::Candidate => &mut self.candidate,
        };
        arm.calls += 1;
        arm.reached += u64::from(call.outcome != Outcome::Unreachable);
        let mut wake = false;
        if let Some(limits) = &self.limits {
            for (slow, limit) in arm.slow.iter_mut().zip(&limits[call.role.index()]) {
                let passed = latency_us > *limit;
                *slow += u64::from(passed);
                wake |= passed;
            }
        }
        if call.outcome != Outcome::Success {
            self.bad.push(call);
            wake = true;
        }
        wake && call.role == Role::Candidate
    }

    /// Hands everything gathered to `weigh` and starts anew.
    pub(crate) fn flush(&mut self, now: Duration, share: f64, weigh: impl FnOnce(&Batch<'_>)) {
        weigh(&Batch {
            now,
            share: Share::exact(share),
            stable: self.stable,
            candidate: self.candidate,
            bad: &self.bad,
            dropped: 0,
        });
        self.stable = ArmCounts::default();
        self.candidate = ArmCounts::default();
        self.bad.clear();
    }
}

/// A replication under way.
struct Watch<'a> {
    bench: &'a Bench,
    weights: &'a [f64],
    bad_us: f64,
    judge: Judge,
    gatherer: Gatherer,
    /// Whole seconds that have begun, from the warm-up on.
    second: i64,
    stage: Option<usize>,
    calls: u64,
    bad: u64,
    result: Replayed,
}

/// Replays one replication, up to its revert or its end.
pub(crate) fn replay(bench: &Bench, scenario: &Scenario, rate: u64, replication: u64) -> Replayed {
    let weights = bench.weights_of(scenario);
    let terms = Terms::default();
    let planned = Duration::from_secs_f64(bench.rollout.stage_s * weights.len() as f64);
    let mut watch = Watch {
        bench,
        weights,
        bad_us: bench.bad_latency_us(scenario),
        judge: Judge::new(terms.clone(), planned),
        gatherer: Gatherer::new(terms),
        second: -(bench.rollout.warmup_s as i64),
        stage: None,
        calls: 0,
        bad: 0,
        result: Replayed {
            revert: None,
            passed: vec![false; weights.len()],
        },
    };
    bench.replay(scenario, (rate, replication), |request| watch.see(request));
    if watch.result.revert.is_none() {
        watch.end_stage();
    }
    watch.result
}

impl Watch<'_> {
    fn see(&mut self, request: &Request) -> ControlFlow<()> {
        while ((self.second + 1) as f64) <= request.t {
            self.second += 1;
            self.tick();
        }
        let role = if request.candidate {
            Role::Candidate
        } else {
            Role::Stable
        };
        if role == Role::Stable {
            self.gatherer
                .see_stable(Duration::from_micros(request.latency_us));
        }
        if request.t < 0.0 {
            return ControlFlow::Continue(());
        }
        self.count(request);
        let call = BadCall {
            role,
            key: Some(request.key),
            outcome: if request.error {
                Outcome::ServerError
            } else {
                Outcome::Success
            },
        };
        if self.gatherer.call(call, request.latency_us) {
            self.decide(request.t);
        }
        match self.result.revert {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }

    fn count(&mut self, request: &Request) {
        if request.candidate {
            self.calls += 1;
            let bad = request.error || request.latency_us as f64 > self.bad_us;
            self.bad += u64::from(bad);
        }
    }

    /// A second begins.
    fn tick(&mut self) {
        if self.second >= 0 {
            self.weigh(self.second as f64);
        }
        if self.second % 10 == 0 {
            self.gatherer.refresh();
        }
        let stage = self.second as f64 / self.bench.rollout.stage_s;
        if self.second >= 0 && stage.fract() == 0.0 && (stage as usize) < self.weights.len() {
            self.end_stage();
            self.stage = Some(stage as usize);
            self.judge.begin_stage();
        }
    }

    fn end_stage(&mut self) {
        let pass = self.judge.verdict(StageTime::Over) == Verdict::Advance;
        if let Some(stage) = self.stage {
            self.result.passed[stage] = pass;
        }
    }

    fn weigh(&mut self, t: f64) {
        let share = self.stage.map_or(0.0, |stage| self.weights[stage]);
        let now = Duration::from_secs_f64(t);
        let judge = &mut self.judge;
        self.gatherer.flush(now, share, |batch| judge.weigh(batch));
    }

    fn decide(&mut self, t: f64) {
        self.weigh(t);
        if let Verdict::Revert { .. } = self.judge.verdict(StageTime::Running) {
            self.result.revert = Some(Revert {
                t,
                calls: self.calls,
                bad: self.bad,
                record: self.judge.rule(StageTime::Running),
            });
        }
    }
}
