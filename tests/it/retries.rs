//! What is sent again when a backend fails, and what never is.

use std::collections::HashSet;
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::client::Answer;
use crate::support::exchange::Request;
use crate::support::gateway::Gateway;
use crate::support::ports::reserve;
use crate::support::routes::{route_with, through};

/// A backend that reads every second request on a connection, and answers it by a reset.
fn forgetful() -> Backend {
    let served = Mutex::new(HashSet::new());
    Backend::start(move |exchange| {
        exchange.read_body();
        if served.lock().unwrap().insert(exchange.request.connection) {
            exchange.answer(200, &[], "fine");
        } else {
            exchange.reset();
        }
    })
}

fn one_backend_two_endpoints(first: &str, second: &str, more: &str) -> String {
    format!(
        "backends:\n  both: {{ endpoints: [\"{first}\", \"{second}\"] }}\n\
         routes:\n  - name: all\n    split: {{ both: 1 }}\n    {more}\n"
    )
}

/// Waits until a backend has counted so many calls of an outcome, or more.
fn wait_for_count(gateway: &Gateway, backend: &str, outcome: &str, least: u64) -> u64 {
    gateway.admin.wait_for("/v1/routes/all", |seen: &Value| {
        let mut arms = seen["arms"].as_array()?.iter();
        let arm = arms.find(|arm| arm["backend"] == backend)?;
        let count = arm["calls"]["outcomes"][outcome].as_u64()?;
        (count >= least).then_some(count)
    })
}

fn post(gateway: &Gateway, body: &Value) -> Answer {
    let fields = [("content-type", "application/json")];
    gateway
        .connect()
        .ask("POST", "/", &fields, body.to_string().as_bytes())
}

#[test]
fn a_dead_pooled_connection_costs_a_get_nothing() {
    let backend = forgetful();
    let gateway = Gateway::start_with_workers(1, &through(&backend.url()));
    let mut client = gateway.connect();

    for _ in 0..60 {
        let answer = client.ask("GET", "/", &[], b"");
        assert_eq!((answer.status, answer.text().as_str()), (200, "fine"));
    }

    let counted = wait_for_count(&gateway, "only", "success", 60);
    assert_eq!(counted, 60, "each counts once");
}

#[test]
fn who_asks_is_told_once_each_time_a_request_is_sent() {
    let forgetful = forgetful();
    let busy = Backend::fixed(503, "no");
    let stale = Gateway::start_with_workers(1, &through(&forgetful.url()));
    let arms = [("only", busy.url(), 1)];
    let arms = arms.each_ref().map(|(n, u, w)| (*n, u.as_str(), *w));
    let retries = "retries: { statuses: [503], backoff: 1ms }";
    let again = Gateway::start(&route_with("http", &arms, &[retries]));

    let mut client = stale.connect();
    for _ in 0..10 {
        assert_eq!(client.ask("GET", "/", &[], b"").status, 200);
    }
    assert_eq!(again.get("/").status, 503);

    let sent = [forgetful.requests(), busy.requests()].concat();
    assert!(sent.len() >= 13, "{}", sent.len());
    for request in sent {
        assert_eq!(request.fields.count("x-forwarded-host"), 1);
        assert_eq!(request.fields.count("x-forwarded-proto"), 1);
        let told: Vec<_> = request.fields.all("x-forwarded-for").collect();
        assert_eq!(told, ["127.0.0.1"]);
    }
}

#[test]
fn what_may_have_had_effects_is_never_sent_twice() {
    let backend = forgetful();
    let gateway = Gateway::start_with_workers(1, &through(&backend.url()));
    let mut client = gateway.connect();
    assert_eq!(client.ask("GET", "/warm", &[], b"").status, 200);

    let answer = client.ask("POST", "/once", &[], b"x");

    assert_eq!(answer.status, 502);
    let posts = backend.requests();
    assert_eq!(posts.iter().filter(|r| r.method == "POST").count(), 1);
}

#[test]
fn another_endpoint_takes_what_the_first_one_refused() {
    let nobody = reserve();
    let backend = Backend::fixed(200, "fine");
    let dead = format!("http://{}", nobody.address);
    let gateway = Gateway::start(&one_backend_two_endpoints(&dead, &backend.url(), ""));

    for _ in 0..40 {
        // Nothing was sent to the dead one: whatever the method, it goes to the other.
        assert_eq!(gateway.get("/").status, 200);
        assert_eq!(post(&gateway, &json!({})).status, 200);
    }

    assert_eq!(backend.requests().len(), 80);
}

