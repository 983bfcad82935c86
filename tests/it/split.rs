//! Who gets which backend: shares, keys, and what moves when weights move.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::support::backend::{Backend, fed};
use crate::support::client::Raw;
use crate::support::gate::Gate;
use crate::support::gateway::Gateway;
use crate::support::routes::{route, route_with};

const BY_USER: &str = "sticky: [{ header: x-user }]";

struct House {
    v1: Backend,
    v2: Backend,
    gateway: Gateway,
}

fn house(shares: (u32, u32), more: &[&str]) -> House {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let gateway = Gateway::start(&config(&v1, &v2, shares, more));
    House { v1, v2, gateway }
}

fn config(v1: &Backend, v2: &Backend, shares: (u32, u32), more: &[&str]) -> String {
    let arms = [("v1", &*v1.url(), shares.0), ("v2", &*v2.url(), shares.1)];
    route_with("http", &arms, more)
}

/// Which backend answers a request with these fields.
fn who(raw: &mut Raw, fields: &[(&str, &str)]) -> String {
    let answer = raw.ask("GET", "/", fields, b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

/// Which backend each of so many users gets.
fn homes(gateway: &Gateway, users: usize) -> Vec<String> {
    let mut raw = gateway.connect();
    let home = |n| who(&mut raw, &[("x-user", &format!("user-{n}"))]);
    (0..users).map(home).collect()
}

fn count(homes: &[String], name: &str) -> usize {
    homes.iter().filter(|home| *home == name).count()
}

fn shift(gateway: &Gateway, v1: u32, v2: u32) {
    let weights = json!({ "weights": { "v1": v1, "v2": v2 } });
    gateway.admin.put("/v1/routes/all/weights", &weights);
}

#[test]
fn keys_are_shared_as_the_weights_say() {
    let house = house((90, 10), &[BY_USER]);

    let homes = homes(&house.gateway, 4000);

    // The keys and their hash are fixed, so this number is too; how far from 400 it may be is
    // what 4,000 independent keys allow.
    let share = count(&homes, "v2");
    assert!((320..=480).contains(&share), "{share} of 4000");
    assert_eq!(house.v2.requests().len(), share);
}

#[test]
fn requests_without_a_key_are_shared_as_the_weights_say() {
    let house = house((3, 1), &[]);
    let mut raw = house.gateway.connect();

    for _ in 0..4000 {
        who(&mut raw, &[]);
    }

    let share = house.v2.requests().len();
    // Seven standard deviations around 1,000: it will not happen by chance.
    assert!((808..=1192).contains(&share), "{share} of 4000");
    assert_eq!(house.v1.requests().len(), 4000 - share);
}

#[test]
fn a_backend_without_weight_gets_nothing() {
    let house = house((1, 0), &[]);
    let mut raw = house.gateway.connect();

    for _ in 0..500 {
        who(&mut raw, &[]);
    }

    assert_eq!(house.v2.connections(), 0);
}

#[test]
fn a_key_always_gets_the_same_backend_on_every_worker_and_replica_and_after_a_restart() {
    let mut house = house((50, 50), &[BY_USER]);
    let text = config(&house.v1, &house.v2, (50, 50), &[BY_USER]);
    let replica = Gateway::start_with_workers(4, &text);

    let first = homes(&house.gateway, 100);
    assert!((30..=70).contains(&count(&first, "v1")));
    for _ in 0..4 {
        assert_eq!(homes(&house.gateway, 100), first);
        assert_eq!(homes(&replica, 100), first);
    }
    house.gateway.start_again();

    assert_eq!(homes(&house.gateway, 100), first);
}

#[test]
fn the_first_key_that_a_request_has_decides() {
    let sticky = "sticky: [{ header: x-user }, { cookie: sid }, client-address]";
    let house = house((50, 50), &[sticky]);
    let mut raw = house.gateway.connect();
    let mut seen: BTreeMap<&str, Vec<String>> = BTreeMap::new();

    for n in 0..30 {
        let (user, cookie) = (format!("user-{n}"), format!("a=b; sid=cookie-{n}"));
        let by_user = who(&mut raw, &[("x-user", &user)]);
        let by_cookie = who(&mut raw, &[("cookie", &cookie)]);
        for other in ["sid=1", "sid=2", "sid=3", "sid=4"] {
            let fields = [("x-user", user.as_str()), ("cookie", other)];
            assert_eq!(who(&mut raw, &fields), by_user, "the header comes first");
        }
        let elsewhere = Ipv4Addr::new(127, 0, 0, 100 + n);
        let mut elsewhere = Raw::connect_from(elsewhere, house.gateway.address);
        let by_address = who(&mut elsewhere, &[]);
        assert_eq!(who(&mut elsewhere, &[("cookie", &cookie)]), by_cookie);
        assert_eq!(who(&mut elsewhere, &[("cookie", "other=1")]), by_address);
        seen.entry("user").or_default().push(by_user);
        seen.entry("cookie").or_default().push(by_cookie);
        seen.entry("address").or_default().push(by_address);
    }

    for (source, homes) in seen {
        assert!(
            (5..=25).contains(&count(&homes, "v1")),
            "{source}: {homes:?}"
        );
    }
}

#[test]
fn a_trusted_proxys_client_address_is_the_key_and_a_strangers_is_not() {
    let sticky = "sticky: [client-address]";
    let trusting = "forwarding: { trusted_proxies: [\"127.0.0.0/8\"] }\n";
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let text = config(&v1, &v2, (50, 50), &[sticky]);
    let ask = |gateway: &Gateway| {
        let mut raw = gateway.connect();
        let told = |n| who(&mut raw, &[("x-forwarded-for", &format!("203.0.113.{n}"))]);
        (0..40).map(told).collect::<Vec<_>>()
    };

    let believed = ask(&Gateway::start(&(text.clone() + trusting)));
    let ignored = ask(&Gateway::start(&text));

    assert!((10..=30).contains(&count(&believed, "v1")), "{believed:?}");
    assert!([0, 40].contains(&count(&ignored, "v1")), "{ignored:?}");
}

#[test]
fn a_shift_moves_keys_only_towards_the_backend_that_gains() {
    let house = house((100, 0), &[BY_USER]);
    let mut before = homes(&house.gateway, 400);
    assert_eq!(count(&before, "v1"), 400);

    for percent in [5, 25, 50, 95, 100] {
        shift(&house.gateway, 100 - percent, percent);
        let after = homes(&house.gateway, 400);

        let went_back = |(was, is): &(&String, &String)| *was == "v2" && *is == "v1";
        assert_eq!(
            before.iter().zip(&after).filter(went_back).count(),
            0,
            "at {percent} %"
        );
        assert!(count(&after, "v2") >= count(&before, "v2"));
        before = after;
    }
    assert_eq!(count(&before, "v2"), 400);
}

#[test]
fn a_shift_by_another_generation_is_refused_and_changes_nothing() {
    let house = house((1, 0), &[]);
    let admin = house.gateway.admin;
    shift(&house.gateway, 0, 1);
    let stale = json!({ "weights": { "v1": 1, "v2": 0 } });

    let refused = admin.ask(
        "PUT",
        "/v1/routes/all/weights",
        &[("if-match", "\"1\"")],
        &stale,
    );
    let all_zero = json!({ "weights": { "v1": 0, "v2": 0 } });
    let empty = admin.ask("PUT", "/v1/routes/all/weights", &[], &all_zero);
    let nobody = json!({ "weights": { "v3": 1 } });
    let unknown = admin.ask("PUT", "/v1/routes/all/weights", &[], &nobody);

    assert_eq!(
        (refused.status, empty.status, unknown.status),
        (412, 422, 422)
    );
    assert_eq!(who(&mut house.gateway.connect(), &[]), "v2");
}

#[test]
fn a_shift_is_in_force_when_it_is_answered() {
    let house = house((1, 0), &[]);
    let mut callers: Vec<_> = (0..8).map(|_| house.gateway.connect()).collect();

    for round in 0..20 {
        let (v1, v2, expected) = if round % 2 == 0 {
            (0, 1, "v2")
        } else {
            (1, 0, "v1")
        };
        shift(&house.gateway, v1, v2);
        for caller in &mut callers {
            assert_eq!(who(caller, &[]), expected, "round {round}");
        }
    }
}

/// Starts a rollout in which the candidate has half of the traffic, and gives its path.
fn start_rollout(gateway: &Gateway) -> String {
    let wanted = json!({ "to": "v2", "stages": [{ "percent": 50, "for": "1h" }] });
    let rollout = gateway.admin.post("/v1/routes/all/rollouts", &wanted);
    format!("/v1/rollouts/{}", rollout["id"].as_str().expect("an id"))
}

#[test]
fn a_stream_outlives_shift_reload_and_revert() {
    let (feeder, script) = fed("text/event-stream");
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::start(script));
    let text = config(&v1, &v2, (1, 0), &[]);
    let gateway = Gateway::start(&text);
    let path = start_rollout(&gateway);
    let mut raw = gateway.connect();
    let mut head = Value::Null;
    while head != "text/event-stream" {
        raw = gateway.connect();
        raw.send("GET", "/", &[], b"");
        head = raw
            .read_head("GET")
            .fields
            .get("content-type")
            .unwrap_or("")
            .into();
    }
    let mut said = 0;
    let mut still_flows = |after: &str| {
        said += 1;
        let event = format!("{said} after {after}");
        feeder.event(&event);
        assert_eq!(raw.read_until("\n\n"), format!("data: {event}\n\n"));
    };
    still_flows("the start");

    gateway
        .admin
        .post(&format!("{path}/revert"), &json!({ "reason": "enough" }));
    still_flows("the revert");
    shift(&gateway, 1, 1);
    shift(&gateway, 1, 0);
    still_flows("the shift");
    gateway.rewrite(&(text + "    idle_timeout: 1s\n"));
    gateway.admin.post("/v1/config/reload", &json!({}));
    still_flows("the reload");

    for _ in 0..20 {
        assert_eq!(who(&mut gateway.connect(), &[]), "v1");
    }
    drop(feeder);
    assert_eq!(raw.read_piece(), None, "and ends as it should");
}

#[test]
fn a_request_under_way_finishes_where_it_is() {
    let gate = Gate::new();
    let waits = gate.clone();
    let v1 = Backend::fixed(200, "v1");
    let v2 = Backend::start(move |exchange| {
        exchange.read_body();
        waits.wait();
        exchange.answer(200, &[], "v2, late");
    });
    let text = route("http", &[("v1", &v1.url(), 1), ("v2", &v2.url(), 0)]);
    let gateway = Gateway::start(&text);
    let path = start_rollout(&gateway);
    let mut callers: Vec<_> = (0..20).map(|_| gateway.connect()).collect();
    for caller in &mut callers {
        caller.send("POST", "/", &[], b"body");
    }
    let at_v2 = gateway.admin.wait_for("/v1/routes/all", |seen| {
        let done = seen["arms"][0]["calls"]["total"].as_u64()?;
        let waits = seen["arms"][1]["calls"]["in_flight"].as_u64()?;
        (done + waits == 20).then_some(waits as usize)
    });

    gateway.admin.post(&format!("{path}/revert"), &json!({}));
    gate.open();

    let answers: Vec<_> = callers.iter_mut().map(|c| c.read("POST").text()).collect();
    assert_eq!(count(&answers, "v2, late"), at_v2);
    assert_eq!(count(&answers, "v1"), 20 - at_v2);
}
