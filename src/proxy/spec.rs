//! The `routes`, `limits` and `forwarding` sections of the file.

mod contract;
mod promote;
mod retries;
mod rule;
mod session;
mod shield;

pub use contract::{ContractPolicySpec, ContractSpec};
pub use promote::PromoteSpec;
pub use retries::RetriesSpec;
pub use session::{LossSpec, SessionSpec};
pub use shield::ShieldSpec;

mod limits;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::access::spec::{AuthSpec, MAX_NAMES, Network, address_problems, is_origin};
use crate::calendar::spec::{MAX_TIMED, TimedSplitSpec};
use crate::model::{Outcome, OutcomeSet, PlanName, Problems, RouteName, Weight, duration_text};
use crate::routing::spec::MatchSpec;
use crate::shadow::spec::ShadowSpec;
use crate::split::spec::{SplitSpec, StickySpec, split_problems};

pub use limits::LimitsSpec;

/// What to do with the requests that `match` takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteSpec {
    /// The route's name, unique in the file.
    pub name: RouteName,
    /// Which requests the route takes. Default: all.
    #[serde(default, rename = "match")]
    pub matches: MatchSpec,
    /// Addresses and networks whose clients the route takes, such as `["10.0.0.0/8"]`; everybody
    /// else is answered 403; 1 to 1,024. Default: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<Network>>,
    /// Addresses and networks whose clients are answered 403, even if allowed; at most 1,024.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<Network>,
    /// Web pages that may ask, such as `https://app.example.com`, or `*` for every page; others are
    /// answered 403; 1 to 64. Default: every page, but on an MCP route that is reached over loopback
    /// those of loopback alone, and under no name with a dot
    /// in it where `match` has no host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origins: Option<Vec<String>>,
    /// What callers show to be let in. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthSpec>,
    /// What the route's callers speak. Default `http`.
    #[serde(default)]
    pub protocol: ProtocolSpec,
    /// Relative shares by backend; at least one backend.
    pub split: SplitSpec,
    /// Weights that come into force at times, at most 32 entries. One whose time comes while a rollout
    /// runs is left out. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<TimedSplitSpec>,
    /// Where the key that pins a caller to a backend comes from; the first source that the
    /// request has; at most 16. MCP sessions are always pinned. MCP requests without sessions
    /// (2026-07-28) that have none of these go by `principal`, then `client-address`. Default:
    /// none, a draw per request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sticky: Vec<StickySpec>,
    /// Mirror a share of the side-effect-free calls to another backend. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowSpec>,
    /// Protocols that a client may ask to switch to: `websocket`, or none; the bytes of such a connection
    /// pass unread. MCP routes switch to none. Default `[websocket]`.
    #[serde(default = "default_upgrades")]
    pub upgrades: Vec<UpgradeSpec>,
    /// The plan that a rollout on this route follows when its start names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanName>,
    /// What follows when the file gives the traffic to another backend: `manual`, the new weights at
    /// once; `auto`, a rollout by `plan` from the backend that has the traffic, which then needs no
    /// longer be in `split`, but among the `backends`. With `auto`, one backend of `split` has a
    /// share. Default `manual`.
    #[serde(default)]
    pub promote: PromoteSpec,
    /// Which outcomes count against a backend; at least one. Default: `tool_error`,
    /// `protocol_error`, `server_error`, `timeout`, `unreachable` and `broken`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad_outcomes: Option<Vec<Outcome>>,
    /// When a request that failed is sent again.
    #[serde(default)]
    pub retries: RetriesSpec,
    /// Answer a candidate's failed calls from stable, where they change nothing. Default: off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shield: Option<ShieldSpec>,
    /// What is done about what a candidate promises less than stable does; of MCP routes only.
    #[serde(default)]
    pub contract: ContractSpec,
    /// What becomes of open MCP sessions when their backend goes.
    #[serde(default)]
    pub session: SessionSpec,
    /// Longest wait for the head of an answer, 1ms to 1h. Default 60s.
    #[serde(default = "default_response_head", with = "duration_text")]
    #[schemars(with = "String")]
    pub response_head_timeout: Duration,
    /// Longest time for a whole call, from its head to the end of its answer, 1ms to 24h; event
    /// streams have none once they have begun. Default: none.
    #[serde(
        default,
        with = "duration_text::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>")]
    pub total_timeout: Option<Duration>,
    /// Longest body of a request, in bytes, 0 to 1,099,511,627,776; a longer one is answered
    /// 413. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body: Option<u64>,
    /// Longest pause inside an answer's body, and of a backend that takes a request's body in,
    /// 1s to 24h; event streams have none. Default 5m.
    #[serde(default = "default_idle", with = "duration_text")]
    #[schemars(with = "String")]
    pub idle_timeout: Duration,
}

