//! Hours of ordinary traffic: nothing fails, nothing grows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::runtime::Runtime;

use crate::crowd::{Seen, backend, caller, reader};
use crate::process::{open_files, raise_open_files, resident_bytes};
use crate::size;
use crate::support::gate::pass;
use crate::support::gateway::Gateway;
use crate::support::routes::route_with;

const MIB: f64 = 1024.0 * 1024.0;
const CALLERS: u32 = 20;

/// One look at the gateway.
#[derive(Clone, Copy, Debug)]
struct Look {
    hours: f64,
    mib: f64,
    files: usize,
}

/// How fast memory grows, in MiB an hour: the slope of the line of least squares.
fn slope(looks: &[Look]) -> f64 {
    let count = looks.len() as f64;
    let mean = |of: fn(&Look) -> f64| looks.iter().map(of).sum::<f64>() / count;
    let (hours, mib) = (mean(|look| look.hours), mean(|look| look.mib));
    let over: f64 = looks
        .iter()
        .map(|look| (look.hours - hours) * (look.mib - mib))
        .sum();
    let under: f64 = looks.iter().map(|look| (look.hours - hours).powi(2)).sum();
    over / under
}

fn metric(gateway: &Gateway, name: &str) -> u64 {
    let page = gateway.admin.text("/metrics");
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("{name} in {page}"));
    line.trim().parse().unwrap()
}

#[test]
fn hours_of_traffic_and_reloads_fail_nothing_and_grow_nothing() {
    let _alone = size::alone();
    raise_open_files();
    let lasts = Duration::from_mins(1) * size::of("soak_minutes", 1, 360);
    let streams = size::of("soak_streams", 200_u64, 500);
    let rate = size::of("soak_rate", 150_u32, 300);
    let between_reloads = Duration::from_secs(size::of("soak_reload_seconds", 5, 60));
    let runtime = Runtime::new().unwrap();
    let url = format!("http://{}", runtime.block_on(backend()));
    let config = |number: u64| {
        let idle = format!("idle_timeout: {}s", 300 + number % 2);
        route_with("http", &[("only", &url, 1)], &[&idle])
    };
    let gateway = Gateway::start(&config(0));
    let seen = Arc::new(Seen::default());
    for _ in 0..CALLERS {
        let per_second = f64::from(rate) / f64::from(CALLERS);
        runtime.spawn(caller(gateway.address, per_second, Arc::clone(&seen)));
    }
    for _ in 0..streams {
        runtime.spawn(reader(gateway.address, Arc::clone(&seen)));
    }

    let (begun, mut looks, mut reloads) = (Instant::now(), Vec::new(), 0_u64);
    while begun.elapsed() < lasts {
        pass(between_reloads);
        reloads += 1;
        gateway.rewrite(&config(reloads));
        gateway.admin.post("/v1/config/reload", &json!({}));
        let look = Look {
            hours: begun.elapsed().as_secs_f64() / 3600.0,
            mib: resident_bytes(gateway.pid()) as f64 / MIB,
            files: open_files(gateway.pid()),
        };
        println!("{look:?}, {} requests", seen.fine());
        looks.push(look);
    }

    assert_eq!(seen.faults(), Vec::<String>::new());
    let expected = lasts.as_secs() * u64::from(rate);
    assert!(seen.fine() > expected / 2, "{} of {expected}", seen.fine());
    assert!(seen.events() >= streams, "{} events", seen.events());
    assert_eq!(metric(&gateway, "switchback_panics_total"), 0);
    assert_flat(&looks);
}

/// After the first hour memory grows by less than 1 MiB an hour. A short run has no such hour, so
/// what it can show is less: from its middle on, less than 8 MiB in all.
fn assert_flat(looks: &[Look]) {
    let settled: Vec<Look> = looks.iter().copied().filter(|l| l.hours >= 1.0).collect();
    let later = if settled.len() > 60 {
        let slope = slope(&settled);
        println!("slope after the first hour: {slope:.3} MiB an hour");
        assert!(slope < 1.0, "{slope} MiB an hour");
        settled
    } else {
        let later = looks[looks.len() / 2..].to_vec();
        let grown = later[later.len() - 1].mib - later[0].mib;
        assert!(grown < 8.0, "{grown} MiB in {} looks", later.len());
        later
    };
    let files = later.iter().map(|look| look.files);
    let (fewest, most) = (files.clone().min(), files.max());
    // Callers come and go on connections of their own.
    let spread = most.unwrap_or(0) - fewest.unwrap_or(0);
    assert!(spread <= 2 * CALLERS as usize, "{fewest:?} to {most:?}");
}