#[test]
fn another_backend_takes_what_a_dead_one_refused() {
    let nobody = reserve();
    let backend = Backend::fixed(200, "fine");
    let dead = format!("http://{}", nobody.address);
    let arms = [("dead", dead.as_str(), 50), ("alive", &backend.url(), 50)];
    let gateway = Gateway::start(&route_with("http", &arms, &[]));

    for _ in 0..40 {
        assert_eq!(gateway.get("/").status, 200);
    }
    assert_eq!(wait_for_count(&gateway, "alive", "success", 40), 40);
}

#[test]
fn without_retries_each_failure_is_the_callers() {
    let nobody = reserve();
    let backend = Backend::fixed(200, "fine");
    let dead = format!("http://{}", nobody.address);
    let arms = [("dead", dead.as_str(), 100), ("alive", &backend.url(), 0)];
    let none = ["retries: { attempts: 0 }"];
    let gateway = Gateway::start(&route_with("http", &arms, &none));

    assert_eq!(gateway.get("/").status, 502);
    assert_eq!(wait_for_count(&gateway, "dead", "unreachable", 1), 1);
}

#[test]
fn a_backend_without_weight_takes_nothing_over() {
    let nobody = reserve();
    let backend = Backend::fixed(200, "fine");
    let dead = format!("http://{}", nobody.address);
    let arms = [("dead", dead.as_str(), 100), ("old", &backend.url(), 0)];
    let gateway = Gateway::start(&route_with("http", &arms, &[]));

    assert_eq!(gateway.get("/").status, 502);
    assert_eq!(backend.requests().len(), 0);
}

#[test]
fn an_answer_is_tried_again_only_with_a_status_of_the_list() {
    for (statuses, status, tries) in [("[]", 503, 1), ("[503]", 503, 3), ("[503]", 500, 1)] {
        let backend = Backend::fixed(status, "no");
        let retries = format!("retries: {{ statuses: {statuses}, backoff: 1ms }}");
        let arms = [("only", backend.url(), 1)];
        let arms = arms.each_ref().map(|(n, u, w)| (*n, u.as_str(), *w));
        let gateway = Gateway::start(&route_with("http", &arms, &[&retries]));

        assert_eq!(gateway.get("/").status, status, "{statuses}");
        assert_eq!(backend.requests().len(), tries, "{statuses} {status}");
        assert_eq!(post(&gateway, &json!({})).status, status);
        assert_eq!(backend.requests().len(), tries + 1, "a POST is sent once");
    }
}

#[test]
fn calls_that_only_read_are_repeated_and_tools_never_are() {
    let bad = Backend::start(|exchange| {
        exchange.read_body();
        exchange.reset();
    });
    let good = Backend::start(|exchange| {
        exchange.read_body();
        exchange.answer_json(&[], &json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
    });
    let both = one_backend_two_endpoints(&bad.url(), &good.url(), "protocol: mcp");
    let gateway = Gateway::start(&both);
    let message = |method: &str| json!({"jsonrpc": "2.0", "id": 1, "method": method});

    for _ in 0..20 {
        assert_eq!(post(&gateway, &message("tools/list")).status, 200);
    }
    let tools = (0..20).map(|_| post(&gateway, &message("tools/call")).status);
    let failed = tools.filter(|status| *status == 502).count();

    let calls = |backend: &Backend| {
        let requests = backend.requests();
        let bodies = requests.iter().map(Request::text);
        bodies.filter(|body| body.contains("tools/call")).count()
    };
    assert_eq!(calls(&bad) + calls(&good), 20, "each tool was called once");
    assert_eq!(calls(&bad), failed);
}

#[test]
fn the_judge_hears_of_the_first_try_and_callers_of_none() {
    let nobody = reserve();
    let stable = Backend::fixed(200, "fine");
    let dead = format!("http://{}", nobody.address);
    let arms = [("one", stable.url(), 100), ("two", dead, 0)];
    let arms = arms.each_ref().map(|(n, u, w)| (*n, u.as_str(), *w));
    let gateway = Gateway::start(&route_with("http", &arms, &[]));
    let start = json!({ "to": "two", "stages": [{ "percent": 50, "for": "1h" }] });
    let begun = gateway.admin.post("/v1/routes/all/rollouts", &start);
    let path = format!("/v1/rollouts/{}", begun["id"].as_str().expect("an id"));

    gateway.admin.wait_for(&path, |rollout: &Value| {
        assert_eq!(gateway.get("/").status, 200, "callers see nothing of it");
        (rollout["state"] == "reverted").then_some(())
    });

    wait_for_count(&gateway, "two", "unreachable", 1);
}
