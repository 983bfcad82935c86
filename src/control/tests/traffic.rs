//! Seeded traffic of pinned sessions, given to the judge through trials and evidence.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::f64::consts::TAU;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::control::evidence::{Assignment, Evidence};
use crate::judge::{Judge, Record, StageTime, Terms, Verdict};
use crate::model::{Outcome, OutcomeSet, RevertReason, Role};
use crate::rollout::TrialUse;
use crate::stats::{BadCall, Histogram, Latencies, Marks, Trial};

/// What comes to a route, and what the candidate is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traffic {
    pub(super) assignment: Assignment,
    /// Calls a second.
    pub(super) rate: f64,
    /// Calls a second of one session.
    pub(super) pace: f64,
    /// How long a session lasts on average, in seconds.
    pub(super) lifetime: f64,
    pub(super) stages: [f64; 3],
    pub(super) stage_seconds: u64,
    /// Error rate of both arms.
    pub(super) errors: f64,
    /// Both arms become up to this part slower and faster again, and fail as much more.
    pub(super) drift: f64,
    /// Seconds that half of the calls take.
    pub(super) median: f64,
    /// Whether callers are told apart.
    pub(super) keys: bool,
    pub(super) candidate: Candidate,
}

/// What the candidate is like, beside what stable is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Candidate {
    LikeStable,
    /// Fails as often.
    Fails(f64),
    /// Takes as many times as long.
    Slow(f64),
}

/// How a rollout was reverted.
#[derive(Debug)]
pub(super) struct Reverted {
    pub(super) reason: RevertReason,
    pub(super) at: f64,
    pub(super) record: Record,
}

/// Runs a rollout to its end.
pub(super) fn run(traffic: Traffic, seed: u64) -> Option<Reverted> {
    Route::new(traffic, seed).run()
}

struct Route {
    traffic: Traffic,
    dice: Dice,
    now: f64,
    weight: f64,
    sessions: Vec<(Role, u64)>,
    opened: u64,
    /// By their end, in µs.
    open: BinaryHeap<Reverse<(u64, Open)>>,
    trial: Arc<Trial>,
    evidence: Evidence,
    judge: Judge,
    latencies: Histogram,
    reverted: Option<Reverted>,
}

struct Open {
    role: Role,
    key: Option<u64>,
    latency: Duration,
    outcome: Outcome,
    trial: Arc<Trial>,
    marks: Marks,
}

impl Route {
    fn new(traffic: Traffic, seed: u64) -> Self {
        let planned = Duration::from_secs(3 * traffic.stage_seconds);
        let mut route = Self {
            traffic,
            dice: Dice(seed),
            now: 0.0,
            weight: 0.0,
            sessions: Vec::new(),
            opened: 0,
            open: BinaryHeap::new(),
            trial: trial(),
            evidence: Evidence::new(traffic.assignment),
            judge: Judge::new(Terms::default(), planned),
            latencies: Histogram::default(),
            reverted: None,
        };
        (0..route.usual_sessions() as usize).for_each(|_| route.open_session());
        for _ in 0..2_000 {
            let latency = route.latency(Role::Stable);
            route.latencies.record(latency);
        }
        route.refresh();
        route
    }

    fn run(mut self) -> Option<Reverted> {
        let seconds = 3 * self.traffic.stage_seconds;
        for second in 0..seconds {
            if second.is_multiple_of(self.traffic.stage_seconds) {
                self.begin_stage((second / self.traffic.stage_seconds) as usize);
            }
            self.until((second + 1) as f64);
            self.second(second + 1);
            if self.reverted.is_some() {
                break;
            }
        }
        self.reverted
    }

    fn begin_stage(&mut self, stage: usize) {
        self.weight = self.traffic.stages[stage];
        self.trial = trial();
        let trial = Arc::clone(&self.trial);
        let since = (self.weight, self.moment());
        self.evidence.begin(trial, TrialUse::Stage, since);
        self.judge.begin_stage();
    }

    /// Sessions come, call and go, one after the other.
    fn until(&mut self, end: f64) {
        loop {
            let coming = self.usual_sessions() / self.traffic.lifetime;
            let going = self.sessions.len() as f64 / self.traffic.lifetime;
            let calling = self.sessions.len() as f64 * self.traffic.pace;
            let all = coming + going + calling;
            let next = self.now - (1.0 - self.dice.roll()).ln() / all;
            self.end_calls(next.min(end));
            if next >= end || self.reverted.is_some() {
                self.now = end;
                return;
            }
            self.now = next;
            let what = self.dice.roll() * all;
            if what < coming {
                self.open_session();
            } else if what < coming + going {
                let leaves = self.any_session();
                self.sessions.swap_remove(leaves);
            } else {
                self.call();
            }
        }
    }

