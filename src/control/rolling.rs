//! Candidates whose endpoints take over in batches: each is asked how it is, and only those that are
//! well take traffic.
//!
//! What the checks say is kept with the rollout, so that a restart forgets no endpoint that has failed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep};

use crate::model::{BackendName, RevertReason, RolloutId, RouteName};
use crate::rollout::spec::RollingSpec;
use crate::rollout::{Event as Step, Part, Report, RollingFinding, RollingReport};
use crate::upstream::Conditions;
use crate::upstream::health::look_at;
use crate::upstream::spec::{BackendSpec, EndpointUrl};

use super::actor::Control;
use super::author::Author;
use super::change::Draft;
use super::desired::{RouteState, Run};
use super::event::What;
use super::standby::Asking;

/// Most checks that run at once.
const CHECKS: usize = 64;
/// Results of an endpoint's checks that wait to be heard; it is not asked meanwhile.
const RESULTS: usize = 16;
/// Longest time between two looks that counts as waited: a process that stood still has not asked.
const MAX_STEP: Duration = Duration::from_secs(5);

/// The endpoints that are asked.
#[derive(Debug)]
pub(super) struct Rollings {
    routes: BTreeMap<RouteName, Rolling>,
    permits: Arc<Semaphore>,
}

/// The endpoints of one rollout.
#[derive(Debug)]
struct Rolling {
    rollout: RolloutId,
    watches: BTreeMap<EndpointUrl, Watch>,
    looked: Instant,
}

/// What hears of an endpoint; dropping it ends the asking.
#[derive(Debug)]
struct Watch {
    results: mpsc::Receiver<Result<(), String>>,
    _asking: Asking,
}

impl Default for Rollings {
    fn default() -> Self {
        Self {
            routes: BTreeMap::new(),
            permits: Arc::new(Semaphore::new(CHECKS)),
        }
    }
}

impl Rollings {
    /// The route's rollout is over.
    pub(super) fn forget(&mut self, route: &RouteName) {
        self.routes.remove(route);
    }

    /// The rollouts of all other routes are over.
    pub(super) fn retain(&mut self, runs: impl Fn(&RouteName) -> bool) {
        self.routes.retain(|route, _| runs(route));
    }
}

impl Run {
    /// How the candidate's endpoints take over, and which part of them has or is waited for.
    fn batch(&self) -> Option<(&RollingSpec, Part)> {
        let spec = self.plan.rolling.as_ref()?;
        let awaited = self.state.awaits_health();
        let part = match awaited {
            Some(index) => self.plan.stage(index)?.endpoints,
            None => self.state.endpoints(&self.plan),
        };
        Some((spec, part?))
    }

    /// Whether its candidate has no traffic yet, and may well be starting.
    pub(super) fn has_to_start(&self) -> bool {
        let starts = self.state.awaits_health() == Some(self.plan.first());
        starts || self.state.is_on_standby(&self.plan)
    }

    /// Whether an endpoint of its candidate has passed its checks, and not failed since.
    fn has_taken_over(&self, endpoint: &EndpointUrl) -> bool {
        let report = self.rolling.as_ref();
        report.is_some_and(|report| report.is_healthy(&endpoint.to_string()))
    }
}

/// Places of the endpoints of a backend that take new traffic, where not all of them do: of the
/// candidate those that have taken over, of stable those that have not been taken over from. One
/// that a new file brings takes some once it is healthy, too.
pub(super) fn takers(
    state: &RouteState,
    backend: &BackendName,
    spec: &BackendSpec,
) -> Option<Vec<usize>> {
    let run = state.running()?;
    let part = run.state.endpoints(&run.plan)?;
    let all = spec.endpoints.len();
    if *backend == run.stable {
        let percent = run.state.percent(&run.plan);
        return Some((part.replaced(all, percent)..all).collect());
    }
    if *backend != run.candidate {
        return None;
    }
    let first = spec.endpoints.iter().take(part.of(all)).enumerate();
    let well = first.filter(|(_, url)| run.has_taken_over(url));
    let well: Vec<usize> = well.map(|(place, _)| place).collect();
    if well.is_empty() {
        return Some((0..part.of(all)).collect());
    }
    Some(well)
}

