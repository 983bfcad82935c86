//! What the judge costs a request: what a worker does for it, and what control does with it.
#![allow(missing_docs, reason = "the names of benchmarks say what they measure")]

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use divan::{Bencher, black_box};
use switchback::judge::{Batch, Judge, Share, Terms};
use switchback::model::{Outcome, OutcomeSet, Role};
use switchback::stats::{About, ArmCounts, BadCall, Incident, Trial, Wrong};
use tokio::sync::Notify;
use tokio::time::Instant;

fn main() {
    divan::main();
}

fn trial() -> Trial {
    let trial = Trial::new(1, OutcomeSet::BAD, Arc::new(Notify::new()));
    for (index, ms) in [10, 12, 20, 30, 60, 45].into_iter().enumerate() {
        trial.set_limit(Role::Candidate, index, Duration::from_millis(ms));
    }
    trial
}

/// Everything that a worker does for the judge in one call.
fn call(trial: &Trial, outcome: Outcome, latency: Duration) {
    let (role, key) = (Role::Candidate, Some(7));
    let about = About {
        role,
        key,
        id: None,
    };
    let incident = |wrong| Incident {
        at: Instant::now(),
        about,
        wrong,
        status: Some(500),
        latency,
    };
    let mut marks = trial.begin(0, role);
    if trial.mark(0, role, latency, &mut marks) {
        trial.note(incident(Wrong::Slow));
    }
    if trial.is_bad(outcome) {
        trial.note(incident(Wrong::Bad(outcome)));
    }
    trial.end(0, BadCall { role, key, outcome });
}

#[divan::bench(args = [("good", Outcome::Success, 5), ("slow", Outcome::Success, 25), ("bad", Outcome::ServerError, 5)])]
fn of_a_worker(bencher: Bencher<'_, '_>, (_, outcome, ms): (&str, Outcome, u64)) {
    let trial = trial();
    let latency = Duration::from_millis(ms);
    bencher.bench_local(|| {
        call(black_box(&trial), outcome, latency);
        trial.next_bad()
    });
}

#[divan::bench(args = [0, 1])]
fn of_control(bencher: Bencher<'_, '_>, bad: usize) {
    let judge = Judge::new(Terms::default(), Duration::from_mins(15));
    let judge = Cell::new(Some(judge));
    let failed = BadCall {
        role: Role::Stable,
        key: None,
        outcome: Outcome::ServerError,
    };
    let failed = vec![failed; bad];
    let one = ArmCounts {
        calls: 1,
        reached: 1,
        ..ArmCounts::default()
    };
    let batch = Batch {
        share: Share::exact(0.5),
        stable: one,
        candidate: one,
        bad: &failed,
        ..Batch::tick(Duration::from_secs(1))
    };
    bencher.bench_local(|| {
        let mut weighing = judge.take();
        if let Some(judge) = &mut weighing {
            judge.weigh(black_box(&batch));
        }
        judge.set(weighing);
    });
}
