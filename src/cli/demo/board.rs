//! What the demo knows so far: what the agents saw, and what the gateway said.
//!
//! Pure: moments are arguments, so that both views and the tests read the same numbers.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::agent::Sight;
use crate::admin::wire::{EventBody, RolloutBody, RolloutState, RouteBody};

/// How far back "now" reaches in rates and latencies.
pub(super) const RECENT: Duration = Duration::from_secs(5);
/// Seconds of history that are drawn.
const SECONDS_KEPT: usize = 240;
/// Lines of log that are kept.
const LOG_KEPT: usize = 200;
/// Latest calls of a version that are kept for its latencies.
const SAMPLES_KEPT: usize = 20_000;

/// The versions of the two servers, as they call themselves.
pub(super) const VERSIONS: [&str; 2] = ["v1", "v2"];
/// Place of the new version in [`VERSIONS`].
pub(super) const NEW: usize = 1;

/// One answered call.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    latency: Duration,
    is_error: bool,
}

/// What the callers of one version have got.
#[derive(Debug, Default)]
pub(super) struct Arm {
    /// Answered calls.
    pub(super) calls: u64,
    /// Those whose answer was a failure.
    pub(super) errors: u64,
    /// Sessions that are open.
    pub(super) sessions: u64,
    samples: VecDeque<Sample>,
}

/// How one version does now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Now {
    /// Answered calls a second.
    pub(super) per_second: f64,
    /// Share of them that failed, in percent.
    pub(super) error_percent: f64,
    /// Latencies in ms at 50, 95 and 99 of 100; nothing without calls.
    pub(super) latencies: Option<[f64; 3]>,
}

/// How the rollout ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ending {
    /// When that was known.
    pub(super) at: Instant,
    /// Whether the new version was shipped.
    pub(super) promoted: bool,
    /// Why, in a word.
    pub(super) reason: String,
    /// From the moment the new version went bad.
    pub(super) after_going_bad: Option<Duration>,
    /// From looking at the deciding evidence to the new split being in force.
    pub(super) actuation: Option<Duration>,
}

/// What a line of the log is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// A step on the way.
    Plain,
    /// Trouble.
    Bad,
    /// A happy end.
    Good,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// From the start of the demo.
    pub(super) at: Duration,
    /// What it is about.
    pub(super) tone: Tone,
    /// The words.
    pub(super) words: String,
}

/// Everything that is known.
#[derive(Debug)]
pub(super) struct Board {
    /// When the demo started.
    pub(super) started: Instant,
    /// By the place in [`VERSIONS`].
    pub(super) arms: [Arm; 2],
    /// Sessions that the other side forgot. The promise is none.
    pub(super) lost: u64,
    /// Sessions that went on at another version.
    pub(super) moved: u64,
    /// Calls without an answer.
    pub(super) failed: u64,
    /// The latest of these.
    pub(super) last_failure: Option<String>,
    /// Agents that got a failure from the new version since it went bad.
    pub(super) hurt: BTreeSet<u64>,
    /// Failures of the new version since it went bad.
    pub(super) bad_answers: u64,
    /// When the new version went bad.
    pub(super) gone_bad: Option<Instant>,
    /// Calls of each second so far, by version.
    pub(super) seconds: VecDeque<[u64; 2]>,
    /// The route as the gateway last told it.
    pub(super) route: Option<RouteBody>,
    /// How the rollout ended.
    pub(super) ending: Option<Ending>,
    /// What happened, oldest first.
    pub(super) log: VecDeque<Entry>,
    whole_seconds: u64,
}

