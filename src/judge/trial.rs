//! The judge of one rollout.

mod records;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Outcome, RevertReason, Role};
use crate::stats::{ArmCounts, BadCall};

use super::bets::{Bets, Evidence, Labels};
use super::guards::{ConnectGuard, Guard, GuardEvidence, Guards};
use super::keys::{Culprits, Heard, RecentKeys};
use super::metrics::{Metrics, Observation};
use super::pass::{Pass, StageEvidence};
use super::share::Share;
use super::terms::Terms;
use super::thresholds::{Limits, QUANTILES};
use super::verdict::{ArmRecord, HoldReason, StageTime, Verdict};

/// How long a moment is, in milliseconds: slow calls that are told of within one are hardly more
/// than one event.
const MOMENT_MS: u128 = 50;

/// What happened since the last batch, at one share of the traffic.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The time since the process began.
    pub now: Duration,
    /// The candidate's share of the requests when these were assigned: the weight, or for pinned
    /// traffic what was counted.
    pub share: Share,
    /// Stable's new counts.
    pub stable: ArmCounts,
    /// The candidate's new counts.
    pub candidate: ArmCounts,
    /// New bad calls of both arms, oldest first. Read them after the counts.
    pub bad: &'a [BadCall],
    /// Bad calls that the trial dropped.
    pub dropped: u64,
}

impl Batch<'_> {
    /// Nothing happened but time.
    pub fn tick(now: Duration) -> Self {
        Self {
            now,
            share: Share::exact(0.0),
            stable: ArmCounts::default(),
            candidate: ArmCounts::default(),
            bad: &[],
            dropped: 0,
        }
    }
}

/// The judge of one rollout: its evidence so far, at a size that does not grow.
///
/// Serialisable, since `alpha` is spent once over a rollout and a restart is no reason to
/// spend it again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Judge {
    terms: Terms,
    /// Time over which the reserve is bet.
    planned: Duration,
    bets: Bets,
    pass: Pass,
    stable: ArmRecord,
    candidate: ArmRecord,
    slow: [Labels; QUANTILES.len()],
    /// For the record alone.
    #[serde(default)]
    limits: Option<Box<Limits>>,
    unreachable: u64,
    /// Bad calls of the candidate that were told before they were counted as calls.
    owed: u64,
    share: f64,
    repeated: u64,
    dropped: u64,
    keys: RecentKeys,
    culprits: Culprits,
    guard: ConnectGuard,
    /// There where the plan has limits for them.
    #[serde(default)]
    guards: Option<Box<Guards>>,
    /// There where the plan has metrics that applications push.
    #[serde(default)]
    metrics: Option<Box<Metrics>>,
    /// The guard that decided.
    #[serde(default)]
    broken: Option<Guard>,
    /// Set when the evidence sufficed, whatever came after.
    reverted: Option<RevertReason>,
    /// Time seen by this judge, restarts of the process apart.
    age: Duration,
    /// Time judged, warm-up apart, of which whole seconds moved reserve to the bets.
    judged: Duration,
    /// What that was when the stage began.
    #[serde(default)]
    stage_began: Duration,
    /// The `now` of the last batch; means nothing to another process.
    #[serde(skip)]
    seen: Option<Duration>,
}

impl Judge {
    /// A judge for a rollout whose stages take at least `planned` together.
    pub fn new(terms: Terms, planned: Duration) -> Self {
        let metrics = &terms.metrics;
        let metrics = (!metrics.is_empty()).then(|| Box::new(Metrics::new(metrics)));
        Self {
            metrics,
            planned,
            bets: Bets::new(),
            pass: Pass::new(),
            stable: ArmRecord::default(),
            candidate: ArmRecord::default(),
            slow: Default::default(),
            limits: None,
            unreachable: 0,
            owed: 0,
            share: 0.0,
            repeated: 0,
            dropped: 0,
            keys: RecentKeys::new(),
            culprits: Culprits::default(),
            guard: ConnectGuard::default(),
            guards: terms.has_guards().then(Box::default),
            broken: None,
            reverted: None,
            age: Duration::ZERO,
            judged: Duration::ZERO,
            stage_began: Duration::ZERO,
            seen: None,
            terms,
        }
    }

    /// What was agreed.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The time that was told last.
    pub(super) fn seen(&self) -> Option<Duration> {
        self.seen
    }

    /// Goes on as if this time had been told last.
    pub(super) fn resume(&mut self, seen: Option<Duration>) {
        self.seen = seen;
    }

    /// A new stage begins: what an earlier one has shown does not pass this one. The evidence
    /// that the candidate is worse stays.
    pub fn begin_stage(&mut self) {
        self.pass = Pass::new();
        self.stage_began = self.judged;
        if let Some(metrics) = &mut self.metrics {
            metrics.close(&self.terms.metrics);
        }
    }

    /// Notes the limits that calls are held against from now on, so that records show them.
    pub fn note_limits(&mut self, limits: Limits) {
        self.limits = Some(Box::new(limits));
    }

