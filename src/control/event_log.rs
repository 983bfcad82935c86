//! What the log says of an event.

use crate::judge::Record;

use super::event::{Event, What};

/// Writes one event to the log; how loud depends on what it is. Where a rollout ends with it, the
/// line has the judge's whole record, as JSON.
pub(super) fn write(event: &Event, record: Option<&Record>) {
    let record = record.and_then(|record| serde_json::to_string(record).ok());
    let kind = event.what.kind();
    let who = &event.author.who;
    let reason = event.author.reason.as_deref();
    let route = event.route.as_ref().map(tracing::field::display);
    let rollout = event.rollout.as_ref().map(tracing::field::display);
    let generation = event.generation.0;
    match &event.what {
        What::EndpointHealth { .. } | What::BreakerOpened { .. } => fitness(&event.what),
        What::StoreFailed { .. } | What::ConfigRefused { .. } => fault(event),
        What::RouteReverted { .. }
        | What::RolloutSmokeFailed { .. }
        | What::RolloutEndpointFailed { .. }
        | What::WeightsSkipped { .. } => setback(event),
        What::RolloutHeld { .. } | What::AlertFired { .. } | What::AlertResolved { .. } => {
            alarm(event);
        }
        What::HookStarted { .. } | What::HookEnded { .. } => hook(event),
        What::RolloutReverted {
            why, actuation_us, ..
        } => {
            tracing::warn!(
                kind, who, reason, route, rollout, generation, %why, actuation_us, record,
                "a rollout was reverted"
            );
        }
        What::WeightsChanged { .. }
        | What::RolloutStarted { .. }
        | What::RolloutAdvanced { .. }
        | What::RolloutExtended { .. }
        | What::RolloutAwaitingApproval { .. }
        | What::RolloutApproved { .. }
        | What::RolloutSmokePassed { .. }
        | What::RolloutAwaitingHealth { .. }
        | What::RolloutAwaitingGate { .. }
        | What::RolloutGateOpened { .. }
        | What::RolloutGateRefused { .. }
        | What::RolloutAwaitingWindow { .. }
        | What::RolloutWindowWaived { .. }
        | What::ChecklistOpen { .. }
        | What::ChecklistTicked { .. }
        | What::ChecklistPassed { .. }
        | What::RolloutPaused
        | What::RolloutResumed
        | What::RolloutPromoted { .. }
        | What::RolloutAborted
        | What::ConfigReloaded { .. }
        | What::StoreRecovered => {
            tracing::info!(
                kind,
                who,
                reason,
                route,
                rollout,
                generation,
                record,
                "state changed"
            );
        }
    }
}

fn fault(event: &Event) {
    let kind = event.what.kind();
    if let What::StoreFailed { error } = &event.what {
        tracing::error!(kind, %error, "the state cannot be written");
    } else if let What::ConfigRefused { errors, first } = &event.what {
        let who = &event.author.who;
        tracing::error!(kind, who, errors, %first, "the config file was refused");
    }
}

fn fitness(what: &What) {
    let kind = what.kind();
    if let What::BreakerOpened { backend, times } = what {
        tracing::warn!(kind, %backend, times, "a breaker opened");
    } else if let What::EndpointHealth {
        backend,
        endpoint,
        to,
        why,
        ..
    } = what
    {
        tracing::info!(kind, %backend, endpoint, state = to, why, "an endpoint's health has changed");
    }
}

fn alarm(event: &Event) {
    let kind = event.what.kind();
    let route = event.route.as_ref().map(tracing::field::display);
    let rollout = event.rollout.as_ref().map(tracing::field::display);
    if let What::RolloutHeld { why, hook, .. } = &event.what {
        tracing::error!(
            kind, route, rollout, %why, %hook,
            "a rollout would be reverted, and there is no way back but by hand"
        );
    } else if let What::AlertFired {
        alert,
        about,
        value,
        limit,
        ..
    } = &event.what
    {
        tracing::error!(kind, %alert, about, value, limit, "an alert fires");
    } else if let What::AlertResolved {
        alert,
        about,
        value,
        ..
    } = &event.what
    {
        tracing::info!(kind, %alert, about, value, "an alert is over");
    }
}

fn hook(event: &Event) {
    let kind = event.what.kind();
    let route = event.route.as_ref().map(tracing::field::display);
    let rollout = event.rollout.as_ref().map(tracing::field::display);
    if let What::HookStarted { hook, point } = &event.what {
        tracing::info!(kind, %hook, point, route, rollout, "a command was begun");
    } else if let What::HookEnded {
        hook,
        point,
        result,
        why,
        exit_code,
        ..
    } = &event.what
    {
        tracing::info!(kind, %hook, point, result, why, exit_code, route, rollout, "a hook has ended");
    }
}

fn setback(event: &Event) {
    let kind = event.what.kind();
    let route = event.route.as_ref().map(tracing::field::display);
    if let What::RouteReverted {
        from,
        to,
        actuation_us,
        ..
    } = &event.what
    {
        let who = &event.author.who;
        let reason = event.author.reason.as_deref();
        let generation = event.generation.0;
        tracing::warn!(
            kind, who, reason, route, generation, %from, %to, actuation_us,
            "a route was reverted"
        );
    } else if let What::WeightsSkipped { why } = &event.what {
        let who = &event.author.who;
        let reason = event.author.reason.as_deref();
        tracing::warn!(kind, who, reason, route, why, "timed weights were left out");
    } else if let What::RolloutSmokeFailed { backend, why } = &event.what {
        let rollout = event.rollout.as_ref().map(tracing::field::display);
        tracing::warn!(kind, route, rollout, %backend, why, "a smoke request failed");
    } else if let What::RolloutEndpointFailed {
        backend,
        endpoint,
        why,
    } = &event.what
    {
        let rollout = event.rollout.as_ref().map(tracing::field::display);
        tracing::warn!(kind, route, rollout, %backend, endpoint, why, "an endpoint of the candidate takes no traffic any more");
    }
}
