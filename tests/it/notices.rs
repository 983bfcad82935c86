//! Who is told of what happens, and that nobody waits for it: receivers that fail, hang, flood.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use switchback::notify::spec::EVENTS;

use crate::support::backend::{Backend, Exchange, Request};
use crate::support::certs::{Desk, TlsBackend, quoted};
use crate::support::gate::{Gate, pass};
use crate::support::gateway::{Gateway, run};
use crate::support::routes::route;

const SECRET: &str = "switchback-receiver-secret";

/// A gateway with two versions and these notifiers.
struct House {
    gateway: Gateway,
    _v1: Backend,
    _v2: Backend,
}

fn house(notifiers: &str) -> House {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let arms = [("v1", &*v1.url(), 100), ("v2", &*v2.url(), 0)];
    let text = route("http", &arms) + &format!("notifiers: {{ {notifiers} }}\n");
    let secret = format!("SWITCHBACK_TEST_SECRET={SECRET}");
    House {
        gateway: Gateway::start_by(&["env", &secret], 2, &text),
        _v1: v1,
        _v2: v2,
    }
}

impl House {
    fn shift(&self, v2: u32) {
        let weights = json!({ "weights": { "v1": 100 - v2, "v2": v2 }, "reason": "by hand" });
        self.gateway.admin.put("/v1/routes/all/weights", &weights);
    }

    /// What is known of the only notifier, once `fact` finds what it wants there.
    fn until<R>(&self, mut fact: impl FnMut(&Value) -> Option<R>) -> R {
        let listed = |seen: &Value| fact(&seen["notifiers"][0]);
        self.gateway.admin.wait_for("/v1/notifiers", listed)
    }

    fn until_sent(&self, sent: u64) {
        self.until(|seen| (seen["sent"] == sent).then_some(()));
    }
}

/// A receiver that takes everything.
fn receiver() -> Backend {
    Backend::fixed(204, "")
}

fn takes(exchange: &mut Exchange, status: u16) {
    exchange.read_body();
    exchange.answer(status, &[("connection", "close")], "so it is");
}

/// The bodies that a receiver has got, once there are so many.
fn bodies(receiver: &Backend, count: usize) -> Vec<Value> {
    receiver.wait_for("bodies", |requests| {
        let whole = requests.iter().map(|it| serde_json::from_slice(&it.body));
        let whole: Vec<Value> = whole.collect::<Result<_, _>>().ok()?;
        (whole.len() >= count).then_some(whole)
    })
}

fn is_signed(request: &Request) -> bool {
    let Some(field) = request.fields.get("x-switchback-signature") else {
        return false;
    };
    let (moment, hex) = field
        .strip_prefix("t=")
        .and_then(|rest| rest.split_once(",v1="))
        .expect("a signature");
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{moment}.").as_bytes());
    mac.update(&request.body);
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let theirs: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    mac.verify_slice(&theirs).is_ok()
}

#[test]
fn a_change_is_told_signed_and_in_the_words_of_the_history() {
    let receiver = receiver();
    let house = house(&format!(
        "team: {{ kind: json, url: \"{}/in/hunter2\", secret_env: SWITCHBACK_TEST_SECRET }}",
        receiver.url()
    ));

    house.shift(5);

    let told = bodies(&receiver, 1);
    let request = &receiver.requests()[0];
    assert!(is_signed(request), "{request:?}");
    assert_eq!(
        (&*request.method, &*request.target),
        ("POST", "/in/hunter2")
    );
    assert_eq!(
        request.fields.get("x-switchback-event"),
        Some("weights_changed")
    );
    let key = request.fields.get("idempotency-key").expect("a key");
    assert!(
        key.starts_with(&format!("{}-", told[0]["sequence"])),
        "{key}"
    );
    let history = house.gateway.admin.get("/v1/history");
    assert_eq!(told[0], history["events"][0]);
    house.until_sent(1);
    let page = house.gateway.admin.text("/metrics");
    let sent = "switchback_notices_total{notifier=\"team\",result=\"sent\"} 1";
    assert!(page.contains(sent), "{page}");
}

