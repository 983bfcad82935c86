//! Attackers and examiners that others wrote, against the real binary.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::process::{Process, lab};
use crate::support::backend::Backend;
use crate::support::certs::Desk;
use crate::support::gateway::Gateway;
use crate::support::routes::{route, through};

/// Longest run of one of them.
const LONGEST: Duration = Duration::from_mins(5);

/// Runs a program to its end, which must be a good one, and returns what it said.
fn examine(command: Command) -> String {
    let shown = format!("{command:?}");
    let mut process = Process::start(command);
    let status = process.wait(LONGEST);
    let said = process.rest();
    assert!(status.success(), "{shown}: {status}\n{said}");
    said
}

fn panics(gateway: &Gateway) -> bool {
    !gateway
        .admin
        .text("/metrics")
        .contains("\nswitchback_panics_total 0\n")
}

#[test]
fn the_api_holds_what_its_document_says() {
    let backend = Backend::fixed(200, "fine");
    let arms = [("v1", &*backend.url(), 100), ("v2", &*backend.url(), 0)];
    let gateway = Gateway::start(&route("http", &arms));
    let mut schemathesis = Command::new(lab().join("hostile/bin/schemathesis"));
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,\
                  response_headers_conformance,response_schema_conformance,unsupported_method";
    schemathesis
        .current_dir(gateway.folder())
        .arg("run")
        .arg(format!("http://{}/openapi.json", gateway.admin.0))
        .args(["--checks", checks])
        .args([
            "--max-examples",
            "30",
            "--seed",
            "7",
            "--request-timeout",
            "10",
        ])
        .args(["--suppress-health-check", "all", "--no-color"]);

    let said = examine(schemathesis);

    assert!(said.contains("Tested: "), "{said}");
    assert!(!panics(&gateway));
    assert_eq!(gateway.get("/").status, 200);
}

#[test]
fn what_http_2_forbids_is_refused_and_floods_hold_up_nobody() {
    let backend = Backend::start(|exchange| {
        exchange.read_body();
        exchange.answer(200, &[], "fine");
    });
    let gateway = Gateway::start(&through(&backend.url()));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/py/h2_abuse.py");
    let mut abuse = Command::new(lab().join("hostile/bin/python"));
    abuse.arg(script).arg(gateway.address.port().to_string());

    let said = examine(abuse);

    println!("{said}");
    assert!(!panics(&gateway));
}

/// `slowhttptest` with one of its kinds of slowness, while others go on as if nothing were.
fn slow(kind: &[&str]) {
    let backend = Backend::fixed(200, "fine");
    let limits = "limits: { first_byte: 2s, request_head: 2s, keep_alive: 2s }\n";
    let gateway = Gateway::start(&format!("{}{limits}", through(&backend.url())));
    let mut slow = Command::new("slowhttptest");
    slow.args(kind)
        .args(["-c", "300", "-r", "150", "-l", "8", "-i", "1", "-p", "3"])
        .args(["-u", &format!("http://{}/", gateway.address)]);
    let mut attack = Process::start(slow);

    let mut served = 0;
    while attack.is_running() {
        assert_eq!(gateway.get("/").status, 200, "after {served}");
        served += 1;
    }

    assert!(served > 10, "{served}");
    assert!(!panics(&gateway));
}

#[test]
fn slow_heads_hold_up_nobody() {
    slow(&["-H"]);
}

#[test]
fn slow_bodies_hold_up_nobody() {
    slow(&["-B"]);
}

#[test]
fn slow_readers_hold_up_nobody() {
    slow(&["-X", "-w", "1", "-y", "2", "-z", "1"]);
}

#[test]
fn tls_is_what_examiners_want() {
    let (desk, backend) = (Desk::new(), Backend::fixed(200, "fine"));
    let certificate = desk.issue("server", &["localhost"]);
    let listener = format!("tls: {{ certificates: [{certificate}] }}");
    let gateway = Gateway::start_listening(2, &listener, &through(&backend.url()));
    let report = desk.at("report.json");
    let mut testssl = Command::new("testssl");
    // Versions and known attacks: the certificate is one of this test's own.
    testssl
        .args(["--quiet", "--warnings", "batch", "--color", "0", "-p", "-U"])
        .arg("--jsonfile")
        .arg(&report)
        .arg(gateway.address.to_string());

    examine(testssl);

    let report = std::fs::read_to_string(report).expect("a report");
    let findings: Vec<serde_json::Value> = serde_json::from_str(&report).expect("a list");
    let severe = ["LOW", "MEDIUM", "HIGH", "CRITICAL", "FATAL"];
    let severe =
        |finding: &&serde_json::Value| severe.contains(&finding["severity"].as_str().unwrap());
    let found: Vec<_> = findings.iter().filter(severe).collect();
    assert!(findings.len() > 20, "{findings:?}");
    assert!(found.is_empty(), "{found:?}");
    assert!(!panics(&gateway));
}
