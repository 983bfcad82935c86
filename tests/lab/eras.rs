//! Real clients of the era without sessions, beside those of the other, while versions change.

use crate::agent::{Agent, Sdk};
use crate::rollouts::{act, start_rollout, two_versions, wait_for_state};
use crate::servers::Server;
use crate::support::gateway::Gateway;
use serde_json::json;

const MODERN: &str = "2026-07-28";

/// Clients of the TypeScript SDK, each a caller of their own, at least one of them at `home`.
fn callers_at(gateway: &Gateway, era: &str, home: &str) -> Vec<Agent> {
    let mut callers = Vec::new();
    for n in 0..18 {
        let token = format!("token-{n}");
        let mut agent = Agent::open_as(Sdk::TypeScript, gateway.address, &[era, &token]);
        if agent.version() == MODERN && agent.call("whoami") == home {
            callers.push(agent);
            if callers.len() == 2 {
                break;
            }
        }
    }
    assert!(!callers.is_empty(), "a caller at {home}");
    callers
}

#[test]
fn callers_without_sessions_keep_their_handles_through_shifts_and_leave_in_a_revert() {
    let (one, two) = (Server::fixture("v1"), Server::fixture("v2"));
    let gateway = two_versions(&one.url(), &two.url(), (100, 0));
    let rollout = start_rollout(&gateway);
    let mut callers = callers_at(&gateway, "modern", "v2");
    let mut python = Agent::open_as(Sdk::Python, gateway.address, &[MODERN]);
    let home = python.call("whoami");

    for (v1, v2) in [(90, 10), (10, 90)] {
        let weights = json!({ "weights": { "v1": v1, "v2": v2 }, "reason": "a test" });
        let path = "/v1/routes/tools/weights";
        gateway.admin.ask("PUT", path, &[], &weights);
        for caller in &mut callers {
            assert_eq!(caller.call("whoami"), "v2");
        }
        assert_eq!(python.call("whoami"), home);
    }
    assert_eq!(callers[0].ask(":listen")["listening"], true);
    act(&gateway, &rollout, "revert");
    wait_for_state(&gateway, &rollout, "reverted");

    assert_eq!(callers[0].ask(":ended")["ended"], "graceful");
    assert_eq!(callers[0].ask(":listen")["listening"], true);
    for caller in &mut callers {
        assert_eq!(caller.call("whoami"), "v1");
        assert_eq!(caller.version(), MODERN);
    }
    assert_eq!(python.call("whoami"), "v1");
}

#[test]
fn clients_that_learned_the_new_era_from_a_candidate_fall_back_after_its_revert() {
    let (one, two) = (Server::elder_fixture("v1"), Server::fixture("v2"));
    let gateway = two_versions(&one.url(), &two.url(), (100, 0));
    let rollout = start_rollout(&gateway);
    let mut callers = callers_at(&gateway, "auto", "v2");

    act(&gateway, &rollout, "revert");
    wait_for_state(&gateway, &rollout, "reverted");

    for caller in &mut callers {
        let said = caller.ask("whoami");
        assert_eq!(said["code"], -32022, "{said}");
        let connected = caller.ask(":reconnect");
        assert!(connected["session"].is_string(), "{connected}");
        assert_eq!(caller.version(), "2025-11-25");
        assert_eq!(caller.call("whoami"), "v1");
        assert_eq!(caller.call("counter"), "1");
        assert_eq!(caller.call("counter"), "2");
    }
    let mut python = Agent::open_as(Sdk::Python, gateway.address, &["auto"]);
    assert_eq!(python.call("whoami"), "v1");
    assert_eq!(python.call("counter"), "1");
    assert_eq!(python.call("counter"), "2");
}
