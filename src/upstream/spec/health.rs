//! The `health` part of a backend: its endpoints are asked, again and again, how they are.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::HeaderName;
use http::header::AUTHORIZATION;
use serde::{Deserialize, Deserializer, Serialize};

use crate::model::{Percent, Problems, duration_text, number_or_text};

use super::HostSpec;

/// How endpoints are asked how they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HealthSpec {
    /// What is asked. Default `http`.
    pub kind: CheckKind,
    /// Path of the request. Default `/`, and `/mcp` for `mcp` and `mcp_discover`.
    pub path: Option<String>,
    /// `GET` or `HEAD`, for `http`. Default `GET`.
    pub method: CheckMethod,
    /// Statuses that are fine, for `http`: numbers and ranges, 1 to 16. Default `["200-399"]`.
    pub statuses: Vec<StatusRange>,
    /// The host that is asked for: `endpoint` for the endpoint's own, or a name. Default: what the
    /// backend's own `host` says, and the endpoint's own where that says `keep`.
    pub host: Option<HostSpec>,
    /// A file with a token that checks send, at most 4,096 bytes, read again for each of them; a
    /// relative path starts at the folder of the config file. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// The field that the token is sent in: `authorization` as a bearer token, any other as it is.
    /// Default `authorization`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_field: Option<String>,
    /// Most of an answer's body that is read, in bytes, 0 to 1,048,576; a longer one is fine and left
    /// unread. Default 65536.
    pub max_body_bytes: usize,
    /// Time between checks, 100ms to 1h. Default 5s.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub interval: Duration,
    /// Longest check, from the connection to the answer's end, 10ms to 1m. Default 2s.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub timeout: Duration,
    /// By how much of itself the interval is shorter or longer by chance, 0 to 50. Default 10.
    pub jitter: Percent,
    /// Checks in a row that pass before an unhealthy endpoint is healthy, 1 to 100. Default 2.
    pub healthy: u16,
    /// Checks in a row that fail before an endpoint is unhealthy, 1 to 100. Default 3.
    pub unhealthy: u16,
    /// Patience with endpoints that are starting: until the first check passes. Default none.
    pub startup: Option<StartupSpec>,
    /// A second check, of whether new traffic is wanted. Default none.
    pub ready: Option<Box<Self>>,
}

/// Patience with endpoints that are starting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StartupSpec {
    /// Checks in a row that may fail before an endpoint that has never passed one is unhealthy, 1 to
    /// 10,000. Default 30.
    pub failures: u16,
}

/// What a check asks.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    /// An HTTP request, whose status counts.
    #[default]
    Http,
    /// A connection.
    Tcp,
    /// An MCP session with a `ping` in it.
    Mcp,
    /// MCP's `server/discover`, of the revision 2026-07-28.
    McpDiscover,
}

/// The method of a check.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum CheckMethod {
    /// GET.
    #[default]
    Get,
    /// HEAD.
    Head,
}

/// Statuses from one to another, both included: `204` or `200-399`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct StatusRange(RangeInclusive<u16>);

impl StatusRange {
    /// Whether a status is in it.
    pub fn contains(&self, status: u16) -> bool {
        self.0.contains(&status)
    }
}

impl FromStr for StatusRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if 200 <= first && first <= last && last <= 599 => {
                Ok(Self(first..=last))
            }
            _ => Err(format!(
                "`{text}` is not a status from 200 to 599, or a range such as 200-399"
            )),
        }
    }
}

impl<'de> Deserialize<'de> for StatusRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number_or_text::read(deserializer)
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.start() == self.0.end() {
            return write!(f, "{}", self.0.start());
        }
        write!(f, "{}-{}", self.0.start(), self.0.end())
    }
}

impl From<StatusRange> for String {
    fn from(range: StatusRange) -> Self {
        range.to_string()
    }
}

impl schemars::JsonSchema for StatusRange {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StatusRange".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "integer"], "minimum": 200, "maximum": 599 })
    }
}

impl HealthSpec {
    /// The path that is asked for.
    pub fn path(&self) -> &str {
        match (&self.path, self.kind) {
            (Some(path), _) => path,
            (None, CheckKind::Http | CheckKind::Tcp) => "/",
            (None, CheckKind::Mcp | CheckKind::McpDiscover) => "/mcp",
        }
    }

