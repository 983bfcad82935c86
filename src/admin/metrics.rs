//! What control knows, as metrics: weights, rollouts, the file, the process's life.

use crate::control::{RolloutStatus, RouteStatus, Status, StoreHealth};
use crate::telemetry::{Kind, Page};
use crate::tls::SectionFacts;

use super::render_fitness;
use super::render_rollout::state;
use super::wire::{Lifecycle, RolloutState};

/// Puts control's picture of things on the page.
pub(super) fn render(status: &Status, lifecycle: Lifecycle, page: &mut Page) {
    process(status, lifecycle, page);
    certificates(&status.tls, page);
    weights(&status.routes, page);
    render_fitness::metrics(status, page);
    keys(&status.routes, page);
    sessions(&status.routes, page);
    callers(&status.routes, page);
    let rollouts: Vec<_> = status
        .routes
        .iter()
        .filter_map(|route| route.rollout.as_ref())
        .collect();
    rollout_states(&rollouts, page);
    rollout_numbers(&rollouts, page);
}

fn process(status: &Status, lifecycle: Lifecycle, page: &mut Page) {
    page.family(
        "switchback_build_info",
        Kind::Gauge,
        "Always 1; the label is the version",
    );
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.sample("switchback_build_info", &version, true);
    page.single(
        "switchback_ready",
        Kind::Gauge,
        "Whether the process takes traffic",
        lifecycle == Lifecycle::Ready,
    );
    page.single(
        "switchback_generation",
        Kind::Gauge,
        "Counts changes of weights, rollouts and config",
        status.generation.0,
    );
    page.single(
        "switchback_config_last_reload_success",
        Kind::Gauge,
        "Whether the config file, as last read, is in force",
        status.config.refusal.is_none(),
    );
    page.single(
        "switchback_store_healthy",
        Kind::Gauge,
        "Whether the last write of the state is on disk",
        status.store == StoreHealth::Healthy,
    );
}

fn certificates(sections: &[SectionFacts], page: &mut Page) {
    const LEFT: &str = "switchback_tls_certificate_expires_seconds";
    const BROKEN: &str = "switchback_tls_files_sound";
    page.family(
        LEFT,
        Kind::Gauge,
        "Time until a certificate of ours expires, less than 0 after that",
    );
    for section in sections {
        for (place, certificate) in section.certificates.iter().enumerate() {
            let place = place.to_string();
            let labels = [
                ("section", section.section.as_str()),
                ("certificate", place.as_str()),
            ];
            page.sample(LEFT, &labels, certificate.seconds_left() as f64);
        }
    }
    page.family(
        BROKEN,
        Kind::Gauge,
        "0 while the files of a section are broken and those before stay in force",
    );
    for section in sections {
        let labels = [("section", section.section.as_str())];
        page.sample(BROKEN, &labels, section.problem.is_none());
    }
}

fn weights(routes: &[RouteStatus], page: &mut Page) {
    const WEIGHT: &str = "switchback_weight";
    const SHARE: &str = "switchback_traffic_share_ratio";
    const ROLE: &str = "switchback_rollout_role";
    let arms = || {
        let each = routes
            .iter()
            .flat_map(|route| route.arms.iter().map(move |arm| (route, arm)));
        each.map(|(route, arm)| {
            let labels = [
                ("route", route.name.as_str()),
                ("backend", arm.backend.as_str()),
            ];
            (labels, arm)
        })
    };
    page.family(
        WEIGHT,
        Kind::Gauge,
        "Relative share of a route's new traffic",
    );
    for (labels, arm) in arms() {
        page.sample(WEIGHT, &labels, u64::from(arm.weight.share()));
    }
    page.family(SHARE, Kind::Gauge, "The same as a part of one");
    for (labels, arm) in arms() {
        page.sample(SHARE, &labels, arm.percent / 100.0);
    }
    page.family(
        ROLE,
        Kind::Gauge,
        "Always 1; a backend's role in the rollout that runs",
    );
    for (labels, arm) in arms() {
        if let Some(role) = arm.role {
            page.sample(ROLE, &[labels[0], labels[1], ("role", role.as_str())], true);
        }
    }
}