#[test]
fn chats_and_clouds_are_told_in_their_own_forms_and_only_what_they_want() {
    let (chat, cloud) = (receiver(), receiver());
    let house = house(&format!(
        "chat: {{ kind: slack, url: \"{}\", events: [\"rollout_*\"], routes: [all] }}, \
         cloud: {{ kind: cloudevents, url: \"{}\" }}, log: {{ kind: log }}",
        chat.url(),
        cloud.url()
    ));

    house.shift(5);
    let start = json!({ "to": "v2", "stages": [{ "percent": 20, "for": "1h" }] });
    house.gateway.admin.post("/v1/routes/all/rollouts", &start);

    let events = bodies(&cloud, 2);
    assert_eq!(events[0]["type"], "dev.switchback.weights_changed");
    assert_eq!(events[1]["type"], "dev.switchback.rollout_started");
    assert_eq!(events[1]["data"]["kind"], "rollout_started");
    let fields = &cloud.requests()[0].fields;
    assert_eq!(
        fields.get("content-type"),
        Some("application/cloudevents+json")
    );
    assert!(fields.get("x-switchback-signature").is_none());
    let text = bodies(&chat, 1)[0]["text"].to_string();
    assert!(
        text.contains("*all*") && text.contains("rollout r-"),
        "{text}"
    );
    house.gateway.wait_for_line("\"message\":\"notice\"");
}

#[test]
fn a_revert_never_waits_for_a_receiver_that_hangs() {
    let gate = Gate::new();
    let held = gate.clone();
    let receiver = Backend::start(move |exchange| {
        exchange.read_body();
        held.wait();
        exchange.answer(200, &[], "at last");
    });
    let house = house(&format!(
        "team: {{ kind: json, url: \"{}\", timeout: 1m }}",
        receiver.url()
    ));
    let start = json!({ "to": "v2", "stages": [{ "percent": 50, "for": "1h" }] });
    let started = house.gateway.admin.post("/v1/routes/all/rollouts", &start);
    bodies(&receiver, 1);

    let path = format!("/v1/rollouts/{}/revert", started["id"].as_str().unwrap());
    house.gateway.admin.post(&path, &json!({}));

    // The receiver has not answered the first notice yet, and stable has everything.
    for _ in 0..20 {
        assert_eq!(house.gateway.get("/").text(), "v1");
    }
    assert_eq!(receiver.requests().len(), 1, "one at a time");
    assert_eq!(house.until(|seen| seen["sent"].as_u64()), 0);
    gate.open();
    let told = bodies(&receiver, 2);
    assert_eq!(told[1]["kind"], "rollout_reverted");
    house.until_sent(2);
}

#[test]
fn what_fails_for_now_is_told_again_under_the_same_key_and_in_order() {
    let receiver = Backend::start(|exchange| takes(exchange, 503));
    let house = house(&format!(
        "team: {{ kind: json, url: \"{}\" }}",
        receiver.url()
    ));
    house.shift(1);
    house.shift(2);
    receiver.wait_for_requests(2);

    house.until(|seen| {
        seen["error"]
            .as_str()
            .map(|it| assert!(it.contains("503"), "{it}"))
    });
    let status = house.gateway.admin.get("/v1/status");
    assert!(
        status["warnings"].to_string().contains("notifier team"),
        "{status:#}"
    );
    receiver.change(|exchange| takes(exchange, 200));

    house.until_sent(2);
    let requests = receiver.requests();
    let key = |request: &Request| request.fields.get("idempotency-key").unwrap().to_owned();
    let keys: Vec<String> = requests.iter().map(key).collect();
    let mut distinct = keys.clone();
    distinct.dedup();
    assert!(keys.len() > 2 && distinct.len() == 2, "{keys:?}");
    assert_eq!(house.until(|seen| Some(seen["error"].clone())), Value::Null);
}