impl RouteSpec {
    /// The outcomes that count against a backend.
    pub fn bad(&self) -> OutcomeSet {
        match &self.bad_outcomes {
            Some(bad) => bad.iter().copied().collect(),
            None => OutcomeSet::BAD,
        }
    }

    fn page_problems(&self, problems: &mut Problems) {
        let Some(pages) = &self.origins else { return };
        if !(1..=MAX_NAMES).contains(&pages.len()) {
            let message = format!("there are 1 to {MAX_NAMES} origins, not {}", pages.len());
            problems.add("origins", message);
        }
        for (index, page) in pages.iter().enumerate() {
            if page != "*" && !is_origin(page) {
                let message = "not an origin, such as `https://app.example.com`, and not `*`";
                problems.add(format!("origins[{index}]"), message);
            }
        }
    }

    fn promote_problems(&self, problems: &mut Problems) {
        if self.promote == PromoteSpec::Manual {
            return;
        }
        let with_share = self.split.values().filter(|it| **it != Weight::ZERO);
        if with_share.count() != 1 {
            let message = "with `promote: auto` the split names the one backend that is to have the \
                           traffic: give one a share, and the others 0 or leave them out";
            problems.add("split", message);
        }
        if self.plan.is_none() {
            let message = "`auto` starts the route's plan, and there is none: add `plan`";
            problems.add("promote", message);
        }
        if !self.schedule.is_empty() {
            let message = "with `promote: auto` rollouts alone change the weights: leave it out";
            problems.add("schedule", message);
        }
    }

    fn sticky_problems(&self, problems: &mut Problems) {
        if self.sticky.len() > MAX_STICKY {
            let message = format!("a route has at most {MAX_STICKY} sources of keys");
            problems.add("sticky", message);
        }
        for (index, source) in self.sticky.iter().enumerate() {
            if let Some(problem) = source.problem() {
                problems.add(format!("sticky[{index}]"), problem);
            }
            if matches!(source, StickySpec::Claim(_)) && self.auth.is_none() {
                let message = "claims are known only on a route with `auth`";
                problems.add(format!("sticky[{index}]"), message);
            }
        }
    }

    fn schedule_problems(&self, problems: &mut Problems) {
        problems.number("schedule", self.schedule.len(), 0..=MAX_TIMED);
        for (index, entry) in self.schedule.iter().enumerate() {
            let path = format!("schedule[{index}].split");
            problems.add_all(&path, split_problems(&entry.split));
        }
    }

