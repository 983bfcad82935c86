//! Two versions of an MCP server behind a gateway, and sessions that live there.

use serde_json::{Value, json};

use super::client::Answer;
use super::fake_mcp::FakeMcp;
use super::gateway::Gateway;
use super::mcp_client::McpClient;
use super::routes::route_with;

/// Two versions behind a gateway.
pub struct House {
    pub v1: FakeMcp,
    pub v2: FakeMcp,
    pub gateway: Gateway,
}

/// Two versions with these shares; `session` is what the route says of its sessions.
pub fn house(shares: (u32, u32), session: &str) -> House {
    house_with(shares, session, "")
}

pub fn house_with(shares: (u32, u32), session: &str, more: &str) -> House {
    let (v1, v2) = (FakeMcp::start("v1"), FakeMcp::start("v2"));
    let arms = [("v1", &*v1.url(), shares.0), ("v2", &*v2.url(), shares.1)];
    let line = format!("session: {{ {session} }}");
    let gateway = Gateway::start(&(route_with("mcp", &arms, &[&line]) + more));
    House { v1, v2, gateway }
}

impl House {
    pub fn open(&self) -> McpClient {
        McpClient::open(self.gateway.address, "/mcp")
    }

    /// A session that lives on this backend.
    pub fn open_at(&self, backend: &str) -> McpClient {
        loop {
            let mut client = self.open();
            if client.call_text("whoami") == backend {
                return client;
            }
        }
    }

    pub fn shift(&self, v1: u32, v2: u32) {
        let weights = json!({ "weights": { "v1": v1, "v2": v2 } });
        self.gateway.admin.put("/v1/routes/all/weights", &weights);
    }

    /// A session on v2, whose rollout has just begun; and the rollout's path.
    pub fn at_candidate(&self) -> (McpClient, String) {
        let wanted = json!({ "to": "v2", "stages": [{ "percent": 99, "for": "1h" }] });
        let rollout = self.gateway.admin.post("/v1/routes/all/rollouts", &wanted);
        let path = format!("/v1/rollouts/{}", rollout["id"].as_str().expect("an id"));
        (self.open_at("v2"), path)
    }

    pub fn revert(&self, path: &str) {
        let path = format!("{path}/revert");
        self.gateway.admin.post(&path, &json!({}));
    }

    pub fn wait_for_standing(&self, arm: usize, standing: &str) {
        self.gateway.admin.wait_for("/v1/routes/all", |seen| {
            (seen["arms"][arm]["standing"] == standing).then_some(())
        });
    }

    pub fn wait_for_sessions(&self, arm: usize, state: &str, count: u64) {
        self.gateway.admin.wait_for("/v1/routes/all", |seen| {
            (seen["arms"][arm]["sessions"][state] == count).then_some(())
        });
    }

    /// Ends the gateway in good order and starts it again.
    pub fn restart(&mut self) {
        self.gateway.signal("TERM");
        assert!(self.gateway.wait().success());
        self.gateway.start_again();
    }
}

pub fn ping(id: u64) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "ping" })
}

pub fn assert_unknown(answer: &Answer) {
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert_eq!(answer.json()["error"]["code"], -32001);
}