impl Board {
    /// A board that knows nothing yet.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            started: now,
            arms: Default::default(),
            lost: 0,
            moved: 0,
            failed: 0,
            last_failure: None,
            hurt: BTreeSet::new(),
            bad_answers: 0,
            gone_bad: None,
            seconds: VecDeque::from([[0; 2]]),
            route: None,
            ending: None,
            log: VecDeque::new(),
            whole_seconds: 0,
        }
    }

    /// An agent saw something.
    pub(super) fn see(&mut self, sight: Sight, now: Instant) {
        match sight {
            Sight::Opened { version } => {
                if let Some(arm) = self.arm(&version) {
                    arm.sessions += 1;
                }
            }
            Sight::Closed { version } => self.leave(&version),
            Sight::Moved { from, to } => {
                self.moved += 1;
                self.leave(&from);
                if let Some(arm) = self.arm(&to) {
                    arm.sessions += 1;
                }
            }
            Sight::Lost { version } => {
                self.lost += 1;
                self.log(
                    now,
                    Tone::Bad,
                    format!("an agent lost its session at {version}"),
                );
            }
            Sight::Failed { why, .. } => {
                self.failed += 1;
                self.last_failure = Some(why);
            }
            Sight::Answered {
                agent,
                version,
                latency,
                is_error,
            } => {
                let at = now;
                self.answered(
                    agent,
                    &version,
                    Sample {
                        at,
                        latency,
                        is_error,
                    },
                );
            }
        }
    }

    fn answered(&mut self, agent: u64, version: &str, sample: Sample) {
        let Some(place) = VERSIONS.iter().position(|known| *known == version) else {
            return;
        };
        self.roll(sample.at);
        if let Some(second) = self
            .seconds
            .back_mut()
            .and_then(|second| second.get_mut(place))
        {
            *second += 1;
        }
        if place == NEW && sample.is_error && self.gone_bad.is_some() {
            self.bad_answers += 1;
            self.hurt.insert(agent);
        }
        if let Some(arm) = self.arms.get_mut(place) {
            arm.calls += 1;
            arm.errors += u64::from(sample.is_error);
            arm.samples.push_back(sample);
            let old = |first: &Sample| sample.at - first.at > RECENT;
            while arm.samples.len() > SAMPLES_KEPT || arm.samples.front().is_some_and(old) {
                arm.samples.pop_front();
            }
        }
    }

    /// Begins the columns of the seconds that have passed.
    pub(super) fn roll(&mut self, now: Instant) {
        let second = (now - self.started).as_secs();
        while self.whole_seconds < second {
            self.whole_seconds += 1;
            self.seconds.push_back([0; 2]);
            if self.seconds.len() > SECONDS_KEPT {
                self.seconds.pop_front();
            }
        }
    }

    /// The new version goes bad; returns the words for it.
    pub(super) fn goes_bad(&mut self, now: Instant) -> &'static str {
        let words = "v2 goes bad: 4 of 10 tool calls fail inside HTTP 200, all are slower";
        self.gone_bad = Some(now);
        self.log(now, Tone::Bad, words.to_owned());
        words
    }

    /// The gateway said that something happened.
    pub(super) fn hear(&mut self, event: &EventBody, now: Instant) {
        let tone = match event.kind.as_str() {
            "rollout_reverted" => Tone::Bad,
            "rollout_promoted" => Tone::Good,
            _ => Tone::Plain,
        };
        self.log(now, tone, event.message.clone());
        if tone == Tone::Plain {
            return;
        }
        let detail = |name: &str| event.details.get(name);
        let reason = detail("why").and_then(serde_json::Value::as_str);
        let actuation = detail("actuation_us").and_then(serde_json::Value::as_u64);
        self.ending = Some(Ending {
            at: now,
            promoted: tone == Tone::Good,
            reason: reason.unwrap_or(event.kind.as_str()).to_owned(),
            after_going_bad: self.gone_bad.map(|bad| now - bad),
            actuation: actuation.map(Duration::from_micros),
        });
    }

    /// The gateway said how things are. That also tells an ending whose event was missed.
    pub(super) fn learn(&mut self, route: RouteBody, now: Instant) {
        let over = route
            .rollout
            .as_ref()
            .filter(|rollout| rollout.state.is_over());
        if let (None, Some(rollout)) = (&self.ending, over) {
            let reason = rollout.revert_reason.map(|reason| reason.to_string());
            self.ending = Some(Ending {
                at: now,
                promoted: rollout.state == RolloutState::Promoted,
                reason: reason.unwrap_or_else(|| rollout.state.as_str().to_owned()),
                after_going_bad: self.gone_bad.map(|bad| now - bad),
                actuation: None,
            });
        }
        self.route = Some(route);
    }

    /// The rollout as the gateway last told it.
    pub(super) fn rollout(&self) -> Option<&RolloutBody> {
        self.route.as_ref()?.rollout.as_ref()
    }

    /// The new version's share of new traffic, in percent, as the gateway last told it.
    pub(super) fn split_percent(&self) -> f64 {
        let arms = self.route.as_ref().map(|route| route.arms.as_slice());
        let new =
            arms.and_then(|arms| arms.iter().find(|arm| arm.backend.as_str().ends_with("v2")));
        new.map_or(0.0, |arm| arm.percent)
    }

    /// How each version does now.
    pub(super) fn now(&self, now: Instant) -> [Now; 2] {
        self.arms.each_ref().map(|arm| arm.now(now, self.started))
    }

    /// Adds a line to the log.
    pub(super) fn log(&mut self, now: Instant, tone: Tone, words: String) {
        let at = now - self.started;
        self.log.push_back(Entry { at, tone, words });
        if self.log.len() > LOG_KEPT {
            self.log.pop_front();
        }
    }

    fn leave(&mut self, version: &str) {
        if let Some(arm) = self.arm(version) {
            arm.sessions = arm.sessions.saturating_sub(1);
        }
    }

    fn arm(&mut self, version: &str) -> Option<&mut Arm> {
        let place = VERSIONS.iter().position(|known| *known == version)?;
        self.arms.get_mut(place)
    }
}

