//! What a judge was told lately, so that its verdict can be found again from the history.
//!
//! A tape is the judge as it was some batches ago, and every batch since. It is cut and kept with
//! the event that a verdict led to.

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Outcome, Role};
use crate::stats::{ArmCounts, BadCall, LIMITS};

use super::metrics::Observation;
use super::share::Share;
use super::trial::{Batch, Judge};
use super::verdict::{Record, StageTime};

/// Batches after which the older half of a tape is let go.
const HALF: usize = 64;
/// Bad calls and pushed values after which it is, too.
const HALF_EACH: usize = 512;

/// The latest batches of a judge, at a size that does not grow.
#[derive(Clone, Debug)]
pub struct Tape {
    /// The judge before `early`.
    judge: Box<Judge>,
    early: Vec<Told>,
    /// The judge before `late`.
    next: Box<Judge>,
    late: Vec<Told>,
    /// Bad calls and pushed values in `late`.
    each: usize,
}

impl Tape {
    /// A tape that begins here.
    pub fn new(judge: &Judge) -> Self {
        Self {
            judge: Box::new(judge.clone()),
            early: Vec::new(),
            next: Box::new(judge.clone()),
            late: Vec::new(),
            each: 0,
        }
    }

    /// Tells a judge of a batch of the warm-up, and notes it.
    pub fn warm_up(&mut self, judge: &mut Judge, batch: &Batch<'_>) {
        self.note(judge, batch.bad.len(), || Told::WarmUp(Counted::of(batch)));
        judge.warm_up(batch);
    }

    /// Tells a judge of a batch of evidence, and notes it.
    pub fn weigh(&mut self, judge: &mut Judge, batch: &Batch<'_>) {
        self.note(judge, batch.bad.len(), || Told::Weigh(Counted::of(batch)));
        judge.weigh(batch);
    }

    /// Tells a judge what applications pushed, and notes it.
    pub fn observe(&mut self, judge: &mut Judge, observations: &[Observation]) {
        let told = || Told::Observe(observations.iter().map(Noted::of).collect());
        self.note(judge, observations.len(), told);
        judge.observe(observations);
    }

    /// What is on it, for a verdict that was asked for at this time of the stage.
    pub fn cut(self, time: StageTime) -> Recording {
        let mut told = self.early;
        told.extend(self.late);
        Recording {
            seen: self.judge.seen(),
            judge: self.judge,
            told,
            over: time == StageTime::Over,
        }
    }

    fn note(&mut self, judge: &Judge, each: usize, told: impl FnOnce() -> Told) {
        if self.late.len() >= HALF || self.each >= HALF_EACH {
            let next = Box::new(judge.clone());
            self.judge = std::mem::replace(&mut self.next, next);
            self.early = std::mem::take(&mut self.late);
            self.each = 0;
        }
        self.late.push(told());
        self.each = self.each.saturating_add(each);
    }
}

/// A tape that is kept: what decided, to be weighed again at any time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recording {
    /// The judge before all of it.
    judge: Box<Judge>,
    /// The time that the judge had seen, of the process that it lived in.
    #[serde(default)]
    seen: Option<Duration>,
    /// What it was told since, oldest first.
    told: Vec<Told>,
    /// Whether the time of the stage was over when the verdict was asked for.
    over: bool,
}

impl Recording {
    /// How many batches there are.
    pub fn batches(&self) -> usize {
        self.told.len()
    }

    /// Weighs everything again and gives the verdict on it.
    pub fn replay(&self) -> Record {
        let mut judge = (*self.judge).clone();
        judge.resume(self.seen);
        for told in &self.told {
            match told {
                Told::WarmUp(counted) => counted.hand_over(|batch| judge.warm_up(batch)),
                Told::Weigh(counted) => counted.hand_over(|batch| judge.weigh(batch)),
                Told::Observe(noted) => {
                    let observations: Vec<_> = noted.iter().map(Noted::observation).collect();
                    judge.observe(&observations);
                }
            }
        }
        judge.rule(if self.over {
            StageTime::Over
        } else {
            StageTime::Running
        })
    }
}

impl PartialEq for Recording {
    /// Whether they are the same as kept.
    fn eq(&self, other: &Self) -> bool {
        serde_json::to_value(self).ok() == serde_json::to_value(other).ok()
    }
}

/// One thing that a judge was told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Told {
    WarmUp(Counted),
    Weigh(Counted),
    Observe(Vec<Noted>),
}

/// A pushed value as it is kept: the metric's place, whose call, a hash of its key, the value.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Noted(usize, Role, Option<u64>, f64);

impl Noted {
    fn of(observation: &Observation) -> Self {
        let Observation {
            metric,
            role,
            key,
            value,
        } = *observation;
        Self(metric, role, key, value)
    }

    fn observation(&self) -> Observation {
        let Self(metric, role, key, value) = *self;
        Observation {
            metric,
            role,
            key,
            value,
        }
    }
}

/// A batch as it is kept: short names, and nothing of an arm without counts.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Counted {
    /// [`Batch::now`].
    t: Duration,
    /// The candidate's share, at most and at least.
    share: (f64, f64),
    #[serde(default, skip_serializing_if = "Arm::is_empty")]
    stable: Arm,
    #[serde(default, skip_serializing_if = "Arm::is_empty")]
    candidate: Arm,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    bad: Vec<(Role, Option<u64>, Outcome)>,
    #[serde(default)]
    dropped: u64,
}

/// Counts of one arm: calls, reached, late, slow at each limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Arm(u64, u64, u64, [u64; LIMITS]);

impl Arm {
    fn of(counts: &ArmCounts) -> Self {
        Self(counts.calls, counts.reached, counts.late, counts.slow)
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn counts(self) -> ArmCounts {
        let Self(calls, reached, late, slow) = self;
        ArmCounts {
            calls,
            reached,
            slow,
            late,
        }
    }
}

impl Counted {
    fn of(batch: &Batch<'_>) -> Self {
        let bad = batch.bad.iter();
        Self {
            t: batch.now,
            share: (batch.share.most, batch.share.least),
            stable: Arm::of(&batch.stable),
            candidate: Arm::of(&batch.candidate),
            bad: bad.map(|it| (it.role, it.key, it.outcome)).collect(),
            dropped: batch.dropped,
        }
    }

    fn hand_over(&self, take: impl FnOnce(&Batch<'_>)) {
        let bad = self.bad.iter();
        let bad: Vec<BadCall> = bad
            .map(|&(role, key, outcome)| BadCall { role, key, outcome })
            .collect();
        let (most, least) = self.share;
        take(&Batch {
            now: self.t,
            share: Share { most, least },
            stable: self.stable.counts(),
            candidate: self.candidate.counts(),
            bad: &bad,
            dropped: self.dropped,
        });
    }
}