    /// Takes in a batch of the warm-up: only the guards look at it.
    pub fn warm_up(&mut self, batch: &Batch<'_>) {
        self.pass_time(batch.now);
        self.watch_connections(batch);
        if self.guards.is_some() {
            let told = self.tell_apart(batch);
            let good = self.good(batch, told);
            self.watch_limits(batch, told, good);
        }
        self.conclude();
    }

    /// Takes in what applications pushed about calls of both arms. It is weighed by and by.
    pub fn observe(&mut self, observations: &[Observation]) {
        let Some(metrics) = &mut self.metrics else {
            return;
        };
        for observed in observations {
            metrics.observe(&self.terms.metrics, observed, self.age);
        }
    }

    /// Takes in a batch of evidence. Call it with [`Batch::tick`] when nothing happens.
    pub fn weigh(&mut self, batch: &Batch<'_>) {
        let before = self.judged;
        let since = self.pass_time(batch.now);
        self.judged = self.judged.saturating_add(since);
        if let Some(metrics) = &mut self.metrics {
            metrics.pass(&self.terms.metrics, since);
        }
        self.restart_bets(before);
        self.watch_connections(batch);
        let told = self.hear(batch);
        self.count(batch, told);
        let evidence = self.evidence(batch, told);
        self.bets.settle(&self.terms, &evidence);
        self.watch_limits(batch, told, evidence.good);
        let stage = StageEvidence {
            share: batch.share.least,
            calls: Labels {
                stable: batch.stable.calls,
                candidate: batch.candidate.calls,
            },
            bad: told.all,
            good: evidence.good,
            slow: slow_at(batch, QUANTILES.len()),
        };
        self.pass.settle(&self.terms, &stage);
        self.conclude();
    }

    /// The verdict alone.
    pub fn verdict(&self, time: StageTime) -> Verdict {
        if let Some(reason) = self.reverted {
            return Verdict::Revert { reason };
        }
        let because = if self.pass.calls().candidate < self.terms.min_requests {
            HoldReason::NoData
        } else if self.errors() >= self.terms.revert_threshold() / self.terms.weights().errors {
            HoldReason::FewCallers
        } else if self.pass.shown() {
            return Verdict::Advance;
        } else if time == StageTime::Over {
            HoldReason::Inconclusive
        } else {
            HoldReason::Gathering
        };
        Verdict::Hold { because }
    }

    /// Once there is a reason to revert it stays the reason.
    fn conclude(&mut self) {
        if self.reverted.is_some() {
            return;
        }
        let connect = self.guard.is_broken(&self.terms);
        let connect = connect.then_some(Guard::ConnectFailures);
        let limits = || {
            let guards = self.guards.as_ref();
            guards.and_then(|guards| guards.broken(&self.terms, self.planned))
        };
        self.broken = connect.or_else(limits);
        self.reverted = match self.broken {
            Some(Guard::ConnectFailures) => Some(RevertReason::HealthCheckFailed),
            Some(Guard::ErrorRate) => Some(RevertReason::ErrorRateHigh),
            Some(Guard::LatencyP99) => Some(RevertReason::LatencyDegraded),
            None => self.revert_reason(),
        };
    }

    fn revert_reason(&self) -> Option<RevertReason> {
        if self.e_value() < self.terms.revert_threshold() {
            return None;
        }
        let weights = self.terms.weights();
        let errors = weights.errors * self.trusted_errors();
        let latency = weights.latency * self.latency();
        if weights.metrics * self.pushed() > errors.max(latency) {
            return Some(RevertReason::MetricDegraded);
        }
        if latency >= errors {
            return Some(RevertReason::LatencyDegraded);
        }
        if self.unreachable * 2 > self.candidate.bad {
            return Some(RevertReason::HealthCheckFailed);
        }
        Some(RevertReason::ErrorRateHigh)
    }

    fn e_value(&self) -> f64 {
        let weights = self.terms.weights();
        weights.errors * self.trusted_errors()
            + weights.latency * self.latency()
            + weights.metrics * self.pushed()
    }

    /// Of the metrics that applications push; nothing where the plan has none.
    fn pushed(&self) -> f64 {
        let metrics = self.metrics.as_ref();
        metrics.map_or(0.0, |metrics| metrics.e_value(&self.terms.metrics))
    }

    /// Both "fails too often beside stable" and "fails often enough to matter" must be shown.
    fn errors(&self) -> f64 {
        self.bets.ratio().min(self.bets.floor())
    }

    /// The same, not above one until enough callers were failed.
    fn trusted_errors(&self) -> f64 {
        let errors = self.errors();
        if self.culprits.found() < Culprits::ENOUGH {
            return errors.min(1.0);
        }
        errors
    }

    fn latency(&self) -> f64 {
        let slow = self.bets.slow();
        slow.iter().sum::<f64>() / slow.len() as f64
    }

