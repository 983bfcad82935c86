//! Endpoints that die, flap, lie and come back, and what callers see of it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::backend::Backend;
use crate::support::fake_mcp::FakeMcp;
use crate::support::gate::pass;
use crate::support::gateway::{Gateway, run};
use crate::support::mcp_client::McpClient;

/// A config with one route, `search`, over one backend of these endpoints.
fn one_backend(endpoints: &[String], more: &str) -> String {
    let endpoints: Vec<String> = endpoints.iter().map(|url| format!("\"{url}\"")).collect();
    format!(
        "backends:\n  v1:\n    endpoints: [{}]\n{more}\
         routes: [{{ name: search, match: {{ path: / }}, split: {{ v1: 1 }} }}]\n",
        endpoints.join(", ")
    )
}

/// What the API says of each endpoint of a backend; nothing before it has looked once.
fn endpoints(gateway: &Gateway, backend: &str) -> BTreeMap<String, Value> {
    let path = format!("/v1/backends/{backend}");
    let body = gateway.admin.get(&path);
    let all = body["fitness"]["endpoints"].as_array().cloned();
    let all = all.unwrap_or_default();
    let named = |endpoint: Value| (endpoint["endpoint"].as_str().unwrap().to_owned(), endpoint);
    all.into_iter().map(named).collect()
}

/// Waits until an endpoint is like that, and returns what the API says of it.
fn wait_for(gateway: &Gateway, url: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let all = endpoints(gateway, "v1");
        if let Some(endpoint) = all.get(url).filter(|endpoint| is_so(endpoint)) {
            return endpoint.clone();
        }
        assert!(Instant::now() < until, "{url} never is {what}: {all:#?}");
        pass(Duration::from_millis(20));
    }
}

fn wait_for_health(gateway: &Gateway, url: &str, health: &str) -> Value {
    wait_for(gateway, url, health, |endpoint| {
        endpoint["health"] == health
    })
}

/// Waits until a page of the API holds a text: its picture of things is drawn now and then.
fn wait_for_text(gateway: &Gateway, path: &str, text: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        let page = gateway.admin.text(path);
        if page.contains(text) {
            return;
        }
        assert!(Instant::now() < until, "{path} never has {text:?}: {page}");
        pass(Duration::from_millis(20));
    }
}

const QUICK: &str =
    "    health: { path: /health, interval: 100ms, timeout: 1s, healthy: 2, unhealthy: 2 }\n";

fn statuses(gateway: &Gateway, count: usize) -> BTreeMap<u16, usize> {
    let mut seen = BTreeMap::new();
    for _ in 0..count {
        *seen.entry(gateway.get("/x").status).or_default() += 1;
    }
    seen
}

#[test]
fn an_endpoint_that_fails_its_checks_gets_no_call_until_it_passes_them_again() {
    let (good, bad) = (Backend::fixed(200, "good"), Backend::fixed(200, "bad"));
    bad.change(|exchange| {
        let status = if exchange.request.target == "/health" {
            503
        } else {
            200
        };
        exchange.answer(status, &[], "bad");
    });
    let gateway = Gateway::start(&one_backend(&[good.url(), bad.url()], QUICK));
    let told = wait_for_health(&gateway, &bad.url(), "unhealthy");
    assert_eq!(told["last_check"]["failure"], "the answer has status 503");
    wait_for_health(&gateway, &good.url(), "healthy");

    for _ in 0..30 {
        assert_eq!(gateway.get("/x").text(), "good");
    }

    bad.change(|exchange| exchange.answer(200, &[], "bad"));
    wait_for_health(&gateway, &bad.url(), "healthy");
    let until = Instant::now() + PATIENCE;
    while gateway.get("/x").text() != "bad" {
        assert!(Instant::now() < until, "the endpoint gets no call again");
    }
}

