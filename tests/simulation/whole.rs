//! Whole rollouts: the machine and the judge together, from the start to the end.

use std::time::Duration;

use switchback::judge::{Batch, Judge, Record, StageTime, Terms};
use switchback::model::{Outcome, Percent, RevertReason, Role};
use switchback::rollout::spec::{PlanSpec, StageSpec};
use switchback::rollout::{Action, Event, Finish, Note, Plan, State, TrialUse, step};
use switchback::stats::BadCall;

use super::load;
use super::replay::Gatherer;
use super::times;
use super::trace::{Bench, Rng};

/// Requests a second.
const RATE: u64 = 50;
/// No rollout takes longer.
const LONGEST: Duration = Duration::from_hours(1);
/// Error rate of stable.
const BASE_ERRORS: f64 = 0.001;

/// What the candidate is like.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Candidate {
    LikeStable,
    TenthSlower,
    FailsMore,
    TwiceAsSlow,
    Unreachable,
    FailsLater,
}

/// How a rollout went.
#[derive(Debug, PartialEq)]
struct Story {
    finish: Option<Finish>,
    notes: Vec<Note>,
    record: Record,
    took: Duration,
}

fn plan() -> Plan {
    let stage = |percent, seconds| StageSpec {
        percent: Percent::new(percent).unwrap(),
        duration: Duration::from_secs(seconds),
        approve: false,
    };
    let text = r#"{"stages": [], "warmup": "10s"}"#;
    let mut spec: PlanSpec = serde_json::from_str(text).unwrap();
    spec.stages = vec![stage(20.0, 60), stage(60.0, 60)];
    Plan::new(&spec).unwrap()
}

struct Drive<'a> {
    bench: &'a Bench,
    candidate: Candidate,
    rng: Rng,
    plan: Plan,
    state: State,
    judge: Judge,
    gatherer: Gatherer,
    share: f64,
    judged: bool,
    notes: Vec<Note>,
    finish: Option<Finish>,
    begin: Duration,
}

fn drive(bench: &Bench, candidate: Candidate, seed: u64) -> Story {
    let plan = plan();
    let mut drive = Drive {
        bench,
        candidate,
        rng: Rng::new(seed),
        judge: Judge::new(plan.terms.clone(), plan.planned()),
        plan,
        state: State::new(),
        gatherer: Gatherer::new(Terms::default()),
        share: 0.0,
        judged: false,
        notes: Vec::new(),
        finish: None,
        begin: Duration::from_secs(37),
    };
    drive.before();
    drive.take(Event::Start, drive.begin);
    let mut now = drive.begin;
    let mut number = 0;
    while drive.finish.is_none() && now < LONGEST {
        number += 1;
        now += Duration::from_millis(1000 / RATE);
        drive.request(number, now);
        if number % RATE == 0 {
            drive.tick(number / RATE, now);
        }
    }
    Story {
        finish: drive.finish,
        notes: drive.notes,
        record: drive.judge.rule(StageTime::Over),
        took: now.saturating_sub(drive.begin),
    }
}

impl Drive<'_> {
    /// A minute of stable alone.
    fn before(&mut self) {
        for _ in 0..60 * RATE {
            let latency = self.bench.latency("lognormal", self.rng.unit());
            self.gatherer
                .see_stable(Duration::from_micros(latency as u64));
        }
        self.gatherer.refresh();
    }

    fn request(&mut self, number: u64, now: Duration) {
        let draws: [f64; 3] = std::array::from_fn(|_| self.rng.unit());
        let role = Role::BOTH[usize::from(draws[0] < self.share)];
        let latency = self.bench.latency("lognormal", draws[1]);
        let (outcome, latency) = match role {
            Role::Stable => (fails(draws[2], BASE_ERRORS), latency),
            Role::Candidate => self.of_candidate(draws[2], latency, now),
        };
        if role == Role::Stable {
            self.gatherer
                .see_stable(Duration::from_micros(latency as u64));
        }
        let call = BadCall {
            role,
            key: Some(number),
            outcome,
        };
        if self.gatherer.call(call, latency as u64) && self.finish.is_none() {
            self.decide(now);
        }
    }

    fn of_candidate(&self, draw: f64, latency: f64, now: Duration) -> (Outcome, f64) {
        let late = now.saturating_sub(self.begin) > Duration::from_secs(100);
        match self.candidate {
            Candidate::LikeStable => (fails(draw, BASE_ERRORS), latency),
            Candidate::TenthSlower => (fails(draw, BASE_ERRORS), 1.1 * latency),
            Candidate::FailsLater if !late => (fails(draw, BASE_ERRORS), latency),
            Candidate::FailsMore | Candidate::FailsLater => (fails(draw, 0.05), latency),
            Candidate::TwiceAsSlow => (fails(draw, BASE_ERRORS), 2.0 * latency),
            Candidate::Unreachable => (Outcome::Unreachable, 0.0),
        }
    }

    fn tick(&mut self, second: u64, now: Duration) {
        if second.is_multiple_of(10) {
            self.gatherer.refresh();
        }
        self.take(Event::Tick, now);
        self.decide(now);
    }

    fn decide(&mut self, now: Duration) {
        self.flush(now);
        let time = self.state.stage_time(&self.plan, now);
        let record = self.judge.rule(time);
        self.take(Event::Verdict(record.verdict), now);
    }

    fn flush(&mut self, now: Duration) {
        let (judge, judged) = (&mut self.judge, self.judged);
        let weigh = |batch: &Batch<'_>| {
            if judged {
                judge.weigh(batch);
            } else {
                judge.warm_up(batch);
            }
        };
        self.gatherer.flush(now, self.share, weigh);
    }

    fn take(&mut self, event: Event, now: Duration) {
        let next = step(&self.plan, &self.state, event, now).unwrap();
        self.state = next.state;
        for action in next.actions {
            self.act(action, now);
        }
    }

    fn act(&mut self, action: Action, now: Duration) {
        match action {
            Action::SetPercent(percent) => {
                // What was gathered until now belongs to the share until now.
                self.flush(now);
                self.share = percent.fraction();
            }
            Action::NewTrial(TrialUse::Warmup) => self.judged = false,
            Action::NewTrial(TrialUse::Stage) => {
                self.flush(now);
                self.judged = true;
                self.judge.begin_stage();
            }
            Action::Record(note) => self.notes.push(note),
            Action::Ask(_) => {}
            Action::Finish(finish) => self.finish = Some(finish),
        }
    }
}

