//! Rollouts, verdicts and what happened to them, as wire types and as sentences.

use std::collections::BTreeMap;

use crate::control::{RolloutPhase, RolloutStatus, What};
use crate::judge::{Record, Verdict};
use crate::model::{BackendName, Weight};
use crate::rollout::{EndpointReport, EndpointState, ShadowReport};

use super::wire::{
    ArmEvidenceBody, CheckBody, DecisionBody, RolloutBody, RolloutState, ShadowReportBody,
    StageBody, VerdictBody,
};
use super::{notices, render_checklist, render_contract, render_gate, render_why};

/// Most endpoints that a sentence tells of.
const MOST_TOLD: usize = 3;

pub(super) fn rollout(rollout: &RolloutStatus) -> RolloutBody {
    let plan = rollout.plan.iter();
    let stages = plan.flat_map(|plan| plan.stages().iter());
    let stages = stages.map(|stage| StageBody {
        percent: stage.percent.into(),
        for_seconds: stage.duration.as_secs_f64(),
        approve: stage.approve,
        role: stage.role.as_str().to_owned(),
        endpoints: stage.endpoints.map(|part| part.taken),
    });
    RolloutBody {
        id: rollout.id,
        route: rollout.route.clone(),
        stable: rollout.stable.clone(),
        candidate: rollout.candidate.clone(),
        plan: rollout.plan_name.clone(),
        state: state(rollout.phase),
        gate: rollout.gate.as_ref().map(render_gate::gate),
        percent: rollout.percent.into(),
        stage: rollout.stage,
        stages: stages.collect(),
        stage_elapsed_seconds: rollout.stage_elapsed.as_secs_f64(),
        stage_left_seconds: rollout.stage_left.map(|left| left.as_secs_f64()),
        started_at: rollout.started_at.to_string(),
        ended_at: rollout.ended_at.map(|at| at.to_string()),
        who: rollout.author.who.clone(),
        reason: rollout.author.reason.clone(),
        revert_reason: rollout.revert_reason,
        message: standing(rollout),
        verdict: rollout.verdict.as_deref().map(verdict),
        checklist: rollout
            .checklist
            .iter()
            .map(|it| render_checklist::item(it, rollout))
            .collect(),
        contract: rollout.contract.as_deref().map(render_contract::contract),
        shadow: rollout.shadow.as_ref().map(shadow),
        rolling: rollout.rolling.clone(),
    }
}

pub(super) fn state(phase: RolloutPhase) -> RolloutState {
    match phase {
        RolloutPhase::Warmup => RolloutState::Warmup,
        RolloutPhase::Running => RolloutState::Running,
        RolloutPhase::Extended => RolloutState::Extended,
        RolloutPhase::Paused => RolloutState::Paused,
        RolloutPhase::AwaitingApproval => RolloutState::AwaitingApproval,
        RolloutPhase::AwaitingGate => RolloutState::AwaitingGate,
        RolloutPhase::AwaitingHealth => RolloutState::AwaitingHealth,
        RolloutPhase::Baking => RolloutState::Baking,
        RolloutPhase::Standby => RolloutState::Standby,
        RolloutPhase::Shadowing => RolloutState::Shadowing,
        RolloutPhase::Promoted => RolloutState::Promoted,
        RolloutPhase::Reverted => RolloutState::Reverted,
        RolloutPhase::Aborted => RolloutState::Aborted,
    }
}

