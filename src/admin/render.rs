//! Control's picture of things as wire types: status, routes, backends, events.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::Diagnostics;
use crate::control::{
    ArmStanding, ArmStatus, AuthStatus, BackendStatus, CallNumbers, CallerNumbers, Event,
    RouteStatus, SessionNumbers, Status, StoreHealth,
};
use crate::model::Generation;
use crate::tls::SectionFacts;

use super::render_fitness;
use super::render_rollout;
use super::render_tools;
use super::wire::{
    ArmBody, AuthBody, BackendBody, CallersBody, CallsBody, ConfigStatusBody, DiagnosticBody,
    EventBody, JwksBody, Lifecycle, RouteBody, SessionsBody, ShadowBody, StandingBody, StatusBody,
    StoreBody, WishBody,
};

pub(super) fn status(status: &Status, lifecycle: Lifecycle) -> StatusBody {
    let refused = status.config.refusal.as_deref().map(diagnostics);
    StatusBody {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        lifecycle,
        generation: status.generation,
        started_at: status.started_at.to_string(),
        uptime_seconds: status.uptime.as_secs_f64(),
        config: ConfigStatusBody {
            file: status.config.path.display().to_string(),
            loaded_at: status.config.loaded_at.to_string(),
            refused: refused.unwrap_or_default(),
            pending_since: status
                .config
                .pending
                .as_ref()
                .map(|one| one.since.to_string()),
        },
        store: store(&status.store),
        warnings: warnings(status),
        alerts: Vec::new(),
        routes: routes(status),
    }
}

/// Days before its end that a certificate is warned of.
const EXPIRES_SOON_DAYS: i64 = 7;

fn warnings(status: &Status) -> Vec<String> {
    let broken = status.config.refusal.as_deref().map(|refusal| {
        format!(
            "{} has {} and was not put in force",
            refusal.file().display(),
            errors(refusal.len())
        )
    });
    let unwritten = match &status.store {
        StoreHealth::Healthy => None,
        StoreHealth::Unhealthy { since, error } => Some(format!(
            "the state has not been written since {since}: {error}"
        )),
    };
    let pending = status.config.pending.as_ref().map(|pending| {
        format!(
            "{} was changed and is not in force since {}, because the state cannot be written: {}",
            status.config.path.display(),
            pending.since,
            pending.error
        )
    });
    let certificates = status.tls.iter().flat_map(certificate_warnings);
    let unfit = render_fitness::warnings(status);
    let unkeyed = status.routes.iter().filter_map(keyless);
    let state = pending.into_iter().chain(unwritten);
    let known = broken.into_iter().chain(state).chain(unfit);
    known.chain(certificates).chain(unkeyed).collect()
}

/// `1 error`, `2 errors`.
pub(super) fn errors(count: usize) -> String {
    format!("{count} error{}", if count == 1 { "" } else { "s" })
}

/// What is to be said of the files of a `tls` section.
fn certificate_warnings(section: &SectionFacts) -> Vec<String> {
    let name = &section.section;
    let problem = section.problem.as_ref().map(|problem| {
        format!("`{name}`: new files are not in force, the old ones stay: {problem}")
    });
    let expiring = section.certificates.iter().filter_map(|certificate| {
        let days = certificate.seconds_left().div_euclid(24 * 60 * 60);
        let of = certificate.names.first().map_or("", String::as_str);
        match days {
            ..0 => Some(format!("`{name}`: the certificate of {of} has expired")),
            0..EXPIRES_SOON_DAYS => Some(format!(
                "`{name}`: the certificate of {of} expires in {days} days"
            )),
            _ => None,
        }
    });
    problem.into_iter().chain(expiring).collect()
}

/// What is wrong with the keys that a route's callers are checked with.
fn keyless(route: &RouteStatus) -> Option<String> {
    let keys = &route.auth.as_ref()?.keys;
    let error = keys.error.as_deref()?;
    let effect = match keys.keys {
        None | Some(0) => "nobody is let in",
        Some(_) => "those before stay in force",
    };
    Some(format!(
        "route {}: the keys of {} could not be read, {effect}: {error}",
        route.name, keys.source
    ))
}

fn store(health: &StoreHealth) -> StoreBody {
    match health {
        StoreHealth::Healthy => StoreBody {
            healthy: true,
            since: None,
            error: None,
        },
        StoreHealth::Unhealthy { since, error } => StoreBody {
            healthy: false,
            since: Some(since.to_string()),
            error: Some(error.clone()),
        },
    }
}

pub(super) fn routes(status: &Status) -> Vec<RouteBody> {
    let each = status.routes.iter();
    each.map(|one| route(one, status.generation)).collect()
}

