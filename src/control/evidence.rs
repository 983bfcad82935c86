//! Evidence on its way from the workers to the judge.
//!
//! Each share of the traffic has a trial of its own. Older trials of a rollout are read on as
//! long as somebody can still write to them, so that a slow call counts at the share it was
//! assigned at.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::judge::{
    ArmTook, Baseline, Batch, DecidingOutcome, Judge, Limits, Observation, Record, Recording,
    Share, StageTime, Tape, TookRecord, Verdict,
};
use crate::model::{RevertReason, Role};
use crate::rollout::TrialUse;
use crate::stats::{ArmCounts, Assigned, BadCall, CallId, LIMITS, Latencies, Trial};

use super::deciding::Incidents;
use super::windows::{Slow, Windows};

/// Trials of one rollout that are read at once; older ones are let go.
const TRIALS_MAX: usize = 8;
/// Bad calls taken in at once; the rest waits for the next look, which follows at once.
const BAD_MAX: usize = 4096;
/// How requests are assigned to the arms of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assignment {
    /// By a draw for each request: the weight is the share.
    Drawn,
    /// By session or key: the share is what is counted.
    Pinned,
}

/// The evidence of one running rollout.
#[derive(Debug)]
pub(super) struct Evidence {
    assignment: Assignment,
    baseline: Baseline,
    limits: Option<Limits>,
    refreshed: Duration,
    trials: VecDeque<Reading>,
    scratch: Vec<BadCall>,
    /// When the oldest of what was folded last was recorded.
    oldest: Option<Instant>,
    incidents: Incidents,
    /// Where requests went, where the plan has metrics that are pushed.
    assigned: Option<Arc<Assigned>>,
    /// What calls of both arms had taken when they began to be judged, ...
    took_before: Option<[Latencies; 2]>,
    /// ... and what they took since.
    took: Option<TookRecord>,
    /// What the judge was told in this stage, lately.
    tape: Option<Tape>,
    /// At which time of the stage it was asked last.
    asked: StageTime,
}

/// One trial, and how far it has been read.
#[derive(Debug)]
struct Reading {
    trial: Arc<Trial>,
    of: TrialUse,
    weight: f64,
    seen: [ArmCounts; 2],
    dropped: u64,
    windows: Windows,
}

/// Whether new calls are still assigned in a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Newest,
    Older,
}

impl Evidence {
    /// No evidence yet.
    pub(super) fn new(assignment: Assignment) -> Self {
        Self {
            assignment,
            baseline: Baseline::default(),
            limits: None,
            refreshed: Duration::ZERO,
            trials: VecDeque::new(),
            scratch: Vec::new(),
            oldest: None,
            incidents: Incidents::default(),
            assigned: None,
            took_before: None,
            took: None,
            tape: None,
            asked: StageTime::Running,
        }
    }

    /// From now on it is noted where requests go, for as long as the rollout runs.
    pub(super) fn note_requests(&mut self, workers: usize) -> Arc<Assigned> {
        let assigned = self
            .assigned
            .get_or_insert_with(|| Arc::new(Assigned::new(workers)));
        Arc::clone(assigned)
    }

    /// Where a request went, as far as that is known.
    pub(super) fn role_of(&self, request: &CallId) -> Option<Role> {
        self.assigned.as_ref()?.role_of(request)
    }

    /// From now on requests are assigned so.
    pub(super) fn assign(&mut self, assignment: Assignment, now: Duration) {
        if self.assignment == assignment {
            return;
        }
        self.assignment = assignment;
        for reading in &mut self.trials {
            // What has been weighed is not weighed again.
            reading.windows.close(&reading.trial, now);
            reading.windows.forget();
        }
    }

    /// The trial that requests are assigned in now.
    pub(super) fn current(&self) -> Option<&Arc<Trial>> {
        self.trials.back().map(|reading| &reading.trial)
    }

    /// What the current trial is for.
    pub(super) fn current_use(&self) -> Option<TrialUse> {
        self.trials.back().map(|reading| reading.of)
    }