impl Control {
    /// Looks at the endpoints of a route's candidate that take over in batches, and lets the rollout
    /// hear of them.
    pub(super) fn look_at_batch(&mut self, route: &RouteName, seen: Instant) {
        let state = self.desired.routes.get_mut(route);
        let run = state.and_then(|state| state.run.as_deref_mut());
        let run = run.filter(|run| !run.state.is_finished());
        let part = run.as_ref().and_then(|run| run.batch());
        let Some((spec, part)) = part.map(|(spec, part)| (spec.clone(), part)) else {
            return self.rollings.forget(route);
        };
        let Some(run) = run else {
            return;
        };
        let backends = &self.config.spec().backends;
        let Some(backend) = backends.get(&run.candidate) else {
            return;
        };
        let wanted = backend
            .endpoints
            .iter()
            .take(part.of(backend.endpoints.len()));
        let wanted: Vec<_> = wanted.cloned().collect();
        let asker = Asker {
            conditions: &self.conditions,
            candidate: &run.candidate,
            permits: &self.rollings.permits,
            interval: spec.health_interval,
        };
        let known = self.rollings.routes.entry(route.clone());
        let known = known.or_insert_with(|| Rolling::of(run.id, seen));
        if known.rollout != run.id {
            *known = Rolling::of(run.id, seen);
        }
        known.follow(&wanted, &asker);
        let mut report = run.rolling.take().unwrap_or_default();
        let before = report.clone();
        known.read_on(&mut report, (&wanted, run.state.is_paused()), &spec, seen);
        let finding = report.finding(&spec);
        let (failed, is_same) = (report.failed_since(&before), report.stands_as(&before));
        run.rolling = Some(report);
        let is_awaited = run.state.awaits_health().is_some();
        let (id, candidate) = (run.id, run.candidate.clone());
        if !is_same {
            // Other endpoints take traffic from now on.
            self.ledger.dirty = true;
            self.publish();
        }
        self.tell_of_failed(route, (id, &candidate), failed);
        self.follow_finding(route, (finding, is_awaited), seen);
    }

    /// Lets the rollout take the step that follows from how its endpoints are.
    fn follow_finding(
        &mut self,
        route: &RouteName,
        (finding, is_awaited): (RollingFinding, bool),
        seen: Instant,
    ) {
        let author = Author::new("rolling", None);
        match finding {
            RollingFinding::TooManyFailed => {
                let back = Step::Revert(RevertReason::HealthCheckFailed);
                self.step(route, back, author, seen);
            }
            RollingFinding::Ready if is_awaited && self.ledger.saving.is_none() => {
                if !self.keeps_batch(route) {
                    self.step(route, Step::Report(Report::Ready), author, seen);
                }
            }
            // What is not taken now is taken at the next look.
            RollingFinding::Ready | RollingFinding::Waiting => {}
        }
    }

    /// Tells of endpoints that have failed.
    fn tell_of_failed(
        &mut self,
        route: &RouteName,
        (rollout, candidate): (RolloutId, &BackendName),
        failed: Vec<(String, String)>,
    ) {
        for (endpoint, why) in failed {
            self.tell(Draft {
                route: Some(route.clone()),
                rollout: Some(rollout),
                author: Author::new("rolling", None),
                what: What::RolloutEndpointFailed {
                    backend: candidate.clone(),
                    endpoint,
                    why,
                },
            });
        }
    }
}

/// Whom to ask, and how often.
struct Asker<'a> {
    conditions: &'a Arc<Conditions>,
    candidate: &'a BackendName,
    permits: &'a Arc<Semaphore>,
    interval: Duration,
}

impl Rolling {
    fn of(rollout: RolloutId, now: Instant) -> Self {
        Self {
            rollout,
            watches: BTreeMap::new(),
            looked: now,
        }
    }

    /// Asks these endpoints from now on, and no others.
    fn follow(&mut self, wanted: &[EndpointUrl], asker: &Asker<'_>) {
        self.watches.retain(|url, _| wanted.contains(url));
        for url in wanted {
            let watch = self.watches.entry(url.clone());
            watch.or_insert_with(|| asker.watch(url));
        }
    }

    /// Adds what is new to a report.
    fn read_on(
        &mut self,
        report: &mut RollingReport,
        (wanted, is_paused): (&[EndpointUrl], bool),
        spec: &RollingSpec,
        now: Instant,
    ) {
        let names: Vec<_> = wanted.iter().map(ToString::to_string).collect();
        report.follow(names.iter().map(String::as_str));
        for (name, url) in names.iter().zip(wanted) {
            let Some(watch) = self.watches.get_mut(url) else {
                continue;
            };
            while let Ok(checked) = watch.results.try_recv() {
                report.note(name, checked, spec);
            }
        }
        let went_by = now.saturating_duration_since(self.looked).min(MAX_STEP);
        self.looked = now;
        if !is_paused {
            report.wait(went_by, spec);
        }
    }
}

impl Asker<'_> {
    fn watch(&self, url: &EndpointUrl) -> Watch {
        let (sender, results) = mpsc::channel(RESULTS);
        let conditions = Arc::clone(self.conditions);
        let (candidate, url) = (self.candidate.clone(), url.clone());
        let (permits, interval) = (Arc::clone(self.permits), self.interval);
        let asking = tokio::spawn(async move {
            loop {
                let Ok(permit) = permits.acquire().await else {
                    return;
                };
                let checked = look_at(&conditions, &candidate, &url).await;
                drop(permit);
                if let Some(checked) = checked
                    && sender.send(checked).await.is_err()
                {
                    return;
                }
                sleep(interval).await;
            }
        });
        Watch {
            results,
            _asking: Asking::new(asking),
        }
    }
}
