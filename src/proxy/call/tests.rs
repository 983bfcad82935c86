//! How calls are counted and told of.

use tokio::sync::Notify;

use crate::deadline::Deadlines;
use crate::model::OutcomeSet;
use crate::proxy::counted::Counted;
use crate::stats::ArmCounts;
use crate::upstream::Patience;

use super::*;

/// A call on trial in which everything is slow, the calls it is one of, and its trial.
fn begun() -> (Call, OpenCalls, Arc<Trial>) {
    begun_as(Latency::Tells)
}

fn begun_as(latency: Latency) -> (Call, OpenCalls, Arc<Trial>) {
    let trial = Arc::new(Trial::new(1, OutcomeSet::BAD, Arc::new(Notify::new())));
    trial.set_limit(Role::Candidate, 0, Duration::ZERO);
    let part = Part {
        trial: Arc::clone(&trial),
        worker: 0,
        role: Role::Candidate,
        key: None,
        id: None,
        latency,
    };
    let open = OpenCalls::default();
    let pace = Rc::new(Pace::new(
        &Deadlines::default(),
        Patience::even(Duration::MAX),
    ));
    let tally = Tally::begin(&Arc::default(), (&Counted::default(), 0));
    let call = Call::begin(tally, &pace, Some(part), &open);
    // Limits are in µs, and the call is to be past one of none.
    while call.began().elapsed() < Duration::from_micros(1) {}
    (call, open, trial)
}

fn counts(trial: &Trial) -> (u64, u64) {
    let ArmCounts { calls, slow, .. } = trial.counts(Role::Candidate);
    (calls, slow[0])
}

#[test]
fn a_call_that_has_ended_grows_no_slower_while_its_answer_is_held() {
    let (mut call, open, trial) = begun();

    call.end(Outcome::Success);
    open.sweep(0);

    assert_eq!(counts(&trial), (1, 1));
}

#[test]
fn a_stream_that_counts_is_as_slow_as_its_head_was() {
    let (mut call, open, trial) = begun();

    call.becomes_stream(Counts::Yes);
    trial.set_limit(Role::Candidate, 1, Duration::ZERO);
    open.sweep(0);
    drop(call);

    assert_eq!(counts(&trial), (1, 1));
    assert_eq!(trial.counts(Role::Candidate).slow[1], 0);
}

#[test]
fn an_open_call_is_slow_before_it_ends_and_only_once() {
    let (mut call, open, trial) = begun();

    open.sweep(0);
    assert_eq!(counts(&trial), (0, 1));
    open.sweep(0);
    call.end(Outcome::Success);

    assert_eq!(counts(&trial), (1, 1));
}

#[test]
fn a_call_whose_body_has_not_come_is_not_called_slow() {
    let (mut call, open, trial) = begun_as(Latency::MayTell);

    open.sweep(0);
    call.end(Outcome::Success);

    assert_eq!(counts(&trial), (1, 0));
}
