//! Rolling plans: endpoints take over in batches, once they are healthy, and go back at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::fake_mcp::FakeMcp;
use crate::support::gateway::Gateway;
use crate::support::mcp_client::McpClient;

/// A judge that is soon content.
const JUDGE: &str = "cooldown: 0s\n    inconclusive: advance\n    judge: { min_requests: 20, errors: { cap: 0.5 }, \
     latency: { margin: 50, pass_margin: 100 } }\n";

/// An endpoint whose health checks pass or fail.
struct Server {
    backend: Backend,
    is_well: Arc<AtomicBool>,
}

impl Server {
    fn start(version: &'static str) -> Self {
        let is_well = Arc::new(AtomicBool::new(true));
        let well = Arc::clone(&is_well);
        let backend = Backend::start(move |exchange| {
            let checked = exchange.request.target == "/health";
            let status = if checked && !well.load(Ordering::SeqCst) {
                503
            } else {
                200
            };
            exchange.answer(status, &[], version);
        });
        Self { backend, is_well }
    }

    fn set_well(&self, is_well: bool) {
        self.is_well.store(is_well, Ordering::SeqCst);
    }

    /// Calls that came here, health checks left out.
    fn calls(&self) -> usize {
        let requests = self.backend.requests();
        let calls = requests.iter().filter(|request| request.target == "/");
        calls.count()
    }
}

struct House {
    v1: Vec<Server>,
    v2: Vec<Server>,
    gateway: Gateway,
}

fn config(urls: [&[String]; 2], protocol: &str, rolling: &str) -> String {
    let list = |urls: &[String]| {
        let each: Vec<_> = urls.iter().map(|url| format!("{url:?}")).collect();
        each.join(", ")
    };
    let [v1, v2] = urls.map(list);
    format!(
        "backends:\n  v1: {{ endpoints: [{v1}] }}\n  v2:\n    endpoints: [{v2}]\n    \
         health: {{ kind: tcp, interval: 1h }}\n\
         routes:\n  - name: all\n    protocol: {protocol}\n    split: {{ v1: 100, v2: 0 }}\n\
         plans:\n  roll:\n    kind: rolling\n    rolling: {{ {rolling} }}\n    {JUDGE}"
    )
}

/// Three endpoints each; the third of v2's is not well where that is wanted.
fn house(rolling: &str, is_well: [bool; 3]) -> House {
    house_of(rolling, is_well, "")
}

/// The same with a plan of which more is said.
fn house_of(rolling: &str, is_well: [bool; 3], more: &str) -> House {
    let v1: Vec<_> = (0..3).map(|_| Server::start("v1")).collect();
    let v2: Vec<_> = (0..3).map(|_| Server::start("v2")).collect();
    for (server, is_well) in v2.iter().zip(is_well) {
        server.set_well(is_well);
    }
    let urls = |servers: &[Server]| -> Vec<String> {
        servers.iter().map(|server| server.backend.url()).collect()
    };
    let rolling = format!("health_interval: 100ms, {rolling}");
    let text = config([&urls(&v1), &urls(&v2)], "http", &rolling);
    let text = text.replace("kind: tcp, interval: 1h", "path: /health, interval: 1h") + more;
    let gateway = Gateway::start(&text);
    House { v1, v2, gateway }
}

impl House {
    fn start(&self) -> String {
        let wanted = json!({ "to": "v2", "plan": "roll" });
        let rollout = self.gateway.admin.post("/v1/routes/all/rollouts", &wanted);
        format!("/v1/rollouts/{}", rollout["id"].as_str().expect("an id"))
    }

    fn call(&self, times: usize) {
        let mut raw = self.gateway.connect();
        for _ in 0..times {
            assert_eq!(raw.ask("GET", "/", &[], b"").status, 200);
        }
    }

    /// Calls until the rollout is in this state, at this stage if that is told.
    fn call_until(&self, path: &str, state: &str, at: Option<u64>) -> Value {
        self.gateway.admin.wait_for(path, |seen| {
            let done = seen["state"] == state && seen["stage"].as_u64() == at;
            if !done {
                self.call(40);
            }
            done.then(|| seen.clone())
        })
    }

    fn calls(servers: &[Server]) -> Vec<usize> {
        servers.iter().map(Server::calls).collect()
    }

    fn events(&self, kind: &str) -> Vec<Value> {
        let history = self.gateway.admin.get("/v1/history");
        let events = history["events"].as_array().expect("events").iter();
        events
            .filter(|event| event["kind"] == kind)
            .cloned()
            .collect()
    }

    fn weights(&self) -> (f64, f64) {
        let route = self.gateway.admin.get("/v1/routes/all");
        let percent = |arm: usize| route["arms"][arm]["percent"].as_f64().unwrap();
        (percent(0), percent(1))
    }