fn keys(routes: &[RouteStatus], page: &mut Page) {
    const KEYS: &str = "switchback_jwks_keys";
    const AGE: &str = "switchback_jwks_age_seconds";
    const READS: &str = "switchback_jwks_reads_total";
    let auths = || {
        let each = routes.iter();
        each.filter_map(|route| Some((("route", route.name.as_str()), &route.auth.as_ref()?.keys)))
    };
    page.family(
        KEYS,
        Kind::Gauge,
        "Keys that the tokens of a route's callers are checked with; at 0 nobody is let in",
    );
    for (route, keys) in auths() {
        page.sample(KEYS, &[route], keys.keys.unwrap_or(0) as u64);
    }
    page.family(
        AGE,
        Kind::Gauge,
        "Time since the keys of a route were last read well",
    );
    for (route, keys) in auths() {
        if let Some(age) = keys.age {
            page.sample(AGE, &[route], age.as_secs_f64());
        }
    }
    page.family(
        READS,
        Kind::Counter,
        "Readings of the keys of a route, by whether they went well",
    );
    for (route, keys) in auths() {
        page.sample(READS, &[route, ("result", "ok")], keys.reads);
        page.sample(READS, &[route, ("result", "failed")], keys.failures);
    }
}

fn sessions(routes: &[RouteStatus], page: &mut Page) {
    const SESSIONS: &str = "switchback_sessions";
    page.family(
        SESSIONS,
        Kind::Gauge,
        "Recorded MCP sessions that live at a backend: open ones stay, draining ones have to leave",
    );
    for route in routes {
        for arm in &route.arms {
            let Some(sessions) = arm.sessions else {
                continue;
            };
            for (state, count) in [("open", sessions.open), ("draining", sessions.draining)] {
                let labels = [
                    ("route", route.name.as_str()),
                    ("backend", arm.backend.as_str()),
                    ("state", state),
                ];
                page.sample(SESSIONS, &labels, count);
            }
        }
    }
}

fn callers(routes: &[RouteStatus], page: &mut Page) {
    const CALLERS: &str = "switchback_callers";
    const LISTENING: &str = "switchback_listen_streams";
    let each = || {
        let arms = routes.iter().flat_map(|route| {
            let name = route.name.as_str();
            route.arms.iter().map(move |arm| (name, arm))
        });
        arms.filter_map(|(route, arm)| {
            let labels = [("route", route), ("backend", arm.backend.as_str())];
            Some((labels, arm.callers?))
        })
    };
    page.family(
        CALLERS,
        Kind::Gauge,
        "Callers of MCP without sessions who are held on a backend: held ones stay, draining ones until the route's limit",
    );
    for ([route, backend], callers) in each() {
        for (state, count) in [("held", callers.held), ("draining", callers.draining)] {
            page.sample(CALLERS, &[route, backend, ("state", state)], count);
        }
    }
    page.family(
        LISTENING,
        Kind::Gauge,
        "Open streams of subscriptions/listen",
    );
    for (labels, callers) in each() {
        page.sample(LISTENING, &labels, callers.listening);
    }
}

fn rollout_states(rollouts: &[&RolloutStatus], page: &mut Page) {
    const STATE: &str = "switchback_rollout_state";
    page.family(
        STATE,
        Kind::Gauge,
        "1 for the state that a route's latest rollout is in, 0 for the others",
    );
    for rollout in rollouts {
        let present = state(rollout.phase);
        for state in RolloutState::ALL {
            let labels = [("route", rollout.route.as_str()), ("state", state.as_str())];
            page.sample(STATE, &labels, state == present);
        }
    }
}

fn rollout_numbers(rollouts: &[&RolloutStatus], page: &mut Page) {
    const STAGE: &str = "switchback_rollout_stage";
    const SHARE: &str = "switchback_rollout_candidate_share_ratio";
    const EVIDENCE: &str = "switchback_rollout_evidence_ratio";
    page.family(
        STAGE,
        Kind::Gauge,
        "Number of the latest rollout's stage, from 1",
    );
    for rollout in rollouts {
        if let Some(stage) = rollout.stage {
            let labels = [("route", rollout.route.as_str())];
            page.sample(STAGE, &labels, u64::from(stage));
        }
    }
    page.family(SHARE, Kind::Gauge, "The candidate's part of new traffic");
    for rollout in rollouts {
        let share = rollout.percent.fraction();
        page.sample(SHARE, &[("route", rollout.route.as_str())], share);
    }
    page.family(
        EVIDENCE,
        Kind::Gauge,
        "Evidence against the candidate; at 1 it is switched back",
    );
    for rollout in rollouts {
        if let Some(record) = &rollout.verdict {
            let evidence = record.e_value / record.revert_at;
            page.sample(EVIDENCE, &[("route", rollout.route.as_str())], evidence);
        }
    }
}