/// One sentence on how a rollout stands.
pub(super) fn standing(rollout: &RolloutStatus) -> String {
    let (stable, candidate) = (&rollout.stable, &rollout.candidate);
    let stage = rollout.stage.zip(rollout.plan.as_deref());
    let stage = stage.map(|(stage, plan)| format!(" in stage {stage} of {}", plan.stages().len()));
    let at = format!(
        "{candidate} has {} % of new traffic{}",
        rollout.percent,
        stage.unwrap_or_default()
    );
    match rollout.phase {
        RolloutPhase::Warmup => format!("{at} and warms up"),
        RolloutPhase::Running => at,
        RolloutPhase::Extended => format!("{at}, which goes on until there is enough evidence"),
        RolloutPhase::Paused => format!("{at}, paused"),
        RolloutPhase::AwaitingApproval => format!("{at}, which waits for an approval"),
        RolloutPhase::AwaitingGate => {
            format!("{at}, which {}", render_gate::waits(rollout))
        }
        RolloutPhase::AwaitingHealth if rollout.gate.is_some() && waiting(rollout).is_empty() => {
            format!("{at}, which {}", render_gate::waits(rollout))
        }
        RolloutPhase::AwaitingHealth => format!("{at}; {}", of_health(rollout)),
        RolloutPhase::Baking => format!("{at}, the last one before it is promoted"),
        RolloutPhase::Standby => {
            format!("{candidate} is on standby, until it is known to be healthy")
        }
        RolloutPhase::Shadowing => {
            let so_far = rollout
                .shadow
                .as_ref()
                .map(|report| format!(": {}", of_shadow(report)));
            format!(
                "{candidate} gets copies of calls and no traffic{}",
                so_far.unwrap_or_default()
            )
        }
        // In the past tense: a shift or the file may have given the traffic to others since.
        RolloutPhase::Promoted if rollout.was_left => {
            format!("{candidate} was given all of the traffic, and switched back from since")
        }
        RolloutPhase::Promoted => format!("{candidate} was given all of the traffic"),
        RolloutPhase::Aborted => "ended before the candidate was promoted".to_owned(),
        RolloutPhase::Reverted => {
            let reason = rollout
                .revert_reason
                .map_or("unknown", |reason| reason.as_str());
            format!("switched back to {stable}: {reason}")
        }
    }
}

fn shadow(report: &ShadowReport) -> ShadowReportBody {
    ShadowReportBody {
        finding: report.finding().as_str().to_owned(),
        summary: of_shadow(report),
        compared: report.compared(),
        difference: report.difference(),
        slowdown: report.slowdown(),
        report: report.clone(),
    }
}

/// A part of a sentence on the endpoints that are waited for.
fn of_health(rollout: &RolloutStatus) -> String {
    let each = waiting(rollout).into_iter().take(MOST_TOLD).map(|known| {
        let failure = known
            .failure
            .as_deref()
            .map(|why| format!(", the latest failed: {why}"));
        let failure = failure.unwrap_or_default();
        format!(
            "{} has passed {} in a row{failure}",
            known.endpoint, known.passed
        )
    });
    let each: Vec<_> = each.collect();
    if each.is_empty() {
        return "waits for health checks".to_owned();
    }
    format!("waits for health checks: {}", each.join("; "))
}

/// The endpoints that are waited for.
fn waiting(rollout: &RolloutStatus) -> Vec<&EndpointReport> {
    let reports = rollout.rolling.iter();
    let each = reports.flat_map(|report| report.of(EndpointState::Waiting));
    each.collect()
}

/// One sentence on what copies came to.
pub(super) fn of_shadow(report: &ShadowReport) -> String {
    let times = report.call_p95_seconds.zip(report.copy_p95_seconds);
    let times = times.map(|(call, copy)| {
        format!(
            "; at p95 they took {:.1} ms and the calls {:.1} ms, {} times that at most",
            copy * 1000.0,
            call * 1000.0,
            report.max_slowdown
        )
    });
    format!(
        "{} of {} copies differ, {} % at most ({} by status, {} by outcome, {} without an answer); {} are needed{}",
        report.different(),
        report.compared(),
        report.max_difference,
        report.status,
        report.outcome,
        report.unanswered,
        report.min_compared,
        times.unwrap_or_default()
    )
}

