//! The `backends` section of the file.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Problems, duration_text};

mod breaker;
mod ejection;

pub use breaker::BreakerSpec;
pub use ejection::{EjectionSpec, OutliersSpec};

/// One named version of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackendSpec {
    /// Addresses of this version, such as `["http://127.0.0.1:3001"]`; one to 1,024.
    pub endpoints: Vec<EndpointUrl>,
    /// Longest wait for a connection, 1ms to 5m. Default 3s.
    #[serde(default = "default_connect", with = "duration_text")]
    #[schemars(with = "String")]
    pub connect_timeout: Duration,
    /// Idle connections kept per worker and endpoint, 0 to 65,535. Default 256.
    #[serde(default = "default_max_idle")]
    pub max_idle: u16,
    /// How long an idle connection is kept, 1s to 24h. Default 90s.
    #[serde(default = "default_idle_timeout", with = "duration_text")]
    #[schemars(with = "String")]
    pub idle_timeout: Duration,
    /// When an endpoint that fails calls is left out for a while.
    #[serde(default)]
    pub ejection: EjectionSpec,
    /// What the backend is spared when it cannot keep up.
    #[serde(default)]
    pub breaker: BreakerSpec,
}

impl BackendSpec {
    /// What is beyond the bounds of this section: the path of a field and a sentence, each.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        match self.endpoints.len() {
            1..=MAX_ENDPOINTS => {}
            0 => problems.add(
                "endpoints",
                "`endpoints` is empty, but a backend needs at least one",
            ),
            many => problems.add(
                "endpoints",
                format!("{many} endpoints, but a backend has at most {MAX_ENDPOINTS}"),
            ),
        }
        let mut seen = HashSet::new();
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            if !seen.insert((endpoint.host.to_ascii_lowercase(), endpoint.port)) {
                let message = format!("the endpoint {endpoint} appears twice in this backend");
                problems.add(format!("endpoints[{index}]"), message);
            }
        }
        let (short, long) = (Duration::from_millis(1), Duration::from_mins(5));
        problems.duration("connect_timeout", self.connect_timeout, short..=long);
        let (short, long) = (Duration::from_secs(1), Duration::from_hours(24));
        problems.duration("idle_timeout", self.idle_timeout, short..=long);
        problems.add_all("ejection", self.ejection.problems());
        problems.add_all("breaker", self.breaker.problems());
        problems.into_vec()
    }
}

/// Most endpoints of a backend.
const MAX_ENDPOINTS: usize = 1024;

fn default_connect() -> Duration {
    Duration::from_secs(3)
}

fn default_max_idle() -> u16 {
    256
}

fn default_idle_timeout() -> Duration {
    Duration::from_secs(90)
}

/// The address of an endpoint: `http://host:port`, nothing behind it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EndpointUrl {
    /// Host name or address; an IPv6 address without its brackets.
    pub host: String,
    /// Port, 80 when the text has none.
    pub port: u16,
}

/// Why a text is not the address of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointUrlError {
    /// Not an `http://host:port` address.
    #[error("`{text}` is not an endpoint, which looks like http://127.0.0.1:3001")]
    Syntax {
        /// The refused text.
        text: String,
    },
    /// A scheme that is known but not spoken towards backends.
    #[error("`{text}`: only http:// endpoints are supported")]
    Scheme {
        /// The refused text.
        text: String,
    },
    /// Something behind the port.
    #[error("`{text}`: an endpoint has no path; the request's own path is used")]
    Path {
        /// The refused text.
        text: String,
    },
}

impl FromStr for EndpointUrl {
    type Err = EndpointUrlError;

    fn from_str(text: &str) -> Result<Self, EndpointUrlError> {
        let syntax = || EndpointUrlError::Syntax {
            text: text.to_owned(),
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(syntax)?;
        if scheme != "http" {
            return Err(EndpointUrlError::Scheme {
                text: text.to_owned(),
            });
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(EndpointUrlError::Path {
                text: text.to_owned(),
            });
        }
        let parsed: http::uri::Authority = authority.parse().map_err(|_| syntax())?;
        if authority.contains('@') || parsed.host().is_empty() {
            return Err(syntax());
        }
        let port = match authority.get(parsed.host().len()..) {
            None | Some("") => 80,
            Some(rest) => rest
                .strip_prefix(':')
                .and_then(|p| p.parse().ok())
                .ok_or_else(syntax)?,
        };
        if port == 0 {
            return Err(syntax());
        }
        let host = parsed
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        Ok(Self { host, port })
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "http://[{}]:{}", self.host, self.port);
        }
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

impl TryFrom<String> for EndpointUrl {
    type Error = EndpointUrlError;

    fn try_from(text: String) -> Result<Self, EndpointUrlError> {
        text.parse()
    }
}

impl From<EndpointUrl> for String {
    fn from(url: EndpointUrl) -> Self {
        url.to_string()
    }
}

impl schemars::JsonSchema for EndpointUrl {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EndpointUrl".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^http://.+" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_a_port() {
        for (text, host, port) in [
            ("http://127.0.0.1:3001", "127.0.0.1", 3001),
            ("http://search:80/", "search", 80),
            ("http://search", "search", 80),
            ("http://[::1]:9", "::1", 9),
        ] {
            let url: EndpointUrl = text.parse().unwrap();

            assert_eq!((url.host.as_str(), url.port), (host, port), "{text}");
            assert_eq!(url.to_string().parse(), Ok(url));
        }
    }

    #[test]
    fn anything_more_or_less_than_host_and_port_is_refused() {
        for text in [
            "127.0.0.1:3001",
            "https://a:1",
            "http://",
            "http://:80",
            "http://u@a:1",
            "http://a:0",
            "http://a:99999",
            "http://a:1/x",
            "http://a:1?q",
            "http://a b:1",
            "unix:/x",
            "http://[::1",
            "http://a:",
        ] {
            assert!(text.parse::<EndpointUrl>().is_err(), "{text}");
        }
    }
}