    /// From now on requests are assigned in this trial, the candidate's share being `weight`.
    pub(super) fn begin(
        &mut self,
        trial: Arc<Trial>,
        of: TrialUse,
        (weight, now): (f64, Duration),
    ) {
        if let Some(limits) = &self.limits {
            set_limits(&trial, limits);
        }
        // The judge begins its stage with a change that no tape has heard of.
        self.tape = None;
        let before = self.trials.back().map_or(0.0, |last| last.windows.last());
        self.trials.push_back(Reading {
            windows: Windows::new(&trial, weight, before, now),
            trial,
            of,
            weight,
            seen: [ArmCounts::default(); 2],
            dropped: 0,
        });
        while self.trials.len() > TRIALS_MAX {
            self.trials.pop_front();
        }
    }

    /// Gives the judge what is new.
    pub(super) fn fold(&mut self, judge: &mut Judge, now: Duration) {
        let unseen = self.trials.iter().filter_map(|it| it.trial.take_unseen());
        self.oldest = unseen.min();
        let tape = self.tape.get_or_insert_with(|| Tape::new(judge));
        let mut taped = Taped { judge, tape };
        for reading in &mut self.trials {
            reading.fold(self.assignment, &mut taped, now, &mut self.scratch);
            // Workers note a bad call before they tell it, so that what was weighed is here by now.
            self.incidents.take(&reading.trial);
            match (self.assignment, &self.limits) {
                (Assignment::Pinned, Some(limits)) => reading.fold_windows(limits, &mut taped, now),
                // Weighed as soon as they were seen, or not known to be slow.
                (Assignment::Drawn, _) | (Assignment::Pinned, None) => reading.windows.forget(),
            }
        }
    }

    /// When the oldest of what was folded last was recorded by a worker, if that is known.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.oldest
    }

    /// The calls behind a revert of this reason.
    pub(super) fn behind(&self, reason: RevertReason) -> Vec<DecidingOutcome> {
        self.incidents.behind(reason)
    }

    /// Gives the judge what applications pushed.
    pub(super) fn observe(&mut self, judge: &mut Judge, observations: &[Observation]) {
        let tape = self.tape.get_or_insert_with(|| Tape::new(judge));
        tape.observe(judge, observations);
    }

    /// Asks the judge, at this time of the stage.
    pub(super) fn ask(&mut self, judge: &Judge, time: StageTime) -> Record {
        self.asked = time;
        let mut record = judge.rule(time);
        record.took = self.took();
        if let Verdict::Revert { reason } = record.verdict {
            record.deciding = self.behind(reason);
        }
        record
    }

    /// What the judge was told before it was asked last, as far back as that is kept.
    pub(super) fn recording(&self) -> Option<Recording> {
        self.tape.clone().map(|tape| tape.cut(self.asked))
    }

    /// The same where no evidence comes after it: nothing is copied, since a revert waits for nothing.
    pub(super) fn take_recording(&mut self) -> Option<Recording> {
        self.tape.take().map(|tape| tape.cut(self.asked))
    }

    /// Once a second: tells the judge the time and what waits for its window to be over, and lets
    /// go of trials that nobody can write to any more.
    pub(super) fn second(&mut self, judge: &mut Judge, now: Duration) {
        self.fold(judge, now);
        let of = self.current_use().unwrap_or(TrialUse::Stage);
        let tape = self.tape.get_or_insert_with(|| Tape::new(judge));
        Taped { judge, tape }.weigh(of, &Batch::tick(now));
        let newest = self.trials.len().saturating_sub(1);
        for (place, reading) in self.trials.iter_mut().enumerate() {
            let age = if place == newest {
                Age::Newest
            } else {
                Age::Older
            };
            reading.turn(age, now);
        }
        let mut place = 0;
        self.trials.retain(|reading| {
            place += 1;
            // Snapshots and calls hold the trial; without any, it has been read to its end above,
            // windows that wait to be known apart.
            place > newest || reading.windows.wait() || Arc::strong_count(&reading.trial) > 1
        });
    }

    /// Whether [`Evidence::refresh`] is due: every ten seconds, every second without limits.
    pub(super) fn wants_baseline(&self, now: Duration) -> bool {
        self.limits.is_none() || now.saturating_sub(self.refreshed) >= Baseline::REFRESH
    }

    /// Takes in what the calls of both arms have taken so far.
    pub(super) fn see_latencies(&mut self, arms: &[Latencies; 2]) {
        if self.current_use() != Some(TrialUse::Stage) {
            return;
        }
        let before = self.took_before.get_or_insert_with(|| arms.clone());
        let [stable, candidate] = arms;
        let [stable_before, candidate_before] = before;
        self.took = Some(TookRecord {
            stable: ArmTook::of(&stable.since(stable_before)),
            candidate: ArmTook::of(&candidate.since(candidate_before)),
        });
    }

    /// What calls took, as far as that is known.
    pub(super) fn took(&self) -> Option<TookRecord> {
        self.took
    }

    /// Takes in stable's latencies so far and sets what counts as slow.
    pub(super) fn refresh(&mut self, latency: &Latencies, judge: &mut Judge, now: Duration) {
        self.refreshed = now;
        self.baseline.refresh(latency);
        let Some(limits) = self.baseline.limits(judge.terms()) else {
            return;
        };
        for reading in &self.trials {
            set_limits(&reading.trial, &limits);
        }
        judge.note_limits(limits);
        self.limits = Some(limits);
    }
}

