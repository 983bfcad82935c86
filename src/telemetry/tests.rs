//! The page as a scraper reads it.

use std::sync::Arc;
use std::time::Duration;

use crate::model::Outcome;
use crate::stats::{CallKey, Registry, Traffic};

use super::strict;
use super::*;

fn key(backend: &str, traffic: Traffic) -> CallKey {
    CallKey {
        route: "search".parse().unwrap(),
        backend: backend.parse().unwrap(),
        traffic,
    }
}

#[test]
fn counts_of_all_workers_are_on_the_page() {
    let registry = Registry::default();
    for worker in 0..2 {
        let shard = registry.calls(worker, &key("v1", Traffic::Real));
        for (outcome, ms) in [
            (Outcome::Success, 3),
            (Outcome::ToolError, 40),
            (Outcome::Cancelled, 9),
        ] {
            shard.begin();
            shard.end(outcome, Duration::from_millis(ms));
        }
        shard.begin();
    }
    registry.calls(0, &key("v2", Traffic::Shadow)).begin();
    let metrics = Metrics::new(Arc::new(registry));

    let read = strict::read(&metrics.render(|_| ()));

    let arm = [("route", "search"), ("backend", "v1")];
    let outcome = |outcome| {
        let labels = [arm[0], arm[1], ("outcome", outcome)];
        read.value("switchback_calls_total", &labels)
    };
    assert_eq!(outcome("success"), Some(2.0));
    assert_eq!(outcome("tool_error"), Some(2.0));
    assert_eq!(outcome("timeout"), Some(0.0));
    let within = |le| {
        let labels = [arm[0], arm[1], ("le", le)];
        read.value("switchback_call_duration_seconds_bucket", &labels)
    };
    assert_eq!(
        (within("0.0025"), within("0.005"), within("+Inf")),
        (Some(0.0), Some(2.0), Some(4.0))
    );
    assert_eq!(read.value("switchback_calls_in_flight", &arm), Some(2.0));
    let shadow = [("route", "search"), ("backend", "v2")];
    assert_eq!(
        read.value("switchback_shadow_calls_in_flight", &shadow),
        Some(1.0)
    );
    assert_eq!(read.value("switchback_calls_in_flight", &shadow), None);
}

#[test]
fn a_process_without_any_call_has_a_page_too() {
    let metrics = Metrics::new(Arc::default());

    let read = strict::read(&metrics.render(|_| ()));

    assert!(read.value("process_start_time_seconds", &[]).unwrap() > 1.7e9);
    assert!(read.value("process_resident_memory_bytes", &[]).unwrap() > 1e6);
}
