//! How a backend's endpoints are reached: names, and the host that they are asked for.

use std::time::Duration;

use http::HeaderValue;
use serde::{Deserialize, Serialize};

use crate::model::{Problems, duration_text};

/// How often the names of endpoints are looked up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DnsSpec {
    /// Time between lookups of a name, in the background, 1s to 24h. Default 30s.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub refresh: Duration,
    /// Longest lookup, 10ms to 1m. Default 5s.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub timeout: Duration,
}

impl DnsSpec {
    /// What is beyond the bounds of this section.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        let (short, long) = (Duration::from_secs(1), Duration::from_hours(24));
        problems.duration("refresh", self.refresh, short..=long);
        let (short, long) = (Duration::from_millis(10), Duration::from_mins(1));
        problems.duration("timeout", self.timeout, short..=long);
        problems.into_vec()
    }
}

impl Default for DnsSpec {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
        }
    }
}

/// The host that a backend is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HostSpec {
    /// That of the request.
    #[default]
    Keep,
    /// That of the endpoint.
    Endpoint,
    /// This one.
    Name(HeaderValueText),
}

/// A host that is a valid value of the `Host` field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderValueText(HeaderValue);

impl HeaderValueText {
    /// The value.
    pub fn value(&self) -> &HeaderValue {
        &self.0
    }
}

impl TryFrom<String> for HostSpec {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "keep" => return Ok(Self::Keep),
            "endpoint" => return Ok(Self::Endpoint),
            _ => {}
        }
        let parsed: Result<http::uri::Authority, _> = text.parse();
        let fine = parsed.is_ok_and(|authority| {
            let port = text.get(authority.host().len()..).unwrap_or_default();
            let digits = port.strip_prefix(':').unwrap_or_default();
            !authority.host().is_empty()
                && !text.contains('@')
                && (port.is_empty() || digits.parse::<u16>().is_ok_and(|port| port > 0))
        });
        let value = HeaderValue::try_from(&text).ok().filter(|_| fine);
        value.map(|value| Self::Name(HeaderValueText(value))).ok_or_else(|| {
            format!("`{text}` is not a host: `keep`, `endpoint`, or a name such as search.internal:8080")
        })
    }
}

impl From<HostSpec> for String {
    fn from(host: HostSpec) -> Self {
        match host {
            HostSpec::Keep => "keep".to_owned(),
            HostSpec::Endpoint => "endpoint".to_owned(),
            HostSpec::Name(name) => name.0.to_str().unwrap_or_default().to_owned(),
        }
    }
}

impl schemars::JsonSchema for HostSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HostSpec".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "minLength": 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_kept_or_one_of_two_others() {
        let host = |text: &str| HostSpec::try_from(text.to_owned());

        assert_eq!(host("keep"), Ok(HostSpec::Keep));
        assert_eq!(host("endpoint"), Ok(HostSpec::Endpoint));
        for name in ["search", "search.internal:8080", "[::1]:80", "127.0.0.1"] {
            assert_eq!(host(name).map(String::from), Ok(name.to_owned()));
        }
        for bad in [
            "", "a b", "a/b", "u@a", "a:", "a:0", "a:99999", "a\r\nb", "é",
        ] {
            assert!(host(bad).is_err(), "{bad:?}");
        }
    }
}
