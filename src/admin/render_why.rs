//! Why a rollout stands as it does: the record behind it, in sentences.

use crate::control::{Event, RolloutStatus};
use crate::judge::{
    ArmTook, DecidingOutcome, Guard, GuardRecord, MetricArmRecord, MetricRecord, QuantileRecord,
    Record, TookRecord, Verdict,
};
use crate::model::Role;

use super::wire::{EventBody, WhyBody};
use super::{render, render_checklist, render_rollout};

/// What is known of a rollout, by its events, oldest first.
pub(super) fn why(rollout: &RolloutStatus, events: &[Event]) -> WhyBody {
    let decided = events.iter().rev().find(|event| event.what.ends_rollout());
    let mut lines = vec![headline(rollout)];
    if let Some(event) = decided {
        lines.push(ended(rollout, event));
    }
    if let Some(report) = &rollout.shadow {
        let finding = report.finding().as_str();
        let line = render_rollout::of_shadow(report);
        lines.push(format!("shadow: {finding}: {line}"));
    }
    match rollout.verdict.as_deref() {
        Some(record) => lines.extend(judged(record)),
        None => lines.push("the judge has said nothing of it".to_owned()),
    }
    lines.extend(render_checklist::lines(rollout));
    let done = decided.and_then(|event| event.what.actuation_us());
    if let Some(us) = done {
        lines.push(format!(
            "done: stable {} had all new requests {} after the decision",
            rollout.stable,
            microseconds(us)
        ));
    }
    let events: Vec<EventBody> = events.iter().map(render::event).collect();
    WhyBody {
        rollout: render_rollout::rollout(rollout),
        decided: decided.map(render::event),
        actuation_us: done,
        lines,
        events,
    }
}

fn headline(rollout: &RolloutStatus) -> String {
    format!(
        "{} on {} from {} to {}: {}",
        rollout.id,
        rollout.route,
        rollout.stable,
        rollout.candidate,
        render_rollout::standing(rollout)
    )
}

fn ended(rollout: &RolloutStatus, event: &Event) -> String {
    let lasted = event.at.since(rollout.started_at);
    let reason = event.author.reason.as_deref();
    let reason = reason.map(|reason| format!(" ({reason})"));
    format!(
        "decided at {} by {}{}, {} s after the start",
        event.at,
        event.author.who,
        reason.unwrap_or_default(),
        lasted.as_secs()
    )
}

fn judged(record: &Record) -> Vec<String> {
    let mut lines = vec![format!(
        "verdict: {}; evidence against the candidate {} of {:.0} that revert: {}",
        record.verdict,
        number(record.e_value),
        record.revert_at,
        parts(record),
    )];
    lines.push(errors(record));
    lines.push(format!(
        "latency: {}, tolerated up to {} times stable's",
        number(record.latency.e_value),
        record.latency.margin
    ));
    lines.extend(
        record
            .latency
            .quantiles
            .iter()
            .map(|at| quantile(record, at)),
    );
    let pushed = record.metrics.iter();
    lines.extend(pushed.map(|metric| format!("metric {}: {}", metric.name, self::metric(metric))));
    lines.extend(record.took.as_ref().map(took));
    lines.extend(record.guards.iter().map(|one| guard(record, one)));
    if record.connect_failures > 0 {
        lines.push(format!(
            "connections: the candidate could not be reached for {} calls in a row",
            record.connect_failures
        ));
    }
    if !matches!(record.verdict, Verdict::Revert { .. }) {
        lines.push(passing(record));
    }
    if !record.deciding.is_empty() {
        lines.push("calls behind the decision, oldest first:".to_owned());
        lines.extend(record.deciding.iter().map(deciding));
    }
    lines
}

fn took(took: &TookRecord) -> String {
    let arm = |arm: &ArmTook| {
        let at = |seconds: Option<f64>| seconds.map_or("-".to_owned(), milliseconds);
        let [p50, p95, p99] = [arm.p50_seconds, arm.p95_seconds, arm.p99_seconds].map(at);
        format!("{p50}, {p95} and {p99}")
    };
    format!(
        "took (p50, p95 and p99): the candidate's calls {}; stable's {}",
        arm(&took.candidate),
        arm(&took.stable)
    )
}

fn guard(record: &Record, one: &GuardRecord) -> String {
    let limit = match one.guard {
        Guard::ErrorRate => percent(one.limit),
        Guard::LatencyP99 => milliseconds(one.limit),
        Guard::ConnectFailures => format!("{} in a row", one.limit),
    };
    let decided = if record.broken == Some(one.guard) {
        ", which decided"
    } else {
        ""
    };
    format!(
        "guard {}: {} of {} calls beyond its limit {limit}; evidence {} of {} that revert{decided}",
        one.guard,
        one.over,
        one.calls,
        number(one.evidence),
        number(one.revert_at),
    )
}

