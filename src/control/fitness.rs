//! How fit backends and their endpoints are: for the status, for the history, and for rollouts.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{BackendName, RevertReason, RouteName};
use crate::upstream::health::HealthState;
use crate::upstream::spec::EndpointUrl;
use crate::upstream::{BreakerPhase, Conditioned, Conditions, Failure, Shed, Tally};

use super::actor::Control;
use super::author::Author;
use super::change::Draft;
use super::event::What;
use super::timestamp::Timestamp;

/// Time between events about one endpoint or breaker, so that one that flaps does not fill the
/// history.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// Most such events at one look; the rest is told at the next.
const TOLD_AT_ONCE: usize = 16;
/// Longest kept reason, in characters.
const WHY_CHARS: usize = 256;

/// How fit a backend is.
#[derive(Clone, Debug)]
pub struct FitnessStatus {
    /// How its breaker stands.
    pub breaker: BreakerPhase,
    /// How often that opened because too many calls failed.
    pub breaker_opened: u64,
    /// Calls and connections that the backend was spared, by why.
    pub shed: Vec<(Shed, u64)>,
    /// Connections that are being made.
    pub connecting: u32,
    /// Each endpoint, in the order of the file.
    pub endpoints: Vec<EndpointStatus>,
}

/// One endpoint.
#[derive(Clone, Debug)]
pub struct EndpointStatus {
    /// Its address.
    pub endpoint: String,
    /// Whether calls go there.
    pub is_usable: bool,
    /// How it is, by its checks.
    pub health: HealthState,
    /// Since when; `None` without checks.
    pub since: Option<Timestamp>,
    /// The latest check.
    pub last_check: Option<CheckStatus>,
    /// Checks that passed, and that failed.
    pub checks: (u64, u64),
    /// Until when it is ejected.
    pub ejected_until: Option<Timestamp>,
    /// How often it was ejected.
    pub ejections: u64,
    /// Lookups of its name that failed.
    pub lookup_failures: u64,
    /// What was counted of its calls.
    pub tally: Tally,
}

/// One health check.
#[derive(Clone, Debug)]
pub struct CheckStatus {
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// Why it failed; `None` when it passed.
    pub failure: Option<String>,
}

impl EndpointStatus {
    /// Calls that failed in this way.
    pub fn failed(&self, failure: Failure) -> u64 {
        let count = self.tally.failed.get(failure.index());
        count.copied().unwrap_or(0)
    }
}

/// How fit a backend is now; its endpoints in this order.
pub(super) fn status_of(
    conditions: &Conditions,
    name: &BackendName,
    endpoints: &[EndpointUrl],
) -> Option<FitnessStatus> {
    let known = conditions.find(name)?;
    let clock = Clock {
        now: conditions.now(),
        at: Timestamp::now(),
    };
    let shed = Shed::ALL.map(|why| (why, known.backend.shed(why)));
    Some(FitnessStatus {
        breaker: known.backend.breaker(),
        breaker_opened: known.backend.opened(),
        shed: shed.to_vec(),
        connecting: known.backend.connecting(),
        endpoints: endpoints
            .iter()
            .filter_map(|url| endpoint_of(&known, url, clock))
            .collect(),
    })
}

/// The present moment, as conditions count it and on the wall.
#[derive(Clone, Copy)]
struct Clock {
    now: Duration,
    at: Timestamp,
}

impl Clock {
    fn wall(self, time: Duration) -> Timestamp {
        match time.checked_sub(self.now) {
            Some(ahead) => self.at.after(ahead),
            None => self.at.before(self.now.saturating_sub(time)),
        }
    }
}

fn endpoint_of(known: &Conditioned, url: &EndpointUrl, clock: Clock) -> Option<EndpointStatus> {
    let condition = known.endpoints.get(url)?;
    let health = condition.health();
    let is_checked = health.state != HealthState::Unchecked;
    Some(EndpointStatus {
        endpoint: url.to_string(),
        is_usable: condition.is_usable(),
        health: health.state,
        since: is_checked.then(|| clock.wall(health.since)),
        last_check: health.last.map(|last| CheckStatus {
            at: clock.wall(last.at),
            took: last.took,
            failure: last.failure,
        }),
        checks: health.checks,
        ejected_until: condition.ejected_until().map(|until| clock.wall(until)),
        ejections: condition.ejections(),
        lookup_failures: condition.lookup_failures(),
        tally: condition.tally(),
    })
}

