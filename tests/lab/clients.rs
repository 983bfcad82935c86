//! Every client against every server, through the gateway.

use crate::agent::{Agent, Sdk, inspect};
use crate::rmcp_server::RmcpServer;
use crate::rollouts::two_versions;
use crate::servers::Server;

#[test]
fn sdk_clients_use_the_fixture_and_keep_their_state() {
    let (one, two) = (Server::fixture("v1"), Server::fixture("v2"));
    let gateway = two_versions(&one.url(), &two.url(), (50, 50));

    for sdk in Sdk::ALL {
        let mut agents: Vec<Agent> = (0..3).map(|_| Agent::open(sdk, gateway.address)).collect();
        let homes: Vec<String> = agents
            .iter_mut()
            .map(|agent| agent.call("whoami"))
            .collect();

        for round in 1..=3 {
            for (agent, home) in agents.iter_mut().zip(&homes) {
                assert_eq!(agent.call("counter"), round.to_string(), "{sdk:?}");
                assert_eq!(&agent.call("whoami"), home, "{sdk:?}");
            }
        }
        assert!(agents[0].tools().contains(&"whoami".to_owned()));
        agents.into_iter().for_each(Agent::leave);
    }
}

#[test]
fn sdk_clients_use_server_everything() {
    let (one, two) = (Server::everything(), Server::everything());
    let gateway = two_versions(&one.url(), &two.url(), (50, 50));

    for sdk in Sdk::ALL {
        let mut agent = Agent::open(sdk, gateway.address);

        assert!(agent.tools().contains(&"echo".to_owned()));
        let said = agent.call("echo {\"message\":\"over the pass\"}");
        assert!(said.contains("over the pass"), "{sdk:?}: {said}");
        agent.leave();
    }
}

#[test]
fn sdk_clients_use_an_rmcp_server() {
    let (one, two) = (RmcpServer::start("v1"), RmcpServer::start("v2"));
    let gateway = two_versions(&one.url(), &two.url(), (0, 100));

    for sdk in Sdk::ALL {
        let mut agent = Agent::open(sdk, gateway.address);

        assert_eq!(agent.tools(), ["whoami"]);
        assert_eq!(agent.call("whoami"), "v2", "{sdk:?}");
        agent.leave();
    }
}

#[test]
fn the_inspector_uses_the_fixture_and_sees_its_errors() {
    let (one, two) = (Server::fixture("v1"), Server::faulty_fixture("v2"));
    let gateway = two_versions(&one.url(), &two.url(), (0, 100));

    let (status, printed) = inspect(gateway.address, "whoami");
    assert_eq!(status, 0, "{printed}");
    assert!(printed.contains("v2"), "{printed}");

    let (status, printed) = inspect(gateway.address, "work");
    assert_eq!(status, 5, "the Inspector's code for isError: {printed}");
}
