//! What real servers promise, compared.

use serde_json::Value;

use crate::rollouts::two_versions;
use crate::servers::Server;

fn rules(contract: &Value) -> Vec<(&str, &str)> {
    let changes = contract["changes"].as_array().unwrap().iter();
    let pairs = changes.map(|change| (change["rule"].as_str(), change["name"].as_str()));
    pairs
        .map(|(rule, name)| (rule.unwrap(), name.unwrap()))
        .collect()
}

#[test]
fn a_server_keeps_its_own_promises_in_every_era_and_another_does_not() {
    let (v1, v2) = (Server::fixture("v1"), Server::fixture("v2"));
    let gateway = two_versions(&v1.url(), &v2.url(), (1, 0));
    let same = gateway.admin.get("/v1/routes/tools/contract");
    assert_eq!(same["result"], "compatible", "{same:#}");
    assert_eq!(same["counts"]["compatible"], 0, "{same:#}");

    let other = Server::everything();
    let gateway = two_versions(&v1.url(), &other.url(), (1, 0));
    let found = gateway.admin.get("/v1/routes/tools/contract");
    assert_eq!(found["result"], "breaking", "{found:#}");
    let found = rules(&found);
    for lost in [
        ("revision_lost", "2026-07-28"),
        ("tool_lost", "whoami"),
        ("tool_added", "echo"),
    ] {
        assert!(found.contains(&lost), "{lost:?}: {found:?}");
    }
}
