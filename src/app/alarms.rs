//! What alerts look at: the picture of control, the process, and its bounds.

use std::fs;
use std::time::Duration;

use crate::control::{CallNumbers, RolloutPhase, RouteStatus, Status, What};
use crate::model::OutcomeSet;
use crate::notify::spec::{AlertKind, AlertSpec};
use crate::notify::{NotifierStatus, Reading, Turn};
use crate::proxy::Caps;

/// Fewest calls that an error rate or a latency is told of.
const ENOUGH_CALLS: u64 = 20;

/// Everything that can be read, at one moment.
pub(super) struct Readings<'a> {
    pub(super) status: &'a Status,
    pub(super) caps: &'a Caps,
    pub(super) notifiers: Vec<NotifierStatus>,
}

impl Readings<'_> {
    /// What a rule is held against; the worst where it is about several.
    pub(super) fn of(&self, spec: &AlertSpec) -> Option<Reading> {
        match spec.when {
            AlertKind::ErrorRate => self.worst_call(spec, |calls, bad| {
                let failed = calls.outcomes.iter().filter(|(one, _)| bad.contains(*one));
                let failed: u64 = failed.map(|(_, count)| count).sum();
                Some(failed as f64 / calls.total as f64)
            }),
            AlertKind::LatencyP99 => self.worst_call(spec, |calls, _| {
                calls.latency.map(|latency| latency.p99.as_secs_f64())
            }),
            AlertKind::Connections => Some(process(self.caps.connections_taken(), "connections")),
            AlertKind::Requests => Some(process(self.caps.requests_taken(), "requests")),
            AlertKind::Descriptors => Some(process(descriptors()?, "descriptors")),
            AlertKind::Memory => Some(process(resident_bytes()?, "memory")),
            AlertKind::Queue => self.fullest_queue(),
            AlertKind::Unhealthy => self.least_healthy(spec),
            AlertKind::Held => Some(self.held(spec)),
        }
    }

    fn routes<'b>(&'b self, spec: &'b AlertSpec) -> impl Iterator<Item = &'b RouteStatus> {
        let routes = self.status.routes.iter();
        routes.filter(|route| spec.route.as_ref().is_none_or(|name| *name == route.name))
    }

    fn worst_call(
        &self,
        spec: &AlertSpec,
        value: impl Fn(&CallNumbers, &OutcomeSet) -> Option<f64>,
    ) -> Option<Reading> {
        let file = self.status.config.in_force.spec();
        let each = self.routes(spec).flat_map(|route| {
            let bad = file.bad_outcomes(&route.name);
            let arms = route.arms.iter();
            arms.map(move |arm| (route, arm, bad))
        });
        let each = each.filter(|(_, arm, _)| {
            spec.backend
                .as_ref()
                .is_none_or(|name| *name == arm.backend)
        });
        let values = each.map(|(route, arm, bad)| {
            let calls = Some(&arm.recent).filter(|calls| calls.total >= ENOUGH_CALLS);
            // Without calls nothing is wrong.
            let value = calls.and_then(|calls| value(calls, &bad)).unwrap_or(0.0);
            Reading {
                value,
                about: format!("backend {} of route {}", arm.backend, route.name),
            }
        });
        worst(values)
    }

    fn fullest_queue(&self) -> Option<Reading> {
        let specs = &self.status.config.in_force.spec().notifiers;
        worst(self.notifiers.iter().filter_map(|one| {
            let spec = specs.get(&one.name)?;
            Some(Reading {
                value: one.waiting as f64 / spec.queue as f64,
                about: format!("notifier {}", one.name),
            })
        }))
    }

    fn least_healthy(&self, spec: &AlertSpec) -> Option<Reading> {
        let backends = self.status.backends.iter();
        let chosen =
            backends.filter(|one| spec.backend.as_ref().is_none_or(|name| *name == one.name));
        worst(chosen.filter_map(|one| {
            let endpoints = &one.fitness.as_ref()?.endpoints;
            let down = endpoints.iter().filter(|it| !it.is_usable).count();
            Some(Reading {
                value: down as f64 / endpoints.len().max(1) as f64,
                about: format!(
                    "{down} of {} endpoints of backend {}",
                    endpoints.len(),
                    one.name
                ),
            })
        }))
    }

    fn held(&self, spec: &AlertSpec) -> Reading {
        let rollouts = self.routes(spec).filter_map(|route| route.rollout.as_ref());
        let waiting = rollouts.filter(|one| {
            matches!(
                one.phase,
                RolloutPhase::Paused | RolloutPhase::AwaitingApproval | RolloutPhase::AwaitingGate
            )
        });
        let waiting: Vec<String> = waiting
            .map(|one| {
                format!(
                    "rollout {} of route {}: {}",
                    one.id,
                    one.route,
                    one.phase.as_str()
                )
            })
            .collect();
        Reading {
            value: if waiting.is_empty() { 0.0 } else { 1.0 },
            about: waiting
                .first()
                .cloned()
                .unwrap_or_else(|| "rollouts".to_owned()),
        }
    }
}

/// A turn of an alert as the history has it.
pub(super) fn told(turn: &Turn) -> What {
    let value = shown(turn.when, turn.reading.value);
    let limit = shown(turn.when, turn.limit);
    let (alert, about) = (turn.alert.clone(), turn.reading.about.clone());
    let when = turn.when.as_str().to_owned();
    if turn.fires {
        What::AlertFired {
            alert,
            when,
            about,
            value,
            limit,
        }
    } else {
        What::AlertResolved {
            alert,
            when,
            about,
            value,
            limit,
        }
    }
}

/// A value for people.
fn shown(when: AlertKind, value: f64) -> String {
    match when {
        AlertKind::LatencyP99 => {
            let whole = Duration::from_millis((value * 1000.0) as u64);
            humantime::format_duration(whole).to_string()
        }
        AlertKind::Memory => format!("{} MiB", (value / 1_048_576.0).round()),
        AlertKind::ErrorRate
        | AlertKind::Connections
        | AlertKind::Requests
        | AlertKind::Descriptors
        | AlertKind::Queue
        | AlertKind::Unhealthy
        | AlertKind::Held => format!("{} %", (value * 1000.0).round() / 10.0),
    }
}

fn worst(readings: impl Iterator<Item = Reading>) -> Option<Reading> {
    readings.max_by(|one, other| one.value.total_cmp(&other.value))
}

fn process(value: f64, about: &str) -> Reading {
    Reading {
        value,
        about: about.to_owned(),
    }
}

/// The part of the descriptors that are taken; nothing where the system does not tell.
fn descriptors() -> Option<f64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
    Some(open as f64 / most.max(1) as f64)
}

/// Memory in RAM; nothing where the system does not tell.
fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((kib * 1024) as f64)
}