/// What was told last of each endpoint and each breaker.
#[derive(Debug, Default)]
pub(super) struct Told {
    endpoints: BTreeMap<(BackendName, EndpointUrl), Last<HealthState>>,
    breakers: BTreeMap<BackendName, Last<u64>>,
}

#[derive(Debug)]
struct Last<T> {
    value: T,
    at: Option<Duration>,
}

impl<T> Last<T> {
    fn may_tell(&self, now: Duration) -> bool {
        self.at.is_none_or(|at| now >= at + TOLD_EVERY)
    }
}

impl Told {
    /// What has changed since it was told last, as far as it may be told now.
    fn news(&mut self, all: &[Conditioned], now: Duration) -> Vec<What> {
        let mut news = Vec::new();
        for known in all {
            self.news_of_endpoints(known, now, &mut news);
            self.news_of_breaker(known, now, &mut news);
        }
        let has = |name: &BackendName| all.iter().find(|known| known.backend.name() == name);
        self.breakers.retain(|name, _| has(name).is_some());
        self.endpoints.retain(|(name, url), _| {
            has(name).is_some_and(|known| known.endpoints.contains_key(url))
        });
        news
    }

    fn news_of_endpoints(&mut self, known: &Conditioned, now: Duration, news: &mut Vec<What>) {
        for (url, condition) in &known.endpoints {
            let health = condition.health();
            let key = (known.backend.name().clone(), url.clone());
            let last = self.endpoints.entry(key).or_insert(Last {
                value: HealthState::Unchecked,
                at: None,
            });
            if last.value == health.state || !last.may_tell(now) || news.len() >= TOLD_AT_ONCE {
                continue;
            }
            let from = std::mem::replace(&mut last.value, health.state);
            // That it begins to be asked, and is well, is no news.
            let is_news = is_bad(from) || is_bad(health.state);
            if is_news {
                last.at = Some(now);
                news.push(What::EndpointHealth {
                    backend: known.backend.name().clone(),
                    endpoint: url.to_string(),
                    from: from.as_str().to_owned(),
                    to: health.state.as_str().to_owned(),
                    why: health
                        .last
                        .and_then(|last| last.failure)
                        .map(|why| why.chars().take(WHY_CHARS).collect()),
                });
            }
        }
    }

    fn news_of_breaker(&mut self, known: &Conditioned, now: Duration, news: &mut Vec<What>) {
        let name = known.backend.name();
        let opened = known.backend.opened();
        let last = self
            .breakers
            .entry(name.clone())
            .or_insert(Last { value: 0, at: None });
        if last.value == opened || !last.may_tell(now) || news.len() >= TOLD_AT_ONCE {
            return;
        }
        news.push(What::BreakerOpened {
            backend: name.clone(),
            times: opened.saturating_sub(last.value),
        });
        last.value = opened;
        last.at = Some(now);
    }
}

fn is_bad(state: HealthState) -> bool {
    match state {
        HealthState::Unready | HealthState::Unhealthy => true,
        HealthState::Unchecked | HealthState::Unknown | HealthState::Healthy => false,
    }
}

impl Control {
    /// Tells what has changed of endpoints and breakers.
    pub(super) fn tell_fitness(&mut self) {
        if self.ledger.saving.is_some() {
            // The next look tells it.
            return;
        }
        let all = self.conditions.all();
        for what in self.told.news(&all, self.conditions.now()) {
            self.tell(Draft {
                route: None,
                rollout: None,
                author: Author::new("control", None),
                what,
            });
        }
    }

    /// The rollouts whose candidate is dead while stable is not, and why that is so.
    pub(super) fn dead_candidates(&self) -> Vec<(RouteName, RevertReason)> {
        let running = self.desired.routes.iter();
        let dead = running.filter_map(|(route, state)| {
            let run = state.running()?;
            if run.has_to_start() {
                // It may well be starting, and no traffic depends on it.
                return None;
            }
            let reason = why_dead(&self.conditions.find(&run.candidate)?)?;
            let stable = self.conditions.find(&run.stable)?;
            why_dead(&stable).is_none().then(|| (route.clone(), reason))
        });
        dead.collect()
    }
}

/// Why a backend is dead, if it is: every endpoint fails its checks, or the breaker is open.
fn why_dead(known: &Conditioned) -> Option<RevertReason> {
    let mut endpoints = known.endpoints.values();
    if known.backend.breaker() != BreakerPhase::Closed {
        return Some(RevertReason::CircuitBreaker);
    }
    let all_dead =
        !known.endpoints.is_empty() && endpoints.all(|condition| condition.is_unhealthy());
    all_dead.then_some(RevertReason::HealthCheckFailed)
}
