//! Files: broken ones, new ones, and what is told of them.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use rcgen::SanType;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::tls::spec::{CertificateSpec, ClientTlsSpec};
use crate::tls::{ClientTls, Section, ServerTls, keep};

use super::{Desk, one};

#[test]
fn each_kind_of_broken_file_says_what_is_wrong_and_where() {
    let desk = Desk::new();
    for name in ["good", "other"] {
        desk.issue(name, &["a.example"]);
    }
    let write = |name: &str, text: &str| fs::write(desk.at(name), text).unwrap();
    write("empty.pem", "");
    write("text.pem", "not a certificate");
    write(
        "torn.pem",
        "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
    );
    write(
        "noise.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    write(
        "locked.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    write(
        "noise.key",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    );
    fs::create_dir(desk.at("folder.pem")).unwrap();
    let cases = [
        ("missing.pem", "good.key", "missing.pem: No such file"),
        (
            "folder.pem",
            "good.key",
            "folder.pem: it is not a regular file",
        ),
        ("empty.pem", "good.key", "empty.pem has no certificate"),
        ("text.pem", "good.key", "text.pem has no certificate"),
        ("good.key", "good.key", "good.key has no certificate"),
        ("torn.pem", "good.key", "torn.pem is not PEM"),
        ("noise.pem", "good.key", "certificate 1 in"),
        ("good.pem", "missing.key", "missing.key: No such file"),
        ("good.pem", "good.pem", "it has a certificate instead"),
        ("good.pem", "locked.key", "it is encrypted"),
        ("good.pem", "text.pem", "it has none of the sections"),
        ("good.pem", "noise.key", "noise.key cannot be used"),
        (
            "good.pem",
            "other.key",
            "other.key is not that of the certificate in",
        ),
    ];

    for (cert, key, expected) in cases {
        let spec = one(CertificateSpec {
            cert: cert.into(),
            key: key.into(),
        });

        let text = desk.server(&spec).unwrap_err().to_string();

        assert!(text.contains(expected), "{cert} {key}: {text}");
    }
}

#[test]
fn an_authority_that_is_missing_empty_or_noise_is_refused() {
    let desk = Desk::new();
    let good = desk.issue("good", &["a.example"]);
    fs::write(desk.at("empty.pem"), "").unwrap();
    let both = format!(
        "{}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        desk.ca.pem()
    );
    fs::write(desk.at("half.pem"), both).unwrap();

    for (ca, expected) in [
        ("missing.pem", "No such file"),
        ("empty.pem", "has no certificate of an authority"),
        ("good.key", "has no certificate of an authority"),
        ("half.pem", "certificate 2 in"),
    ] {
        let mut spec = one(good.clone());
        spec.client_ca = Some(ca.into());
        let server = desk.server(&spec).unwrap_err().to_string();
        let spec = ClientTlsSpec {
            ca: Some(ca.into()),
            ..ClientTlsSpec::default()
        };
        let client = ClientTls::load("b", &spec, desk.path()).unwrap_err();

        assert!(server.contains(expected), "{ca}: {server}");
        assert_eq!(server, client.to_string());
    }
}

#[test]
fn names_and_dates_are_told() {
    let desk = Desk::new();
    let spec = desk.issue_with("server", &["a.example", "127.0.0.1", "::1"], |params| {
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params
            .subject_alt_names
            .push(SanType::URI("spiffe://example/x".try_into().unwrap()));
    });

    let facts = desk.server(&one(spec)).unwrap().facts();

    assert_eq!(facts.section, "listeners[0].tls");
    assert_eq!(facts.problem, None);
    let certificate = &facts.certificates[0];
    assert_eq!(certificate.names, ["a.example", "127.0.0.1", "::1"]);
    assert_eq!(certificate.not_after, 978_307_200);
    assert!(
        certificate.seconds_left() < 0,
        "expired, and used all the same"
    );
}

/// Waits for a fact that a task of this test brings about.
async fn until(what: impl Fn() -> bool) {
    let seen = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(30), seen).await.unwrap();
}

#[tokio::test]
async fn new_files_are_taken_over_and_broken_ones_are_not() {
    let desk = Desk::new();
    let spec = desk.issue("server", &["old.example"]);
    let server = Arc::new(desk.server(&one(spec.clone())).unwrap());
    let sections: Arc<[Section]> = Arc::new([Section::Server(Arc::clone(&server))]);
    let (_told, sections) = watch::channel(sections);
    let name = || server.facts().certificates[0].names[0].clone();
    let problem = || server.facts().problem;

    let steps = async {
        desk.issue("server", &["new.example"]);
        until(|| name() == "new.example").await;

        fs::write(desk.at("server.pem"), "broken").unwrap();
        until(|| problem().is_some()).await;
        assert_eq!(name(), "new.example");
        assert!(problem().unwrap().contains("server.pem has no certificate"));

        desk.issue("server", &["newest.example"]);
        until(|| name() == "newest.example" && problem().is_none()).await;
    };

    tokio::select! {
        () = steps => {}
        () = keep(sections) => panic!("it never ends"),
    }
}

#[test]
fn a_section_that_takes_the_place_of_another_is_in_force_at_once() {
    let desk = Desk::new();
    let server = desk.server(&one(desk.issue("a", &["a.example"]))).unwrap();
    server.note_problem("something".to_owned());

    server.replace(ServerTls::prepare(&one(desk.issue("b", &["b.example"])), desk.path()).unwrap());

    assert_eq!(server.facts().certificates[0].names, ["b.example"]);
    assert_eq!(server.facts().problem, None);
    assert!(
        !server.reload().unwrap(),
        "its own files are read from now on"
    );
}
