//! What is written about the API is true of it: OpenAPI, the pages of docs, the metrics.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::admin::endpoints::{ENDPOINTS, Needs, Takes};
use crate::admin::openapi::document;
use crate::admin::wire::{ActBody, StartRolloutBody, WeightsBody};
use crate::telemetry::strict;

use super::Fixture;

const API: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.md"));
const METRICS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md"));

#[tokio::test]
async fn the_document_lists_what_the_router_has() {
    let api = Fixture::start();
    let served: Value = api.get("/openapi.json").await.json();
    let paths = served["paths"].as_object().unwrap();
    let listed: usize = paths
        .values()
        .map(|path| path.as_object().unwrap().len())
        .sum();

    assert_eq!(listed, ENDPOINTS.len());
    for endpoint in ENDPOINTS {
        let verb = endpoint.verb.as_str();
        let operation = &served["paths"][endpoint.path][verb.to_lowercase()];
        assert!(operation.is_object(), "{verb} {}", endpoint.path);
        // A path that the router lacks would be 404 for any method.
        let path = endpoint.path.replace(['{', '}'], "");
        let answer = api.call(&format!("PATCH {path}"), &[], "").await;
        assert_eq!(answer.status, 405, "{path}");
        let allowed = answer.headers["allow"].to_str().unwrap();
        assert!(allowed.split(", ").any(|allowed| allowed == verb), "{path}");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);

    assert!(found.len() > 50);
    for reference in found {
        let place = reference.trim_start_matches('#');
        assert!(document.pointer(place).is_some(), "{reference}");
    }
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                found.push(reference.clone());
            }
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_document_says_whom_each_call_is_for() {
    let document = document();
    for endpoint in ENDPOINTS {
        let verb = endpoint.verb.as_str().to_lowercase();
        let operation = &document["paths"][endpoint.path][&verb];
        let asks = !operation["security"].as_array().unwrap().is_empty();
        assert_eq!(asks, endpoint.needs != Needs::Nothing, "{}", endpoint.path);
        for status in ["401", "403", "429"] {
            let told = operation["responses"][status].is_object();
            assert!(told || !asks, "{} {status}", endpoint.path);
        }
    }
    assert!(document["components"]["securitySchemes"]["token"].is_object());
}

#[test]
fn its_examples_are_what_the_api_takes() {
    let document = document();
    let example = |name: &str| document["components"]["schemas"][name]["example"].clone();

    serde_json::from_value::<WeightsBody>(example("WeightsBody")).unwrap();
    serde_json::from_value::<StartRolloutBody>(example("StartRolloutBody")).unwrap();
    serde_json::from_value::<ActBody>(example("ActBody")).unwrap();
    for endpoint in ENDPOINTS {
        if let Takes::Json(shape) = endpoint.takes {
            assert!(example(&(shape.name)()).is_object(), "{}", endpoint.path);
        }
    }
}

#[test]
fn the_page_of_docs_has_every_endpoint() {
    for endpoint in ENDPOINTS {
        let path = endpoint.path;
        let last = format!("`/{}`", path.rsplit('/').next().unwrap());
        let whole = format!("{} {path}", endpoint.verb.as_str());
        assert!(API.contains(&whole) || API.contains(&last), "{whole}");
    }
}

#[tokio::test]
async fn the_page_of_metrics_is_strict_and_all_of_it_is_documented() {
    let api = Fixture::start();
    let started = api
        .send("POST /v1/routes/search/rollouts", r#"{"to": "search-v2"}"#)
        .await;
    assert_eq!(started.status, 201, "{started:?}");

    let page = api.get("/metrics").await;

    assert_eq!(
        page.headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let read = strict::read(&page.text);
    let documented = names(METRICS);
    for family in read
        .families
        .keys()
        .filter(|name| !name.starts_with("switchback_test_"))
    {
        assert!(
            documented.contains(family.as_str()),
            "{family} is not in docs/metrics.md"
        );
    }
    let arm = [("route", "search"), ("backend", "search-v2")];
    assert_eq!(
        read.value("switchback_traffic_share_ratio", &arm),
        Some(0.05)
    );
    let role = [arm[0], arm[1], ("role", "candidate")];
    assert_eq!(read.value("switchback_rollout_role", &role), Some(1.0));
    let state = [("route", "search"), ("state", "running")];
    assert_eq!(read.value("switchback_rollout_state", &state), Some(1.0));
    assert_eq!(read.value("switchback_ready", &[]), Some(1.0));
}

/// The metrics that a text names in back quotes.
fn names(text: &str) -> BTreeSet<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted
        .filter(|name| name.starts_with("switchback_") || name.starts_with("process_"))
        .collect()
}
