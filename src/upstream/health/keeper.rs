//! Keeps the conditions of all endpoints true: checks, lookups, breakers, outliers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use crate::model::BackendName;
use crate::upstream::breaker::BreakerPhase;
use crate::upstream::condition::Condition;
use crate::upstream::conditions::{Conditioned, Conditions};
use crate::upstream::names;
use crate::upstream::shard::Tally;
use crate::upstream::spec::{BackendSpec, EndpointUrl, HealthSpec};

use super::check::{Check, Question};
use super::watch::{self, Window};

/// Time between looks at what the calls say.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Most checks that run at once.
const CHECKS: usize = 256;

/// Keeps the conditions true by the file, for as long as it is polled. Ends never.
pub async fn keep(conditions: Arc<Conditions>) {
    let mut keeper = Keeper {
        conditions,
        permits: Arc::new(Semaphore::new(CHECKS)),
        jobs: BTreeMap::new(),
        running: JoinSet::new(),
        watched: BTreeMap::new(),
    };
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        keeper.follow();
        loop {
            tokio::select! {
                () = keeper.conditions.adopted() => break,
                _ = look.tick() => keeper.look(),
                Some(_) = keeper.running.join_next(), if !keeper.running.is_empty() => {}
            }
        }
    }
}

/// What a job does for an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Check(Question),
    Lookup,
}

type Key = (BackendName, EndpointUrl, Task);

/// One job that runs.
struct Job {
    /// What it goes by, its backend's endpoints left out.
    spec: Arc<BackendSpec>,
    /// The condition that it writes to.
    condition: Arc<Condition>,
    handle: AbortHandle,
}

impl Drop for Job {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

struct Keeper {
    conditions: Arc<Conditions>,
    permits: Arc<Semaphore>,
    jobs: BTreeMap<Key, Job>,
    /// Dropped with the keeper, which ends all of them.
    running: JoinSet<()>,
    watched: BTreeMap<BackendName, Watched>,
}

/// What is remembered of a backend's calls.
#[derive(Default)]
struct Watched {
    window: Window,
    /// When the endpoints' counts were compared last, and what they were.
    compared: Duration,
    before: BTreeMap<EndpointUrl, Tally>,
}

impl Keeper {
    /// Begins and ends jobs so that they are those of the file. One whose backend has not changed
    /// goes on.
    fn follow(&mut self) {
        let (all, now) = (self.conditions.all(), self.conditions.now());
        let mut before = std::mem::take(&mut self.jobs);
        for known in &all {
            let alone = Arc::new(BackendSpec {
                endpoints: Vec::new(),
                ..(*known.spec).clone()
            });
            for (url, condition) in &known.endpoints {
                condition.keep_checks(known.spec.health.as_ref(), now);
                for task in tasks(&known.spec, url) {
                    let key = (known.backend.name().clone(), url.clone(), task);
                    let same = before
                        .remove(&key)
                        .filter(|job| job.spec == alone && Arc::ptr_eq(&job.condition, condition));
                    let job =
                        same.unwrap_or_else(|| self.begin((known, url), condition, (task, &alone)));
                    self.jobs.insert(key, job);
                }
            }
        }
        self.watched
            .retain(|name, _| all.iter().any(|known| known.backend.name() == name));
    }

    fn begin(
        &mut self,
        (known, url): (&Conditioned, &EndpointUrl),
        condition: &Arc<Condition>,
        (task, alone): (Task, &Arc<BackendSpec>),
    ) -> Job {
        let handle = match task {
            Task::Check(question) => {
                let mut spec = question_of(&known.spec, question)
                    .cloned()
                    .unwrap_or_default();
                if let Some(file) = &mut spec.token_file {
                    *file = self.conditions.folder().join(&file);
                }
                let tls = self.conditions.tls_of(known.backend.name());
                let check = Check::new(
                    (known.backend.name(), (&known.spec, tls.as_ref())),
                    (url, condition),
                    (question, &spec),
                    self.conditions.began(),
                );
                self.running.spawn(check.run(Arc::clone(&self.permits)))
            }
            Task::Lookup => {
                let dns = known.spec.dns.clone();
                let within = dns.timeout;
                let (host, port) = names::name_of(url).unwrap_or_default();
                let condition = Arc::clone(condition);
                self.running.spawn(async move {
                    let lookup = || names::resolve(&host, port, within);
                    names::follow(condition, dns, lookup).await;
                })
            }
        };
        Job {
            spec: Arc::clone(alone),
            condition: Arc::clone(condition),
            handle,
        }
    }

    /// Looks at what the calls say of every backend.
    fn look(&mut self) {
        let now = self.conditions.now();
        for known in self.conditions.watched() {
            let name = known.backend.name().clone();
            let watched = self.watched.entry(name).or_default();
            watched.mind_breaker(&known, now);
            watched.mind_outliers(&known, now);
        }
    }
}

impl Watched {
    /// Opens the breaker of a backend that fails too much.
    fn mind_breaker(&mut self, known: &Conditioned, now: Duration) {
        if known.spec.breaker.failure_percent.is_none() {
            return;
        }
        if known.backend.breaker() != BreakerPhase::Closed {
            self.window.clear();
            return;
        }
        let mut sum = Tally::default();
        for condition in known.endpoints.values() {
            sum.add(&condition.tally());
        }
        let counts = (sum.attempts(), sum.failures());
        if self.window.is_over(&known.spec.breaker, counts, now) && known.backend.trip() {
            tracing::warn!(backend = %known.backend.name(), "a breaker opens: too many calls fail");
            self.window.clear();
        }
    }

    /// Ejects endpoints that fail more often than the others.
    fn mind_outliers(&mut self, known: &Conditioned, now: Duration) {
        let Some(spec) = &known.spec.ejection.outliers else {
            self.before.clear();
            return;
        };
        if now < self.compared + spec.interval {
            return;
        }
        let tallies: BTreeMap<_, _> = known
            .endpoints
            .iter()
            .map(|(url, condition)| (url.clone(), condition.tally()))
            .collect();
        let counts: Vec<_> = tallies
            .iter()
            .map(|(url, tally)| match self.before.get(url) {
                Some(before) => watch::since(tally, before),
                None => (0, 0),
            })
            .collect();
        for place in watch::outliers(&counts, spec) {
            if let Some((url, condition)) = known.endpoints.iter().nth(place)
                && known.backend.eject(condition)
            {
                tracing::warn!(backend = %known.backend.name(), endpoint = %url, "an endpoint is ejected: it fails more often than the others");
            }
        }
        self.before = tallies;
        self.compared = now;
    }
}

/// What is to be done for an endpoint.
fn tasks(spec: &BackendSpec, url: &EndpointUrl) -> Vec<Task> {
    let asks = [Question::Lives, Question::Ready]
        .into_iter()
        .filter(|question| question_of(spec, *question).is_some())
        .map(Task::Check);
    let lookup = names::name_of(url).map(|_| Task::Lookup);
    asks.chain(lookup).collect()
}

/// How a question is asked, if it is.
fn question_of(spec: &BackendSpec, question: Question) -> Option<&HealthSpec> {
    let health = spec.health.as_ref()?;
    match question {
        Question::Lives => Some(health),
        Question::Ready => health.ready.as_deref(),
    }
}
