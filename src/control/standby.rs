//! Candidates on standby: whether they are healthy, and what they answer to smoke requests.
//!
//! Nothing of it is written down: a restart asks again, which hurts nobody, since a candidate on
//! standby has no traffic.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::Config;
use crate::model::{BackendName, RevertReason, RolloutId, RouteName};
use crate::rollout::spec::{SmokeSpec, StandbySpec};
use crate::rollout::{Event as Step, Report};
use crate::upstream::health::HealthState;
use crate::upstream::{Conditioned, Conditions, Smoke, smoke};

use super::actor::Control;
use super::author::Author;
use super::change::Draft;
use super::desired::Run;
use super::event::What;

/// What is known of the candidates on standby.
#[derive(Debug, Default)]
pub(super) struct Standbys(BTreeMap<RouteName, Standby>);

impl Standbys {
    /// The rollouts of all other routes are over.
    pub(super) fn retain(&mut self, runs: impl Fn(&RouteName) -> bool) {
        self.0.retain(|route, _| runs(route));
    }
}

/// A candidate on standby.
#[derive(Debug)]
struct Standby {
    rollout: RolloutId,
    /// Since when it has been healthy without a break.
    healthy: Option<Instant>,
    tried: Tried,
}

/// What came of the smoke requests.
#[derive(Debug)]
enum Tried {
    NotYet,
    Running {
        answer: oneshot::Receiver<Result<(), String>>,
        /// Kept so that dropping it ends the task.
        _asking: Asking,
    },
    Passed,
    Failed,
}

/// Stops asking when nobody waits for it any more.
#[derive(Debug)]
pub(super) struct Asking(JoinHandle<()>);

impl Asking {
    pub(super) fn new(task: JoinHandle<()>) -> Self {
        Self(task)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a look at a candidate comes to.
struct Look {
    report: Report,
    /// What is to be told before.
    what: Option<What>,
}

impl Look {
    fn quiet(report: Report) -> Self {
        Self { report, what: None }
    }
}

impl Control {
    /// Looks at a route's candidate while it is on standby, and lets the rollout hear of it.
    /// Says whether that is so.
    pub(super) fn look_at_standby(&mut self, route: &RouteName, seen: Instant) -> bool {
        let state = self.desired.routes.get(route);
        let run = state.and_then(|state| state.running());
        let Some((run, spec)) = run.and_then(|run| Some((run, run.standby()?))) else {
            self.standbys.0.remove(route);
            return false;
        };
        let known = self.standbys.0.entry(route.clone());
        let known = known.or_insert_with(|| Standby::of(run.id));
        if known.rollout != run.id {
            *known = Standby::of(run.id);
        }
        let asked = Asked {
            conditions: &self.conditions,
            candidate: &run.candidate,
            spec,
            host: host(&self.config, route),
        };
        let id = run.id;
        let look = known.look(&asked, seen);
        if let Some(what) = look.what {
            self.tell(Draft {
                route: Some(route.clone()),
                rollout: Some(id),
                author: Author::new("standby", None),
                what,
            });
        }
        let author = Author::new("standby", None);
        self.step(route, Step::Report(look.report), author, seen);
        true
    }
}

/// Whom to look at, and how.
struct Asked<'a> {
    conditions: &'a Arc<Conditions>,
    candidate: &'a BackendName,
    spec: &'a StandbySpec,
    /// The host of the route.
    host: Option<HeaderValue>,
}

impl Standby {
    fn of(rollout: RolloutId) -> Self {
        Self {
            rollout,
            healthy: None,
            tried: Tried::NotYet,
        }
    }

