//! The `contract` section of a route.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use serde::{Deserialize, Serialize};

use crate::model::{Problems, duration_text};

/// What is done about what a candidate promises less than stable does: tools, arguments, results,
/// prompts, resources, capabilities and revisions of MCP. Both are asked before a rollout of an
/// MCP route starts, in sessions of the gateway's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ContractSpec {
    /// `off`: nothing is asked. `warn`: what changed is kept with the rollout and shown. `gate`: a
    /// rollout does not start while the candidate breaks what stable promises, or one of them
    /// cannot be asked, unless its start accepts that. Default `warn`.
    pub policy: ContractPolicySpec,
    /// The path that the servers take MCP at. Default: the route's `exact_path`, else its `path`,
    /// else `/mcp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Longest time for asking a server, 100ms to 10s. Default 5s.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub timeout: Duration,
    /// Most pages of a server's lists, all together, 1 to 1,000. Default 100.
    pub max_pages: usize,
    /// Most entries of a server's lists, all together, 1 to 10,000. Default 2,000.
    pub max_items: usize,
    /// Most bytes of a server's answers, all together, 65,536 to 67,108,864; none of them may have more
    /// than 1,048,576. Default 4,194,304.
    pub max_bytes: usize,
    /// A file with a token that both servers are shown, at most 4,096 bytes, read each time they are
    /// asked; a relative path starts at the folder of the config file. Default: the token of each
    /// backend's health checks, if they have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// The field that carries the token: `authorization` has `Bearer` before it, any other the bare
    /// token. Default `authorization`.
    pub token_field: String,
}

/// What is done about a broken contract.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ContractPolicySpec {
    /// Nothing; nobody is asked.
    Off,
    /// It is shown.
    #[default]
    Warn,
    /// The rollout does not start.
    Gate,
}

/// Longest path, in bytes.
const MAX_PATH_BYTES: usize = 1024;
/// Fields that say what a request is, and so carry no token.
const OWN_FIELDS: [&str; 8] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

impl ContractSpec {
    /// What is beyond the bounds of this section: the path of a field and a sentence, each.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        if let Some(path) = &self.path {
            let is_path = path.starts_with('/')
                && path.len() <= MAX_PATH_BYTES
                && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
                && path.parse::<http::uri::PathAndQuery>().is_ok();
            if !is_path {
                let message = "`path` must begin with a slash and have only visible ASCII";
                problems.add("path", message);
            }
        }
        let bounds = Duration::from_millis(100)..=Duration::from_secs(10);
        problems.duration("timeout", self.timeout, bounds);
        problems.number("max_pages", self.max_pages, 1..=1_000);
        problems.number("max_items", self.max_items, 1..=10_000);
        problems.number("max_bytes", self.max_bytes, 64 * KIB..=64 * KIB * KIB);
        let name = self.token_field.to_ascii_lowercase();
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            let message = format!("`{}` is not the name of a header", self.token_field);
            problems.add("token_field", message);
        } else if OWN_FIELDS.contains(&&*name) || name.starts_with("mcp-") {
            let message = format!("`{name}` says something else of a request");
            problems.add("token_field", message);
        }
        problems.into_vec()
    }
}

const KIB: usize = 1024;

impl Default for ContractSpec {
    fn default() -> Self {
        Self {
            policy: ContractPolicySpec::default(),
            path: None,
            timeout: Duration::from_secs(5),
            max_pages: 100,
            max_items: 2_000,
            max_bytes: 4 * KIB * KIB,
            token_file: None,
            token_field: "authorization".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(json: &str) -> Vec<String> {
        let spec: ContractSpec = serde_json::from_str(json).unwrap();
        let problems = spec.problems().into_iter();
        problems.map(|(field, _)| field).collect()
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        assert_eq!(problems("{}"), [] as [&str; 0]);
        assert_eq!(
            problems(r#"{"policy":"gate","path":"/a?b","token_field":"X-Api-Key"}"#),
            [] as [&str; 0]
        );
        let all = r#"{"path":"x","timeout":"1m","max_pages":0,"max_items":0,"max_bytes":1,
            "token_field":"Host"}"#;
        let expected = [
            "path",
            "timeout",
            "max_pages",
            "max_items",
            "max_bytes",
            "token_field",
        ];
        assert_eq!(problems(all), expected);
        for name in ["", "a b", "mcp-session-id", "é"] {
            let json = format!(r#"{{"token_field":"{name}"}}"#);
            assert_eq!(problems(&json), ["token_field"], "{name}");
        }
    }
}
