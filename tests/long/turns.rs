//! Reverts one after another under load: each is counted, none loses a request, and nobody who
//! asks after one is sent to the candidate again. How long they took is printed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::size;
use crate::support::backend::Backend;
use crate::support::client::Raw;
use crate::support::gate::{Board, pass};
use crate::support::gateway::Gateway;
use crate::support::routes::route;

const PLAN: &str = "plans:\n  half:\n    stages: [{ percent: 50, for: 1h }]\n    cooldown: 0s\n    max_reverts_per_hour: 0\n";
/// Callers that take turns, so that somebody asks every 2.2 ms: 450 requests a second.
const CALLERS: u32 = 5;
const BETWEEN: Duration = Duration::from_micros(2200);

/// One answer, as its caller saw it.
#[derive(Clone, Copy)]
struct Seen {
    /// Reverts that were known to be over; none where a rollout ran at any time of the request.
    after: Option<usize>,
    begun: Instant,
    ended: Instant,
    by_candidate: bool,
}

#[derive(Default)]
struct Log {
    seen: Vec<Seen>,
    lost: Vec<String>,
}

/// Callers that keep their connections and ask until they are told to stop.
struct Callers {
    log: Arc<Board<Log>>,
    /// Twice the number of reverts that are over, and one more while a rollout runs.
    turn: Arc<AtomicUsize>,
    done: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Callers {
    fn start(gateway: &Gateway) -> Self {
        let log = Arc::<Board<Log>>::default();
        let turn = Arc::<AtomicUsize>::default();
        let done = Arc::<AtomicBool>::default();
        let began = Instant::now();
        let start = |caller| {
            let (log, turn, done) = (Arc::clone(&log), Arc::clone(&turn), Arc::clone(&done));
            let mut raw = gateway.connect();
            thread::spawn(move || {
                let mut due = began + caller * BETWEEN;
                while !done.load(Ordering::SeqCst) {
                    ask(&mut raw, &log, &turn);
                    // Who is late leaves a turn out, and asks at its own time again.
                    while due <= Instant::now() {
                        due += CALLERS * BETWEEN;
                    }
                    pass(due - Instant::now());
                }
            })
        };
        let threads = (0..CALLERS).map(start).collect();
        Self {
            log,
            turn,
            done,
            threads,
        }
    }

    fn stop(self) -> (Vec<Seen>, Vec<String>) {
        self.done.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("a caller");
        }
        self.log.change(std::mem::take).into_parts()
    }
}

impl Log {
    fn into_parts(self) -> (Vec<Seen>, Vec<String>) {
        (self.seen, self.lost)
    }
}

fn ask(raw: &mut Raw, log: &Board<Log>, turn: &AtomicUsize) {
    let known = turn.load(Ordering::SeqCst);
    let begun = Instant::now();
    let answer = raw
        .try_send("GET", "/", &[], b"")
        .then(|| raw.try_read("GET"));
    let ended = Instant::now();
    let stood = turn.load(Ordering::SeqCst) == known && known.is_multiple_of(2);
    let by = match answer {
        Some(Ok(answer)) => answer.text(),
        Some(Err(error)) => error.to_string(),
        None => "could not be sent".to_owned(),
    };
    log.change(|log| match &*by {
        "v1" | "v2" => log.seen.push(Seen {
            after: stood.then_some(known / 2),
            begun,
            ended,
            by_candidate: by == "v2",
        }),
        _ => log.lost.push(by.clone()),
    });
}

