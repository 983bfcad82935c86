//! The `match` of a route.

use serde::{Deserialize, Serialize};

/// What a route takes. Every condition that is given must hold; the most specific route wins:
/// a host before none, an exact path before a prefix, a longer prefix before a shorter one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MatchSpec {
    /// Host name without port, compared without case; `*.example.com` takes every name below it.
    /// Default: any host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Path prefix on whole segments: `/mcp` takes `/mcp` and `/mcp/x`, not `/mcpx`. Default: `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Exact path, instead of `path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact_path: Option<String>,
}
