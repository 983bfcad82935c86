//! TLS towards backends: whom we trust, who we say we are, and what goes wrong.

use crate::support::certs::{Desk, TlsBackend, quoted};
use crate::support::gateway::Gateway;

/// A config with one backend over TLS.
fn to(backend: &TlsBackend, tls: &str) -> String {
    format!(
        "backends: {{ only: {{ endpoints: [\"{}\"], tls: {{ {tls} }} }} }}\n\
         routes: [{{ name: all, split: {{ only: 1 }} }}]\n",
        backend.url()
    )
}

fn trusting(desk: &Desk) -> String {
    format!("ca: {}", quoted(&desk.at("ca.pem")))
}

#[test]
fn a_backend_whose_authority_is_trusted_answers_over_one_connection() {
    let desk = Desk::new();
    desk.issue("server", &["localhost"]);
    let backend = TlsBackend::start(desk.server("server", false), "over TLS");
    let gateway = Gateway::start_with_workers(1, &to(&backend, &trusting(&desk)));

    for _ in 0..3 {
        assert_eq!(gateway.get("/x").text(), "over TLS");
    }

    let seen = backend.seen();
    assert_eq!(seen[0].name.as_deref(), Some("localhost"));
    assert!(seen[0].head.starts_with("GET /x HTTP/1.1"));
    assert!(!seen[0].has_certificate);
}

#[test]
fn a_backend_that_is_not_trusted_gets_nothing_and_the_caller_learns_nothing() {
    let (desk, stranger) = (Desk::new(), Desk::new());
    desk.issue("other", &["other.example"]);
    stranger.issue("strange", &["localhost"]);
    let backends = [
        (
            TlsBackend::start(desk.server("other", false), "x"),
            trusting(&desk),
        ),
        (
            TlsBackend::start(stranger.server("strange", false), "x"),
            trusting(&desk),
        ),
        (
            TlsBackend::start(stranger.server("strange", false), "x"),
            String::new(),
        ),
    ];

    for (backend, tls) in &backends {
        let tls = if tls.is_empty() { "roots: system" } else { tls };
        // A machine without any list of authorities refuses to trust them at the start.
        let gateway = match tls {
            "roots: system" if rustls_native_certs::load_native_certs().certs.is_empty() => {
                continue;
            }
            tls => Gateway::start(&to(backend, tls)),
        };

        let answer = gateway.get("/");

        assert_eq!(answer.status, 502);
        assert!(!answer.text().contains("certificate"), "{}", answer.text());
        assert!(!answer.text().contains("localhost"), "{}", answer.text());
        assert!(backend.seen().is_empty());
        gateway.wait_for_line("an endpoint cannot be trusted");
        let page = gateway.admin.text("/metrics");
        assert!(page.contains("outcome=\"unreachable\""), "{page}");
    }
}

#[test]
fn another_name_may_be_asked_for() {
    let desk = Desk::new();
    desk.issue("other", &["other.example"]);
    let backend = TlsBackend::start(desk.server("other", false), "hello");
    let tls = format!("{}, server_name: other.example", trusting(&desk));
    let gateway = Gateway::start(&to(&backend, &tls));

    assert_eq!(gateway.get("/").text(), "hello");
    assert_eq!(backend.seen()[0].name.as_deref(), Some("other.example"));
}

#[test]
fn a_backend_that_asks_who_we_are_is_told() {
    let desk = Desk::new();
    desk.issue("server", &["localhost"]);
    let ours = desk.issue("gateway", &["gateway.example"]);
    let backend = TlsBackend::start(desk.server("server", true), "hello");
    let tls = format!("{}, certificate: {ours}", trusting(&desk));

    let knows = Gateway::start(&to(&backend, &tls));
    let nameless = Gateway::start(&to(&backend, &trusting(&desk)));

    assert_eq!(knows.get("/").text(), "hello");
    assert!(backend.seen()[0].has_certificate);
    assert_eq!(nameless.get("/").status, 502);
}

#[test]
fn a_backend_in_clear_text_under_an_https_name_is_unreachable() {
    let plain = crate::support::backend::Backend::fixed(200, "hello");
    let desk = Desk::new();
    let text = format!(
        "backends: {{ only: {{ endpoints: [\"https://{}\"], tls: {{ {} }} }} }}\n\
         routes: [{{ name: all, split: {{ only: 1 }} }}]\n",
        plain.address,
        trusting(&desk)
    );
    let gateway = Gateway::start(&text);

    assert_eq!(gateway.get("/").status, 502);
    assert!(plain.requests().is_empty());
}

#[test]
fn a_new_authority_is_trusted_without_a_reload_of_the_config() {
    let (desk, next) = (Desk::new(), Desk::new());
    next.issue("server", &["localhost"]);
    let backend = TlsBackend::start(next.server("server", false), "hello");
    let gateway = Gateway::start(&to(&backend, &trusting(&desk)));
    assert_eq!(gateway.get("/").status, 502);

    std::fs::copy(next.at("ca.pem"), desk.at("ca.pem")).unwrap();

    gateway.admin.wait_for("/v1/status", |_| {
        (gateway.get("/").status == 200).then_some(())
    });
}
