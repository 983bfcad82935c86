//! `switchback backend`: how fit backends and their endpoints are.

use std::fmt::Write;

use super::api::{Api, ApiError};
use super::failure::{Exit, Failure};
use super::output::Output;
use super::words::{self, Lean, Table};
use crate::admin::wire::{BackendBody, BackendsBody, EndpointBody};
use crate::model::BackendName;

/// `switchback backend [BACKEND]`
pub(super) async fn show(
    api: Api,
    backend: Option<BackendName>,
    output: Output,
) -> Result<Exit, Failure> {
    let refused = |error: ApiError| error.failure(api.origin(), "read the backends");
    match backend {
        None => {
            let all: BackendsBody = api.get("/v1/backends").await.map_err(refused)?;
            output.answer(&all, |all| {
                let texts: Vec<String> = all.backends.iter().map(text).collect();
                texts.join("\n")
            })?;
        }
        Some(name) => {
            let path = format!("/v1/backends/{name}");
            let backend: BackendBody = api.get(&path).await.map_err(refused)?;
            output.answer(&backend, text)?;
        }
    }
    Ok(Exit::Done)
}

fn text(backend: &BackendBody) -> String {
    let Some(fitness) = &backend.fitness else {
        return format!("backend {}\n", backend.backend);
    };
    let mut table = Table::new(&[
        ("ENDPOINT", Lean::Left),
        ("STATE", Lean::Left),
        ("CALLS", Lean::Right),
        ("FAILED", Lean::Right),
        ("IN FLIGHT", Lean::Right),
        ("CONNECTIONS", Lean::Right),
        ("EJECTIONS", Lean::Right),
    ]);
    for endpoint in &fitness.endpoints {
        table.row(cells(endpoint));
    }
    let mut text = format!(
        "backend {} (breaker {})\n{}",
        backend.backend,
        fitness.breaker.replace('_', " "),
        table.render("  ")
    );
    if let Some(sessions) = &backend.sessions {
        let _ = writeln!(text, "  sessions: {}", words::sessions(sessions));
    }
    for endpoint in &fitness.endpoints {
        let last = endpoint.last_check.as_ref();
        if let Some(why) = last.and_then(|last| last.failure.as_ref()) {
            let _ = writeln!(text, "  {}: {why}", endpoint.endpoint);
        }
    }
    text
}

fn cells(endpoint: &EndpointBody) -> [String; 7] {
    let failed: u64 = endpoint.failed.values().sum();
    let state = match &endpoint.ejected_until {
        Some(until) => format!("{}, ejected until {until}", endpoint.health),
        None => endpoint.health.clone(),
    };
    [
        endpoint.endpoint.clone(),
        state,
        words::count(endpoint.answered + failed),
        words::count(failed),
        words::count(endpoint.in_flight),
        words::count(endpoint.connects),
        words::count(endpoint.ejections),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_backend_shows_how_each_endpoint_is_and_why() {
        let endpoint = |address: &str, health: &str| {
            json!({
                "endpoint": address, "usable": true, "health": health, "checks_passed": 3,
                "checks_failed": 0, "ejections": 1, "answered": 1234, "failed": {"unreachable": 2},
                "forced": 0, "in_flight": 5, "connects": 7, "lookup_failures": 0
            })
        };
        let mut dead = endpoint("http://127.0.0.1:3002", "unhealthy");
        dead["ejected_until"] = json!("2026-11-21T04:00:05.000Z");
        dead["last_check"] = json!({
            "at": "2026-11-21T04:00:00.000Z", "took_ms": 1.5, "failure": "the answer has status 503"
        });
        let backend: BackendBody = serde_json::from_value(json!({
            "backend": "search-v2", "endpoints": [], "routes": [],
            "calls": { "total": 0, "outcomes": {}, "in_flight": 0, "open_streams": 0 },
            "fitness": {
                "breaker": "half_open", "breaker_opened": 1, "shed": {}, "connecting": 0,
                "endpoints": [endpoint("http://127.0.0.1:3001", "healthy"), dead]
            }
        }))
        .unwrap();

        let text = text(&backend);

        assert!(
            text.starts_with("backend search-v2 (breaker half open)\n"),
            "{text}"
        );
        assert!(
            text.contains("unhealthy, ejected until 2026-11-21T04:00:05.000Z"),
            "{text}"
        );
        assert!(
            text.ends_with("  http://127.0.0.1:3002: the answer has status 503\n"),
            "{text}"
        );
    }
}