    /// What is wrong with this section: the path of a field and a sentence, each. Whether its
    /// backends and its plan exist is told elsewhere.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        problems.add_all("match", self.matches.problems());
        problems.add_all("", address_problems(self.allow.as_deref(), &self.deny));
        self.page_problems(&mut problems);
        self.rule_problems(&mut problems);
        problems.add_all("split", split_problems(&self.split));
        self.promote_problems(&mut problems);
        self.schedule_problems(&mut problems);
        if let Some(auth) = &self.auth {
            problems.add_all("auth.jwt", auth.jwt.problems());
        }
        self.sticky_problems(&mut problems);
        if let Some(shadow) = &self.shadow {
            problems.add_all("shadow", shadow.problems());
        }
        if let Some(shield) = &self.shield {
            problems.add_all("shield", shield.problems());
        }
        problems.add_all("retries", self.retries.problems());
        problems.add_all("contract", self.contract.problems());
        if self.protocol == ProtocolSpec::Http && self.contract != ContractSpec::default() {
            problems.add(
                "contract",
                "only routes with `protocol: mcp` have a contract",
            );
        }
        problems.add_all("session", self.session.problems());
        match self.bad_outcomes.as_deref() {
            Some([]) => problems.add("bad_outcomes", "no outcome would count against a backend"),
            Some(bad) if bad.contains(&Outcome::Success) => {
                problems.add("bad_outcomes", "`success` cannot count against a backend");
            }
            Some(_) | None => {}
        }
        let (short, long) = (Duration::from_millis(1), Duration::from_hours(1));
        problems.duration(
            "response_head_timeout",
            self.response_head_timeout,
            short..=long,
        );
        let (short, long) = (Duration::from_secs(1), Duration::from_hours(24));
        problems.duration("idle_timeout", self.idle_timeout, short..=long);
        if let Some(total) = self.total_timeout {
            problems.duration("total_timeout", total, Duration::from_millis(1)..=long);
        }
        if let Some(max_body) = self.max_body {
            problems.number("max_body", max_body, 0..=MAX_BODY);
        }
        problems.into_vec()
    }
}

/// Largest bound on a body that makes sense: a terabyte.
const MAX_BODY: u64 = 1 << 40;
/// Most sources of keys of a route.
const MAX_STICKY: usize = 16;

/// A protocol that a connection may switch to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpgradeSpec {
    /// RFC 6455.
    Websocket,
}

fn default_upgrades() -> Vec<UpgradeSpec> {
    vec![UpgradeSpec::Websocket]
}

/// What a route's callers speak.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ProtocolSpec {
    /// Any HTTP service: outcomes are told by status and completeness.
    #[default]
    Http,
    /// MCP over Streamable HTTP: sessions are pinned, and outcomes are read from JSON-RPC.
    Mcp,
}

/// What backends are told about the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ForwardingSpec {
    /// Send `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`. Default true.
    pub x_forwarded: bool,
    /// Send and extend `Via`. Default false.
    pub via: bool,
    /// Networks whose own forwarding fields are believed, such as `["10.0.0.0/8"]`; at most
    /// 1,024. From anybody else they are replaced. Default: none.
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// The field in which trusted proxies tell the client's address: `x-forwarded-for`, or
    /// `forwarded` (RFC 7239). The other one is never looked at, since a proxy passes on what
    /// strangers wrote there. Default `x-forwarded-for`.
    pub client_field: ClientFieldSpec,
}

impl ForwardingSpec {
    /// What is beyond the bounds of this section: the path of a field and a sentence, each.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        if self.trusted_proxies.len() > MAX_PROXIES {
            let message = format!("at most {MAX_PROXIES} networks are trusted");
            problems.add("trusted_proxies", message);
        }
        problems.into_vec()
    }
}

/// The field in which trusted proxies tell the client's address.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ClientFieldSpec {
    /// `X-Forwarded-For`: addresses, each written by the proxy that it connected to.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239): the same as `for=` of each element.
    Forwarded,
}

/// Most trusted networks.
const MAX_PROXIES: usize = 1024;

impl Default for ForwardingSpec {
    fn default() -> Self {
        Self {
            x_forwarded: true,
            via: false,
            trusted_proxies: Vec::new(),
            client_field: ClientFieldSpec::default(),
        }
    }
}

fn default_response_head() -> Duration {
    Duration::from_mins(1)
}

fn default_idle() -> Duration {
    Duration::from_mins(5)
}
