//! The `standby` part of a plan: how a candidate proves itself before it gets any traffic.

use std::collections::BTreeMap;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};

use crate::model::duration_text;

/// How a candidate proves itself before it gets any traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StandbySpec {
    /// Time that every endpoint of the candidate has to be healthy without a break; an endpoint
    /// without health checks is taken for healthy. Default 10s.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub healthy_for: Duration,
    /// Longest time until it is healthy and has answered the smoke requests; after it the candidate
    /// is reverted. Default 10m.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub healthy_within: Duration,
    /// At most 32 requests that are sent to every endpoint of the candidate once it is healthy, and
    /// to nobody else. One that is not answered as it has to be reverts.
    pub smoke: Vec<SmokeSpec>,
}

impl Default for StandbySpec {
    fn default() -> Self {
        Self {
            healthy_for: Duration::from_secs(10),
            healthy_within: Duration::from_mins(10),
            smoke: Vec::new(),
        }
    }
}

/// A request, and what it has to be answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SmokeSpec {
    /// `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE` or `OPTIONS`. Default `GET`.
    #[serde(default = "default_method")]
    pub method: String,
    /// Path and query, beginning with `/`.
    pub path: String,
    /// At most 32 fields. The token of the backend's health checks is sent without being named here.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body, at most 64 KiB. Default empty.
    #[serde(default)]
    pub body: String,
    /// The status of the answer, 200 to 599. Default 200.
    #[serde(default = "default_status")]
    pub expect_status: u16,
    /// What the body of the answer contains, 1 to 1024 bytes, within its first MiB. Default: anything.
    #[serde(default)]
    pub expect_body_contains: Option<String>,
    /// Longest time for the whole answer, 1ms to 5m. Default 10s.
    #[serde(default = "default_timeout", with = "duration_text")]
    #[schemars(with = "String")]
    pub timeout: Duration,
}

/// Most smoke requests.
const MAX_REQUESTS: usize = 32;
/// Most fields of a request.
const MAX_FIELDS: usize = 32;
/// Longest body of a request, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Longest text that an answer has to contain, in bytes.
const MAX_WANTED_BYTES: usize = 1024;
/// Longest time for an answer.
const MAX_TIMEOUT: Duration = Duration::from_mins(5);
/// Methods of requests.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];
/// Fields that are not the file's to say.
const OWN_FIELDS: [&str; 5] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
];

impl StandbySpec {
    /// What is wrong with the values: the path of each field inside `standby`, and why.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if self.healthy_within <= self.healthy_for {
            let message = "is not longer than healthy_for, so no candidate would ever be in time";
            problems.push(("healthy_within".to_owned(), message.to_owned()));
        }
        if self.smoke.len() > MAX_REQUESTS {
            let message = format!("{} requests; at most {MAX_REQUESTS}", self.smoke.len());
            problems.push(("smoke".to_owned(), message));
        }
        for (index, request) in self.smoke.iter().enumerate() {
            let each = request.problems().into_iter();
            problems.extend(each.map(|(path, why)| (format!("smoke[{index}].{path}"), why)));
        }
        problems
    }
}

impl SmokeSpec {
    /// The checked method.
    pub fn method(&self) -> Option<Method> {
        let known = METHODS.iter().find(|known| known.as_str() == self.method);
        known.cloned()
    }

    /// The checked path and query.
    pub fn target(&self) -> Option<PathAndQuery> {
        let target = self.path.parse().ok();
        target.filter(|_| self.path.starts_with('/'))
    }

    /// The checked fields.
    pub fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let each = self.headers.iter();
        each.filter_map(|(name, value)| field(name, value).ok())
    }

    fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.method().is_none() {
            let names: Vec<_> = METHODS.iter().map(Method::as_str).collect();
            let message = format!("`{}` is none of {}", self.method, names.join(", "));
            problems.push(("method", message));
        }
        if self.target().is_none() {
            let message = format!("`{}` is no path that begins with `/`", self.path);
            problems.push(("path", message));
        }
        if self.headers.len() > MAX_FIELDS {
            let message = format!("{} fields; at most {MAX_FIELDS}", self.headers.len());
            problems.push(("headers", message));
        }
        let wrong = self
            .headers
            .iter()
            .find_map(|(name, value)| field(name, value).err());
        problems.extend(wrong.map(|message| ("headers", message)));
        if self.body.len() > MAX_BODY_BYTES {
            let message = format!("{} bytes; at most {MAX_BODY_BYTES}", self.body.len());
            problems.push(("body", message));
        }
        if !(200..=599).contains(&self.expect_status) {
            let message = format!("{} is not between 200 and 599", self.expect_status);
            problems.push(("expect_status", message));
        }
        let wanted = self.expect_body_contains.as_ref().map(String::len);
        if wanted.is_some_and(|length| length == 0 || length > MAX_WANTED_BYTES) {
            let message = format!("is not 1 to {MAX_WANTED_BYTES} bytes");
            problems.push(("expect_body_contains", message));
        }
        if self.timeout.is_zero() || self.timeout > MAX_TIMEOUT {
            let message = "is not between 1ms and 5m".to_owned();
            problems.push(("timeout", message));
        }
        problems
    }
}

/// The checked form of a field; the error says what is wrong with it.
fn field(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let valid = HeaderName::try_from(name).map_err(|_| format!("`{name}` is no field name"))?;
    if OWN_FIELDS.contains(&valid.as_str()) {
        return Err(format!(
            "`{name}` is not to be given: it follows from where it is sent"
        ));
    }
    let value = HeaderValue::try_from(value)
        .map_err(|_| format!("the value of `{name}` is no field value"))?;
    Ok((valid, value))
}

fn default_method() -> String {
    Method::GET.to_string()
}

fn default_status() -> u16 {
    200
}

fn default_timeout() -> Duration {
    Duration::from_secs(10)
}
