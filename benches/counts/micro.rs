//! The pieces that a request is made of, in instructions: run by `benches/counts/run`.
//!
//! Each is done a hundred times where chance (the seed of a hash) or the first time would show.
//! The pieces that `benches/*.rs` time; those that cannot be reached from here (reading a head,
//! rewriting fields) are in the counts of whole requests.
#![allow(missing_docs, reason = "the names of benchmarks say what they measure")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use gungraun::{library_benchmark, library_benchmark_group, main};
use http::{HeaderMap, HeaderValue};
use switchback::judge::{Batch, Judge, Share, Terms};
use switchback::mcp::{AnswerScanner, Finding, Format, Peeked, RequestPeek};
use switchback::model::{BackendName, Outcome, OutcomeSet, Role, Weight};
use switchback::routing::RouteTable;
use switchback::routing::spec::MatchSpec;
use switchback::split::spec::StickySpec;
use switchback::split::{Arm, Keys, Split};
use switchback::stats::{ArmCounts, BadCall, CallStats, Trial};
use tokio::sync::Notify;

/// What is measured must not end with taking down what it was measured on.
fn kept<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// Half of the routes take a path on any host, half a host of their own.
fn table(routes: usize) -> &'static RouteTable {
    let specs: Vec<MatchSpec> = (0..routes)
        .map(|i| MatchSpec {
            host: (i % 2 == 1).then(|| format!("host{i}.example")),
            path: Some(format!("/api/v{i}")),
            exact_path: None,
            mcp: None,
        })
        .collect();
    kept(RouteTable::new(&specs))
}

/// A hundred hosts that no route names (how far a table of hosts is searched for one is chance, which
/// falls out among many), each with a path: of so many routes, below the last hundred (or fewer).
fn places(routes: usize) -> &'static [(String, String)] {
    let below = |i: usize| format!("/api/v{}/users/17", (routes - 2 - 2 * i % routes) / 2 * 2);
    kept(
        (0..100)
            .map(|i| (format!("other{i:02}.example"), below(i)))
            .collect::<Vec<_>>(),
    )
}

#[library_benchmark]
#[bench::of_10(table(10), places(10))]
#[bench::of_10000(table(10_000), places(10_000))]
fn route(table: &RouteTable, places: &[(String, String)]) -> usize {
    let found = |(host, path): &&(String, String)| table.find(black_box(host), path).is_some();
    places.iter().filter(found).count()
}

fn split(arms: u32) -> &'static Split {
    let arm = |i: u32| {
        let name: Option<BackendName> = format!("search-v{i}").parse().ok();
        Some(Arm::new(&name?, Weight::new(10 * i + 1).ok()?))
    };
    kept(Split::new((1..=arms).filter_map(arm).collect()))
}

#[library_benchmark]
#[bench::of_2(split(2))]
#[bench::of_1000(split(1000))]
fn split_by_key(split: &Split) -> usize {
    (0..100_u64)
        .filter_map(|i| split.by_key(black_box(i.wrapping_mul(0x9E37_79B9_7F4A_7C15))))
        .count()
}

#[library_benchmark]
#[bench::of_2(split(2))]
#[bench::of_1000(split(1000))]
fn split_by_draw(split: &Split) -> usize {
    (0..100_u64)
        .filter_map(|i| split.by_draw(black_box(i.wrapping_mul(0x9E37_79B9_7F4A_7C15))))
        .count()
}

fn request() -> (&'static Keys, &'static HeaderMap) {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("gateway.example"));
    headers.insert("user-agent", HeaderValue::from_static("bench/1"));
    headers.insert("x-user-id", HeaderValue::from_static("user-4711"));
    let keys = Keys::new(&[StickySpec::Header("x-user-id".into())], 7);
    (kept(keys), kept(headers))
}

#[library_benchmark]
#[bench::header(request())]
fn key_of_a_caller((keys, headers): (&Keys, &HeaderMap)) -> bool {
    let client = std::net::Ipv4Addr::new(192, 0, 2, 7).into();
    black_box(keys.of_request(black_box(headers), client)).is_some()
}

fn call() -> Vec<u8> {
    let text = "y".repeat(4_000);
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{{"text":"{text}"}}}}}}"#
    )
    .into_bytes()
}

#[library_benchmark]
#[bench::tools_call(call())]
fn peek(body: Vec<u8>) -> (Peeked, bool, Vec<u8>) {
    let mut peek = RequestPeek::new();
    let peeked = peek.feed(black_box(&body));
    (peeked, peek.finish().is_ok(), body)
}

/// The answer of a tool: half prose with escapes, half structure.
fn answer() -> String {
    let text = "The quick brown fox said \\\"hello\\\" and jumped.\\n".repeat(40);
    let item = r#"{"id":12345,"name":"widget","tags":["a","b"],"price":12.50,"on":true}"#;
    let items = vec![item; 30].join(",");
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{{"type":"text","text":"{text}"}}],"structuredContent":{{"items":[{items}]}},"isError":false}}}}"#
    )
}

fn answer_as_event() -> String {
    format!("event: message\ndata: {}\n\n", answer())
}

#[library_benchmark]
#[bench::json(answer(), Format::Json)]
#[bench::event(answer_as_event(), Format::EventStream)]
fn scan(body: String, format: Format) -> (Finding, String) {
    let mut scanner = AnswerScanner::new(format);
    scanner.feed(black_box(body.as_bytes()));
    (scanner.finish(), body)
}

#[library_benchmark]
#[bench::of_100_calls(kept(CallStats::default()))]
fn count(calls: &CallStats) {
    for i in 0..100 {
        calls.begin();
        calls.end(
            black_box(Outcome::Success),
            Duration::from_micros(100 + 997 * i),
        );
    }
}

fn trial() -> &'static Trial {
    let trial = Trial::new(1, OutcomeSet::BAD, Arc::new(Notify::new()));
    for (index, ms) in [10, 12, 20, 30, 60, 45].into_iter().enumerate() {
        trial.set_limit(Role::Candidate, index, Duration::from_millis(ms));
    }
    kept(trial)
}

#[library_benchmark]
#[bench::of_100_good_calls(trial(), Outcome::Success)]
#[bench::of_100_bad_calls(trial(), Outcome::ServerError)]
fn judge_of_a_worker(trial: &Trial, outcome: Outcome) -> bool {
    let (role, key) = (Role::Candidate, Some(7));
    for _ in 0..100 {
        let mut marks = trial.begin(0, role);
        trial.mark(0, role, black_box(Duration::from_millis(5)), &mut marks);
        trial.end(0, BadCall { role, key, outcome });
    }
    trial.next_bad().is_some()
}

fn judge() -> Judge {
    Judge::new(Terms::default(), Duration::from_mins(15))
}

#[library_benchmark]
#[bench::of_a_bad_call(judge())]
fn judge_of_control(mut judge: Judge) -> Judge {
    let bad = [BadCall {
        role: Role::Stable,
        key: None,
        outcome: Outcome::ServerError,
    }];
    let one = ArmCounts {
        calls: 1,
        reached: 1,
        ..ArmCounts::default()
    };
    judge.weigh(black_box(&Batch {
        share: Share::exact(0.5),
        stable: one,
        candidate: one,
        bad: &bad,
        ..Batch::tick(Duration::from_secs(1))
    }));
    judge
}

library_benchmark_group!(
    name = micro,
    benchmarks = [
        route,
        split_by_key,
        split_by_draw,
        key_of_a_caller,
        peek,
        scan,
        count,
        judge_of_a_worker,
        judge_of_control,
    ]
);
main!(library_benchmark_groups = micro);