impl Reading {
    fn fold(
        &mut self,
        assignment: Assignment,
        judge: &mut Taped<'_>,
        now: Duration,
        scratch: &mut Vec<BadCall>,
    ) {
        // Counts first: a bad call that is told but not counted yet is the judge's to remember.
        let counts = Role::BOTH.map(|role| self.trial.counts(role));
        scratch.clear();
        scratch.extend(std::iter::from_fn(|| self.trial.next_bad()).take(BAD_MAX));
        let dropped = self.trial.dropped();
        if counts == self.seen && scratch.is_empty() && dropped == self.dropped {
            return;
        }
        let [stable, candidate] = counts;
        let [stable_seen, candidate_seen] = self.seen;
        let mut arms = [stable.since(&stable_seen), candidate.since(&candidate_seen)];
        let share = match assignment {
            Assignment::Drawn => Share::exact(self.weight),
            Assignment::Pinned => {
                // The share of their window is known once it is over: slow calls wait for it.
                for arm in &mut arms {
                    arm.slow = [0; LIMITS];
                }
                self.windows.share(&self.trial, now)
            }
        };
        let [stable, candidate] = arms;
        let batch = Batch {
            now,
            share,
            stable,
            candidate,
            bad: scratch,
            dropped: dropped.saturating_sub(self.dropped),
        };
        judge.weigh(self.of, &batch);
        self.seen = counts;
        self.dropped = dropped;
    }

    /// Weighs the slow calls of the windows about which all is known.
    fn fold_windows(&mut self, limits: &Limits, judge: &mut Taped<'_>, now: Duration) {
        let (of, limits) = (self.of, limits.of(Role::Candidate));
        let known = |share, [stable, candidate]: Slow| {
            let arm = |slow| ArmCounts {
                slow,
                ..ArmCounts::default()
            };
            let batch = Batch {
                share: Share::exact(share),
                stable: arm(stable),
                candidate: arm(candidate),
                ..Batch::tick(now)
            };
            judge.weigh(of, &batch);
        };
        self.windows.read(&self.trial, (&limits, now), known);
    }

    /// Once a second: lets the open window be over if it may.
    fn turn(&mut self, age: Age, now: Duration) {
        match age {
            Age::Newest => self.windows.turn(&self.trial, now),
            Age::Older => self.windows.close(&self.trial, now),
        }
    }
}

/// A judge, and the tape that hears what it is told.
struct Taped<'a> {
    judge: &'a mut Judge,
    tape: &'a mut Tape,
}

impl Taped<'_> {
    fn weigh(&mut self, of: TrialUse, batch: &Batch<'_>) {
        match of {
            TrialUse::Warmup => self.tape.warm_up(self.judge, batch),
            TrialUse::Stage => self.tape.weigh(self.judge, batch),
        }
    }
}

fn set_limits(trial: &Trial, limits: &Limits) {
    for role in Role::BOTH {
        for (slot, limit) in limits.of(role).into_iter().enumerate() {
            trial.set_limit(role, slot, limit);
        }
    }
}
