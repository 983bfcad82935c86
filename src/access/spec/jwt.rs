//! What a route asks of its callers' tokens.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, Uri};
use serde::{Deserialize, Serialize};

use crate::model::{Problems, duration_text};

/// Who is let in by what they show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthSpec {
    /// Callers show a token of an OAuth 2.1 authorization server: a signed JWT, as
    /// `Authorization: Bearer`.
    pub jwt: JwtSpec,
}

/// What a route asks of its callers' tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JwtSpec {
    /// Who must have issued the token: its `iss`, letter by letter.
    pub issuer: String,
    /// Whom the token may be for: its `aud` names at least one of them. Usually the URL that
    /// clients know the route by (RFC 8707). 1 to 16.
    pub audiences: Vec<String>,
    /// The issuer's keys.
    pub jwks: JwksSpec,
    /// How a token may be signed; at least one. Secrets shared with the issuer (HS256 and the
    /// like) and unsigned tokens are never accepted. Default: `RS256`, `PS256`, `ES256`, `ES384`,
    /// `EdDSA`.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<AlgorithmSpec>,
    /// How far the issuer's clock may be off, 0s to 5m. Default 60s.
    #[serde(default = "default_leeway", with = "duration_text")]
    #[schemars(with = "String")]
    pub leeway: Duration,
    /// Scopes that every token must have, in `scope` or `scp`; at most 64. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Claims that every token must have, each with the values that are accepted; without a
    /// value, any will do; at most 16. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, Vec<String>>,
    /// The URL that clients know the route by, for its metadata (RFC 9728). Default: the first
    /// of `audiences` that is a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Who answers `/.well-known/oauth-protected-resource` for the route. Default `serve`.
    #[serde(default)]
    pub metadata: MetadataSpec,
    /// Send the token on to the backend. Right only where the backend is whom the token is for,
    /// and looks at it itself. Default false.
    #[serde(default)]
    pub forward: bool,
    /// Header fields that tell the backend claims of the token, such as `{ sub: x-user-id }`.
    /// What clients send under such a name, or one that a server may take for it, is always
    /// taken out. At most 16. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims_to_headers: BTreeMap<String, String>,
}

/// Where an issuer's keys come from: a file, or a URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JwksSpec {
    /// A file with the keys (RFC 7517), relative to the config file's folder; read again when it
    /// changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The URL of the keys: `https`, or `http` on loopback. Redirects are not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A file with the certificates (PEM) that the URL's server is believed by, relative to the
    /// config file's folder. Default: those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Time between two readings of the keys, 10s to 24h. Default 5m.
    #[serde(default = "default_refresh", with = "duration_text")]
    #[schemars(with = "String")]
    pub refresh: Duration,
    /// Shortest time between two readings, when tokens name a key that is not known, or a
    /// reading failed, 1s to 1h. Default 10s.
    #[serde(default = "default_early", with = "duration_text")]
    #[schemars(with = "String")]
    pub early: Duration,
    /// Longest time for a reading, 100ms to 1m. Default 5s.
    #[serde(default = "default_timeout", with = "duration_text")]
    #[schemars(with = "String")]
    pub timeout: Duration,
}

/// Who answers for a route's metadata.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum MetadataSpec {
    /// The gateway.
    #[default]
    Serve,
    /// Whatever route takes the path.
    Pass,
}

/// How a token may be signed (RFC 7518, 3.1; RFC 8037). What needs a shared secret is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum AlgorithmSpec {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// `EdDSA` on Ed25519.
    EdDSA,
}

impl JwtSpec {
    /// The URL that clients know the route by.
    pub fn resource(&self) -> Option<&str> {
        let is_url = |text: &&str| text.starts_with("https://") || text.starts_with("http://");
        let audience = || self.audiences.iter().map(String::as_str).find(is_url);
        self.resource.as_deref().or_else(audience)
    }