pub(super) fn verdict(record: &Record) -> VerdictBody {
    let (decision, because) = match record.verdict {
        Verdict::Advance => (DecisionBody::Advance, None),
        Verdict::Hold { because } => (DecisionBody::Hold, Some(because.as_str().to_owned())),
        Verdict::Revert { reason } => (DecisionBody::Revert, Some(reason.as_str().to_owned())),
    };
    let arm = |arm: &crate::judge::ArmRecord| ArmEvidenceBody {
        calls: arm.calls,
        bad: arm.bad,
        bad_counted: arm.bad_counted,
    };
    VerdictBody {
        decision,
        because,
        summary: summary(record),
        evidence: record.e_value,
        revert_at: record.revert_at,
        pass_at: record.pass_at,
        checks: checks(record),
        stable: arm(&record.stable),
        candidate: arm(&record.candidate),
        stage_calls: record.stage_calls,
        min_calls: record.min_requests,
        more_calls_needed: record.needed_calls,
        more_seconds_needed: record.needed_seconds,
        took: record.took,
        guards: record.guards.clone(),
        broken_guard: record.broken,
        deciding: record.deciding.clone(),
        record: serde_json::to_value(record).unwrap_or_default(),
    }
}

/// One sentence with the numbers that matter.
fn summary(record: &Record) -> String {
    let by = record.broken.map(|guard| format!(" by the guard {guard}"));
    format!(
        "{}{}; evidence against the candidate {:.3} of {:.0}; bad calls: candidate {} of {}, stable {} of {}",
        record.verdict,
        by.unwrap_or_default(),
        record.e_value,
        record.revert_at,
        record.candidate.bad,
        record.candidate.calls,
        record.stable.bad,
        record.stable.calls
    )
}

fn checks(record: &Record) -> Vec<CheckBody> {
    let (errors, latency) = (&record.errors, &record.latency);
    let quantiles = latency.quantiles.iter().map(|at| {
        let percent = at.quantile * 100.0;
        format!("p{percent:.0} {} to {}", at.candidate_slow, at.stable_slow)
    });
    let slow: Vec<_> = quantiles.collect();
    let own = [
        CheckBody {
            name: "errors".to_owned(),
            evidence: errors.e_value,
            pass_evidence: errors.pass_e_value,
            margin: errors.margin,
            message: format!(
                "{} of the candidate's {} calls failed, {} of stable's {}, for {} callers of the candidate's",
                record.candidate.bad,
                record.candidate.calls,
                record.stable.bad,
                record.stable.calls,
                errors.callers
            ),
        },
        CheckBody {
            name: "latency".to_owned(),
            evidence: latency.e_value,
            pass_evidence: latency.pass_e_value,
            margin: latency.margin,
            message: format!("slow calls, candidate to stable: {}", slow.join(", ")),
        },
    ];
    let pushed = record.metrics.iter().map(|metric| CheckBody {
        name: format!("metric:{}", metric.name),
        evidence: metric.e_value,
        // Metrics that are pushed hold no stage up.
        pass_evidence: 1.0,
        margin: metric.margin,
        message: render_why::metric(metric),
    });
    own.into_iter().chain(pushed).collect()
}

/// One sentence on what happened.
pub(super) fn sentence(what: &What) -> String {
    match what {
        What::WeightsChanged { from, to } => {
            format!("weights {} became {}", split(from), split(to))
        }
        What::WeightsSkipped { why } => format!("weights were left out: {why}"),
        What::RolloutStarted { .. } => of_start(what).unwrap_or_default(),
        What::RolloutAdvanced {
            stage,
            stages,
            percent,
            ..
        } => format!("rollout advanced to stage {stage} of {stages} with {percent} %"),
        What::RolloutExtended { stage } => format!("stage {stage} goes on for more evidence"),
        What::RolloutPaused => "rollout paused".to_owned(),
        What::RolloutResumed => "rollout resumed".to_owned(),
        What::RolloutPromoted { .. } => "candidate promoted to all of the traffic".to_owned(),
        What::RolloutAborted => "rollout aborted".to_owned(),
        What::ConfigReloaded { .. } => "config file put in force".to_owned(),
        What::ConfigRefused { errors, first } => {
            format!("config file refused with {errors} errors, the first: {first}")
        }
        What::EndpointHealth {
            backend,
            endpoint,
            to,
            why,
            ..
        } => {
            let why = why.as_ref().map(|why| format!(": {why}"));
            let why = why.unwrap_or_default();
            format!("endpoint {endpoint} of {backend} is {to}{why}")
        }
        What::BreakerOpened { backend, .. } => {
            format!("the breaker of {backend} opened: too many calls failed")
        }
        What::StoreFailed { error } => format!("the state could not be written: {error}"),
        What::StoreRecovered => "the state is written again".to_owned(),
        What::RouteReverted { .. } | What::RolloutReverted { .. } => {
            of_way_back(what).unwrap_or_default()
        }
        waiting @ (What::RolloutAwaitingApproval { .. }
        | What::RolloutApproved { .. }
        | What::RolloutAwaitingHealth { .. }
        | What::RolloutEndpointFailed { .. }
        | What::RolloutAwaitingGate { .. }
        | What::RolloutGateOpened { .. }
        | What::RolloutGateRefused { .. }
        | What::RolloutAwaitingWindow { .. }
        | What::RolloutWindowWaived { .. }
        | What::ChecklistOpen { .. }
        | What::ChecklistTicked { .. }
        | What::ChecklistPassed { .. }
        | What::RolloutSmokePassed { .. }
        | What::RolloutSmokeFailed { .. }) => of_wait(waiting).unwrap_or_default(),
        What::RolloutHeld { .. }
        | What::HookStarted { .. }
        | What::HookEnded { .. }
        | What::AlertFired { .. }
        | What::AlertResolved { .. } => notices::sentence(what),
    }
}

