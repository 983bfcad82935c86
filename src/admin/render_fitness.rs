//! Control's picture of how fit backends are, as wire types and as metrics.

use crate::control::{EndpointStatus, FitnessStatus, Status};
use crate::telemetry::{Kind, Page};
use crate::upstream::health::HealthState;
use crate::upstream::{BreakerPhase, Failure};

use super::wire::{EndpointBody, FitnessBody, HealthCheckBody};

pub(super) fn fitness(fitness: &FitnessStatus) -> FitnessBody {
    let shed = fitness.shed.iter();
    FitnessBody {
        breaker: fitness.breaker.as_str().to_owned(),
        breaker_opened: fitness.breaker_opened,
        shed: shed
            .map(|(why, count)| (why.as_str().to_owned(), *count))
            .collect(),
        connecting: fitness.connecting,
        endpoints: fitness.endpoints.iter().map(endpoint).collect(),
    }
}

fn endpoint(endpoint: &EndpointStatus) -> EndpointBody {
    let failed = Failure::ALL.map(|how| (how.as_str().to_owned(), endpoint.failed(how)));
    EndpointBody {
        endpoint: endpoint.endpoint.clone(),
        usable: endpoint.is_usable,
        health: endpoint.health.as_str().to_owned(),
        since: endpoint.since.map(|since| since.to_string()),
        last_check: endpoint.last_check.as_ref().map(|last| HealthCheckBody {
            at: last.at.to_string(),
            took_ms: last.took.as_secs_f64() * 1000.0,
            failure: last.failure.clone(),
        }),
        checks_passed: endpoint.checks.0,
        checks_failed: endpoint.checks.1,
        ejected_until: endpoint.ejected_until.map(|until| until.to_string()),
        ejections: endpoint.ejections,
        answered: endpoint.tally.answered,
        failed: failed.into_iter().collect(),
        forced: endpoint.tally.forced,
        in_flight: endpoint.tally.in_flight,
        connects: endpoint.tally.connects,
        lookup_failures: endpoint.lookup_failures,
    }
}

/// What an operator should know at once: what is unfit.
pub(super) fn warnings(status: &Status) -> Vec<String> {
    let mut warnings = Vec::new();
    for backend in &status.backends {
        let Some(fitness) = &backend.fitness else {
            continue;
        };
        if fitness.breaker != BreakerPhase::Closed {
            warnings.push(format!("the breaker of {} is open", backend.name));
        }
        for endpoint in fitness
            .endpoints
            .iter()
            .filter(|endpoint| !endpoint.is_usable)
        {
            let how = match (endpoint.health, &endpoint.ejected_until) {
                (HealthState::Unhealthy | HealthState::Unready, _) => endpoint.health.as_str(),
                (_, Some(_)) => "ejected",
                (_, None) => "starting",
            };
            let last = endpoint.last_check.as_ref();
            let why = match last.and_then(|last| last.failure.as_deref()) {
                Some(why) => format!(": {why}"),
                None => String::new(),
            };
            let address = &endpoint.endpoint;
            warnings.push(format!(
                "endpoint {address} of {} is {how}{why}",
                backend.name
            ));
        }
    }
    warnings
}

/// Puts the fitness of every endpoint and backend on the page.
pub(super) fn metrics(status: &Status, page: &mut Page) {
    let backends = status.backends.iter();
    let known: Vec<Fit<'_>> = backends
        .filter_map(|backend| Some((backend.name.as_str(), backend.fitness.as_ref()?)))
        .collect();
    of_endpoints(&known, page);
    by_kind(&known, page);
    of_backends(&known, page);
}

/// A backend's name, and how fit it is.
type Fit<'a> = (&'a str, &'a FitnessStatus);

/// A metric of each endpoint: name, kind, help, value.
type OfEndpoint = (&'static str, Kind, &'static str, fn(&EndpointStatus) -> u64);