    fn look(&mut self, asked: &Asked<'_>, now: Instant) -> Look {
        let known = asked.conditions.find(asked.candidate);
        if !known.is_some_and(|known| is_healthy(&known)) {
            self.healthy = None;
            return Look::quiet(Report::NotYet);
        }
        let since = *self.healthy.get_or_insert(now);
        if now.saturating_duration_since(since) < asked.spec.healthy_for {
            return Look::quiet(Report::NotYet);
        }
        match &mut self.tried {
            Tried::NotYet if asked.spec.smoke.is_empty() => {
                self.tried = Tried::Passed;
                Look::quiet(Report::Ready)
            }
            Tried::NotYet => {
                self.tried = begin(asked);
                Look::quiet(Report::NotYet)
            }
            Tried::Running { answer, .. } => match answer.try_recv() {
                Ok(Ok(())) => {
                    self.tried = Tried::Passed;
                    Look {
                        report: Report::Ready,
                        what: Some(What::RolloutSmokePassed {
                            backend: asked.candidate.clone(),
                            requests: u32::try_from(asked.spec.smoke.len()).unwrap_or(u32::MAX),
                        }),
                    }
                }
                Ok(Err(why)) => {
                    self.tried = Tried::Failed;
                    Look {
                        report: Report::Failed(RevertReason::HealthCheckFailed),
                        what: Some(What::RolloutSmokeFailed {
                            backend: asked.candidate.clone(),
                            why,
                        }),
                    }
                }
                Err(oneshot::error::TryRecvError::Empty) => Look::quiet(Report::NotYet),
                // Whoever asked is gone without a word: it is asked again.
                Err(oneshot::error::TryRecvError::Closed) => {
                    self.tried = Tried::NotYet;
                    Look::quiet(Report::NotYet)
                }
            },
            Tried::Passed => Look::quiet(Report::Ready),
            Tried::Failed => Look::quiet(Report::Failed(RevertReason::HealthCheckFailed)),
        }
    }
}

impl Run {
    /// How the candidate is to prove itself, while it is on standby.
    fn standby(&self) -> Option<&StandbySpec> {
        let standby = self.plan.standby.as_ref();
        standby.filter(|_| self.state.is_on_standby(&self.plan))
    }
}

/// Whether every endpoint is fit for traffic, as far as anybody checks.
fn is_healthy(known: &Conditioned) -> bool {
    let mut endpoints = known.endpoints.values();
    let fit = |state| match state {
        HealthState::Healthy | HealthState::Unchecked => true,
        HealthState::Unknown | HealthState::Unready | HealthState::Unhealthy => false,
    };
    !known.endpoints.is_empty() && endpoints.all(|it| it.is_usable() && fit(it.health().state))
}

/// The host that a route is for, where it is for one.
fn host(config: &Config, route: &RouteName) -> Option<HeaderValue> {
    let mut routes = config.spec().routes.iter();
    let spec = routes.find(|spec| spec.name == *route)?;
    let host = spec.matches.host.as_deref();
    host.and_then(|host| HeaderValue::try_from(host).ok())
}

fn begin(asked: &Asked<'_>) -> Tried {
    let requests: Vec<_> = asked.spec.smoke.iter().filter_map(request).collect();
    let conditions = Arc::clone(asked.conditions);
    let (candidate, host) = (asked.candidate.clone(), asked.host.clone());
    let (sender, answer) = oneshot::channel();
    let asking = tokio::spawn(async move {
        let passed = smoke(&conditions, &candidate, (&requests, host.as_ref())).await;
        // Nobody waits any more when the rollout is over.
        let _ = sender.send(passed.map_err(|error| error.to_string()));
    });
    Tried::Running {
        answer,
        _asking: Asking(asking),
    }
}

/// The checked form of a request; those of a checked plan all have one.
fn request(spec: &SmokeSpec) -> Option<Smoke> {
    Some(Smoke {
        method: spec.method()?,
        target: spec.target()?,
        fields: spec.fields().collect(),
        body: Bytes::copy_from_slice(spec.body.as_bytes()),
        status: StatusCode::from_u16(spec.expect_status).ok()?,
        contains: spec.expect_body_contains.clone(),
        timeout: spec.timeout,
    })
}