/// One sentence on how a rollout began.
fn of_start(what: &What) -> Option<String> {
    let What::RolloutStarted {
        stable,
        candidate,
        stages,
        percent,
        contract,
        ..
    } = what
    else {
        return None;
    };
    let contract = contract
        .as_deref()
        .map(|it| format!("; contract {}", it.summary()));
    Some(format!(
        "rollout from {stable} to {candidate} started with {percent} % in stage 1 of {stages}{}",
        contract.unwrap_or_default()
    ))
}

/// One sentence on a way back.
fn of_way_back(what: &What) -> Option<String> {
    if let What::RouteReverted {
        from,
        to,
        why,
        actuation_us,
    } = what
    {
        Some(format!(
            "route switched back from {from} to {to}: {why}; {to} had new requests within {actuation_us} µs"
        ))
    } else if let What::RolloutReverted {
        why, actuation_us, ..
    } = what
    {
        Some(format!(
            "rollout switched back: {why}; stable had new requests within {actuation_us} µs"
        ))
    } else {
        None
    }
}

/// One sentence on what a rollout waits for, and on the end of that.
fn of_wait(what: &What) -> Option<String> {
    if let What::RolloutAwaitingApproval { stage } = what {
        Some(format!("stage {stage} waits for an approval"))
    } else if let What::RolloutApproved { stage } = what {
        Some(format!("stage {stage} was approved"))
    } else if let What::RolloutAwaitingHealth { stage } = what {
        Some(format!(
            "stage {stage} waits until its endpoints are healthy"
        ))
    } else if let What::RolloutEndpointFailed {
        backend,
        endpoint,
        why,
    } = what
    {
        Some(format!(
            "endpoint {endpoint} of {backend} takes no traffic: {why}"
        ))
    } else if let What::RolloutAwaitingGate { gate, stage } = what {
        Some(format!("rollout waits before {gate} of stage {stage}"))
    } else if let What::RolloutGateOpened { gate, stage } = what {
        Some(format!("{gate} of stage {stage} opened"))
    } else if let What::RolloutGateRefused { gate, stage } = what {
        Some(format!("{gate} of stage {stage} refused"))
    } else if let Some(sentence) =
        render_gate::sentence(what).or_else(|| render_checklist::sentence(what))
    {
        Some(sentence)
    } else if let What::RolloutSmokePassed { backend, requests } = what {
        Some(format!(
            "{backend} answered {requests} smoke requests as it has to"
        ))
    } else if let What::RolloutSmokeFailed { backend, why } = what {
        Some(format!("{backend} failed a smoke request: {why}"))
    } else {
        None
    }
}

fn split(weights: &BTreeMap<BackendName, Weight>) -> String {
    let each = weights
        .iter()
        .map(|(name, weight)| format!("{name}={weight}"));
    each.collect::<Vec<_>>().join(" ")
}
