//! What a rollout could find out, as a wire type and as sentences.

use std::time::Duration;

use crate::control::Estimate;
use crate::judge::StageEstimate;
use crate::rollout::spec::InconclusiveSpec;

use super::wire::{EstimateBody, StageEstimateBody};

/// What every estimate supposes.
const ASSUMPTIONS: [&str; 4] = [
    "calls go on as in the time that was measured, evenly, and each is drawn by the stage's share; where sessions or keys are pinned it takes up to 1.7 times as many",
    "to pass, the candidate fails as often and is as fast as stable",
    "a regression is there from the start of the rollout, and each failure is of another caller",
    "reverted means: in four rollouts of five, by the end of the stage",
];

pub(super) fn estimate(estimate: &Estimate) -> EstimateBody {
    let stages = estimate.plan.stages().iter().zip(&estimate.stages);
    let stages: Vec<_> = (1..)
        .zip(stages)
        .map(|(number, (stage, told))| StageEstimateBody {
            stage: number,
            percent: stage.percent.into(),
            for_seconds: stage.duration.as_secs_f64(),
            calls: told.calls,
            calls_needed: told.needed_calls,
            seconds_needed: told.needed.map(|needed| needed.as_secs_f64()),
            conclusive_in_time: in_time(told, stage.duration),
            reverted_error_rate: told.error_rate,
            reverted_error_points: told
                .error_rate
                .map(|rate| (rate - estimate.error_rate) * 100.0),
            reverted_error_ratio: told
                .error_rate
                .filter(|_| estimate.error_rate > 0.0)
                .map(|rate| rate / estimate.error_rate),
            reverted_slowdown: told.slowdown,
        })
        .collect();
    let ms = |quantile| {
        let latency: Option<Duration> = estimate.calls.latency.quantile(quantile);
        latency.map(|latency| latency.as_secs_f64() * 1000.0)
    };
    EstimateBody {
        route: estimate.route.clone(),
        stable: estimate.stable.clone(),
        candidate: estimate.candidate.clone(),
        plan: estimate.plan_name.clone(),
        measured_seconds: estimate.measured.as_secs_f64(),
        calls_per_second: estimate.rate,
        error_rate: estimate.error_rate,
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
        stages,
        notes: notes(estimate),
        assumptions: ASSUMPTIONS.map(str::to_owned).to_vec(),
    }
}

fn in_time(told: &StageEstimate, duration: Duration) -> bool {
    told.needed.is_some_and(|needed| needed <= duration)
}

fn notes(estimate: &Estimate) -> Vec<String> {
    if estimate.rate <= 0.0 {
        return vec![format!(
            "route {} has no traffic: no stage would come to a conclusion",
            estimate.route
        )];
    }
    let plan = &estimate.plan;
    let stages = (1..).zip(plan.stages().iter().zip(&estimate.stages));
    // A stage that gives no traffic comes to its conclusion by other means.
    let judged = (0..).map(|index| plan.is_judged(index)).zip(stages);
    let judged = judged.filter_map(|(is_judged, stage)| is_judged.then_some(stage));
    let short = judged.filter(|(_, (stage, told))| !in_time(told, stage.duration));
    let mut notes: Vec<_> = short
        .map(|(number, (stage, told))| {
            let at = format!("stage {number} ({} %)", stage.percent);
            match (told.needed_calls, told.needed) {
                (Some(calls), Some(needed)) => format!(
                    "{at} needs about {calls} calls of the candidate's to be conclusive, which take {}, not {}: {}",
                    minutes(needed),
                    minutes(stage.duration),
                    consequence(plan.inconclusive, needed > plan.max_stage),
                ),
                _ => format!(
                    "{at} cannot be conclusive with stable's error rate and latencies: {}",
                    consequence(plan.inconclusive, true)
                ),
            }
        })
        .collect();
    let last = estimate.stages.last();
    if last.is_some_and(|last| last.error_rate.is_none()) {
        notes.push("not even a candidate that fails every call would surely be reverted by the errors check".to_owned());
    }
    notes
}

fn consequence(policy: InconclusiveSpec, is_too_long: bool) -> &'static str {
    match (policy, is_too_long) {
        (InconclusiveSpec::Extend, false) => "it will be extended",
        (InconclusiveSpec::Extend, true) => {
            "it will be extended up to `max_stage` and then wait for an approval"
        }
        (InconclusiveSpec::Hold, _) => "it will wait for an approval",
        (InconclusiveSpec::Advance, _) => "the plan goes on without proof",
        (InconclusiveSpec::Revert, _) => "the plan switches back",
    }
}

/// A time as people say it.
fn minutes(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}
