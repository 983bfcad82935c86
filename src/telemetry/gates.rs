//! Who was let in and who was not, as metrics.

use std::sync::Arc;

use crate::stats::{AuthResult, GateKey, GateStats, Registry};

use super::page::{Kind, Page};

const ADDRESSES: &str = "switchback_address_refusals_total";
const AUTH: &str = "switchback_auth_total";

/// Puts the counts of every gate on the page.
pub(super) fn render_gates(registry: &Registry, page: &mut Page) {
    let gates = registry.gates();
    page.family(
        ADDRESSES,
        Kind::Counter,
        "Connections and requests that were refused because of the client's address",
    );
    for (key, shards) in &gates {
        let refused = sum(shards, GateStats::refused_addresses);
        match key {
            GateKey::Listener(address) => {
                let name = address.to_string();
                page.sample(ADDRESSES, &[("at", "listener"), ("name", &name)], refused);
            }
            GateKey::Route(route) => {
                let labels = [("at", "route"), ("name", route.as_str())];
                page.sample(ADDRESSES, &labels, refused);
            }
        }
    }
    page.family(
        AUTH,
        Kind::Counter,
        "Requests of routes that ask for a token, by what the look at it came to",
    );
    for (key, shards) in &gates {
        let GateKey::Route(route) = key else { continue };
        for result in AuthResult::ALL {
            let labels = [("route", route.as_str()), ("result", result.as_str())];
            page.sample(AUTH, &labels, sum(shards, |shard| shard.auth(result)));
        }
    }
}

fn sum(shards: &[Arc<GateStats>], count: impl Fn(&GateStats) -> u64) -> u64 {
    shards.iter().map(|shard| count(shard)).sum()
}