#[test]
fn what_will_never_be_taken_is_given_up_and_the_next_one_is_told() {
    let elsewhere = receiver();
    let to = elsewhere.url();
    let receiver = Backend::start(move |exchange| {
        exchange.read_body();
        exchange.answer(302, &[("location", &to)], "");
    });
    let house = house(&format!(
        "team: {{ kind: json, url: \"{}\" }}",
        receiver.url()
    ));

    house.shift(1);
    house.until(|seen| (seen["failed"] == 1).then_some(()));
    receiver.change(|exchange| takes(exchange, 410));
    house.shift(2);
    house.until(|seen| (seen["failed"] == 2).then_some(()));
    receiver.change(|exchange| takes(exchange, 200));
    house.shift(3);

    house.until_sent(1);
    assert_eq!(receiver.requests().len(), 3, "none was tried again");
    assert!(
        elsewhere.requests().is_empty(),
        "redirects are not followed"
    );
}

#[test]
fn a_receiver_that_asks_for_an_endless_wait_is_given_up_and_told_the_next_one() {
    let receiver = Backend::start(|exchange| {
        exchange.read_body();
        // Longer than a second: with the wait that is asked for, more than can be counted.
        pass(Duration::from_millis(1100));
        exchange.answer(503, &[("retry-after", "18446744073709551615")], "");
    });
    let house = house(&format!(
        "team: {{ kind: json, url: \"{}\", timeout: 1m }}",
        receiver.url()
    ));

    house.shift(1);
    house.until(|seen| (seen["failed"] == 1).then_some(()));
    receiver.change(|exchange| takes(exchange, 200));
    house.shift(2);

    house.until_sent(1);
}

#[test]
fn an_answer_without_end_is_not_read_to_its_end() {
    let receiver = Backend::start(|exchange| {
        exchange.read_body();
        exchange.begin(200, &[]);
        while !exchange.is_closed() {
            exchange.chunk([b'x'; 65_536]);
        }
    });
    let house = house(&format!(
        "team: {{ kind: json, url: \"{}\" }}",
        receiver.url()
    ));

    house.shift(1);
    house.shift(2);

    house.until_sent(2);
    receiver.wait_for_open_connections(0);
}

#[test]
fn too_many_that_wait_lose_the_oldest_and_are_counted() {
    let gate = Gate::new();
    let held = gate.clone();
    let receiver = Backend::start(move |exchange| {
        exchange.read_body();
        held.wait();
        exchange.answer(200, &[], "");
    });
    let house = house(&format!(
        "team: {{ kind: json, url: \"{}\", timeout: 1m, queue: 2 }}",
        receiver.url()
    ));
    house.shift(1);
    bodies(&receiver, 1);

    for share in 2..=6 {
        house.shift(share);
    }

    house.until(|seen| (seen["dropped"] == 3 && seen["waiting"] == 2).then_some(()));
    gate.open();
    house.until_sent(3);
    let told = bodies(&receiver, 3);
    let share = |it: &Value| it["details"]["to"]["v2"].as_u64().unwrap();
    assert_eq!(told.iter().map(share).collect::<Vec<_>>(), [1, 5, 6]);
    let page = house.gateway.admin.text("/metrics");
    let dropped = "switchback_notices_total{notifier=\"team\",result=\"dropped\"} 3";
    assert!(page.contains(dropped), "{page}");
}

#[test]
fn a_reload_changes_who_is_told_and_what_waits_is_not_lost() {
    let (old, new) = (Backend::start(|exchange| takes(exchange, 503)), receiver());
    let house = house(&format!("team: {{ kind: json, url: \"{}\" }}", old.url()));
    house.shift(1);
    old.wait_for_requests(1);

    house.gateway.rewrite_in(&old.url(), &new.url());

    assert_eq!(bodies(&new, 1)[0]["kind"], "weights_changed");
}

