//! What it costs to count a call.
#![allow(missing_docs, reason = "the names of benchmarks say what they measure")]

use std::sync::Arc;
use std::time::Duration;

use divan::{Bencher, black_box};
use switchback::model::{Outcome, OutcomeSet, Role};
use switchback::stats::{BadCall, CallStats, CallSummary, Histogram, LIMITS, Trial};
use tokio::sync::Notify;

fn main() {
    divan::main();
}

/// Durations that fall all over the buckets.
fn durations() -> impl FnMut() -> Duration {
    let mut us = 1_u64;
    move || {
        us = us * 48_271 % 0x7FFF_FFFF;
        Duration::from_micros(us % 2_000_000)
    }
}

#[divan::bench]
fn histogram(bencher: Bencher<'_, '_>) {
    let histogram = Histogram::default();
    let mut next = durations();
    bencher.bench_local(|| histogram.record(black_box(next())));
}

#[divan::bench]
fn one_call(bencher: Bencher<'_, '_>) {
    let calls = CallStats::default();
    let mut next = durations();
    bencher.bench_local(|| {
        calls.begin();
        calls.end(black_box(Outcome::Success), black_box(next()));
    });
}

#[divan::bench]
fn one_call_of_a_trial(bencher: Bencher<'_, '_>) {
    let trial = Trial::new(1, OutcomeSet::BAD, Arc::new(Notify::new()));
    for limit in 0..LIMITS {
        trial.set_limit(
            Role::Candidate,
            limit,
            Duration::from_secs(1 + limit as u64),
        );
    }
    let mut next = durations();
    bencher.bench_local(|| {
        let mut marks = trial.begin(0, Role::Candidate);
        trial.mark(0, Role::Candidate, black_box(next()), &mut marks);
        let call = BadCall {
            role: Role::Candidate,
            key: Some(7),
            outcome: Outcome::Success,
        };
        trial.end(0, black_box(call));
    });
}

#[divan::bench]
fn the_sum_of_a_worker(bencher: Bencher<'_, '_>) {
    let calls = CallStats::default();
    let mut next = durations();
    for _ in 0..100_000 {
        calls.begin();
        calls.end(Outcome::Success, next());
    }
    bencher.bench_local(|| {
        let mut sum = CallSummary::default();
        calls.add_to(&mut sum);
        sum
    });
}
