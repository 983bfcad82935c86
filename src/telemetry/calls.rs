//! The workers' counts of calls, as metrics.

use std::time::Duration;

use crate::model::Outcome;
use crate::stats::{CallKey, CallSummary, Registry, Traffic};

use super::page::{Kind, Page};

/// Upper bounds of the buckets of latency, in seconds as text and in µs.
const BOUNDS: [(&str, u64); 16] = [
    ("0.001", 1_000),
    ("0.0025", 2_500),
    ("0.005", 5_000),
    ("0.01", 10_000),
    ("0.025", 25_000),
    ("0.05", 50_000),
    ("0.1", 100_000),
    ("0.25", 250_000),
    ("0.5", 500_000),
    ("1", 1_000_000),
    ("2.5", 2_500_000),
    ("5", 5_000_000),
    ("10", 10_000_000),
    ("30", 30_000_000),
    ("60", 60_000_000),
    ("300", 300_000_000),
];

/// The names of one kind of traffic's metrics.
struct Names {
    traffic: Traffic,
    calls: (&'static str, &'static str),
    duration: (&'static str, &'static str),
    in_flight: (&'static str, &'static str),
    streams: (&'static str, &'static str),
}

const REAL: Names = Names {
    traffic: Traffic::Real,
    calls: (
        "switchback_calls_total",
        "Finished calls, by what the caller got",
    ),
    duration: (
        "switchback_call_duration_seconds",
        "Time until a call's answer was relayed; calls whose caller left are not in it",
    ),
    in_flight: ("switchback_calls_in_flight", "Calls under way"),
    streams: ("switchback_streams_open", "Open streams that carry no call"),
};

const SHADOW: Names = Names {
    traffic: Traffic::Shadow,
    calls: (
        "switchback_shadow_calls_total",
        "Finished copies sent to a shadow, by outcome",
    ),
    duration: (
        "switchback_shadow_call_duration_seconds",
        "Time until the answer to a copy was read",
    ),
    in_flight: (
        "switchback_shadow_calls_in_flight",
        "Copies under way to a shadow",
    ),
    streams: (
        "switchback_shadow_streams_open",
        "Open streams of copies sent to a shadow",
    ),
};

/// Puts the counts of every route and backend on the page, real traffic and copies apart.
pub(super) fn render_calls(registry: &Registry, page: &mut Page) {
    let keys = registry.keys();
    for names in [REAL, SHADOW] {
        let sums: Vec<_> = keys
            .iter()
            .filter(|key| key.traffic == names.traffic)
            .map(|key| (key, registry.sum(key)))
            .collect();
        outcomes(&names, &sums, page);
        durations(&names, &sums, page);
        gauge(names.in_flight, &sums, page, |sum| sum.in_flight);
        gauge(names.streams, &sums, page, |sum| sum.streams);
    }
}

type Sums<'a> = [(&'a CallKey, CallSummary)];

fn outcomes(names: &Names, sums: &Sums<'_>, page: &mut Page) {
    let (name, help) = names.calls;
    page.family(name, Kind::Counter, help);
    for (key, sum) in sums {
        // Zeros too: a rate over a series that just appeared would miss its first calls.
        for outcome in Outcome::ALL {
            let [route, backend] = labels(key);
            let labels = [route, backend, ("outcome", outcome.as_str())];
            page.sample(name, &labels, sum.count(outcome));
        }
    }
}

fn durations(names: &Names, sums: &Sums<'_>, page: &mut Page) {
    let (name, help) = names.duration;
    page.family(name, Kind::Histogram, help);
    let (bucket, total, count) = (
        format!("{name}_bucket"),
        format!("{name}_sum"),
        format!("{name}_count"),
    );
    for (key, sum) in sums {
        let [route, backend] = labels(key);
        for (le, us) in BOUNDS {
            let within = sum.latency.count_up_to(Duration::from_micros(us));
            page.sample(&bucket, &[route, backend, ("le", le)], within);
        }
        let all = sum.latency.count();
        page.sample(&bucket, &[route, backend, ("le", "+Inf")], all);
        page.sample(&total, &[route, backend], sum.latency.sum().as_secs_f64());
        page.sample(&count, &[route, backend], all);
    }
}

fn gauge(
    (name, help): (&'static str, &'static str),
    sums: &Sums<'_>,
    page: &mut Page,
    value: impl Fn(&CallSummary) -> u64,
) {
    page.family(name, Kind::Gauge, help);
    for (key, sum) in sums {
        page.sample(name, &labels(key), value(sum));
    }
}

fn labels(key: &CallKey) -> [(&'static str, &str); 2] {
    [
        ("route", key.route.as_str()),
        ("backend", key.backend.as_str()),
    ]
}