    /// What is wrong with this section: the path of a field and a sentence, each.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        if self.issuer.is_empty() || self.issuer.len() > MAX_TEXT_BYTES {
            problems.add("issuer", "an issuer has from 1 to 2048 bytes");
        }
        problems.number("audiences", self.audiences.len(), 1..=16);
        for (index, audience) in self.audiences.iter().enumerate() {
            if audience.is_empty() || audience.len() > MAX_TEXT_BYTES {
                let message = "an audience has from 1 to 2048 bytes";
                problems.add(format!("audiences[{index}]"), message);
            }
        }
        problems.add_all("jwks", self.jwks.problems());
        problems.number("algorithms", self.algorithms.len(), 1..=9);
        problems.duration(
            "leeway",
            self.leeway,
            Duration::ZERO..=Duration::from_mins(5),
        );
        self.scope_problems(&mut problems);
        self.resource_problems(&mut problems);
        self.header_problems(&mut problems);
        problems.number("claims", self.claims.len(), 0..=16);
        problems.into_vec()
    }

    fn scope_problems(&self, problems: &mut Problems) {
        problems.number("scopes", self.scopes.len(), 0..=64);
        for (index, scope) in self.scopes.iter().enumerate() {
            let legal = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
            if scope.is_empty() || scope.len() > 256 || !scope.bytes().all(legal) {
                let message = format!("`{scope}` is not a scope: one word without quotes");
                problems.add(format!("scopes[{index}]"), message);
            }
        }
    }

    fn resource_problems(&self, problems: &mut Problems) {
        match self.resource() {
            Some(resource) => {
                if let Some(problem) = resource_problem(resource) {
                    problems.add("resource", problem);
                }
            }
            None if self.metadata == MetadataSpec::Serve => {
                let message = "no audience is a URL, so that clients cannot be told what the route \
                               is: give `resource`, or `metadata: pass`";
                problems.add("audiences", message);
            }
            None => {}
        }
        let is_url = self.issuer.starts_with("https://") || self.issuer.starts_with("http://");
        if self.metadata == MetadataSpec::Serve && !is_url {
            let message = "the issuer is not a URL, so that clients cannot be told where to get a \
                           token: say `metadata: pass`";
            problems.add("issuer", message);
        }
    }

    fn header_problems(&self, problems: &mut Problems) {
        problems.number("claims_to_headers", self.claims_to_headers.len(), 0..=16);
        let mut taken = Vec::new();
        for (claim, name) in &self.claims_to_headers {
            let field = format!("claims_to_headers.{claim}");
            match HeaderName::from_bytes(name.as_bytes()) {
                Err(_) => problems.add(field, format!("`{name}` is not the name of a header")),
                Ok(name) if RESERVED.contains(&name.as_str()) => {
                    problems.add(field, format!("`{name}` has a meaning of its own"));
                }
                Ok(name) if taken.contains(&name) => {
                    problems.add(field, format!("`{name}` is there for two claims"));
                }
                Ok(name) => taken.push(name),
            }
        }
    }
}

impl JwksSpec {
    /// What is wrong with this section: the path of a field and a sentence, each.
    fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        match (&self.file, &self.url) {
            (Some(_), Some(_)) => problems.add("url", "keys come from a `file` or from a `url`"),
            (None, None) => problems.add("", "say where the keys are: a `file` or a `url`"),
            (Some(_), None) => {}
            (None, Some(url)) => {
                if let Some(problem) = url_problem(url) {
                    problems.add("url", problem);
                }
            }
        }
        let second = Duration::from_secs(1);
        problems.duration(
            "refresh",
            self.refresh,
            second * 10..=Duration::from_hours(24),
        );
        problems.duration("early", self.early, second..=Duration::from_hours(1));
        let (short, long) = (Duration::from_millis(100), Duration::from_mins(1));
        problems.duration("timeout", self.timeout, short..=long);
        problems.into_vec()
    }
}

/// Longest issuer, audience and URL, in bytes.
const MAX_TEXT_BYTES: usize = 2048;

/// Fields that claims are not written into, since they mean something to servers or to us.
const RESERVED: [&str; 25] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "last-event-id",
    "mcp-protocol-version",
    "mcp-session-id",
    "origin",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

fn resource_problem(resource: &str) -> Option<String> {
    let uri = resource.parse::<Uri>().ok();
    let whole = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|a| !a.as_str().contains('@'))
    });
    let legal = |byte: u8| byte.is_ascii_graphic() && !b"\"\\#?<>".contains(&byte);
    if whole && resource.len() <= MAX_TEXT_BYTES && resource.bytes().all(legal) {
        return None;
    }
    Some(format!(
        "`{resource}` is not the URL of a route: https, a host and a path, without query"
    ))
}

/// Keys are fetched over TLS, so that nobody on the way can put in their own; on loopback nobody
/// is on the way.
fn url_problem(url: &str) -> Option<String> {
    let wrong = || {
        Some(format!(
            "`{url}` is not a URL of keys, such as https://id.example.com/jwks"
        ))
    };
    let Ok(uri) = url.parse::<Uri>() else {
        return wrong();
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return wrong();
    };
    if url.len() > MAX_TEXT_BYTES || url.contains('#') || authority.as_str().contains('@') {
        return wrong();
    }
    match scheme {
        "https" => None,
        "http" if is_loopback(authority.host()) => None,
        "http" => Some("keys are fetched over https; http is for loopback alone".to_owned()),
        _ => wrong(),
    }
}