pub(super) fn route(route: &RouteStatus, generation: Generation) -> RouteBody {
    RouteBody {
        route: route.name.clone(),
        generation,
        matches: route.matches.clone(),
        protocol: route.protocol.to_owned(),
        arms: route.arms.iter().map(arm).collect(),
        auth: route.auth.as_ref().map(auth),
        shadow: route.shadow.as_ref().map(|shadow| ShadowBody {
            backend: shadow.backend.clone(),
            percent: shadow.percent.into(),
            calls: calls(&shadow.calls),
            recent: calls(&shadow.recent),
        }),
        wish: route.wish.as_ref().map(|wish| WishBody {
            backend: wish.backend.clone(),
            why: wish.why.clone(),
        }),
        rollout: route.rollout.as_ref().map(render_rollout::rollout),
    }
}

fn auth(auth: &AuthStatus) -> AuthBody {
    let keys = &auth.keys;
    AuthBody {
        issuer: auth.issuer.clone(),
        audiences: auth.audiences.clone(),
        scopes: auth.scopes.clone(),
        jwks: JwksBody {
            source: keys.source.clone(),
            keys: keys.keys.map(|count| count as u64),
            unusable: keys.unusable as u64,
            read_at: keys.read_at.map(|at| at.to_string()),
            age_seconds: keys.age.map(|age| age.as_secs_f64()),
            error: keys.error.clone(),
        },
    }
}

fn arm(arm: &ArmStatus) -> ArmBody {
    ArmBody {
        backend: arm.backend.clone(),
        weight: arm.weight.share(),
        percent: arm.percent,
        role: arm.role,
        standing: match arm.standing {
            ArmStanding::Open => StandingBody::Open,
            ArmStanding::Draining => StandingBody::Draining,
            ArmStanding::Drained => StandingBody::Drained,
            ArmStanding::Reverted => StandingBody::Reverted,
        },
        sessions: arm.sessions.map(sessions),
        callers: arm.callers.map(callers),
        calls: calls(&arm.calls),
        recent: calls(&arm.recent),
    }
}

fn callers(callers: CallerNumbers) -> CallersBody {
    CallersBody {
        held: callers.held,
        draining: callers.draining,
        listening: callers.listening,
    }
}

fn sessions(sessions: SessionNumbers) -> SessionsBody {
    SessionsBody {
        open: sessions.open,
        draining: sessions.draining,
        rehomed: sessions.rehomed,
        lost: sessions.lost,
    }
}

pub(super) fn calls(calls: &CallNumbers) -> CallsBody {
    let outcomes: BTreeMap<_, _> = calls
        .outcomes
        .iter()
        .map(|(outcome, count)| (outcome.as_str().to_owned(), *count))
        .collect();
    let latency = calls.latency;
    CallsBody {
        total: calls.total,
        outcomes,
        in_flight: calls.in_flight,
        open_streams: calls.streams,
        mean_ms: latency.map(|latency| ms(latency.mean)),
        p50_ms: latency.map(|latency| ms(latency.p50)),
        p95_ms: latency.map(|latency| ms(latency.p95)),
        p99_ms: latency.map(|latency| ms(latency.p99)),
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

pub(super) fn backends(status: &Status) -> Vec<BackendBody> {
    status.backends.iter().map(backend).collect()
}

pub(super) fn backend(backend: &BackendStatus) -> BackendBody {
    BackendBody {
        backend: backend.name.clone(),
        endpoints: backend.endpoints.clone(),
        routes: backend.routes.clone(),
        calls: calls(&backend.calls),
        sessions: backend.sessions.map(sessions),
        fitness: backend.fitness.as_ref().map(render_fitness::fitness),
    }
}

pub(super) fn diagnostics(diagnostics: &Diagnostics) -> Vec<DiagnosticBody> {
    let each = diagnostics.as_slice().iter();
    each.map(|diagnostic| DiagnosticBody {
        code: diagnostic.code.as_str().to_owned(),
        message: diagnostic.message.clone(),
        hint: diagnostic.hint.clone(),
        file: diagnostic.file.display().to_string(),
        line: diagnostic.line.map(|line| line as u64),
        column: diagnostic.column.map(|column| column as u64),
    })
    .collect()
}

pub(super) fn event(event: &Event) -> EventBody {
    let mut details = serde_json::to_value(event.what.without_tape()).unwrap_or_default();
    if let Some(fields) = details.as_object_mut() {
        fields.shift_remove("kind");
    }
    EventBody {
        sequence: event.sequence,
        at: event.at.to_string(),
        kind: event.what.kind().to_owned(),
        generation: event.generation,
        route: event.route.clone(),
        rollout: event.rollout,
        who: event.author.who.clone(),
        reason: event.author.reason.clone(),
        message: render_rollout::sentence(&event.what),
        details,
        tools: event.tools.as_deref().map(render_tools::record),
    }
}
