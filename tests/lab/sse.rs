//! Real clients and servers of the era of HTTP+SSE (2024-11-05), while versions change.

use crate::agent::{Agent, Sdk};
use crate::rollouts::{act, start_rollout, two_versions, wait_for_state};
use crate::servers::Server;
use crate::support::gateway::Gateway;

/// A client of this SDK whose session lives at v2.
fn agent_at_v2(sdk: Sdk, gateway: &Gateway) -> Agent {
    for _ in 0..18 {
        let mut agent = Agent::open_sse(sdk, gateway.address);
        if agent.call("whoami") == "v2" {
            return agent;
        }
    }
    panic!("no session of {sdk:?} at v2");
}

#[test]
fn sessions_over_http_sse_survive_a_revert_in_the_streams_that_they_have() {
    let (one, two) = (Server::sse_fixture("v1"), Server::sse_fixture("v2"));
    let gateway = two_versions(&one.url(), &two.url(), (100, 0));
    let rollout = start_rollout(&gateway);
    let mut agents = Sdk::ALL.map(|sdk| agent_at_v2(sdk, &gateway));
    for agent in &mut agents {
        assert_eq!(agent.call("counter"), "1");
    }

    act(&gateway, &rollout, "revert");
    wait_for_state(&gateway, &rollout, "reverted");

    for agent in &mut agents {
        assert_eq!(agent.call("whoami"), "v1");
        assert_eq!(agent.call("counter"), "1");
    }
    for agent in agents {
        agent.leave();
    }
}

#[test]
fn sessions_over_http_sse_survive_the_death_of_their_server() {
    let (one, mut two) = (Server::sse_fixture("v1"), Server::sse_fixture("v2"));
    let gateway = two_versions(&one.url(), &two.url(), (50, 50));
    let mut agents = Sdk::ALL.map(|sdk| agent_at_v2(sdk, &gateway));

    two.kill();

    for agent in &mut agents {
        assert_eq!(agent.call("whoami"), "v1");
    }
}
