//! Looking at answers while they pass, and at what they say of a candidate, takes no memory from the
//! heap.
//!
//! In a program of its own, because it counts what all of its code takes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test that cannot go on should stop there and say where"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use switchback::judge::{Batch, Judge, Share, StageTime, Terms};
use switchback::mcp::{AnswerScanner, Format};
use switchback::model::{Outcome, OutcomeSet, Role};
use switchback::stats::{About, BadCall, CallId, Incident, Trial, Wrong};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Answers of every kind that the scanner tells apart.
fn bodies() -> Vec<(Format, Vec<u8>)> {
    let long = "a text with \\\"escapes\\\", \\u00e9 and \\n ".repeat(2_000);
    let texts = [
        format!(r#"{{"id":1,"result":{{"content":[{{"text":"{long}"}}],"isError":true}}}}"#),
        format!(r#"{{"{long}":1,"result":{{"{long}":{{"a":[1,-2.5e3,null]}}}}}}"#),
        format!(r#"[{{"id":1,"error":{{"code":-32601,"data":"{long}"}}}},{{"id":2,"result":1}}]"#),
        format!(
            r#"{{"id":"{long}","error":{{"code":{}}}}}"#,
            "9".repeat(500)
        ),
        "[".repeat(500),
        "{\"result\":{\"a\":[1,,2]}}".to_owned(),
        String::new(),
    ];
    let mut bodies = Vec::new();
    for text in texts {
        let lines = text.replace(',', ",\r\ndata: ");
        let stream = format!("\u{feff}: hello\rid: 7\nevent: message\r\ndata: {lines}\n\n");
        bodies.push((Format::EventStream, stream.into_bytes()));
        bodies.push((Format::Json, text.into_bytes()));
    }
    bodies
}

#[test]
fn an_answer_is_scanned_without_the_heap() {
    let bodies = bodies();

    for (format, body) in &bodies {
        for size in [1, 7, 1500, body.len().max(1)] {
            let took = allocation_counter::measure(|| {
                let mut scanner = AnswerScanner::new(*format);
                for chunk in body.chunks(size) {
                    scanner.feed(chunk);
                    black_box(scanner.response_seen());
                }
                black_box(scanner.outcome());
            });

            assert_eq!(took.count_total, 0, "{format:?}, {} bytes", body.len());
        }
    }
    // The counter does count.
    let took = allocation_counter::measure(|| drop(black_box(vec![1_u8])));
    assert_eq!(took.count_total, 1);
}

#[test]
fn evidence_is_gathered_and_weighed_without_the_heap() {
    let trial = Trial::new(1, OutcomeSet::BAD, Arc::new(Notify::new()));
    trial.set_limit(Role::Candidate, 0, Duration::from_micros(50));
    trial.set_late(Duration::from_micros(70));
    let outcomes = [Outcome::Success, Outcome::ServerError, Outcome::Cancelled];
    let call = |number: u64| {
        let role = Role::BOTH[number as usize % 2];
        let (key, outcome) = (Some(number), outcomes[number as usize % 3]);
        let latency = Duration::from_micros(number % 100);
        let about = About {
            role,
            key,
            id: CallId::new(b"an-id"),
        };
        let incident = |wrong| Incident {
            at: Instant::now(),
            about,
            wrong,
            status: None,
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
    };

    // More than the queue of bad calls holds.
    let took = allocation_counter::measure(|| (0..20_000).for_each(call));
    assert_eq!(took.count_total, 0, "a worker's part");

    let bad: Vec<BadCall> = std::iter::from_fn(|| trial.next_bad()).collect();
    let spec = serde_json::from_value(serde_json::json!({
        "guards": { "max_error_rate": 0.9, "max_latency_p99": "1h" }
    }));
    let terms = Terms::new(&spec.unwrap()).unwrap();
    let mut judge = Judge::new(terms, Duration::from_mins(5));
    let took = allocation_counter::measure(|| {
        for second in 1..100 {
            judge.weigh(&Batch {
                share: Share::exact(0.5),
                stable: trial.counts(Role::Stable),
                candidate: trial.counts(Role::Candidate),
                bad: &bad,
                ..Batch::tick(Duration::from_secs(second))
            });
            black_box(judge.verdict(StageTime::Running));
        }
    });
    assert_eq!(took.count_total, 0, "control's part");
}
