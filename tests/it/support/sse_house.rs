//! Two versions of a server over HTTP+SSE behind a gateway, and sessions that live there.

use serde_json::{Value, json};

use super::fake_sse::{FakeSse, SseClient};
use super::gateway::Gateway;
use super::routes::route_with;

/// Two versions behind a gateway.
pub struct House {
    pub v1: FakeSse,
    pub v2: FakeSse,
    pub gateway: Gateway,
}

pub fn house(shares: (u32, u32), session: &str) -> House {
    house_with(shares, session, "")
}

pub fn house_with(shares: (u32, u32), session: &str, more: &str) -> House {
    let (v1, v2) = (FakeSse::start("v1"), FakeSse::start("v2"));
    let arms = [("v1", &*v1.url(), shares.0), ("v2", &*v2.url(), shares.1)];
    let line = format!("session: {{ {session} }}");
    let gateway = Gateway::start(&(route_with("mcp", &arms, &[&line]) + more));
    House { v1, v2, gateway }
}

impl House {
    pub fn open_at(&self, backend: &str) -> SseClient {
        loop {
            let mut client = SseClient::open(self.gateway.address, "/sse");
            if client.call_text("whoami") == backend {
                return client;
            }
        }
    }

    /// A session on v2, whose rollout has just begun; and the rollout's path.
    pub fn at_candidate(&self) -> (SseClient, String) {
        let wanted = json!({ "to": "v2", "stages": [{ "percent": 99, "for": "1h" }] });
        let rollout = self.gateway.admin.post("/v1/routes/all/rollouts", &wanted);
        let path = format!("/v1/rollouts/{}", rollout["id"].as_str().expect("an id"));
        (self.open_at("v2"), path)
    }

    pub fn revert(&self, path: &str) {
        let path = format!("{path}/revert");
        self.gateway.admin.post(&path, &json!({}));
    }

    pub fn shift(&self, v1: u32, v2: u32) {
        let weights = json!({ "weights": { "v1": v1, "v2": v2 } });
        self.gateway.admin.put("/v1/routes/all/weights", &weights);
    }

    /// A counter or gauge without labels.
    pub fn metric(&self, name: &str) -> u64 {
        let metrics = self.gateway.admin.text("/metrics");
        let line = metrics
            .lines()
            .find(|line| line.split(' ').next() == Some(name));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    pub fn wait_for_metric(&self, name: &str, count: u64) {
        self.gateway
            .admin
            .wait_for("/v1/status", |_| (self.metric(name) == count).then_some(()));
    }

    pub fn wait_for_sessions(&self, arm: usize, state: &str, count: u64) {
        self.gateway.admin.wait_for("/v1/routes/all", |seen| {
            (seen["arms"][arm]["sessions"][state] == count).then_some(())
        });
    }

    pub fn wait_for_outcome(&self, arm: usize, outcome: &str, count: u64) {
        self.gateway.admin.wait_for("/v1/status", |seen| {
            let counted = &seen["routes"][0]["arms"][arm]["calls"]["outcomes"][outcome];
            (*counted == count).then_some(())
        });
    }
}

/// The parameters of a call that hangs.
pub fn hang() -> Value {
    json!({ "name": "hang" })
}