    /// Notes `now` and returns the time since the last batch.
    fn pass_time(&mut self, now: Duration) -> Duration {
        let since = now.saturating_sub(self.seen.unwrap_or(now));
        self.seen = Some(self.seen.map_or(now, |seen| seen.max(now)));
        self.age = self.age.saturating_add(since);
        if let Some(guards) = &mut self.guards {
            guards.pass(&self.terms, since);
        }
        since
    }

    fn restart_bets(&mut self, before: Duration) {
        let seconds = self.judged.as_secs() - before.as_secs();
        if seconds > 0 {
            let planned = self.planned.as_secs().max(1);
            let part = seconds as f64 / planned as f64;
            self.bets.restart(part);
            if let Some(metrics) = &mut self.metrics {
                metrics.restart(part);
            }
        }
    }

    /// A call that reached the candidate ends the row. The order of calls within a batch is
    /// not known, so a batch with any such call counts as having ended with it.
    fn watch_connections(&mut self, batch: &Batch<'_>) {
        let failed =
            |call: &&BadCall| call.role == Role::Candidate && call.outcome == Outcome::Unreachable;
        if batch.candidate.reached > 0 {
            self.guard = ConnectGuard::default();
            return;
        }
        for call in batch.bad.iter().filter(failed) {
            self.guard.failures = self.guard.failures.saturating_add(1);
            self.guard.callers.add(call.key);
        }
    }

    fn watch_limits(&mut self, batch: &Batch<'_>, told: Told, good: u64) {
        let Some(guards) = &mut self.guards else {
            return;
        };
        let evidence = GuardEvidence {
            bad: told.counted.candidate,
            good,
            calls: batch.candidate.calls,
            late: batch.candidate.late,
        };
        guards.settle(&self.terms, &evidence);
    }

    /// The bad calls of a batch that is not judged.
    fn tell_apart(&mut self, batch: &Batch<'_>) -> Told {
        let mut told = Told::default();
        for call in batch.bad {
            told.all.count(call.role);
            let key = call.key;
            let heard = key.map_or(Heard::First, |key| self.keys.hear(key, self.age));
            if heard == Heard::First {
                told.counted.count(call.role);
            }
        }
        told
    }

    fn hear(&mut self, batch: &Batch<'_>) -> Told {
        let mut told = Told::default();
        for call in batch.bad {
            told.all.count(call.role);
            let heard = call
                .key
                .map_or(Heard::First, |key| self.keys.hear(key, self.age));
            match heard {
                Heard::First => told.counted.count(call.role),
                Heard::Again => self.repeated += 1,
                Heard::NoRoom => continue,
            }
            if call.role == Role::Candidate && heard == Heard::First {
                self.culprits.add(call.key);
            }
        }
        let unreachable =
            |call: &&BadCall| call.role == Role::Candidate && call.outcome == Outcome::Unreachable;
        self.unreachable += batch.bad.iter().filter(unreachable).count() as u64;
        self.dropped = self.dropped.saturating_add(batch.dropped);
        told
    }

    fn count(&mut self, batch: &Batch<'_>, told: Told) {
        self.share = if batch.has_calls() {
            batch.share.most
        } else {
            self.share
        };
        let arms = [
            (
                &mut self.stable,
                batch.stable.calls,
                told.all.stable,
                told.counted.stable,
            ),
            (
                &mut self.candidate,
                batch.candidate.calls,
                told.all.candidate,
                told.counted.candidate,
            ),
        ];
        for (arm, calls, bad, counted) in arms {
            arm.calls = arm.calls.saturating_add(calls);
            arm.bad = arm.bad.saturating_add(bad);
            arm.bad_counted = arm.bad_counted.saturating_add(counted);
        }
        for (slot, slow) in self.slow.iter_mut().enumerate() {
            slow.add(slow_at(batch, slot));
        }
    }

    /// The candidate's calls of a batch that went well.
    fn good(&mut self, batch: &Batch<'_>, told: Told) -> u64 {
        // Dropped calls may be anyone's: none of them counts as good.
        let not_good = told
            .all
            .candidate
            .saturating_add(batch.dropped)
            .saturating_add(self.owed);
        let good = batch.candidate.calls.saturating_sub(not_good);
        self.owed = not_good.saturating_sub(batch.candidate.calls);
        good
    }

    fn evidence(&mut self, batch: &Batch<'_>, told: Told) -> Evidence {
        Evidence {
            moment: (self.age.as_millis() / MOMENT_MS) as u32,
            share: batch.share.most,
            bad: told.counted,
            good: self.good(batch, told),
            slow: std::array::from_fn(|slot| slow_at(batch, slot)),
        }
    }
}

/// The bad calls of a batch by arm.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    all: Labels,
    /// One a caller and minute.
    counted: Labels,
}

impl Batch<'_> {
    fn has_calls(&self) -> bool {
        self.stable.calls > 0 || self.candidate.calls > 0
    }
}

fn slow_at(batch: &Batch<'_>, slot: usize) -> Labels {
    let of = |counts: &ArmCounts| counts.slow.get(slot).copied().unwrap_or(0);
    Labels {
        stable: of(&batch.stable),
        candidate: of(&batch.candidate),
    }
}