impl Arm {
    fn now(&self, now: Instant, started: Instant) -> Now {
        let recent = || {
            self.samples
                .iter()
                .filter(|sample| now - sample.at <= RECENT)
        };
        let mut latencies: Vec<Duration> = recent().map(|sample| sample.latency).collect();
        if latencies.is_empty() {
            return Now::default();
        }
        latencies.sort_unstable();
        let at = |quantile: f64| {
            let place = (quantile * (latencies.len() - 1) as f64).round() as usize;
            latencies
                .get(place)
                .map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
        };
        let errors = recent().filter(|sample| sample.is_error).count();
        let seconds = RECENT.min(now - started).as_secs_f64().max(1.0);
        Now {
            per_second: latencies.len() as f64 / seconds,
            error_percent: 100.0 * errors as f64 / latencies.len() as f64,
            latencies: Some([at(0.5), at(0.95), at(0.99)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answered(agent: u64, version: &str, ms: u64, is_error: bool) -> Sight {
        let version = version.to_owned();
        let latency = Duration::from_millis(ms);
        Sight::Answered {
            agent,
            version,
            latency,
            is_error,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rates_and_latencies_are_of_the_last_seconds() {
        let start = Instant::now();
        let mut board = Board::new(start);
        board.see(answered(1, "v1", 900, true), start);
        let later = start + Duration::from_secs(20);
        for ms in 1..=100 {
            board.see(answered(1, "v1", ms, ms > 98), later);
        }

        let [v1, v2] = board.now(later);

        assert!((v1.per_second - 20.0).abs() < 1e-9);
        assert!((v1.error_percent - 2.0).abs() < 1e-9);
        assert_eq!(
            v1.latencies.map(|l| l.map(f64::round)),
            Some([51.0, 95.0, 99.0])
        );
        assert_eq!(v2, Now::default());
        assert_eq!(board.arms[0].calls, 101);
        assert_eq!(board.seconds.len(), 21);
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_are_where_their_calls_are_answered() {
        let now = Instant::now();
        let mut board = Board::new(now);
        for _ in 0..3 {
            board.see(
                Sight::Opened {
                    version: "v2".into(),
                },
                now,
            );
        }
        board.see(
            Sight::Moved {
                from: "v2".into(),
                to: "v1".into(),
            },
            now,
        );
        board.see(
            Sight::Closed {
                version: "v2".into(),
            },
            now,
        );

        assert_eq!(board.arms.each_ref().map(|arm| arm.sessions), [1, 1]);
        assert_eq!((board.moved, board.lost), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_revert_tells_how_long_it_took_and_whom_it_hurt() {
        let start = Instant::now();
        let mut board = Board::new(start);
        board.see(answered(7, "v2", 5, true), start);
        board.goes_bad(start);
        board.see(answered(1, "v2", 5, true), start);
        board.see(answered(1, "v2", 5, true), start);
        board.see(answered(2, "v1", 5, true), start);
        let event = serde_json::from_value(json!({
            "sequence": 9, "at": "2026-11-21T04:31:27Z", "kind": "rollout_reverted", "generation": 4,
            "who": "judge", "message": "switched back",
            "details": { "why": "error_rate_high", "actuation_us": 640 },
        }));
        board.hear(&event.unwrap(), start + Duration::from_secs(2));

        let ending = board.ending.unwrap();
        assert!(!ending.promoted);
        assert_eq!(ending.reason, "error_rate_high");
        assert_eq!(ending.after_going_bad, Some(Duration::from_secs(2)));
        assert_eq!(ending.actuation, Some(Duration::from_micros(640)));
        assert_eq!((board.bad_answers, board.hurt.len()), (2, 1));
    }
}