#[test]
fn reverts_under_load_lose_nothing_and_lead_nobody_back() {
    let _alone = size::alone();
    let reverts = size::of("reverts", 20, 200);
    let v1 = Backend::fixed(200, "v1");
    let v2 = Backend::start(|exchange| exchange.answer(500, &[], "v2"));
    let arms = [("v1", &*v1.url(), 100), ("v2", &*v2.url(), 0)];
    let gateway = Gateway::start(&(route("http", &arms) + PLAN));
    let callers = Callers::start(&gateway);

    let mut over = Vec::new();
    for number in 1..=reverts {
        callers.turn.fetch_add(1, Ordering::SeqCst);
        let started = Instant::now();
        let wanted = json!({ "to": "v2", "plan": "half" });
        let rollout = gateway.admin.post("/v1/routes/all/rollouts", &wanted);
        let path = format!("/v1/rollouts/{}", rollout["id"].as_str().expect("an id"));
        let seen = gateway.admin.wait_for(&path, |seen| {
            (seen["state"] == "reverted").then(|| seen.clone())
        });
        assert_eq!(seen["revert_reason"], "error_rate_high", "revert {number}");
        callers.turn.fetch_add(1, Ordering::SeqCst);
        over.push((started, Instant::now()));
        // Somebody asks between this revert and the next rollout.
        let asked = |log: &Log| log.seen.iter().any(|seen| seen.after == Some(number));
        let told = |log: &Log| asked(log).then_some(());
        callers.log.wait_until("a request after a revert", told);
    }
    let (seen, lost) = callers.stop();

    assert_eq!(lost, Vec::<String>::new());
    let led_back = seen
        .iter()
        .filter(|it| it.after.is_some() && it.by_candidate);
    assert_eq!(led_back.count(), 0, "sent to the candidate after a revert");
    let swaps = to_the_swap(&gateway);
    println!("to the swap: p50 {} µs, p99 {} µs", swaps[0], swaps[1]);
    let inside = from_inside(&gateway, reverts);
    let outside = from_outside(&seen, &over);
    println!("from inside, at most: p50 {}, p99 {}", inside[0], inside[1]);
    println!("from outside: p50 {:?}, p99 {:?}", outside[0], outside[1]);
    let rate = |seen: &[Seen]| {
        let time = seen.last()?.ended - seen.first()?.begun;
        Some(seen.len() as f64 / time.as_secs_f64())
    };
    println!(
        "{} requests, {:.0} a second",
        seen.len(),
        rate(&seen).unwrap()
    );
}

/// The buckets of the gateway's own histogram that the median and the 99th percentile are in.
fn from_inside(gateway: &Gateway, reverts: usize) -> [String; 2] {
    const NAME: &str = "switchback_revert_seconds";
    let count = format!("{NAME}_count{{route=\"all\"}} {reverts}");
    let page = gateway.admin.wait_for("/v1/status", |_| {
        let page = gateway.admin.text("/metrics");
        page.contains(&count).then_some(page)
    });
    let buckets: Vec<(String, usize)> = page
        .lines()
        .filter_map(|line| line.strip_prefix(&format!("{NAME}_bucket{{route=\"all\",le=\"")))
        .map(|line| {
            let (le, within) = line.split_once("\"} ").expect("a bucket");
            (le.to_owned(), within.parse().expect("a count"))
        })
        .collect();
    [2, 100].map(|part| {
        let wanted = reverts - reverts / part;
        let found = buckets.iter().find(|(_, within)| *within >= wanted);
        found.expect("a bucket of everything").0.clone() + " s"
    })
}

/// From the deciding outcome to the swap, in µs, as the history has it.
fn to_the_swap(gateway: &Gateway) -> [u64; 2] {
    let history = gateway.admin.get("/v1/history?limit=1000");
    let events = history["events"].as_array().expect("events");
    let reverts = events.iter().filter(|it| it["kind"] == "rollout_reverted");
    let took = reverts.map(|event| &event["details"]["actuation_us"]);
    let mut took: Vec<u64> = took.map(|us| us.as_u64().expect("a time")).collect();
    took.sort_unstable();
    [2, 100].map(|part| took[(took.len() - took.len() / part).min(took.len() - 1)])
}

/// From the last answer of the candidate to the end of the first request that began after it.
fn from_outside(seen: &[Seen], over: &[(Instant, Instant)]) -> [Duration; 2] {
    let mut took: Vec<Duration> = over
        .iter()
        .filter_map(|(started, reverted)| {
            let during = |it: &&Seen| it.begun >= *started && it.ended <= *reverted;
            let candidates = seen.iter().filter(during).filter(|it| it.by_candidate);
            let last = candidates.map(|it| it.ended).max()?;
            let next = seen.iter().filter(|it| it.begun >= last);
            Some(next.map(|it| it.ended).min()? - last)
        })
        .collect();
    took.sort_unstable();
    [2, 100].map(|part| took[(took.len() - took.len() / part).min(took.len() - 1)])
}
