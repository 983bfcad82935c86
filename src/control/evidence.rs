//! Evidence on its way from the workers to the judge.
//!
//! Each share of the traffic has a trial of its own. Older trials of a rollout are read on as
//! long as somebody can still write to them, so that a slow call counts at the share it was
//! assigned at.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::judge::{Baseline, Batch, Judge, Limits, observed_share};
use crate::model::Role;
use crate::rollout::TrialUse;
use crate::stats::{ArmCounts, BadCall, Latencies, Trial};

/// Trials of one rollout that are read at once; older ones are let go.
const TRIALS_MAX: usize = 8;
/// Bad calls taken in at once; the rest waits for the next look, which follows at once.
const BAD_MAX: usize = 4096;
/// How many seconds of requests tell the share of pinned traffic.
const SHARE_SECONDS: usize = 10;
/// How many of them tell it while it moves, where they hold enough calls.
const SHARE_SECONDS_SHORT: usize = 2;
/// How many calls are enough for that.
const SHARE_CALLS_SHORT: u64 = 200;
/// Requests that the assigned share counts for beside the observed ones.
const SHARE_PRIOR: f64 = 20.0;

/// How requests are assigned to the arms of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assignment {
    /// By a draw for each request: the weight is the share.
    Drawn,
    /// By session or key: the share is what is observed.
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
}

/// One trial, and how far it has been read.
#[derive(Debug)]
struct Reading {
    trial: Arc<Trial>,
    of: TrialUse,
    weight: f64,
    seen: [ArmCounts; 2],
    dropped: u64,
    /// Finished calls of stable and candidate at each of the last seconds, oldest first.
    seconds: VecDeque<[u64; 2]>,
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
        }
    }

    /// From now on requests are assigned so.
    pub(super) fn assign(&mut self, assignment: Assignment) {
        self.assignment = assignment;
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
    pub(super) fn begin(&mut self, trial: Arc<Trial>, of: TrialUse, weight: f64) {
        if let Some(limits) = &self.limits {
            set_limits(&trial, limits);
        }
        self.trials.push_back(Reading {
            trial,
            of,
            weight,
            seen: [ArmCounts::default(); 2],
            dropped: 0,
            seconds: VecDeque::new(),
        });
        while self.trials.len() > TRIALS_MAX {
            self.trials.pop_front();
        }
    }

    /// Gives the judge what is new.
    pub(super) fn fold(&mut self, judge: &mut Judge, now: Duration) {
        for reading in &mut self.trials {
            reading.fold(self.assignment, judge, now, &mut self.scratch);
        }
    }

    /// Once a second: notes how requests are shared, tells the judge the time, and lets go of
    /// trials that nobody can write to any more.
    pub(super) fn second(&mut self, judge: &mut Judge, now: Duration) {
        self.fold(judge, now);
        match self.current_use() {
            Some(TrialUse::Warmup) => judge.warm_up(&Batch::tick(now)),
            Some(TrialUse::Stage) | None => judge.weigh(&Batch::tick(now)),
        }
        for reading in &mut self.trials {
            reading.note_second();
        }
        let newest = self.trials.len().saturating_sub(1);
        let mut place = 0;
        self.trials.retain(|reading| {
            place += 1;
            // Snapshots and calls hold the trial; without any, it has been read to its end above.
            place > newest || Arc::strong_count(&reading.trial) > 1
        });
    }

    /// Whether [`Evidence::refresh`] is due: every ten seconds, every second without limits.
    pub(super) fn wants_baseline(&self, now: Duration) -> bool {
        self.limits.is_none() || now.saturating_sub(self.refreshed) >= Baseline::REFRESH
    }

    /// Takes in stable's latencies so far and sets what counts as slow.
    pub(super) fn refresh(&mut self, latency: &Latencies, judge: &Judge, now: Duration) {
        self.refreshed = now;
        self.baseline.refresh(latency);
        let Some(limits) = self.baseline.limits(judge.terms()) else {
            return;
        };
        for reading in &self.trials {
            set_limits(&reading.trial, &limits);
        }
        self.limits = Some(limits);
    }
}

impl Reading {
    fn fold(
        &mut self,
        assignment: Assignment,
        judge: &mut Judge,
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
        let batch = Batch {
            now,
            share: self.share(assignment),
            stable: stable.since(&stable_seen),
            candidate: candidate.since(&candidate_seen),
            bad: scratch,
            dropped: dropped.saturating_sub(self.dropped),
        };
        match self.of {
            TrialUse::Warmup => judge.warm_up(&batch),
            TrialUse::Stage => judge.weigh(&batch),
        }
        self.seen = counts;
        self.dropped = dropped;
    }

    /// The candidate's share of the latest requests, this moment apart: what the judge is told
    /// must not depend on what it is about to hear.
    ///
    /// After a stage begins, pinned traffic moves only as sessions end and begin, and a mean over
    /// ten seconds lags behind: a candidate that has more than it is believed to have looks worse
    /// than it is. So the last two seconds count too, where they hold enough, and the larger share is
    /// the careful one.
    fn share(&self, assignment: Assignment) -> f64 {
        match assignment {
            Assignment::Drawn => self.weight,
            Assignment::Pinned => {
                let long = self.recent(SHARE_SECONDS);
                let short = self.recent(SHARE_SECONDS_SHORT);
                if short.iter().sum::<u64>() < SHARE_CALLS_SHORT {
                    return self.believed(long);
                }
                self.believed(long).max(self.believed(short))
            }
        }
    }

    /// Calls of stable and candidate in the latest `seconds`.
    fn recent(&self, seconds: usize) -> [u64; 2] {
        let [stable_now, candidate_now] = self.seconds.back().copied().unwrap_or_default();
        let before = self.seconds.len().saturating_sub(seconds + 1);
        let [stable, candidate] = self.seconds.get(before).copied().unwrap_or_default();
        [
            stable_now.saturating_sub(stable),
            candidate_now.saturating_sub(candidate),
        ]
    }

    fn believed(&self, [stable, candidate]: [u64; 2]) -> f64 {
        let prior = (SHARE_PRIOR * self.weight).round() as u64;
        let rest = (SHARE_PRIOR * (1.0 - self.weight)).round() as u64;
        observed_share(candidate + prior, stable + rest)
    }

    fn note_second(&mut self) {
        if self.seconds.is_empty() {
            self.seconds.push_back([0, 0]);
        }
        let [stable, candidate] = self.seen;
        self.seconds.push_back([stable.calls, candidate.calls]);
        while self.seconds.len() > SHARE_SECONDS + 1 {
            self.seconds.pop_front();
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
