//! Sessions of a gateway that begins anew, of its replicas, and under other keys.

use serde_json::json;

use crate::support::gateway::{Gateway, run};
use crate::support::house::{assert_unknown, house, ping};
use crate::support::mcp_client::McpClient;
use crate::support::routes::route_with;

/// The value of a metric without labels.
fn metric(gateway: &Gateway, name: &str) -> u64 {
    let page = gateway.admin.text("/metrics");
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|rest| rest.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name} on the page"))
}

const WRITTEN: &str = "switchback_session_records_written_total ";

fn wait_until_written(gateway: &Gateway, more_than: u64) {
    gateway.admin.wait_for("/v1/status", |_| {
        (metric(gateway, WRITTEN) > more_than).then_some(())
    });
}

#[test]
fn a_record_survives_a_restart_and_carries_the_session_through_a_revert() {
    let mut house = house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    client.request("resources/subscribe", json!({ "uri": "file:///a" }));

    house.restart();
    client.reconnect();
    assert_eq!(client.call_text("whoami"), "v2", "it lives where it lived");
    house.revert(&path);

    assert_eq!(client.call_text("whoami"), "v1");
    assert!(
        house
            .v1
            .methods()
            .contains(&"resources/subscribe".to_owned())
    );
}

#[test]
fn a_new_home_survives_a_restart_and_a_takeover() {
    let mut house = house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    house.revert(&path);
    assert_eq!(client.call_text("counter"), "1");
    let opened = house.v1.initializes();

    house.restart();
    client.reconnect();
    assert_eq!(client.call_text("counter"), "2", "the same session");
    house.gateway.is_taken_over();
    client.reconnect();

    assert_eq!(client.call_text("counter"), "3", "the same session");
    assert_eq!(house.v1.initializes(), opened);
}

#[test]
fn a_kill_loses_no_home_that_was_written_down() {
    let mut house = house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    house.revert(&path);
    wait_until_written(&house.gateway, 0);
    let before = metric(&house.gateway, WRITTEN);
    assert_eq!(client.call_text("counter"), "1");
    wait_until_written(&house.gateway, before);

    house.gateway.kill();
    house.gateway.start_again();
    client.reconnect();

    assert_eq!(client.call_text("counter"), "2", "the same session");
}

#[test]
fn a_session_that_has_ended_leaves_no_record() {
    let mut house = house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    assert_eq!(client.delete().status, 200);

    house.restart();
    house.revert(&path);
    client.reconnect();

    assert_unknown(&client.post(&ping(1)));
}

#[cfg(target_os = "linux")]
#[test]
fn records_that_a_full_disk_refused_are_written_when_there_is_room() {
    const FAILED: &str = "switchback_session_records_failed_total ";
    let mut house = house((1, 0), "");
    house.gateway.fill_disk();
    let mut client = house.open();
    house.gateway.admin.wait_for("/v1/status", |_| {
        (metric(&house.gateway, FAILED) > 0).then_some(())
    });
    assert_eq!(
        client.call_text("counter"),
        "1",
        "nobody waits for the disk"
    );

    house.gateway.empty_disk();
    wait_until_written(&house.gateway, 0);
    house.gateway.kill();
    house.gateway.start_again();
    client.reconnect();
    house.gateway.admin.wait_for("/v1/routes/all", |seen| {
        (seen["arms"][0]["sessions"]["open"] == 1).then_some(())
    });

    assert_eq!(client.call_text("counter"), "2");
}

/// Puts these keys into the file, and waits until they are in force.
fn seal_with(gateway: &Gateway, keys: &[&str]) {
    let text = std::fs::read_to_string(gateway.config_file()).unwrap();
    let line = text.lines().find(|line| line.starts_with("state:"));
    let keys = keys.join("\", \"");
    let keys = format!("state: {{ file: state, session_keys: [\"{keys}\"] }}");
    gateway.rewrite_whole(&text.replace(line.unwrap(), &keys));
    gateway.admin.post("/v1/config/reload", &json!({}));
}

const KEYS: [&str; 2] = [
    "the-first-key-0123456789abcdef-0123456789",
    "the-other-key-0123456789abcdef-0123456789",
];

#[test]
fn keys_change_and_sessions_go_on() {
    let mut house = house((1, 0), "");
    let mut of_folder = house.open();
    seal_with(&house.gateway, &[KEYS[0]]);
    let mut of_first = house.open();
    seal_with(&house.gateway, &[KEYS[1], KEYS[0]]);
    let mut of_other = house.open();

    for client in [&mut of_folder, &mut of_first, &mut of_other] {
        assert_eq!(client.call_text("counter"), "1");
    }
    house.restart();
    for client in [&mut of_folder, &mut of_first, &mut of_other] {
        client.reconnect();
        assert_eq!(client.call_text("counter"), "2");
    }

    seal_with(&house.gateway, &[KEYS[1]]);
    assert_unknown(&of_first.post(&ping(1)));
    assert_eq!(of_folder.call_text("counter"), "3");
    assert_eq!(of_other.call_text("counter"), "3");
    let shown = house.gateway.admin.text("/v1/config");
    assert!(!shown.contains("-key-0123"), "{shown}");
}

#[test]
fn a_re_homed_session_goes_on_through_a_change_of_keys() {
    let house = house((1, 0), "");
    seal_with(&house.gateway, &[KEYS[0]]);
    let (mut client, path) = house.at_candidate();
    house.revert(&path);
    assert_eq!(client.call_text("counter"), "1");

    seal_with(&house.gateway, &[KEYS[1], KEYS[0]]);

    assert_eq!(client.call_text("counter"), "2", "the same session");
}

#[test]
fn replicas_with_the_same_key_know_each_others_sessions() {
    let house = house((1, 1), "");
    let (one, two) = (house.v1.url(), house.v2.url());
    let arms = [("v1", &*one, 1), ("v2", &*two, 1)];
    let other = Gateway::start(&route_with("mcp", &arms, &[]));
    let mut client = house.open();
    let mut there = McpClient::open(other.address, "/mcp");
    there.session.clone_from(&client.session);
    assert_unknown(&there.post(&ping(1)));

    seal_with(&house.gateway, &[KEYS[0]]);
    seal_with(&other, &[KEYS[0]]);
    client = house.open();
    assert_eq!(client.call_text("counter"), "1");
    there.session.clone_from(&client.session);

    assert_eq!(there.call_text("counter"), "2", "the same session");
}

#[test]
fn a_bad_key_is_refused_and_not_shown() {
    let house = house((1, 0), "");
    let text = std::fs::read_to_string(house.gateway.config_file()).unwrap();
    let bad = "state: { file: state, session_keys: [hunter2hunter2] }";
    let text = text.replace("state: { file: state }", bad);
    std::fs::write(house.gateway.folder().join("bad.yaml"), text).unwrap();

    let said = run(&["check", "-c", "bad.yaml"], house.gateway.folder());

    assert_eq!(said.status.code(), Some(2));
    let said =
        String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
    assert!(
        said.contains("32 to 512") && !said.contains("hunter"),
        "{said}"
    );
}