const OF_ENDPOINT: [OfEndpoint; 8] = [
    (
        "switchback_endpoint_usable",
        Kind::Gauge,
        "Whether calls go to an endpoint: its checks do not fail, and it is not ejected",
        |endpoint| u64::from(endpoint.is_usable),
    ),
    (
        "switchback_endpoint_healthy",
        Kind::Gauge,
        "Whether an endpoint's health checks pass; 1 until they have come to another conclusion",
        |endpoint| {
            let fails = matches!(
                endpoint.health,
                HealthState::Unhealthy | HealthState::Unready
            );
            u64::from(!fails)
        },
    ),
    (
        "switchback_endpoint_ejected",
        Kind::Gauge,
        "Whether an endpoint is ejected",
        |endpoint| u64::from(endpoint.ejected_until.is_some()),
    ),
    (
        "switchback_endpoint_ejections_total",
        Kind::Counter,
        "Ejections of an endpoint",
        |endpoint| endpoint.ejections,
    ),
    (
        "switchback_endpoint_forced_total",
        Kind::Counter,
        "Calls that went to an endpoint although it was unfit, because nothing else was fit",
        |endpoint| endpoint.tally.forced,
    ),
    (
        "switchback_endpoint_in_flight",
        Kind::Gauge,
        "Calls under way at an endpoint",
        |endpoint| endpoint.tally.in_flight,
    ),
    (
        "switchback_endpoint_connects_total",
        Kind::Counter,
        "Connections opened to an endpoint",
        |endpoint| endpoint.tally.connects,
    ),
    (
        "switchback_endpoint_lookup_failures_total",
        Kind::Counter,
        "Lookups of an endpoint's name that failed",
        |endpoint| endpoint.lookup_failures,
    ),
];

fn of_endpoints(known: &[Fit<'_>], page: &mut Page) {
    for (name, kind, help, value) in OF_ENDPOINT {
        page.family(name, kind, help);
        for (labels, endpoint) in endpoints(known) {
            page.sample(name, &labels, value(endpoint));
        }
    }
}

fn by_kind(known: &[Fit<'_>], page: &mut Page) {
    const CALLS: &str = "switchback_endpoint_calls_total";
    const CHECKS: &str = "switchback_endpoint_checks_total";
    page.family(
        CALLS,
        Kind::Counter,
        "Attempts at an endpoint that ended, by how",
    );
    for ([backend, address], endpoint) in endpoints(known) {
        page.sample(
            CALLS,
            &[backend, address, ("result", "answered")],
            endpoint.tally.answered,
        );
        for how in Failure::ALL {
            let labels = [backend, address, ("result", how.as_str())];
            page.sample(CALLS, &labels, endpoint.failed(how));
        }
    }
    page.family(
        CHECKS,
        Kind::Counter,
        "Health checks of an endpoint, by how they ended",
    );
    for ([backend, address], endpoint) in endpoints(known) {
        let (passed, failed) = endpoint.checks;
        for (result, count) in [("passed", passed), ("failed", failed)] {
            page.sample(CHECKS, &[backend, address, ("result", result)], count);
        }
    }
}

fn endpoints<'a>(
    known: &'a [Fit<'a>],
) -> impl Iterator<Item = ([(&'static str, &'a str); 2], &'a EndpointStatus)> {
    known.iter().flat_map(|(backend, fitness)| {
        let each = fitness.endpoints.iter();
        each.map(|endpoint| {
            let labels = [
                ("backend", *backend),
                ("endpoint", endpoint.endpoint.as_str()),
            ];
            (labels, endpoint)
        })
    })
}

fn of_backends(known: &[Fit<'_>], page: &mut Page) {
    const OPEN: &str = "switchback_breaker_open";
    const OPENED: &str = "switchback_breaker_opened_total";
    const SHED: &str = "switchback_shed_total";
    const CONNECTING: &str = "switchback_connecting";
    page.family(
        OPEN,
        Kind::Gauge,
        "Whether a backend's breaker is open or half open",
    );
    for (backend, fitness) in known {
        let is_open = fitness.breaker != BreakerPhase::Closed;
        page.sample(OPEN, &[("backend", backend)], is_open);
    }
    page.family(
        OPENED,
        Kind::Counter,
        "How often a backend's breaker opened because too many calls failed",
    );
    for (backend, fitness) in known {
        page.sample(OPENED, &[("backend", backend)], fitness.breaker_opened);
    }
    page.family(
        SHED,
        Kind::Counter,
        "Calls and connections that a backend was spared",
    );
    for (backend, fitness) in known {
        for (why, count) in &fitness.shed {
            page.sample(
                SHED,
                &[("backend", backend), ("reason", why.as_str())],
                *count,
            );
        }
    }
    page.family(
        CONNECTING,
        Kind::Gauge,
        "Connections to a backend that are being made",
    );
    for (backend, fitness) in known {
        page.sample(
            CONNECTING,
            &[("backend", backend)],
            u64::from(fitness.connecting),
        );
    }
}