    fn usual_sessions(&self) -> f64 {
        self.traffic.rate / self.traffic.pace
    }

    fn any_session(&mut self) -> usize {
        (self.dice.roll() * self.sessions.len() as f64) as usize
    }

    fn draw(&mut self) -> Role {
        Role::BOTH[usize::from(self.dice.roll() < self.weight)]
    }

    fn open_session(&mut self) {
        self.opened += 1;
        let role = self.draw();
        self.sessions.push((role, self.opened));
    }

    fn call(&mut self) {
        let session = self.any_session();
        let (pinned, key) = self.sessions[session];
        let role = match self.traffic.assignment {
            Assignment::Pinned => pinned,
            Assignment::Drawn => self.draw(),
        };
        let latency = self.latency(role);
        let call = Open {
            role,
            key: self.traffic.keys.then_some(key),
            latency,
            outcome: self.outcome(role),
            trial: Arc::clone(&self.trial),
            marks: self.trial.begin(0, role),
        };
        let end = self.moment() + latency;
        self.open.push(Reverse((end.as_micros() as u64, call)));
    }

    fn swing(&self) -> f64 {
        1.0 + self.traffic.drift * (TAU * self.now / 17.0).sin()
    }

    fn latency(&mut self, role: Role) -> Duration {
        let normal = (-2.0 * (1.0 - self.dice.roll()).ln()).sqrt() * (TAU * self.dice.roll()).cos();
        let times = match (role, self.traffic.candidate) {
            (Role::Candidate, Candidate::Slow(times)) => times,
            (Role::Candidate, Candidate::LikeStable | Candidate::Fails(_)) | (Role::Stable, _) => {
                1.0
            }
        };
        let seconds = self.traffic.median * (0.6 * normal).exp() * self.swing() * times;
        Duration::from_secs_f64(seconds)
    }

    fn outcome(&mut self, role: Role) -> Outcome {
        let usual = self.traffic.errors * self.swing();
        let rate = match (role, self.traffic.candidate) {
            (Role::Candidate, Candidate::Fails(rate)) => rate,
            (Role::Candidate, Candidate::LikeStable | Candidate::Slow(_)) | (Role::Stable, _) => {
                usual
            }
        };
        if self.dice.roll() < rate {
            Outcome::ToolError
        } else {
            Outcome::Success
        }
    }

    fn end_calls(&mut self, until: f64) {
        let until = (until * 1e6) as u64;
        while self.open.peek().is_some_and(|first| first.0.0 <= until) {
            let Some(Reverse((us, mut call))) = self.open.pop() else {
                return;
            };
            let Open { role, latency, .. } = call;
            if role == Role::Stable {
                self.latencies.record(latency);
            }
            call.trial.mark(0, role, latency, &mut call.marks);
            let ended = BadCall {
                role,
                key: call.key,
                outcome: call.outcome,
            };
            call.trial.end(0, ended);
            if role == Role::Candidate && call.outcome != Outcome::Success {
                self.evidence
                    .fold(&mut self.judge, Duration::from_micros(us));
                self.listen(us as f64 / 1e6);
            }
        }
    }

    fn second(&mut self, second: u64) {
        let now = self.moment();
        let open = std::mem::take(&mut self.open).into_iter();
        let looked_at = open.map(|Reverse((end, mut call))| {
            let left = Duration::from_micros(end).saturating_sub(now);
            let age = call.latency.saturating_sub(left);
            call.trial.mark(0, call.role, age, &mut call.marks);
            Reverse((end, call))
        });
        self.open = looked_at.collect();
        if second.is_multiple_of(10) {
            self.refresh();
        }
        self.evidence.second(&mut self.judge, now);
        self.listen(self.now);
    }

    fn refresh(&mut self) {
        let mut reading = Latencies::default();
        self.latencies.add_to(&mut reading);
        let now = self.moment();
        self.evidence.refresh(&reading, &mut self.judge, now);
    }

    fn listen(&mut self, at: f64) {
        let record = self.judge.rule(StageTime::Running);
        if let Verdict::Revert { reason } = record.verdict
            && self.reverted.is_none()
        {
            self.reverted = Some(Reverted { reason, at, record });
        }
    }

    fn moment(&self) -> Duration {
        Duration::from_secs_f64(self.now)
    }
}

fn trial() -> Arc<Trial> {
    Arc::new(Trial::new(1, OutcomeSet::BAD, Arc::new(Notify::new())))
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Open {}

impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Open {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.key, self.latency).cmp(&(other.key, other.latency))
    }
}

/// Numbers from 0 to 1, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}
