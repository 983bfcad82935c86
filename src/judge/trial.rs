//! The judge of one rollout.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Outcome, RevertReason, Role};
use crate::stats::{ArmCounts, BadCall};

use super::bets::{Bets, Evidence, Labels};
use super::guards::{ConnectGuard, Guard, GuardEvidence, GuardRecord, Guards};
use super::keys::{Culprits, Heard, RecentKeys};
use super::pass::{Pass, StageEvidence};
use super::share::Share;
use super::terms::Terms;
use super::thresholds::{Limits, QUANTILES};
use super::verdict::{
    ArmRecord, ErrorsRecord, HoldReason, LatencyRecord, QuantileRecord, Record, StageTime, Verdict,
};

/// What each check's e-value counts for. They add up to one, which keeps `alpha` whole.
///
/// Nothing is set aside for watching a candidate with all of the traffic: without a stable arm
/// beside it no test keeps its promise, so that share would be spent on nothing.
pub(super) const ERRORS_WEIGHT: f64 = 0.5;
pub(super) const LATENCY_WEIGHT: f64 = 0.5;
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
    /// The guard that decided.
    #[serde(default)]
    broken: Option<Guard>,
    /// Set when the evidence sufficed, whatever came after.
    reverted: Option<RevertReason>,
    /// Time seen by this judge, restarts of the process apart.
    age: Duration,
    /// Time judged, warm-up apart, of which whole seconds moved reserve to the bets.
    judged: Duration,
    /// The `now` of the last batch; means nothing to another process.
    #[serde(skip)]
    seen: Option<Duration>,
}

impl Judge {
    /// A judge for a rollout whose stages take at least `planned` together.
    pub fn new(terms: Terms, planned: Duration) -> Self {
        Self {
            terms,
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
            seen: None,
        }
    }

    /// What was agreed.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// A new stage begins: what an earlier one has shown does not pass this one. The evidence
    /// that the candidate is worse stays.
    pub fn begin_stage(&mut self) {
        self.pass = Pass::new();
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

    /// Takes in a batch of evidence. Call it with [`Batch::tick`] when nothing happens.
    pub fn weigh(&mut self, batch: &Batch<'_>) {
        let before = self.judged;
        self.judged = self.judged.saturating_add(self.pass_time(batch.now));
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

    /// The verdict alone.
    pub fn verdict(&self, time: StageTime) -> Verdict {
        if let Some(reason) = self.reverted {
            return Verdict::Revert { reason };
        }
        let because = if self.pass.calls().candidate < self.terms.min_requests {
            HoldReason::NoData
        } else if self.errors() >= self.terms.revert_threshold() / ERRORS_WEIGHT {
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
        if LATENCY_WEIGHT * self.latency() >= ERRORS_WEIGHT * self.trusted_errors() {
            return Some(RevertReason::LatencyDegraded);
        }
        if self.unreachable * 2 > self.candidate.bad {
            return Some(RevertReason::HealthCheckFailed);
        }
        Some(RevertReason::ErrorRateHigh)
    }

    fn e_value(&self) -> f64 {
        ERRORS_WEIGHT * self.trusted_errors() + LATENCY_WEIGHT * self.latency()
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
            self.bets.restart(seconds as f64 / planned as f64);
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

    fn guard_records(&self) -> Vec<GuardRecord> {
        let guards = self.guards.as_ref();
        let limits = guards.map(|guards| guards.records(&self.terms, self.planned));
        let mut records = limits.unwrap_or_default();
        records.extend(self.guard.record(&self.terms));
        records
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
            moment: (batch.now.as_millis() / MOMENT_MS) as u32,
            share: batch.share.most,
            bad: told.counted,
            good: self.good(batch, told),
            slow: std::array::from_fn(|slot| slow_at(batch, slot)),
        }
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