    /// What is beyond the bounds of this section.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        let path = self.path();
        let is_path = path.starts_with('/')
            && path
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'#')
            && path.parse::<http::uri::PathAndQuery>().is_ok();
        if !is_path || path.len() > MAX_PATH_BYTES {
            let message = "`path` must begin with a slash and have only visible ASCII";
            problems.add("path", message);
        }
        if !(1..=MAX_STATUSES).contains(&self.statuses.len()) {
            problems.add("statuses", "`statuses` must have from 1 to 16 entries");
        }
        if self.host == Some(HostSpec::Keep) {
            let message = "`host` cannot be `keep`: a check has no request to keep it of";
            problems.add("host", message);
        }
        self.token_problems(&mut problems);
        problems.number("max_body_bytes", self.max_body_bytes, 0..=1024 * 1024);
        let (short, long) = (Duration::from_millis(100), Duration::from_hours(1));
        problems.duration("interval", self.interval, short..=long);
        let (short, long) = (Duration::from_millis(10), Duration::from_mins(1));
        problems.duration("timeout", self.timeout, short..=long);
        problems.number("jitter", f64::from(self.jitter), 0.0..=50.0);
        problems.number("healthy", self.healthy, 1..=100);
        problems.number("unhealthy", self.unhealthy, 1..=100);
        if let Some(startup) = &self.startup {
            problems.number("startup.failures", startup.failures, 1..=10_000);
        }
        if let Some(ready) = &self.ready {
            problems.add_all("ready", ready.problems());
            if ready.ready.is_some() || ready.startup.is_some() {
                problems.add("ready", "`ready` has neither `startup` nor `ready` in it");
            }
        }
        problems.into_vec()
    }
}

impl HealthSpec {
    /// The field that the token is sent in.
    pub fn token_field(&self) -> HeaderName {
        let named = self.token_field.as_deref().map(str::parse);
        named.and_then(Result::ok).unwrap_or(AUTHORIZATION)
    }

    fn token_problems(&self, problems: &mut Problems) {
        let Some(name) = &self.token_field else {
            return;
        };
        let is_taken = |name: HeaderName| TAKEN.contains(&name.as_str());
        if name.parse::<HeaderName>().map_or(true, is_taken) {
            let message =
                "`token_field` must be the name of a field that a check does not set itself";
            problems.add("token_field", message);
        }
        if self.token_file.is_none() {
            problems.add(
                "token_field",
                "`token_field` is of no use without `token_file`",
            );
        }
    }
}

/// Fields that the checks have themselves, or that say where a message ends.
const TAKEN: &[&str] = &[
    "accept",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "mcp-method",
    "mcp-protocol-version",
    "mcp-session-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];
/// Longest path of a check, in bytes.
const MAX_PATH_BYTES: usize = 1024;
/// Most entries of `statuses`.
const MAX_STATUSES: usize = 16;

impl Default for HealthSpec {
    fn default() -> Self {
        Self {
            kind: CheckKind::default(),
            path: None,
            method: CheckMethod::default(),
            statuses: vec![StatusRange(200..=399)],
            host: None,
            token_file: None,
            token_field: None,
            max_body_bytes: 64 * 1024,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            jitter: Percent::whole(10),
            healthy: 2,
            unhealthy: 3,
            startup: None,
            ready: None,
        }
    }
}

impl Default for StartupSpec {
    fn default() -> Self {
        Self { failures: 30 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(json: &str) -> Vec<String> {
        let spec: HealthSpec = serde_json::from_str(json).unwrap();
        spec.problems()
            .into_iter()
            .map(|(field, _)| field)
            .collect()
    }

    #[test]
    fn the_defaults_are_within_bounds() {
        assert_eq!(problems("{}"), [] as [&str; 0]);
        assert_eq!(
            problems(r#"{"kind":"mcp","ready":{"path":"/ready"}}"#).len(),
            0
        );
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        let all = r#"{"path":"x","statuses":[],"host":"keep","max_body_bytes":9000000,
            "interval":"1ms","timeout":"5m","jitter":80,"healthy":0,"unhealthy":0,
            "startup":{"failures":0},"ready":{"ready":{}},"token_field":"Content-Length"}"#;

        assert_eq!(
            problems(all),
            [
                "path",
                "statuses",
                "host",
                "token_field",
                "token_field",
                "max_body_bytes",
                "interval",
                "timeout",
                "jitter",
                "healthy",
                "unhealthy",
                "startup.failures",
                "ready"
            ]
        );
    }

    #[test]
    fn statuses_are_numbers_and_ranges() {
        let spec: HealthSpec =
            serde_json::from_str(r#"{"statuses":[204,"301","400-404"]}"#).unwrap();
        let fine = |status| spec.statuses.iter().any(|range| range.contains(status));

        assert_eq!([204, 301, 404].map(fine), [true; 3]);
        assert_eq!([200, 302, 405].map(fine), [false; 3]);
        for bad in [
            "\"x\"",
            "100",
            "600",
            "\"300-200\"",
            "\"\"",
            "\"200-\"",
            "-1",
        ] {
            let text = format!(r#"{{"statuses":[{bad}]}}"#);
            assert!(serde_json::from_str::<HealthSpec>(&text).is_err(), "{bad}");
        }
    }
}