    /// Which servers get any of two hundred calls.
    fn takers(&self) -> (Vec<bool>, Vec<bool>) {
        let before = (Self::calls(&self.v1), Self::calls(&self.v2));
        self.call(200);
        let grown = |servers: &[Server], before: &[usize]| {
            let after = Self::calls(servers);
            let pairs = after.iter().zip(before);
            pairs.map(|(after, before)| after > before).collect()
        };
        (grown(&self.v1, &before.0), grown(&self.v2, &before.1))
    }
}

#[test]
fn endpoints_take_over_one_after_the_other_once_they_are_healthy() {
    let house = house("for: 0s, healthy_threshold: 2", [true, true, false]);
    let path = house.start();
    let seen = house.gateway.admin.get(&path);
    let taken: Vec<_> = (0..3)
        .map(|stage| seen["stages"][stage]["endpoints"].clone())
        .collect();
    assert_eq!(taken, [json!(1), json!(2), json!(3)], "{seen:#}");

    house.call_until(&path, "awaiting_health", Some(2));
    let seen = house.gateway.admin.wait_for(&path, |seen| {
        let third = &seen["rolling"]["endpoints"][2];
        third["failure"].is_string().then(|| seen.clone())
    });

    assert_eq!(seen["percent"], 66.67, "{seen:#}");
    let message = seen["message"].as_str().unwrap();
    let third = house.v2[2].backend.url();
    let told = message.contains(&third) && message.contains("passed 0 in a row");
    assert!(told && message.contains("503"), "{message}");
    assert_eq!(
        house.takers(),
        (vec![false, false, true], vec![true, true, false])
    );
    assert_eq!(house.v2[2].calls(), 0);
    assert!(!house.events("rollout_awaiting_health").is_empty());

    house.v2[2].set_well(true);
    house.call_until(&path, "promoted", None);

    assert_eq!(house.weights(), (0.0, 100.0));
    assert_eq!(house.takers(), (vec![false; 3], vec![true; 3]));
}

#[test]
fn a_batch_that_does_not_become_healthy_is_reverted_without_any_traffic() {
    let house = house(
        "batch: 100%, for: 0s, healthy_threshold: 1, healthy_within: 8s",
        [true, false, true],
    );
    let path = house.start();

    let seen = house.call_until(&path, "reverted", None);

    assert_eq!(seen["revert_reason"], "health_check_failed", "{seen:#}");
    assert_eq!(house.weights(), (100.0, 0.0));
    assert_eq!(House::calls(&house.v2), [0, 0, 0]);
    let told = house.events("rollout_endpoint_failed");
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!(told[0]["details"]["endpoint"], house.v2[1].backend.url());
    let why = told[0]["details"]["why"].as_str().unwrap();
    assert!(
        why.contains("not healthy within 8s") && why.contains("503"),
        "{why}"
    );
    assert_eq!(
        house.events("rollout_started").len(),
        1,
        "the history has it"
    );
}

#[test]
fn one_that_may_fail_is_left_out() {
    let house = house(
        "batch: 3, for: 1h, healthy_threshold: 1, healthy_within: 8s, max_failures: 1",
        [true, false, true],
    );
    let path = house.start();

    let seen = house.call_until(&path, "running", Some(1));

    assert_eq!(seen["percent"], 95.0, "{seen:#}");
    let (_, taken) = house.takers();
    assert_eq!(taken, [true, false, true]);
    assert_eq!(house.v2[1].calls(), 0);
}

#[test]
fn one_that_does_not_stay_healthy_reverts_in_the_middle() {
    let house = house("for: 1h, healthy_threshold: 1", [true; 3]);
    let path = house.start();
    house.call_until(&path, "running", Some(1));
    assert_eq!(
        house.takers(),
        (vec![false, true, true], vec![true, false, false])
    );

    house.v2[0].set_well(false);

    let seen = house.call_until(&path, "reverted", None);
    assert_eq!(seen["revert_reason"], "health_check_failed", "{seen:#}");
    assert_eq!(house.takers(), (vec![true; 3], vec![false; 3]));
}

#[test]
fn a_restart_in_the_middle_goes_on_and_a_person_takes_it_back() {
    let mut house = house("for: 1h, healthy_threshold: 1", [true; 3]);
    let path = house.start();
    house.call_until(&path, "running", Some(1));

    house.gateway.signal("TERM");
    house.gateway.wait();
    house.gateway.start_again();

    let seen = house.gateway.admin.get(&path);
    assert_eq!(
        (&seen["state"], &seen["stage"]),
        (&json!("running"), &json!(1)),
        "{seen:#}"
    );
    assert_eq!(
        house.takers(),
        (vec![false, true, true], vec![true, false, false])
    );
    house
        .gateway
        .admin
        .post(&format!("{path}/revert"), &json!({}));
    assert_eq!(house.takers(), (vec![true; 3], vec![false; 3]));
}