/// Whether a host of a URL is an address of this machine's own. Names are not, not even
/// `localhost`, which is what somebody's file says it is.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>()
        .is_ok_and(|ip| ip.to_canonical().is_loopback())
}

fn default_algorithms() -> Vec<AlgorithmSpec> {
    use AlgorithmSpec::{ES256, ES384, EdDSA, PS256, RS256};
    vec![RS256, PS256, ES256, ES384, EdDSA]
}

fn default_leeway() -> Duration {
    Duration::from_mins(1)
}

fn default_refresh() -> Duration {
    Duration::from_mins(5)
}

fn default_early() -> Duration {
    Duration::from_secs(10)
}

fn default_timeout() -> Duration {
    Duration::from_secs(5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(more: &serde_json::Value) -> Result<JwtSpec, serde_json::Error> {
        let mut whole = serde_json::json!({
            "issuer": "https://id.example.com",
            "audiences": ["https://mcp.example.com/mcp"],
            "jwks": { "url": "https://id.example.com/jwks" },
        });
        for (key, value) in more.as_object().unwrap() {
            whole[key] = value.clone();
        }
        serde_json::from_value(whole)
    }

    fn first_problem(more: &serde_json::Value) -> Option<String> {
        let problems = spec(more).unwrap().problems();
        problems.into_iter().next().map(|(field, _)| field)
    }

    #[test]
    fn what_is_asked_for_by_default_is_sound() {
        assert_eq!(first_problem(&serde_json::json!({})), None);
        assert_eq!(
            spec(&serde_json::json!({})).unwrap().resource(),
            Some("https://mcp.example.com/mcp")
        );
    }

    #[test]
    fn shared_secrets_and_unsigned_tokens_cannot_be_asked_for() {
        for name in ["none", "HS256", "HS384", "HS512", "rs256"] {
            assert!(
                spec(&serde_json::json!({ "algorithms": [name] })).is_err(),
                "{name}"
            );
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn mistakes_are_told_with_their_place() {
        for (more, field) in [
            (serde_json::json!({ "issuer": "" }), "issuer"),
            (serde_json::json!({ "issuer": "me" }), "issuer"),
            (serde_json::json!({ "audiences": [] }), "audiences"),
            (serde_json::json!({ "audiences": ["api"] }), "audiences"),
            (serde_json::json!({ "algorithms": [] }), "algorithms"),
            (serde_json::json!({ "leeway": "6m" }), "leeway"),
            (serde_json::json!({ "scopes": ["a b"] }), "scopes[0]"),
            (
                serde_json::json!({ "resource": "https://h/?q" }),
                "resource",
            ),
            (
                serde_json::json!({ "resource": "https://h/\"x" }),
                "resource",
            ),
            (serde_json::json!({ "jwks": {} }), "jwks"),
            (
                serde_json::json!({ "jwks": { "file": "a", "url": "https://h/" } }),
                "jwks.url",
            ),
            (
                serde_json::json!({ "jwks": { "url": "http://id.example.com/jwks" } }),
                "jwks.url",
            ),
            (
                serde_json::json!({ "jwks": { "url": "http://localhost/jwks" } }),
                "jwks.url",
            ),
            (
                serde_json::json!({ "jwks": { "url": "https://a@h/jwks" } }),
                "jwks.url",
            ),
            (
                serde_json::json!({ "jwks": { "url": "file:///etc/passwd" } }),
                "jwks.url",
            ),
            (
                serde_json::json!({ "jwks": { "file": "a", "refresh": "1s" } }),
                "jwks.refresh",
            ),
            (
                serde_json::json!({ "claims_to_headers": { "sub": "a b" } }),
                "claims_to_headers.sub",
            ),
            (
                serde_json::json!({ "claims_to_headers": { "sub": "Host" } }),
                "claims_to_headers.sub",
            ),
            (
                serde_json::json!({ "claims_to_headers": { "a": "x", "b": "X" } }),
                "claims_to_headers.b",
            ),
        ] {
            assert_eq!(first_problem(&more).as_deref(), Some(field), "{more}");
        }
        for url in ["http://127.0.0.1:8080/jwks", "http://[::1]/jwks"] {
            assert_eq!(
                first_problem(&serde_json::json!({ "jwks": { "url": url } })),
                None,
                "{url}"
            );
        }
    }
}
