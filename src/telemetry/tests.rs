//! The page as a scraper reads it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Limit, Outcome};
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

/// Every name of a metric in the sources is in the docs, and the other way round. Counters of
/// the facade have a help, too.
#[test]
fn sources_and_docs_name_the_same_metrics() {
    let docs = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md"));
    let sources = sources();
    let in_sources: BTreeSet<&str> = sources
        .split('"')
        .filter(|text| is_metric(text) && !text.starts_with("switchback_test_"))
        .collect();
    let quoted = docs.split('`').skip(1).step_by(2);
    let in_docs: BTreeSet<&str> = quoted.filter(|text| is_metric(text)).collect();

    let missing: Vec<_> = in_sources.symmetric_difference(&in_docs).collect();

    assert!(
        missing.is_empty(),
        "only in the sources or only in the docs: {missing:?}"
    );
}

#[test]
fn every_metric_has_one_row_in_the_docs_and_every_limit_its_name() {
    let docs = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md"));
    let rows = docs.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut seen = BTreeSet::new();
    for row in rows {
        let name = row.split('`').next().unwrap();
        assert!(!is_metric(name) || seen.insert(name), "{name} has two rows");
        if name == Limit::METRIC {
            for limit in Limit::ALL {
                let label = format!("`{}`", limit.as_str());
                assert!(row.contains(&label), "{label} is not in the row");
            }
        }
    }
    assert!(seen.contains(Limit::METRIC));
}

fn is_metric(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c == '_';
    let ours = text.starts_with("switchback_") || text.starts_with("process_");
    ours && text.chars().all(plain) && text.matches('_').count() >= 1
}

/// All sources but tests, which name parts of metrics.
fn sources() -> String {
    let mut text = String::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests") {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
                text.push_str(&fs::read_to_string(path).unwrap());
                text.push('\n');
            }
        }
    }
    text
}