#[test]
fn when_every_endpoint_is_unhealthy_calls_go_on() {
    let backend = Backend::start(|exchange| {
        let status = if exchange.request.target == "/health" {
            500
        } else {
            200
        };
        exchange.answer(status, &[], "still here");
    });
    let gateway = Gateway::start(&one_backend(&[backend.url()], QUICK));
    wait_for_health(&gateway, &backend.url(), "unhealthy");

    assert_eq!(statuses(&gateway, 10), BTreeMap::from([(200, 10)]));
    let name = "switchback_endpoint_forced_total";
    let labels = format!("backend=\"v1\",endpoint=\"{}\"", backend.url());
    wait_for_text(&gateway, "/metrics", &format!("{name}{{{labels}}} 10\n"));
    // The gateway itself is ready.
    gateway.admin.text("/readyz");
}

#[test]
fn a_killed_endpoint_costs_no_get_and_comes_back() {
    let (good, mut dies) = (Backend::fixed(200, "good"), Backend::fixed(200, "dies"));
    let more = "    ejection: { time: 200ms, max_time: 300ms }\n";
    let gateway = Gateway::start(&one_backend(&[good.url(), dies.url()], more));
    assert_eq!(statuses(&gateway, 20), BTreeMap::from([(200, 20)]));

    let (address, url) = (dies.address, dies.url());
    dies.stop();
    let dead = statuses(&gateway, 100);
    let told = wait_for(&gateway, &url, "ejected", |endpoint| {
        endpoint["ejections"].as_u64() > Some(0)
    });

    assert_eq!(dead, BTreeMap::from([(200, 100)]), "{told}");
    assert!(told["failed"]["unreachable"].as_u64() >= Some(3), "{told}");
    let again = Backend::start_at(address, |exchange| exchange.answer(200, &[], "again"));
    let until = Instant::now() + PATIENCE;
    while gateway.get("/x").text() != "again" {
        assert!(Instant::now() < until, "the endpoint gets no call again");
    }
    drop(again);
}

#[test]
fn the_only_endpoint_is_never_ejected_and_its_first_call_after_death_works() {
    let mut backend = Backend::fixed(200, "hello");
    let gateway = Gateway::start(&one_backend(&[backend.url()], ""));
    let (address, url) = (backend.address, backend.url());
    backend.stop();
    assert_eq!(statuses(&gateway, 20), BTreeMap::from([(502, 20)]));

    let again = Backend::start_at(address, |exchange| exchange.answer(200, &[], "again"));

    assert_eq!(gateway.get("/x").text(), "again");
    assert_eq!(endpoints(&gateway, "v1")[&url]["ejections"], 0);
    drop(again);
}

#[test]
fn an_arm_without_a_fit_endpoint_hands_its_calls_to_the_others() {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    v1.change(|exchange| exchange.answer(503, &[], "down"));
    let gateway = Gateway::start(&format!(
        "backends:\n  v1:\n    endpoints: [\"{}\"]\n{QUICK}  v2: {{ endpoints: [\"{}\"] }}\n\
         routes: [{{ name: search, match: {{ path: / }}, split: {{ v1: 9, v2: 1 }} }}]\n",
        v1.url(),
        v2.url()
    ));
    wait_for_health(&gateway, &v1.url(), "unhealthy");

    for _ in 0..20 {
        assert_eq!(gateway.get("/x").text(), "v2");
    }
}

