//! Many short requests at once, each of them counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::client::Raw;
use super::gate::{Board, pass};

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Answered 200.
    pub answered: usize,
    /// Connections that were refused before anything was sent on them.
    pub refused: usize,
    /// Sent, and answered with something else or not at all: what and why.
    pub lost: Vec<String>,
}

/// Callers that ask until they are told to stop. Half of them keep their connection for as
/// long as the answers let them, half make a new one for each request.
pub struct Load {
    tally: Arc<Board<Tally>>,
    done: Arc<AtomicBool>,
    callers: Vec<JoinHandle<()>>,
    began: Instant,
}

/// How a caller treats its connections.
#[derive(Clone, Copy, Debug)]
enum Habit {
    Keeps,
    Renews,
}

impl Load {
    /// Callers of both habits, each with a pause after every request.
    pub fn start(address: SocketAddr, callers: usize, pause: Duration) -> Self {
        let tally = Arc::<Board<Tally>>::default();
        let done = Arc::<AtomicBool>::default();
        let start = |number: usize| {
            let caller = Caller {
                address,
                habit: [Habit::Keeps, Habit::Renews][number % 2],
                tally: Arc::clone(&tally),
                done: Arc::clone(&done),
                pause,
            };
            thread::spawn(move || caller.run())
        };
        Self {
            callers: (0..callers).map(start).collect(),
            tally,
            done,
            began: Instant::now(),
        }
    }

    /// Waits until this many more requests have been answered.
    pub fn wait_for_more(&self, count: usize) {
        let goal = self.tally.read(|tally| tally.answered) + count;
        self.tally.wait_until("requests to be answered", |tally| {
            (tally.answered >= goal).then_some(())
        });
    }

    /// Waits until somebody was refused.
    pub fn wait_until_refused(&self) {
        self.tally
            .wait_until("a refusal", |tally| (tally.refused > 0).then_some(()));
    }

    /// Stops asking; the tally of everything that was asked.
    pub fn stop(self) -> Tally {
        self.done.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.join().expect("a caller");
        }
        let tally = self.tally.read(Tally::clone);
        let rate = tally.answered as f64 / self.began.elapsed().as_secs_f64();
        eprintln!(
            "load: {} answered ({rate:.0} a second), {} refused, {} lost",
            tally.answered,
            tally.refused,
            tally.lost.len()
        );
        tally
    }
}

struct Caller {
    address: SocketAddr,
    habit: Habit,
    tally: Arc<Board<Tally>>,
    done: Arc<AtomicBool>,
    pause: Duration,
}

impl Caller {
    fn run(self) {
        let mut kept = None;
        while !self.done.load(Ordering::Relaxed) {
            let connection = match kept.take() {
                Some(connection) => Ok(connection),
                None => Raw::try_connect(self.address),
            };
            match connection {
                Ok(mut raw) => match self.ask(&mut raw) {
                    Ok(true) => kept = Some(raw),
                    Ok(false) => {}
                    Err(lost) => self.tally.change(|tally| tally.lost.push(lost)),
                },
                Err(_) => self.tally.change(|tally| tally.refused += 1),
            }
            pass(self.pause);
        }
    }

    /// One request; tells whether its connection may be used again.
    fn ask(&self, raw: &mut Raw) -> Result<bool, String> {
        let close: &[(&str, &str)] = match self.habit {
            Habit::Keeps => &[],
            Habit::Renews => &[("connection", "close")],
        };
        let lost = |why: &str| format!("{:?}: {why}", self.habit);
        if !raw.try_send("POST", "/", close, b"a body") {
            return Err(lost("could not be sent"));
        }
        let answer = raw.try_read("POST").map_err(|e| lost(&e.to_string()))?;
        if answer.status != 200 {
            return Err(lost(&format!("{}: {}", answer.status, answer.text())));
        }
        self.tally.change(|tally| tally.answered += 1);
        let said = answer.fields.get("connection");
        let is_last = said.is_some_and(|said| said.eq_ignore_ascii_case("close"));
        Ok(!is_last)
    }
}
