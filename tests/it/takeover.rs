//! One process after another: no request is lost, no session, and no failed attempt is noticed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::fake_mcp::FakeMcp;
use crate::support::gateway::{Gateway, run};
use crate::support::load::Load;
use crate::support::mcp_client::McpClient;
use crate::support::ports::reserve;

/// An HTTP route with two versions, and an MCP one.
fn config(v1: &Backend, v2: &Backend, mcp: &FakeMcp) -> String {
    format!(
        "backends:\n\
         \x20 v1: {{ endpoints: [\"{}\"] }}\n\
         \x20 v2: {{ endpoints: [\"{}\"] }}\n\
         \x20 tools: {{ endpoints: [\"{}\"] }}\n\
         routes:\n\
         \x20 - {{ name: sessions, match: {{ path: /mcp }}, protocol: mcp, split: {{ tools: 1 }} }}\n\
         \x20 - {{ name: all, split: {{ v1: 9, v2: 1 }} }}\n",
        v1.url(),
        v2.url(),
        mcp.url()
    )
}

fn weights(gateway: &Gateway) -> [Value; 2] {
    let arms = &gateway.admin.get("/v1/routes/all")["arms"];
    [0, 1].map(|arm| arms[arm]["weight"].clone())
}

fn shift(gateway: &Gateway, v1: u32) {
    let wanted = json!({ "weights": { "v1": v1, "v2": 1 } });
    gateway.admin.wait_for("/v1/status", |_| {
        let answer = gateway
            .admin
            .ask("PUT", "/v1/routes/all/weights", &[], &wanted);
        (answer.status == 200).then_some(())
    });
    assert_eq!(weights(gateway), [json!(v1), json!(1)]);
}

#[test]
fn three_processes_after_each_other_under_load_lose_no_request_and_no_session() {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let mcp = FakeMcp::start("tools");
    let mut gateway = Gateway::start(&config(&v1, &v2, &mcp));
    let mut session = McpClient::open(gateway.address, "/mcp");
    shift(&gateway, 7);
    let stages = json!([{ "percent": 50, "for": "1h" }]);
    let rollout = json!({ "to": "v2", "stages": stages });
    let rollout = gateway.admin.post("/v1/routes/all/rollouts", &rollout)["id"].clone();
    let shares = weights(&gateway);
    let load = Load::start(gateway.address, 16, Duration::from_millis(2));

    for _ in 0..3 {
        load.wait_for_more(200);
        let before = gateway.pid();
        gateway.is_taken_over();
        assert_ne!(gateway.pid(), before);
        session.reconnect();
        assert_eq!(session.call_text("whoami"), "tools");
        let status = gateway.admin.get("/v1/routes/all");
        assert_eq!(status["rollout"]["id"], rollout, "{status:#}");
    }
    load.wait_for_more(200);

    let tally = load.stop();
    assert_eq!((tally.lost, tally.refused), (Vec::new(), 0));
    let history = gateway.admin.get("/v1/history");
    assert_eq!(weights(&gateway), shares, "{history:#}");
    assert_eq!(mcp.initializes(), 1, "the session went on");
    gateway.admin.post(
        &format!("/v1/rollouts/{}/abort", rollout.as_str().unwrap()),
        &json!({}),
    );
    shift(&gateway, 5);
}

#[test]
fn without_a_process_to_take_over_from_the_gateway_just_starts() {
    let backend = Backend::fixed(200, "fine");
    let mcp = FakeMcp::start("tools");
    let mut gateway = Gateway::start(&config(&backend, &backend, &mcp));

    gateway.start_again_with(&["--takeover"]);

    assert_eq!(gateway.get("/").status, 200);
}

#[test]
fn a_successor_with_a_bad_file_or_without_its_port_changes_nothing() {
    let backend = Backend::fixed(200, "fine");
    let mcp = FakeMcp::start("tools");
    let gateway = Gateway::start(&config(&backend, &backend, &mcp));
    let good = fs::read_to_string(gateway.config_file()).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (address, taken)).unwrap();
    let crowded = good.replace(
        "listeners: [",
        &format!("listeners: [{{ address: \"{}\" }}, ", taken.0),
    );
    for (text, exit) in [("routes: [", 2), (crowded.as_str(), 1)] {
        fs::write(gateway.folder().join("next.yaml"), text).unwrap();

        let ended = run(
            &["serve", "--takeover", "-c", "next.yaml"],
            gateway.folder(),
        );

        assert_eq!(ended.status.code(), Some(exit));
        assert_eq!(gateway.get("/").status, 200);
        shift(&gateway, 3);
    }
    gateway.wait_for_line("was not taken over");
}

/// A successor that goes no further than this many of its words.
fn half_a_successor(gateway: &Gateway, words: usize) {
    let bell = gateway.folder().join("state/handover.sock");
    let mode = fs::metadata(&bell).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let stream = UnixStream::connect(bell).unwrap();
    let mut heard = BufReader::new(stream.try_clone().unwrap()).lines();
    let hello = "{\"say\":\"hello\",\"protocol\":1,\"version\":\"0\"}";
    let dialog = [(hello, "sockets"), ("{\"say\":\"prepared\"}", "released")];
    for (word, answer) in dialog.into_iter().take(words) {
        (&stream).write_all(format!("{word}\n").as_bytes()).unwrap();
        let line = heard.next().unwrap().unwrap();
        assert!(line.contains(answer), "{line}");
    }
    if words == dialog.len() {
        let refused = json!({ "weights": { "v1": 1 } });
        let refused = gateway
            .admin
            .ask("PUT", "/v1/routes/all/weights", &[], &refused);
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(refused.text().contains("taking"), "{}", refused.text());
    }
}

#[test]
fn a_successor_that_dies_half_way_leaves_the_first_in_charge() {
    let backend = Backend::fixed(200, "fine");
    let mcp = FakeMcp::start("tools");
    let mut gateway = Gateway::start(&config(&backend, &backend, &mcp));
    let load = Load::start(gateway.address, 4, Duration::from_millis(2));

    for words in 0..=2 {
        half_a_successor(&gateway, words);

        shift(&gateway, 20 + words as u32);
    }
    load.wait_for_more(50);

    let tally = load.stop();
    assert_eq!((tally.lost, tally.refused), (Vec::new(), 0));
    gateway.start_again();
    assert_eq!(weights(&gateway), [json!(22), json!(1)]);
}

#[test]
fn a_listener_more_and_a_worker_more_come_with_a_takeover() {
    let backend = Backend::fixed(200, "fine");
    let mcp = FakeMcp::start("tools");
    let mut gateway = Gateway::start(&config(&backend, &backend, &mcp));
    let more = reserve();
    let text = fs::read_to_string(gateway.config_file()).unwrap();
    let text = text.replace(
        "listeners: [",
        &format!("listeners: [{{ address: \"{}\" }}, ", more.address),
    );
    gateway.rewrite_whole(&text.replace("workers: 2", "workers: 3"));

    gateway.is_taken_over();

    for address in [more.address, gateway.address] {
        assert_eq!(crate::support::client::get(address, "/").status, 200);
    }
}
