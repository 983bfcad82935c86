//! Killed at random moments of weight changes and rollouts: nothing acknowledged is ever lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::size;
use crate::support::backend::Backend;
use crate::support::client::{Answer, Raw};
use crate::support::gate::{Board, pass};
use crate::support::gateway::Gateway;
use crate::support::routes::route;

const SEED: u64 = 0x5EED_0000_C0FF_EE01;

/// Changes one after another on a connection of their own, until the gateway is gone. Change
/// number n sets v1's weight to n; every third one starts a rollout on the other route first, and
/// the second one after it ends that again, so that most kills find one running.
struct Changer {
    acknowledged: Arc<Board<u64>>,
    asked: Arc<AtomicU64>,
    /// A rollout whose start was acknowledged and whose end has not been asked for.
    running: Arc<Board<Option<String>>>,
    thread: JoinHandle<()>,
}

impl Changer {
    fn start(gateway: &Gateway, from: u64) -> Self {
        let acknowledged = Arc::new(Board::new(from));
        let asked = Arc::new(AtomicU64::new(from));
        let running = Arc::new(Board::new(None));
        let (told, asks, runs) = (
            Arc::clone(&acknowledged),
            Arc::clone(&asked),
            Arc::clone(&running),
        );
        let admin = gateway.admin.0;
        let thread = thread::spawn(move || {
            let Ok(mut raw) = Raw::try_connect(admin) else {
                return;
            };
            for number in from + 1.. {
                asks.store(number, Ordering::SeqCst);
                if !change(&mut raw, number, &runs) {
                    return;
                }
                told.change(|last| *last = number);
            }
        });
        Self {
            acknowledged,
            asked,
            running,
            thread,
        }
    }
}

/// Tells whether everything of the change was acknowledged.
fn change(raw: &mut Raw, number: u64, running: &Board<Option<String>>) -> bool {
    let ends = number % 3 == 2;
    if let Some(id) = running.change(|now| if ends { now.take() } else { None }) {
        let path = format!("/v1/rollouts/{id}/abort");
        if ask(raw, "POST", &path, &json!({})).is_none() {
            return false;
        }
    } else if number.is_multiple_of(3) {
        let stages = json!([{ "percent": 50, "for": "1h" }]);
        let wanted = json!({ "to": "v2", "stages": stages, "force": true });
        // Refused while one runs that was started before a kill.
        let Some(answer) = ask(raw, "POST", "/v1/routes/other/rollouts", &wanted) else {
            return false;
        };
        let id = answer.json()["id"].as_str().map(str::to_owned);
        let old = &answer.json()["error"]["details"]["rollout"];
        running.change(|now| *now = id.or_else(|| old.as_str().map(str::to_owned)));
    }
    let weights = json!({ "weights": { "v1": number } });
    let answer = ask(raw, "PUT", "/v1/routes/all/weights", &weights);
    answer.is_some_and(|answer| answer.status == 200)
}

fn ask(raw: &mut Raw, method: &str, path: &str, body: &Value) -> Option<Answer> {
    let kind = [("content-type", "application/json")];
    let sent = raw.try_send(method, path, &kind, body.to_string().as_bytes());
    let answer = sent.then(|| raw.try_read(method))?;
    answer.ok()
}

fn next(random: &mut u64) -> u64 {
    *random ^= *random >> 12;
    *random ^= *random << 25;
    *random ^= *random >> 27;
    random.wrapping_mul(0x2545_F491_4F6C_DD1D)
}

#[test]
fn kills_lose_nothing_that_was_acknowledged_and_restarts_are_quick() {
    let kills = size::of("kills", 12, 200);
    let backend = Backend::fixed(200, "fine");
    let url = backend.url();
    let text = route("http", &[("v1", &url, 1), ("v2", &url, 0)])
        + "  - { name: other, match: { path: /other }, split: { v1: 1, v2: 0 } }\n";
    let mut gateway = Gateway::start(&text);
    let (mut weight, mut random) = (1, SEED);
    let (mut restarts, mut rollouts) = (Vec::new(), 0);
    println!("{kills} kills, seed {SEED}");

    for kill in 0..kills {
        let changer = Changer::start(&gateway, weight);
        let enough = weight + 1 + next(&mut random) % 12;
        changer
            .acknowledged
            .wait_until("changes", |last| (*last >= enough).then_some(()));
        pass(Duration::from_micros(next(&mut random) % 4000));
        gateway.kill();
        changer.thread.join().unwrap();
        let acknowledged = changer.acknowledged.read(|last| *last);
        let asked = changer.asked.load(Ordering::SeqCst);

        let began = Instant::now();
        gateway.start_again();
        restarts.push(began.elapsed());

        let seen = gateway.admin.get("/v1/routes/all");
        weight = seen["arms"][0]["weight"].as_u64().unwrap();
        assert!(
            (acknowledged..=asked).contains(&weight),
            "kill {kill}: {weight}, but {acknowledged} was acknowledged and {asked} under way"
        );
        let history = gateway.admin.get("/v1/history?route=all&limit=1");
        let last = &history["events"][0]["details"]["to"]["v1"];
        assert_eq!(*last, json!(weight), "kill {kill}: {history:#}");
        if let Some(id) = changer.running.read(Clone::clone) {
            let rollout = gateway.admin.get(&format!("/v1/rollouts/{id}"));
            let goes_on = rollout["state"] == "running" || rollout["state"] == "warmup";
            assert!(goes_on, "kill {kill}: {rollout:#}");
            rollouts += 1;
        }
        assert_eq!(gateway.get("/").status, 200);
    }
    assert!(rollouts > 0, "no kill found a rollout running");

    restarts.sort_unstable();
    let (median, worst) = (restarts[restarts.len() / 2], restarts[restarts.len() - 1]);
    println!("restarts: median {median:?}, worst {worst:?}");
    assert!(median < Duration::from_secs(1), "{median:?}");
}
