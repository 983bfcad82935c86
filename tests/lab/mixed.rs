//! Two versions on different SDKs: a session moves from one to the other as if they were one.

use crate::agent::Agent;
use crate::changes::{everybody_is_at_v1, nothing_happened, revert, shift};
use crate::crowd::{Crowds, WITH_SESSIONS, WITHOUT_SESSIONS};
use crate::rmcp_server::RmcpServer;
use crate::rollouts::{act, agents_on_both, start_rollout, two_versions, wait_for_state};
use crate::servers::Server;

const SESSIONS: usize = 10;

#[test]
fn sessions_move_from_a_python_server_to_one_in_typescript() {
    crowds_move(&Server::brief_fixture("v1"), &Server::python("v2"));
}

#[test]
fn sessions_move_from_a_typescript_server_to_one_in_python() {
    crowds_move(&Server::python("v1"), &Server::brief_fixture("v2"));
}

fn crowds_move(one: &Server, two: &Server) {
    let gateway = two_versions(&one.url(), &two.url(), (50, 50));
    let kinds = [&WITH_SESSIONS[..], &WITHOUT_SESSIONS].concat();
    let mut crowds = Crowds::open(&kinds, gateway.address, SESSIONS);

    nothing_happened("at 50/50", &crowds.all("go"));
    shift(&gateway, 100, 0);
    nothing_happened("at 100/0", &crowds.all("rounds 2"));
    revert(&gateway);
    everybody_is_at_v1("reverted", &crowds.all("rounds 2"), SESSIONS);
    crowds.all("hold");
}

#[test]
fn sessions_move_from_an_rmcp_server_to_one_in_typescript() {
    let (one, two) = (Server::fixture("v1"), RmcpServer::start("v2"));
    let gateway = two_versions(&one.url(), &two.url(), (100, 0));
    let rollout = start_rollout(&gateway);
    let mut homes = agents_on_both(&gateway);

    act(&gateway, &rollout, "revert");
    wait_for_state(&gateway, &rollout, "reverted");

    for agent in homes.values_mut().flatten() {
        assert_eq!(agent.call("whoami"), "v1", "{:?}", agent.sdk);
        assert_eq!(agent.call("counter"), "1", "{:?}", agent.sdk);
    }
    homes.into_values().flatten().for_each(Agent::leave);
}