#[test]
fn a_receiver_over_tls_is_believed_by_its_authority_alone() {
    let (desk, stranger) = (Desk::new(), Desk::new());
    desk.issue("server", &["localhost"]);
    let receiver = TlsBackend::start(desk.server("server", false), "thanks");
    let house = house(&format!(
        "good: {{ kind: json, url: \"{0}/in\", ca: {1} }}, \
         bad: {{ kind: json, url: \"{0}/in\", ca: {2} }}",
        receiver.url(),
        quoted(&desk.at("ca.pem")),
        quoted(&stranger.at("ca.pem"))
    ));

    let test = |name: &str| {
        let path = format!("/v1/notifiers/{name}/test");
        house.gateway.admin.post(&path, &json!({}))
    };

    let good = test("good");
    assert_eq!(
        (&good["arrived"], &good["answer"]),
        (&json!(true), &json!("thanks"))
    );
    let bad = test("bad");
    assert_eq!(bad["arrived"], false);
    assert!(bad["error"].to_string().contains("certificate"), "{bad}");
    let seen = receiver.seen();
    assert!(
        seen[0].head.starts_with("POST /in HTTP/1.1"),
        "{}",
        seen[0].head
    );
}

#[test]
fn no_secret_is_shown_anywhere() {
    let receiver = Backend::start(|exchange| takes(exchange, 500));
    let house = house(&format!(
        "team: {{ kind: slack, url: \"{}/in/hunter2?token=hunter3\", secret_env: SWITCHBACK_TEST_SECRET }}, \
         lost: {{ kind: json, url: \"http://127.0.0.1:1/hunter4\", secret_file: nowhere }}",
        receiver.url()
    ));
    house.shift(1);
    receiver.wait_for_requests(1);
    let test = house
        .gateway
        .admin
        .post("/v1/notifiers/lost/test", &json!({}));
    assert!(test["error"].to_string().contains("nowhere"), "{test}");

    let admin = house.gateway.admin;
    let mut shown = house.gateway.printed();
    for path in [
        "/v1/config",
        "/v1/notifiers",
        "/v1/status",
        "/metrics",
        "/v1/history",
    ] {
        shown.push_str(&admin.text(path));
    }

    assert!(
        !shown.contains("hunter") && !shown.contains(SECRET),
        "{shown}"
    );
    assert!(shown.contains("/(hidden)"), "{shown}");
}

#[test]
fn a_person_tries_a_notifier_and_sees_what_came_back() {
    let receiver = Backend::start(|exchange| takes(exchange, 200));
    let house = house(&format!(
        "team: {{ kind: slack, url: \"{}\" }}, gone: {{ kind: json, url: \"http://127.0.0.1:1/\" }}",
        receiver.url()
    ));
    let admin = format!("http://{}", house.gateway.admin.0);
    let switchback = |words: &[&str]| {
        let words = [&["--admin", &admin], words].concat();
        let output = run(&words, house.gateway.folder());
        let said = String::from_utf8(output.stdout).unwrap();
        (
            output.status.code(),
            said + &String::from_utf8_lossy(&output.stderr),
        )
    };

    let (code, said) = switchback(&["notify", "test", "team"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("answered 200") && said.contains("so it is"),
        "{said}"
    );
    assert!(bodies(&receiver, 1)[0]["text"].to_string().contains("test"));
    receiver.change(|exchange| takes(exchange, 403));
    let (code, said) = switchback(&["notify", "test", "team"]);
    assert!(code == Some(1) && said.contains("answered 403"), "{said}");
    let (code, said) = switchback(&["notify", "test", "gone"]);
    assert!(
        code == Some(1) && said.contains("connecting to 127.0.0.1"),
        "{said}"
    );
    let (code, said) = switchback(&["notify", "test", "nobody"]);
    assert!(
        code != Some(0) && said.contains("no notifier `nobody`"),
        "{said}"
    );
    let (code, said) = switchback(&["notify", "list"]);
    assert!(code == Some(0) && said.contains("slack"), "{said}");
}

#[test]
fn every_event_that_there_is_can_be_asked_for() {
    let source = include_str!("../../src/control/event_kind.rs");
    let kinds = source
        .split("pub fn kind(")
        .nth(1)
        .expect("the names of events");
    let kinds: Vec<&str> = kinds.split('"').skip(1).step_by(2).collect();

    let mut known = EVENTS.to_vec();
    let mut told = kinds.clone();
    known.sort_unstable();
    told.sort_unstable();

    assert_eq!(
        known, told,
        "EVENTS of src/notify/spec.rs beside `What::kind`"
    );
}
