//! Whether a rollout has passed: how it stands and what the judge says, as one word.

use crate::control::{RolloutPhase, RolloutStatus};
use crate::judge::Verdict;
use crate::model::{BackendName, RouteName};

use super::render_rollout;
use super::wire::{PassBody, RolloutVerdictBody};

/// The verdict on a rollout that there is or was.
pub(super) fn of_rollout(rollout: &RolloutStatus) -> RolloutVerdictBody {
    let body = RolloutVerdictBody {
        rollout: Some(rollout.id),
        candidate_backend: Some(rollout.candidate.clone()),
        state: Some(render_rollout::state(rollout.phase)),
        ..bare(
            pass(rollout),
            &rollout.route,
            render_rollout::standing(rollout),
        )
    };
    match rollout.verdict.as_deref() {
        Some(record) => body.judged(render_rollout::verdict(record)),
        None => body,
    }
}

/// The verdict while there is no rollout to judge.
pub(super) fn none_yet(route: &RouteName, to: Option<&BackendName>) -> RolloutVerdictBody {
    let message = match to {
        Some(to) => format!("the latest rollout of route {route} is not to {to}"),
        None => format!("route {route} has had no rollout"),
    };
    bare(PassBody::Early, route, message)
}

fn pass(rollout: &RolloutStatus) -> PassBody {
    if rollout.phase == RolloutPhase::Promoted && !rollout.was_left {
        return PassBody::Pass;
    }
    if rollout.phase.is_over() {
        return PassBody::Fail;
    }
    match rollout.verdict.as_deref().map(|record| record.verdict) {
        Some(Verdict::Revert { .. }) => PassBody::Fail,
        // A person has stopped it: nobody should go on for what was shown until then.
        _ if rollout.phase == RolloutPhase::Paused => PassBody::Early,
        Some(Verdict::Advance) => PassBody::Pass,
        Some(Verdict::Hold { .. }) | None => PassBody::Early,
    }
}

fn bare(verdict: PassBody, route: &RouteName, message: String) -> RolloutVerdictBody {
    RolloutVerdictBody {
        verdict,
        pass: verdict == PassBody::Pass,
        fail: verdict == PassBody::Fail,
        message,
        route: route.clone(),
        rollout: None,
        candidate_backend: None,
        state: None,
        decision: None,
        because: None,
        summary: None,
        evidence: None,
        revert_at: None,
        pass_at: None,
        checks: Vec::new(),
        stable: None,
        candidate: None,
        stage_calls: None,
        min_calls: None,
        more_calls_needed: None,
        more_seconds_needed: None,
        took: None,
        guards: Vec::new(),
        broken_guard: None,
        deciding: Vec::new(),
        record: None,
    }
}
