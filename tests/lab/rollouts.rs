//! What the sessions of real clients see of shifts, promotes, reverts and dead versions.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::agent::{Agent, Sdk};
use crate::servers::Server;
use crate::support::gateway::Gateway;
use crate::support::mcp_client::McpClient;

/// Enough sessions for both versions to get some at equal shares, but for one time in 10^5.
const MOST_SESSIONS: usize = 18;

/// A gateway with one MCP route over two versions.
pub fn two_versions(v1: &str, v2: &str, shares: (u32, u32)) -> Gateway {
    two_versions_and(v1, v2, shares, "")
}

/// The same with more sections in the config.
pub fn two_versions_and(v1: &str, v2: &str, (share1, share2): (u32, u32), more: &str) -> Gateway {
    Gateway::start(&format!(
        "backends:\n\
         \x20 v1: {{ endpoints: [\"{v1}\"] }}\n\
         \x20 v2: {{ endpoints: [\"{v2}\"] }}\n\
         routes:\n\
         \x20 - name: tools\n\
         \x20   match: {{ path: /mcp }}\n\
         \x20   protocol: mcp\n\
         \x20   split: {{ v1: {share1}, v2: {share2} }}\n\
         {more}"
    ))
}

pub fn start_rollout(gateway: &Gateway) -> String {
    let stages = json!([{ "percent": 50, "for": "1h" }]);
    let wanted = json!({ "to": "v2", "stages": stages, "reason": "a new version" });
    let rollout = gateway.admin.post("/v1/routes/tools/rollouts", &wanted);
    rollout["id"].as_str().expect("an id").to_owned()
}

pub fn act(gateway: &Gateway, rollout: &str, action: &str) {
    let path = format!("/v1/rollouts/{rollout}/{action}");
    gateway.admin.post(&path, &json!({ "reason": "a test" }));
}

pub fn wait_for_state(gateway: &Gateway, rollout: &str, state: &str) -> Value {
    let path = format!("/v1/rollouts/{rollout}");
    gateway
        .admin
        .wait_for(&path, |seen| (seen["state"] == state).then(|| seen.clone()))
}

/// Agents of both SDKs, at least one of each on each version, by version.
pub fn agents_on_both(gateway: &Gateway) -> BTreeMap<String, Vec<Agent>> {
    let mut homes: BTreeMap<String, Vec<Agent>> = BTreeMap::new();
    for sdk in Sdk::ALL {
        for _ in 0..MOST_SESSIONS {
            let mut agent = Agent::open(sdk, gateway.address);
            let home = agent.call("whoami");
            homes.entry(home).or_default().push(agent);
            let has = |home: &str| {
                homes
                    .get(home)
                    .is_some_and(|all| all.iter().any(|a| a.sdk == sdk))
            };
            if has("v1") && has("v2") {
                break;
            }
        }
    }
    assert_eq!(homes.len(), 2, "sessions on both versions");
    homes
}

#[test]
fn sessions_of_real_clients_survive_a_revert() {
    let (one, two) = (Server::fixture("v1"), Server::fixture("v2"));
    let gateway = two_versions(&one.url(), &two.url(), (100, 0));
    let rollout = start_rollout(&gateway);
    let mut homes = agents_on_both(&gateway);

    act(&gateway, &rollout, "revert");
    wait_for_state(&gateway, &rollout, "reverted");

    for agent in homes.values_mut().flatten() {
        assert_eq!(agent.call("whoami"), "v1", "{:?}", agent.sdk);
        assert_eq!(agent.call("counter"), "1", "{:?}", agent.sdk);
        assert_eq!(agent.call("counter"), "2", "{:?}", agent.sdk);
    }
    homes.into_values().flatten().for_each(Agent::leave);
}

#[test]
fn sessions_of_real_clients_stay_where_they_are_through_a_shift_and_a_promote() {
    let (one, two) = (Server::fixture("v1"), Server::fixture("v2"));
    let gateway = two_versions(&one.url(), &two.url(), (50, 50));
    let mut homes = agents_on_both(&gateway);

    let all_to_v1 = json!({ "weights": { "v1": 100, "v2": 0 }, "reason": "a test" });
    gateway.admin.put("/v1/routes/tools/weights", &all_to_v1);
    everybody_is_at_home(&mut homes, 1);

    let rollout = start_rollout(&gateway);
    act(&gateway, &rollout, "promote");
    wait_for_state(&gateway, &rollout, "promoted");
    everybody_is_at_home(&mut homes, 2);
    let mut late = Agent::open(Sdk::TypeScript, gateway.address);
    assert_eq!(
        late.call("whoami"),
        "v2",
        "new sessions go to the promoted version"
    );
}

fn everybody_is_at_home(homes: &mut BTreeMap<String, Vec<Agent>>, round: u32) {
    for (home, agents) in homes {
        for agent in agents {
            assert_eq!(&agent.call("whoami"), home, "{:?}", agent.sdk);
            assert_eq!(agent.call("counter"), round.to_string(), "{:?}", agent.sdk);
        }
    }
}

#[test]
fn a_version_that_dies_in_its_rollout_is_reverted_and_its_clients_go_on() {
    let (one, mut two) = (Server::fixture("v1"), Server::fixture("v2"));
    let gateway = two_versions(&one.url(), &two.url(), (100, 0));
    let rollout = start_rollout(&gateway);
    let mut homes = agents_on_both(&gateway);
    let path = format!("/v1/rollouts/{rollout}");

    two.kill();
    // Nothing is sent where nobody listens, so that each session finds its new home unharmed.
    for agent in homes.values_mut().flatten() {
        assert_eq!(agent.call("whoami"), "v1", "{:?}", agent.sdk);
    }
    // That those found nobody, and that newcomers do, is what the judge learns it from.
    for _ in 0..200 {
        McpClient::open(gateway.address, "/mcp");
        if gateway.admin.get(&path)["state"] == "reverted" {
            break;
        }
    }
    wait_for_state(&gateway, &rollout, "reverted");

    for agent in homes.values_mut().flatten() {
        assert_eq!(agent.call("whoami"), "v1", "{:?}", agent.sdk);
    }
}

#[test]
fn a_version_whose_tools_fail_inside_http_200_is_reverted_by_the_judge() {
    let (one, two) = (Server::fixture("v1"), Server::faulty_fixture("v2"));
    let gateway = two_versions(&one.url(), &two.url(), (100, 0));
    let rollout = start_rollout(&gateway);
    let mut watching = Agent::open(Sdk::TypeScript, gateway.address);
    let path = format!("/v1/rollouts/{rollout}");

    let mut sessions: Vec<McpClient> = Vec::new();
    for _ in 0..200 {
        sessions.push(McpClient::open(gateway.address, "/mcp"));
        for session in &mut sessions {
            session.call("work");
        }
        if gateway.admin.get(&path)["state"] == "reverted" {
            break;
        }
    }

    let seen = wait_for_state(&gateway, &rollout, "reverted");
    assert_eq!(seen["revert_reason"], "error_rate_high", "{seen:#}");
    for session in &mut sessions {
        assert_eq!(session.call_text("whoami"), "v1");
    }
    assert_eq!(watching.call("whoami"), "v1");
}