fn fails(draw: f64, rate: f64) -> Outcome {
    if draw < rate {
        Outcome::ToolError
    } else {
        Outcome::Success
    }
}

/// Drives this many seeds and counts how they ended: promoted, reverted for `reason`, otherwise.
fn ends(candidate: Candidate, seeds: u64, reason: RevertReason) -> [u64; 3] {
    let bench = load();
    let seeds = times(seeds);
    let (mut counts, mut took) = ([0; 3], Duration::ZERO);
    for seed in 0..seeds {
        let story = drive(&bench, candidate, seed);
        let end = match story.finish {
            Some(Finish::Promoted) => 0,
            Some(Finish::Reverted { reason: because }) if because == reason => 1,
            Some(Finish::Reverted { .. } | Finish::Aborted) | None => 2,
        };
        counts[end] += 1;
        took += story.took;
    }
    println!(
        "{candidate:?}: seeds 0..{seeds}, promoted, reverted, otherwise {counts:?}, {:.1} s on average",
        took.as_secs_f64() / seeds as f64
    );
    counts
}

#[test]
fn healthy_candidates_are_promoted() {
    let [promoted, reverted, otherwise] =
        ends(Candidate::LikeStable, 450, RevertReason::ErrorRateHigh);

    let all = promoted + reverted + otherwise;
    assert!((reverted + otherwise) as f64 <= plan().terms.alpha * all as f64);
}

#[test]
fn tolerable_candidates_are_promoted() {
    let [promoted, ..] = ends(Candidate::TenthSlower, 100, RevertReason::LatencyDegraded);

    assert!(promoted >= times(99));
}

#[test]
fn candidates_that_fail_more_are_reverted_for_their_errors() {
    let reason = RevertReason::ErrorRateHigh;

    assert_eq!(ends(Candidate::FailsMore, 200, reason), [0, times(200), 0]);
    assert_eq!(ends(Candidate::FailsLater, 100, reason), [0, times(100), 0]);
}

#[test]
fn slower_candidates_are_reverted_for_their_latency() {
    let reason = RevertReason::LatencyDegraded;

    assert_eq!(
        ends(Candidate::TwiceAsSlow, 200, reason),
        [0, times(200), 0]
    );
}

#[test]
fn candidates_that_cannot_be_reached_are_reverted_in_the_warm_up() {
    let reason = RevertReason::HealthCheckFailed;
    assert_eq!(ends(Candidate::Unreachable, 50, reason), [0, times(50), 0]);

    let story = drive(&load(), Candidate::Unreachable, 1);

    assert!(story.took < Duration::from_secs(2), "{:?}", story.took);
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let bench = load();
    for seed in 0..5 {
        for candidate in [Candidate::LikeStable, Candidate::FailsLater] {
            let [first, second] = [(); 2].map(|()| drive(&bench, candidate, seed));

            assert_eq!(first, second);
        }
    }
}

#[test]
fn a_healthy_rollout_tells_each_stage_once_and_in_order() {
    let story = drive(&load(), Candidate::LikeStable, 0);

    let stages: Vec<_> = story
        .notes
        .iter()
        .filter_map(|note| {
            if let Note::StageStarted { stage, .. } = note {
                Some(*stage)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(stages, [0, 1]);
    assert!(matches!(
        story.notes.first(),
        Some(Note::WarmupStarted { .. })
    ));
    assert_eq!(story.notes.last(), Some(&Note::Promoted));
}