#[test]
fn the_breaker_opens_lets_probes_through_and_closes() {
    let backend = Backend::fixed(500, "broken");
    let more = "    breaker: { failure_percent: 50, min_calls: 10, open_time: 1s, \
                max_open_time: 1s, probes: 1 }\n";
    let gateway = Gateway::start(&one_backend(&[backend.url()], more));
    let until = Instant::now() + PATIENCE;
    let refused = loop {
        let answer = gateway.get("/x");
        if answer.status == 503 {
            break answer;
        }
        assert_eq!(answer.status, 500);
        assert!(Instant::now() < until, "the breaker never opens");
    };
    assert_eq!(refused.fields.get("retry-after"), Some("1"));
    wait_for_text(&gateway, "/v1/status", "the breaker of v1 is open");

    backend.change(|exchange| exchange.answer(200, &[], "fine"));
    while gateway.get("/x").status != 200 {
        assert!(Instant::now() < until, "the breaker never closes");
    }

    assert_eq!(statuses(&gateway, 20), BTreeMap::from([(200, 20)]));
    gateway.admin.wait_for("/v1/backends/v1", |body| {
        (body["fitness"]["breaker"] == "closed" && body["fitness"]["breaker_opened"] == 1)
            .then_some(())
    });
    let opened = "switchback_breaker_opened_total{backend=\"v1\"} 1\n";
    wait_for_text(&gateway, "/metrics", opened);
}

#[test]
fn more_calls_than_a_backend_may_have_are_answered_503() {
    let (feeder, script) = crate::support::backend::fed("text/plain");
    let backend = Backend::start(script);
    let more = "    breaker: { max_in_flight: 1 }\n";
    let gateway = Gateway::start(&one_backend(&[backend.url()], more));
    let mut first = gateway.connect();
    first.send("GET", "/slow", &[], b"");
    backend.wait_for_requests(1);

    let refused = gateway.get("/x");

    assert_eq!(refused.status, 503);
    assert_eq!(backend.requests().len(), 1, "nothing of it was sent");
    drop(feeder);
    assert_eq!(first.read("GET").status, 200);
}

#[test]
fn a_reload_leaves_the_checks_of_other_backends_alone() {
    let (one, two) = (Backend::fixed(200, "one"), Backend::fixed(503, "two"));
    let text = |more: &str| {
        format!(
            "backends:\n  v1:\n    endpoints: [\"{}\"]\n    health: {{ interval: 1h, unhealthy: 1 }}\n{more}\
             routes: [{{ name: search, match: {{ path: / }}, split: {{ v1: 1 }} }}]\n",
            one.url()
        )
    };
    let gateway = Gateway::start(&text(""));
    wait_for_health(&gateway, &one.url(), "healthy");

    gateway.rewrite(&text(&format!(
        "  v2:\n    endpoints: [\"{}\"]\n    health: {{ interval: 100ms, unhealthy: 1 }}\n",
        two.url()
    )));
    two.wait_for_requests(3);

    assert_eq!(one.requests().len(), 1, "asked once an hour");
    wait_for_health(&gateway, &one.url(), "healthy");
    gateway.rewrite(&text(""));
    gateway.wait_for_line("in force");
}

#[test]
fn what_happens_to_endpoints_is_in_the_history_and_on_the_command_line() {
    let backend = Backend::fixed(503, "down");
    let gateway = Gateway::start(&one_backend(&[backend.url()], QUICK));
    wait_for_health(&gateway, &backend.url(), "unhealthy");
    let until = Instant::now() + PATIENCE;
    let event = loop {
        let history = gateway.admin.get("/v1/history");
        let events = history["events"].as_array().unwrap().clone();
        if let Some(event) = events.into_iter().find(|e| e["kind"] == "endpoint_health") {
            break event;
        }
        assert!(Instant::now() < until, "no event");
        pass(Duration::from_millis(20));
    };
    assert_eq!(event["details"]["to"], "unhealthy");
    assert_eq!(event["details"]["why"], "the answer has status 503");

    let admin = format!("http://{}", gateway.admin.0);
    let shown = run(&["backend", "v1", "--admin", &admin], gateway.folder());
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        text.contains("unhealthy") && text.contains("the answer has status 503"),
        "{text}"
    );
    let status = run(&["status", "--admin", &admin], gateway.folder());
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(
        text.contains("warning: endpoint") && text.contains("is unhealthy"),
        "{text}"
    );
}

