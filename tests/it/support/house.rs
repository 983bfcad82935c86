//! Two versions of an MCP server behind a gateway, and sessions that live there.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::client::Answer;
use super::fake_mcp::FakeMcp;
use super::fake_sse::{FakeSse, SseClient};
use super::gateway::Gateway;
use super::mcp_client::McpClient;
use super::routes::{route_with, ruled};

/// A server of either era with sessions.
pub trait FakeServer {
    /// A client of that era, with one session.
    type Client: Caller;

    /// A server that says `label` when it is asked who it is.
    fn start(label: &str) -> Self;

    fn url(&self) -> String;
}

/// A client with one session.
pub trait Caller {
    fn open(to: SocketAddr) -> Self;

    fn call_text(&mut self, tool: &str) -> String;
}

impl FakeServer for FakeMcp {
    type Client = McpClient;

    fn start(label: &str) -> Self {
        Self::start(label)
    }

    fn url(&self) -> String {
        self.url()
    }
}

impl FakeServer for FakeSse {
    type Client = SseClient;

    fn start(label: &str) -> Self {
        Self::start(label)
    }

    fn url(&self) -> String {
        self.url()
    }
}

impl Caller for McpClient {
    fn open(to: SocketAddr) -> Self {
        Self::open(to, "/mcp")
    }

    fn call_text(&mut self, tool: &str) -> String {
        self.call_text(tool)
    }
}

impl Caller for SseClient {
    fn open(to: SocketAddr) -> Self {
        Self::open(to, "/sse")
    }

    fn call_text(&mut self, tool: &str) -> String {
        self.call_text(tool)
    }
}

/// Two versions behind a gateway.
pub struct House<S = FakeMcp> {
    pub v1: S,
    pub v2: S,
    pub gateway: Gateway,
}

/// The same of servers over HTTP+SSE.
pub type SseHouse = House<FakeSse>;

/// Two versions with these shares; `session` is what the route says of its sessions.
pub fn house(shares: (u32, u32), session: &str) -> House {
    house_with(shares, session, "")
}

pub fn house_with(shares: (u32, u32), session: &str, more: &str) -> House {
    House::new(shares, session, more)
}

/// The same of servers over HTTP+SSE.
pub fn sse_house(shares: (u32, u32), session: &str) -> SseHouse {
    sse_house_with(shares, session, "")
}

pub fn sse_house_with(shares: (u32, u32), session: &str, more: &str) -> SseHouse {
    House::new(shares, session, more)
}

/// Two versions; what a rule takes goes by these shares, everything else to v1.
pub fn ruled_house(rule: &str, shares: (u32, u32)) -> House {
    House::of(|v1, v2| ruled(v1, v2, rule, shares))
}

impl<S: FakeServer> House<S> {
    fn new(shares: (u32, u32), session: &str, more: &str) -> Self {
        let line = format!("session: {{ {session} }}");
        Self::of(|v1, v2| {
            let arms = [("v1", v1, shares.0), ("v2", v2, shares.1)];
            route_with("mcp", &arms, &[&line]) + more
        })
    }

    /// Two versions behind a gateway whose config comes of their URLs.
    pub fn of(config: impl FnOnce(&str, &str) -> String) -> Self {
        let (v1, v2) = (S::start("v1"), S::start("v2"));
        let gateway = Gateway::start(&config(&v1.url(), &v2.url()));
        Self { v1, v2, gateway }
    }

    pub fn open(&self) -> S::Client {
        S::Client::open(self.gateway.address)
    }

    /// A session that lives on this backend.
    pub fn open_at(&self, backend: &str) -> S::Client {
        loop {
            let mut client = self.open();
            if client.call_text("whoami") == backend {
                return client;
            }
        }
    }

    /// A session on v2, whose rollout has just begun; and the rollout's path.
    pub fn at_candidate(&self) -> (S::Client, String) {
        let wanted = json!({ "to": "v2", "stages": [{ "percent": 99, "for": "1h" }] });
        let rollout = self.gateway.admin.post("/v1/routes/all/rollouts", &wanted);
        let path = format!("/v1/rollouts/{}", rollout["id"].as_str().expect("an id"));
        (self.open_at("v2"), path)
    }
}

impl<S> House<S> {
    pub fn shift(&self, v1: u32, v2: u32) {
        let weights = json!({ "weights": { "v1": v1, "v2": v2 } });
        self.gateway.admin.put("/v1/routes/all/weights", &weights);
    }

    pub fn revert(&self, path: &str) {
        let path = format!("{path}/revert");
        self.gateway.admin.post(&path, &json!({}));
    }

    /// A counter or gauge without labels; 0 where it is not on the page.
    pub fn metric(&self, name: &str) -> u64 {
        let metrics = self.gateway.admin.text("/metrics");
        let mut lines = metrics.lines();
        let line = lines.find(|line| line.split(' ').next() == Some(name));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    pub fn wait_for_metric(&self, name: &str, count: u64) {
        self.gateway
            .admin
            .wait_for("/v1/status", |_| (self.metric(name) == count).then_some(()));
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

    pub fn wait_for_outcome(&self, arm: usize, outcome: &str, count: u64) {
        self.gateway.admin.wait_for("/v1/status", |seen| {
            let counted = &seen["routes"][0]["arms"][arm]["calls"]["outcomes"][outcome];
            (*counted == count).then_some(())
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

/// The parameters of a call that hangs.
pub fn hang() -> Value {
    json!({ "name": "hang" })
}

pub fn assert_unknown(answer: &Answer) {
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert_eq!(answer.json()["error"]["code"], -32001);
}