#[test]
fn sessions_stay_at_endpoints_that_were_taken_over_from() {
    let servers = ["v1a", "v1b", "v2a", "v2b"].map(FakeMcp::start);
    let urls = servers.each_ref().map(FakeMcp::url);
    // No server of these has a page to be asked for: a connection is enough.
    let rolling = "for: 1h, healthy_threshold: 1, health_interval: 100ms";
    let gateway = Gateway::start(&config([&urls[..2], &urls[2..]], "mcp", rolling));
    let mut clients: Vec<_> = (0..40)
        .map(|_| McpClient::open(gateway.address, "/mcp"))
        .collect();
    let before: Vec<_> = clients
        .iter_mut()
        .map(|it| it.call_text("whoami"))
        .collect();
    assert!(before.iter().any(|at| at == "v1a"), "{before:?}");
    let wanted = json!({ "to": "v2", "plan": "roll" });
    let rollout = gateway.admin.post("/v1/routes/all/rollouts", &wanted);
    let path = format!("/v1/rollouts/{}", rollout["id"].as_str().unwrap());
    gateway
        .admin
        .wait_for(&path, |seen| (seen["state"] == "running").then_some(()));

    let after: Vec<_> = clients
        .iter_mut()
        .map(|it| it.call_text("whoami"))
        .collect();

    assert_eq!(before, after);
    let mut new = (0..40).map(|_| McpClient::open(gateway.address, "/mcp").call_text("whoami"));
    assert!(new.all(|at| at == "v1b" || at == "v2a"));
}

#[test]
fn an_endpoint_that_a_new_file_brings_takes_traffic_once_it_is_healthy() {
    let house = house("batch: 3, for: 1h, healthy_threshold: 1", [true; 3]);
    let path = house.start();
    house.call_until(&path, "running", Some(1));
    let fourth = Server::start("v2");
    fourth.set_well(false);
    let third = format!("{:?}", house.v2[2].backend.url());
    let both = format!("{third}, {:?}", fourth.backend.url());

    house.gateway.rewrite_in(&third, &both);

    let of_fourth = |seen: &Value| seen["rolling"]["endpoints"][3].clone();
    house.gateway.admin.wait_for(&path, |seen| {
        of_fourth(seen)["failure"].is_string().then_some(())
    });
    assert_eq!(house.takers().1, [true; 3]);
    assert_eq!(fourth.calls(), 0);
    fourth.set_well(true);
    house.gateway.admin.wait_for(&path, |seen| {
        (of_fourth(seen)["state"] == "healthy").then_some(())
    });
    house.call(200);
    assert!(fourth.calls() > 0);
}

#[test]
fn a_batch_that_becomes_healthy_in_a_freeze_waits_for_its_end() {
    let hardly = "{ open: '0 0 29 2 *', for: 1m }";
    let more = format!("    schedule: {{ freeze: [w] }}\nwindows: {{ w: {hardly} }}\n");
    let house = house_of("for: 0s, healthy_threshold: 1", [true, false, true], &more);
    let path = house.start();
    house.call_until(&path, "awaiting_health", Some(1));
    house
        .gateway
        .rewrite_in(hardly, "{ open: '* * * * *', for: 1h }");

    house.v2[1].set_well(true);

    let seen = house.gateway.admin.wait_for(&path, |seen| {
        let is_well = seen["rolling"]["endpoints"][1]["state"] == "healthy";
        let is_closed = seen["gate"]["schedule"]["freeze"] == "w";
        (is_well && is_closed).then(|| seen.clone())
    });
    assert_eq!(seen["gate"]["gate"], "pre_stage", "{seen:#}");
    assert_eq!(seen["gate"]["stage"], 2, "{seen:#}");
    let told = house.gateway.admin.wait_for("/v1/history", |history| {
        let mut events = history["events"].as_array().expect("events").iter();
        events
            .find(|event| event["kind"] == "rollout_awaiting_window")
            .cloned()
    });
    assert_eq!(told["details"]["freeze"], "w", "{told:#}");
    let seen = house.gateway.admin.get(&path);
    assert_eq!(seen["state"], "awaiting_health", "{seen:#}");
    let message = seen["message"].as_str().unwrap();
    assert!(message.contains("in the freeze window w"), "{message}");
    assert_eq!(house.takers().1, [true, false, false]);

    let approve = format!("{path}/approve");
    house.gateway.admin.post(&approve, &json!({}));
    house
        .gateway
        .admin
        .wait_for(&path, |seen| (seen["stage"] == 2).then_some(()));
}