#[test]
fn a_server_behind_a_unix_socket_is_called_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).is_ok_and(|length| length > 0) {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix");
                }
            });
        }
    });
    let url = format!("unix:{}", path.display());
    let gateway = Gateway::start(&one_backend(std::slice::from_ref(&url), QUICK));

    assert_eq!(gateway.get("/x").text(), "unix");
    wait_for_health(&gateway, &url, "healthy");
}

#[test]
fn the_host_that_a_backend_is_asked_for_is_kept_or_replaced() {
    let backend = Backend::fixed(200, "");
    for (host, expected) in [
        ("keep", "public.example:81".to_owned()),
        ("endpoint", backend.address.to_string()),
        ("inner.example", "inner.example".to_owned()),
    ] {
        let more = format!("    host: {host}\n");
        let gateway = Gateway::start(&one_backend(&[backend.url()], &more));
        let seen = backend.requests().len();
        let mut raw = gateway.connect();
        raw.write(b"GET /h HTTP/1.1\r\nHost: public.example:81\r\n\r\n");
        assert_eq!(raw.read("GET").status, 200);

        let sent = backend.wait_for_requests(seen + 1)[seen].clone();
        assert_eq!(sent.fields.get("host"), Some(expected.as_str()));
        assert_eq!(
            sent.fields.get("x-forwarded-host"),
            Some("public.example:81")
        );
    }
}

#[test]
fn denied_networks_are_not_connected_to() {
    let backend = Backend::fixed(200, "secret");
    let more = "    deny: [\"127.0.0.0/8\"]\n";
    let gateway = Gateway::start(&one_backend(&[backend.url()], more));

    assert_eq!(gateway.get("/x").status, 502);
    assert_eq!(backend.connections(), 0);
}

#[test]
fn a_candidate_that_is_dead_is_switched_back_without_a_single_call() {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let gateway = Gateway::start(&format!(
        "backends:\n  v1: {{ endpoints: [\"{}\"] }}\n  v2:\n    endpoints: [\"{}\"]\n{QUICK}\
         routes: [{{ name: search, match: {{ path: / }}, split: {{ v1: 1, v2: 0 }} }}]\n",
        v1.url(),
        v2.url()
    ));
    let wanted = json!({ "to": "v2", "stages": [{ "percent": 50, "for": "1h" }] });
    let rollout = gateway.admin.post("/v1/routes/search/rollouts", &wanted);
    let path = format!("/v1/rollouts/{}", rollout["id"].as_str().unwrap());

    v2.change(|exchange| exchange.answer(503, &[], "dead"));

    let ended = gateway.admin.wait_for(&path, |seen| {
        (seen["state"] == "reverted").then(|| seen.clone())
    });
    assert_eq!(ended["revert_reason"], "health_check_failed");
    assert_eq!(statuses(&gateway, 10), BTreeMap::from([(200, 10)]));
}

#[test]
fn a_session_moves_when_its_endpoint_is_found_dead() {
    let mut servers = [FakeMcp::start("one"), FakeMcp::start("two")];
    let urls = [servers[0].url(), servers[1].url()];
    let checks = "    health: { kind: mcp, interval: 100ms, timeout: 1s, unhealthy: 2 }\n";
    let text = one_backend(&urls, checks).replace("path: / }", "path: / }, protocol: mcp");
    let gateway = Gateway::start(&text);
    for url in &urls {
        wait_for_health(&gateway, url, "healthy");
    }
    let mut client = McpClient::open(gateway.address, "/mcp");
    let home = usize::from(client.call_text("whoami") == "two");

    servers[home].backend.stop();
    let told = wait_for_health(&gateway, &urls[home], "unhealthy");

    let other = ["two", "one"][home];
    assert_eq!(client.call_text("whoami"), other, "{told}");
    let methods = servers[1 - home].methods();
    assert!(methods.contains(&"ping".to_owned()), "its checks are pings");
}
