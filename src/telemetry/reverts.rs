//! How long ways back took, as metrics.

use std::time::Duration;

use crate::stats::{Latencies, Registry};

use super::page::{Kind, Page};

const NAME: &str = "switchback_revert_seconds";
/// Upper bounds of the buckets, in seconds as text and in µs.
const BOUNDS: [(&str, u64); 12] = [
    ("0.0005", 500),
    ("0.001", 1_000),
    ("0.002", 2_000),
    ("0.003", 3_000),
    ("0.005", 5_000),
    ("0.0075", 7_500),
    ("0.01", 10_000),
    ("0.025", 25_000),
    ("0.05", 50_000),
    ("0.1", 100_000),
    ("1", 1_000_000),
    ("10", 10_000_000),
];

/// Puts the ways back of every route that had a rollout on the page.
pub(super) fn render_reverts(registry: &Registry, page: &mut Page) {
    page.family(
        NAME,
        Kind::Histogram,
        "Time from the outcome that decided a revert, or its command, to the first request on stable",
    );
    let [bucket, sum, count] = ["bucket", "sum", "count"].map(|part| format!("{NAME}_{part}"));
    for (route, took) in registry.all_reverts() {
        let mut all = Latencies::default();
        took.add_to(&mut all);
        let route = ("route", route.as_str());
        for (le, us) in BOUNDS {
            let within = all.count_up_to(Duration::from_micros(us));
            page.sample(&bucket, &[route, ("le", le)], within);
        }
        page.sample(&bucket, &[route, ("le", "+Inf")], all.count());
        page.sample(&sum, &[route], all.sum().as_secs_f64());
        page.sample(&count, &[route], all.count());
    }
}