fn deciding(outcome: &DecidingOutcome) -> String {
    let role = match outcome.role {
        Role::Stable => "stable",
        Role::Candidate => "candidate",
    };
    let status = outcome.status.map(|status| format!(" ({status})"));
    let named = |name: &str, text: &Option<String>| {
        let text = text.as_ref().map(|text| format!(", {name} {text}"));
        text.unwrap_or_default()
    };
    format!(
        "  {}: {role}, {}{} after {}{}{}",
        outcome.at,
        outcome.what,
        status.unwrap_or_default(),
        milliseconds(outcome.latency_seconds),
        named("request", &outcome.id),
        named("caller", &outcome.key),
    )
}

/// What the evidence is made of.
fn parts(record: &Record) -> String {
    let (errors, latency) = (&record.errors, &record.latency);
    let (errors, latency) = (number(errors.e_value), number(latency.e_value));
    if record.metrics.is_empty() {
        return format!("half of errors' {errors} and half of latency's {latency}");
    }
    let sum: f64 = record.metrics.iter().map(|metric| metric.e_value).sum();
    let mean = number(sum / record.metrics.len() as f64);
    format!("0.45 of errors' {errors}, 0.45 of latency's {latency} and 0.1 of the metrics' {mean}")
}

/// One sentence on a metric that is pushed.
pub(super) fn metric(metric: &MetricRecord) -> String {
    let arm = |arm: &MetricArmRecord| {
        let mean = arm.mean.map(|mean| format!(", {} on average", plain(mean)));
        format!(
            "{} values{}, {} bad",
            arm.values,
            mean.unwrap_or_default(),
            arm.bad
        )
    };
    format!(
        "evidence {}, tolerated up to {} times stable's; candidate {}; stable {}",
        number(metric.e_value),
        metric.margin,
        arm(&metric.candidate),
        arm(&metric.stable),
    )
}

/// A number of any size, to three digits.
fn plain(number: f64) -> String {
    match number.abs() {
        n if n >= 100.0 => format!("{number:.0}"),
        n if n >= 0.01 || n == 0.0 => format!("{number:.2}"),
        _ => format!("{number:.1e}"),
    }
}

fn errors(record: &Record) -> String {
    let (stable, candidate) = (&record.stable, &record.candidate);
    format!(
        "errors: {} of the candidate's {} calls failed ({}), {} of stable's {} ({}); as evidence count {} and {}, one a caller and minute, of {} callers or more; \
         against at most {} times stable's rate {}, against at most {} of its calls {}, of which the lesser counts",
        candidate.bad,
        candidate.calls,
        part(candidate.bad, candidate.calls),
        stable.bad,
        stable.calls,
        part(stable.bad, stable.calls),
        candidate.bad_counted,
        stable.bad_counted,
        record.errors.callers,
        record.errors.margin,
        percent(record.errors.floor),
        number(record.errors.ratio_e_value),
        number(record.errors.floor_e_value),
    )
}

fn quantile(record: &Record, at: &QuantileRecord) -> String {
    let limits = at.stable_limit_seconds.zip(at.candidate_limit_seconds);
    let limits = limits.map(|(stable, candidate)| {
        format!(
            "stable's is {}, the candidate may take {}; ",
            milliseconds(stable),
            milliseconds(candidate)
        )
    });
    format!(
        "  p{:.0}: {}slower were {} of the candidate's calls ({}) and {} of stable's ({}): {}",
        at.quantile * 100.0,
        limits.unwrap_or_default(),
        at.candidate_slow,
        part(at.candidate_slow, record.candidate.calls),
        at.stable_slow,
        part(at.stable_slow, record.stable.calls),
        number(at.e_value),
    )
}

fn passing(record: &Record) -> String {
    let needed = match record.needed_calls {
        Some(0) => "that is enough".to_owned(),
        Some(calls) => {
            let time = record.needed_seconds;
            let time = time.map(|seconds| format!(", {} at this rate", span(seconds)));
            let time = time.unwrap_or_default();
            format!("about {calls} more calls of the candidate's are needed{time}")
        }
        None => "no number of calls like these would do".to_owned(),
    };
    format!(
        "passing: the stage has {} calls of the candidate's, {} at least; each of errors {} and latency {} has to reach {:.0}: {needed}",
        record.stage_calls,
        record.min_requests,
        number(record.errors.pass_e_value),
        number(record.latency.pass_e_value),
        record.pass_at,
    )
}

/// A time as people say it.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}

/// A part as a percent.
fn part(of: u64, all: u64) -> String {
    percent(of as f64 / all.max(1) as f64)
}

fn percent(part: f64) -> String {
    format!("{} %", (part * 10_000.0).round() / 100.0)
}

/// Evidence, which may be tiny or huge.
fn number(number: f64) -> String {
    match number {
        n if n >= 1e6 => format!("{n:.1e}"),
        n if n >= 10.0 => format!("{n:.0}"),
        n if n >= 0.01 => format!("{n:.2}"),
        n => format!("{n:.1e}"),
    }
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.1} ms", seconds * 1000.0)
}

fn microseconds(us: u64) -> String {
    match us {
        0..10_000 => format!("{us} µs"),
        _ => format!("{} ms", us / 1000),
    }
}
