//! What a route may say that takes some of another route's MCP requests.

use crate::model::Problems;

use super::{
    ProtocolSpec, RouteSpec, SessionSpec, default_idle, default_response_head, default_upgrades,
};

/// What a rule leaves to its route, since it is decided before the body is known.
const OF_ITS_ROUTE: &str = "this is decided by the route that has the same `match` without `mcp`";

impl RouteSpec {
    /// What is wrong with a route that is a rule of another one.
    pub(super) fn rule_problems(&self, problems: &mut Problems) {
        if self.matches.mcp.is_none() {
            return;
        }
        if self.protocol == ProtocolSpec::Http {
            let message = "only routes with `protocol: mcp` look at what MCP requests ask for";
            problems.add("match.mcp", message);
        }
        for (field, is_given) in [
            ("allow", self.allow.is_some()),
            ("deny", !self.deny.is_empty()),
            ("origins", self.origins.is_some()),
            ("auth", self.auth.is_some()),
            ("sticky", !self.sticky.is_empty()),
            ("shadow", self.shadow.is_some()),
            ("shield", self.shield.is_some()),
            ("upgrades", self.upgrades != default_upgrades()),
            ("session", self.session != SessionSpec::default()),
            (
                "response_head_timeout",
                self.response_head_timeout != default_response_head(),
            ),
            ("total_timeout", self.total_timeout.is_some()),
            ("max_body", self.max_body.is_some()),
            ("idle_timeout", self.idle_timeout != default_idle()),
        ] {
            if is_given {
                let message = match field {
                    "shadow" | "shield" => "a route with `match.mcp` has none",
                    _ => OF_ITS_ROUTE,
                };
                problems.add(field, message);
            }
        }
    }
}
