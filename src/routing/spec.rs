//! The `match` of a route.

mod mcp;

pub use mcp::McpMatchSpec;

use serde::{Deserialize, Serialize};

use crate::model::Problems;

/// What a route takes. Every condition that is given must hold; the most specific route wins:
/// a host before none, an exact path before a prefix, a longer prefix before a shorter one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MatchSpec {
    /// Host name without port, compared without case; `*.example.com` takes every name below it.
    /// Default: any host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Path prefix on whole segments: `/mcp` takes `/mcp` and `/mcp/x`, not `/mcpx`. Without
    /// query, percent-encoding, or a slash at its end. Default: `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Exact path, instead of `path`; without query or percent-encoding. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact_path: Option<String>,
    /// Take only some MCP requests of the route that has the same host and path without this: a rule
    /// of that route. Default: every request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp: Option<McpMatchSpec>,
}

impl MatchSpec {
    /// What is wrong with this section: the path of a field and a sentence, each.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        if let Some(problem) = self.host.as_deref().and_then(host_problem) {
            problems.add("host", problem);
        }
        let prefix = self.path.as_deref();
        if let Some(problem) = prefix.and_then(|p| path_problem(p).or_else(|| prefix_problem(p))) {
            problems.add("path", problem);
        }
        if let Some(problem) = self.exact_path.as_deref().and_then(path_problem) {
            problems.add("exact_path", problem);
        }
        if self.path.is_some() && self.exact_path.is_some() {
            let message = "`path` and `exact_path` exclude each other";
            problems.add("exact_path", message);
        }
        if let Some(mcp) = &self.mcp {
            problems.add_all("mcp", mcp.problems());
        }
        problems.into_vec()
    }

    /// The same for two matches that look at the same requests, `mcp` apart.
    pub fn place(&self) -> (Option<String>, bool, &str) {
        let host = self.host.as_ref().map(|host| host.to_ascii_lowercase());
        match (&self.exact_path, &self.path) {
            (Some(path), _) => (host, true, path),
            (None, path) => (host, false, path.as_deref().unwrap_or("/")),
        }
    }
}

/// Longest accepted host and path, in bytes.
const HOST_MAX_BYTES: usize = 253;
const PATH_MAX_BYTES: usize = 1024;

fn host_problem(host: &str) -> Option<String> {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let address = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    if host == name && address.is_some_and(|a| a.parse::<std::net::Ipv6Addr>().is_ok()) {
        return None;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let label = |l: &str| (1..=63).contains(&l.len()) && l.chars().all(plain);
    if name.len() <= HOST_MAX_BYTES && name.split('.').all(label) {
        return None;
    }
    Some(if host.contains("://") || host.contains('/') {
        format!("`{host}` is not a host name: leave out the scheme and the path")
    } else if host.contains(':') {
        format!("`{host}` is not a host name: leave out the port")
    } else if name.contains('*') {
        format!("`{host}`: a star stands only for whole labels at the start, as in *.example.com")
    } else {
        format!("`{host}` is not a host name, such as example.com or *.example.com")
    })
}

fn path_problem(path: &str) -> Option<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/".contains(c);
    let odd = |segment: &str| matches!(segment, "." | "..");
    if !path.starts_with('/') {
        Some(format!("`{path}` does not start with a slash"))
    } else if path.len() > PATH_MAX_BYTES {
        Some(format!("a path has at most {PATH_MAX_BYTES} bytes"))
    } else if path.contains(['?', '#']) {
        Some(format!("`{path}`: a path has neither query nor fragment"))
    } else if path.contains('%') {
        Some(format!(
            "`{path}`: percent-encoding is not supported in a match"
        ))
    } else if let Some(wrong) = path.chars().find(|c| !legal(*c)) {
        Some(format!("`{path}`: a path has no {wrong:?}"))
    } else if path.contains("//") || path.split('/').any(odd) {
        Some(format!("`{path}` has an empty, `.` or `..` segment"))
    } else {
        None
    }
}

fn prefix_problem(path: &str) -> Option<String> {
    let whole = path.strip_suffix('/').filter(|rest| !rest.is_empty())?;
    Some(format!(
        "`{path}`: a prefix ends without a slash; `{whole}` takes everything below it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_hosts_and_paths_are_accepted() {
        for host in [
            "example.com",
            "*.example.com",
            "a",
            "127.0.0.1",
            "[::1]",
            "x_y.local",
        ] {
            assert_eq!(host_problem(host), None, "{host}");
        }
        for path in ["/", "/mcp", "/a/b.c", "/a:b"] {
            assert_eq!(path_problem(path).or(prefix_problem(path)), None, "{path}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for host in [
            "", "a.", ".a", "a..b", "*", "a.*.b", "*.*.a", "a:80", "http://a", "a/b", "é",
            "*.[::1]", "[::1", "a b",
        ] {
            assert!(host_problem(host).is_some(), "{host}");
        }
        for path in [
            "", "mcp", "/a?b", "/a#b", "/%61", "/a//b", "/a/../b", "/.", "/a b", "/é", "/a\nb",
            "/a/", "/{x}",
        ] {
            assert!(
                path_problem(path).or(prefix_problem(path)).is_some(),
                "{path}"
            );
        }
    }
}
