//! Who is let in by address, at listeners and at routes.

use crate::support::backend::Backend;
use crate::support::client::{Answer, Raw};
use crate::support::gateway::Gateway;
use crate::support::routes::{route_with, through};

const TRUSTING: &str = "forwarding: { trusted_proxies: [\"127.0.0.0/8\"] }\n";

fn from(gateway: &Gateway, chain: &str) -> Answer {
    gateway
        .connect()
        .ask("GET", "/", &[("x-forwarded-for", chain)], b"")
}

#[test]
fn a_route_answers_403_to_those_it_is_not_open_to() {
    let backend = Backend::fixed(200, "hello");
    let lists = [
        "allow: [\"192.0.2.0/24\", \"2001:db8::/32\"]",
        "deny: [\"192.0.2.66\"]",
    ];
    let config = route_with("http", &[("only", &backend.url(), 1)], &lists);
    let gateway = Gateway::start(&(config + TRUSTING));

    for chain in [
        "192.0.2.7",
        "6.6.6.6, 192.0.2.7",
        "192.0.2.7, 127.0.0.9",
        "::ffff:192.0.2.7",
        "2001:db8::9",
    ] {
        assert_eq!(from(&gateway, chain).status, 200, "{chain}");
    }
    for chain in [
        "192.0.2.66",
        "::ffff:192.0.2.66",
        "192.0.2.7, 6.6.6.6",
        "192.0.2.7, rubbish",
        "192.0.2.7, 127.0.0.9:x",
        "",
    ] {
        let answer = from(&gateway, chain);
        assert_eq!(answer.status, 403, "{chain}");
        assert!(answer.text().contains("not open to the client's address"));
    }
    assert_eq!(backend.requests().len(), 5);
    let metrics = gateway.admin.text("/metrics");
    let counted = "switchback_address_refusals_total{at=\"route\",name=\"all\"} 6";
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn the_clients_own_word_on_its_address_is_not_heard() {
    let backend = Backend::fixed(200, "hello");
    let lists = ["allow: [\"192.0.2.0/24\"]"];
    let gateway = Gateway::start(&route_with("http", &[("only", &backend.url(), 1)], &lists));

    assert_eq!(from(&gateway, "192.0.2.7").status, 403);
    assert_eq!(backend.requests().len(), 0);
}

#[test]
fn an_mcp_caller_is_told_in_its_own_words() {
    let backend = Backend::fixed(200, "hello");
    let lists = ["deny: [\"127.0.0.0/8\"]"];
    let gateway = Gateway::start(&route_with("mcp", &[("only", &backend.url(), 1)], &lists));
    let call = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

    let answer = gateway
        .connect()
        .ask("POST", "/", &[("content-type", "application/json")], call);

    assert_eq!(answer.status, 403);
    assert_eq!(answer.json()["error"]["code"], -32000);
}

#[test]
fn what_follows_a_refused_request_is_its_body_and_no_request() {
    let backend = Backend::fixed(200, "hello");
    let lists = ["deny: [\"127.0.0.0/8\"]"];
    let config = route_with("http", &[("only", &backend.url(), 1)], &lists);
    let gateway = Gateway::start(&config);
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";

    let mut raw = gateway.connect();
    raw.write(format!(
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{smuggled}",
        smuggled.len()
    ));
    assert_eq!(raw.read("POST").status, 403);
    raw.try_send("GET", "/own", &[("connection", "close")], b"");
    let rest = String::from_utf8(raw.read_to_close()).unwrap();

    assert!(rest.matches("HTTP/1.1").count() <= 1, "{rest}");
}

#[test]
fn a_listener_closes_what_may_not_connect_and_learns_it_without_a_restart() {
    let backend = Backend::fixed(200, "hello");
    let gateway = Gateway::start(&through(&backend.url()));
    assert_eq!(gateway.get("/").status, 200);
    let admin = gateway.admin.0;
    let address = gateway.address;
    let with = |lists: &str| {
        format!(
            "listeners: [{{ address: \"{address}\", {lists} }}]\n\
             admin: {{ address: \"{admin}\" }}\nstate: {{ file: state }}\nworkers: 2\n{}",
            through(&backend.url())
        )
    };
    let generation = || {
        gateway.admin.get("/v1/status")["generation"]
            .as_u64()
            .unwrap()
    };
    let before = generation();

    gateway.rewrite_whole(&with("deny: [\"127.0.0.1\"]"));
    gateway.admin.wait_for("/v1/status", |status| {
        (status["generation"].as_u64().unwrap() > before).then_some(())
    });

    let mut raw = Raw::connect(address);
    raw.try_send("GET", "/", &[], b"");
    assert!(raw.is_closed());
    assert_eq!(backend.requests().len(), 1);
    let metrics = gateway.admin.text("/metrics");
    let counted =
        format!("switchback_address_refusals_total{{at=\"listener\",name=\"{address}\"}} 1");
    assert!(metrics.contains(&counted), "{metrics}");

    let before = generation();
    gateway.rewrite_whole(&with("allow: [\"127.0.0.0/8\"]"));
    gateway.admin.wait_for("/v1/status", |status| {
        (status["generation"].as_u64().unwrap() > before).then_some(())
    });
    assert_eq!(gateway.get("/").status, 200);
    assert!(!gateway.printed().contains("takes a restart"));
}
