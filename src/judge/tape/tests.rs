//! What a tape gives again.

use std::time::Duration;

use crate::judge::spec::JudgeSpec;
use crate::judge::{Batch, Judge, Record, Recording, Share, StageTime, Tape, Terms, Verdict};
use crate::model::{Outcome, Role};
use crate::stats::{ArmCounts, BadCall};

/// Numbers that look drawn, the same for the same seed.
struct Draws(u64);

impl Draws {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

/// A life of a judge: batches of both arms, of which the candidate fails more often.
fn lead_a_life(seed: u64, batches: u64, mut look: impl FnMut(&Judge, &Tape, &mut Draws)) {
    let mut draws = Draws(seed);
    let guards = "guards: { max_error_rate: 0.5, max_latency_p99: 2s }";
    let spec: JudgeSpec = serde_saphyr::from_str(guards).unwrap();
    let mut judge = Judge::new(Terms::new(&spec).unwrap(), Duration::from_mins(10));
    let mut tape = Tape::new(&judge);
    let mut now = Duration::from_secs(3);
    for _ in 0..batches {
        now += Duration::from_millis(draws.below(900));
        let mut arm = || {
            let calls = draws.below(40);
            let slow = std::array::from_fn(|_| draws.below(calls / 4 + 1));
            ArmCounts {
                calls,
                reached: calls,
                slow,
                late: draws.below(2),
            }
        };
        let (stable, candidate) = (arm(), arm());
        let count = draws.below(3);
        let bad: Vec<BadCall> = (0..count)
            .map(|_| BadCall {
                role: if draws.below(3) == 0 {
                    Role::Stable
                } else {
                    Role::Candidate
                },
                key: Some(draws.below(5000)).filter(|key| key % 7 > 0),
                outcome: if draws.below(4) == 0 {
                    Outcome::Unreachable
                } else {
                    Outcome::ServerError
                },
            })
            .collect();
        let batch = Batch {
            now,
            share: Share {
                most: 0.31,
                least: 0.29,
            },
            stable,
            candidate,
            bad: &bad,
            dropped: draws.below(2),
        };
        match draws.below(20) {
            0 => tape.warm_up(&mut judge, &batch),
            1 => tape.weigh(&mut judge, &Batch::tick(now)),
            _ => tape.weigh(&mut judge, &batch),
        }
        look(&judge, &tape, &mut draws);
    }
}

/// A recording after a stay on the disk.
fn kept(tape: &Tape, time: StageTime) -> Recording {
    let text = serde_json::to_string(&tape.clone().cut(time)).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_verdict_is_found_again_to_the_last_digit() {
    for seed in 0..20 {
        let mut looks = 0;
        lead_a_life(seed, 400, |judge, tape, draws| {
            if draws.below(40) > 0 {
                return;
            }
            looks += 1;
            let time = [StageTime::Running, StageTime::Over][draws.below(2) as usize];
            let again: Record = kept(tape, time).replay();
            assert_eq!(again, judge.rule(time), "seed {seed}");
        });
        assert!(looks > 0, "seed {seed}");
    }
}

#[test]
fn the_one_batch_that_decided_is_on_the_tape() {
    let mut decided = 0;
    for seed in 0..20 {
        let mut before = false;
        lead_a_life(seed, 400, |judge, tape, _| {
            let verdict = judge.verdict(StageTime::Running);
            let reverts = matches!(verdict, Verdict::Revert { .. });
            if reverts && !before {
                decided += 1;
                assert_eq!(kept(tape, StageTime::Running).replay().verdict, verdict);
            }
            before = reverts;
        });
    }
    assert!(decided > 0);
}

#[test]
fn a_tape_has_a_bound_whatever_it_hears() {
    let mut longest = 0;
    lead_a_life(1, 1000, |_, tape, _| {
        longest = longest.max(tape.clone().cut(StageTime::Running).batches());
    });
    assert_eq!(longest, 128);

    let mut judge = Judge::new(Terms::default(), Duration::from_mins(1));
    let mut tape = Tape::new(&judge);
    let bad = vec![
        BadCall {
            role: Role::Candidate,
            key: None,
            outcome: Outcome::ServerError,
        };
        4096
    ];
    for second in 0..100 {
        let batch = Batch {
            bad: &bad,
            ..Batch::tick(Duration::from_secs(second))
        };
        tape.weigh(&mut judge, &batch);
    }
    assert!(tape.clone().cut(StageTime::Running).batches() <= 2);
}
