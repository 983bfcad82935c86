//! What binds requests without sessions (2026-07-28), through restarts of the gateway.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::PATIENCE;
use crate::support::backend::Backend;
use crate::support::fake_mcp::Wire;
use crate::support::gate::pass;
use crate::support::gateway::Gateway;
use crate::support::modern::{ModernClient, modern_server};
use crate::support::routes::route;

const WRITTEN: &str = "switchback_bond_records_written_total ";

struct House {
    _servers: [Backend; 2],
    gateway: Gateway,
}

fn house(shares: (u32, u32), more: &str) -> House {
    let servers = ["v1", "v2"].map(|label| modern_server(label, Wire::Json));
    let (one, two) = (servers[0].url(), servers[1].url());
    let arms = [("v1", &*one, shares.0), ("v2", &*two, shares.1)];
    let gateway = Gateway::start(&(route("mcp", &arms) + more));
    House {
        _servers: servers,
        gateway,
    }
}

impl House {
    fn clients(&self, count: usize) -> Vec<ModernClient> {
        let client = |n| ModernClient::new(self.gateway.address, &format!("Bearer {n}"));
        (0..count).map(client).collect()
    }

    fn shift(&self, v1: u32, v2: u32) {
        let weights = json!({ "weights": { "v1": v1, "v2": v2 } });
        self.gateway.admin.put("/v1/routes/all/weights", &weights);
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.gateway.admin.text("/metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.map_or(0, |value| value.trim().parse().unwrap())
    }

    /// Ends the gateway in good order and starts it again.
    fn restart(&mut self) {
        self.gateway.signal("TERM");
        assert!(self.gateway.wait().success());
        self.gateway.start_again();
    }

    fn wait_until_written(&self, rows: usize) {
        let until = Instant::now() + PATIENCE;
        while self.metric(WRITTEN) < rows as u64 {
            assert!(Instant::now() < until, "{rows} rows were never written");
            pass(Duration::from_millis(20));
        }
    }
}

/// Clients who keep state under handles on both versions, after all new ones go to the second.
fn with_handles(house: &House) -> Vec<(String, String)> {
    let mut clients = house.clients(40);
    let handles: Vec<_> = clients.iter_mut().map(|c| c.call("keep")).collect();
    let homes: Vec<_> = clients.iter_mut().map(|c| c.call("whoami")).collect();
    assert_eq!(homes.iter().collect::<BTreeSet<_>>().len(), 2);
    house.shift(0, 100);
    handles.into_iter().zip(homes).collect()
}

fn assert_held(house: &House, known: &[(String, String)]) {
    let mut clients = house.clients(known.len());
    for (client, (handle, home)) in clients.iter_mut().zip(known) {
        client.call_with("use", json!({ "handle": handle }));
        assert_eq!(&client.call("whoami"), home);
    }
}

#[test]
fn handles_reach_their_server_after_a_shift_and_a_restart() {
    let mut house = house((50, 50), "");
    let known = with_handles(&house);

    house.restart();
    assert_held(&house, &known);
    house.restart();

    assert_held(&house, &known);
}

#[test]
fn handles_reach_their_server_after_a_shift_and_a_takeover() {
    let mut house = house((50, 50), "");
    let known = with_handles(&house);

    house.gateway.is_taken_over();

    assert_held(&house, &known);
}

#[test]
fn a_kill_loses_nobody_who_was_written_down() {
    let mut house = house((50, 50), "");
    let known = with_handles(&house);
    house.wait_until_written(known.len());

    house.gateway.kill();
    house.gateway.start_again();

    assert_held(&house, &known);
}

#[test]
fn a_value_leads_back_to_its_server_after_a_restart() {
    let mut house = house((1, 0), "");
    let mut first = ModernClient::new(house.gateway.address, "Bearer first");
    first.reply("tools/call", json!({ "name": "start" }));
    house.shift(0, 1);

    house.restart();

    // Somebody else, who is drawn to the other version.
    let mut other = ModernClient::new(house.gateway.address, "Bearer other");
    assert_eq!(other.call("whoami"), "v2");
    let reply = other.reply("tasks/get", json!({ "taskId": "task-of-v1" }));
    assert!(reply["result"].is_object(), "{reply}");
}

#[test]
fn what_was_silent_for_too_long_before_a_restart_is_not_held() {
    let mut house = house((1, 0), "limits: { held_idle: 1s }\n");
    assert_eq!(house.clients(1)[0].call("whoami"), "v1");
    house.shift(0, 1);
    house.gateway.signal("TERM");
    assert!(house.gateway.wait().success());
    // Longer than the limit, by more than what is written down may look older than it is.
    pass(Duration::from_secs(4));
    house.gateway.start_again();

    assert_eq!(house.clients(1)[0].call("whoami"), "v2");
}

#[test]
fn who_calls_cannot_be_read_in_the_file() {
    let mut house = house((1, 0), "");
    let name = "Bearer a-name-that-is-easy-to-find";
    ModernClient::new(house.gateway.address, name).call("whoami");
    house.wait_until_written(1);
    house.gateway.kill();

    let state = house.gateway.folder().join("state/state.redb");
    let bytes = std::fs::read(state).unwrap();

    let holds = |text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
    assert!(!holds(b"a-name-that-is-easy-to-find"));
    let plain = xxhash_rust::xxh3::xxh3_64(name.as_bytes()).to_le_bytes();
    assert!(!holds(&plain));
}
