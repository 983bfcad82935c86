//! The URL of a receiver, which is never shown as a whole: who knows the path of a chat's webhook
//! may write into the chat.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest URL, in bytes.
const MAX_BYTES: usize = 2048;

/// Where something is posted to: `http` or `https`, a host, and what is behind it.
///
/// Its text is shown up to the host; [`Target::in_full`] is for the wire alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    uri: Uri,
    full: String,
}

/// Why a text is no target. Never says the text, which may be half a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It is no URL of `http` or `https` with a host.
    #[error("this is not a URL, such as https://hooks.example.com/in")]
    Url,
    /// It has somebody's name and password in it.
    #[error("a URL has no user and password here; a `secret_file` signs what is sent")]
    Userinfo,
    /// It is too long.
    #[error("a URL has at most {MAX_BYTES} bytes")]
    Long,
}

impl Target {
    /// The whole URL.
    pub fn in_full(&self) -> &str {
        &self.full
    }

    /// Whether it is spoken to over TLS.
    pub fn is_secure(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// The host, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        let host = self.uri.host().unwrap_or_default();
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    pub fn port(&self) -> u16 {
        let usual = if self.is_secure() { 443 } else { 80 };
        self.uri.port_u16().unwrap_or(usual)
    }

    /// Host and port, as the URL has them.
    pub fn authority(&self) -> &str {
        self.uri.authority().map_or("", |it| it.as_str())
    }

    /// Path and query.
    pub(super) fn path(&self) -> &str {
        self.uri.path_and_query().map_or("/", |it| it.as_str())
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if text.len() > MAX_BYTES {
            return Err(TargetError::Long);
        }
        let uri: Uri = text.parse().map_err(|_| TargetError::Url)?;
        let authority = uri.authority().ok_or(TargetError::Url)?;
        if authority.as_str().contains('@') {
            return Err(TargetError::Userinfo);
        }
        let known = matches!(uri.scheme_str(), Some("http" | "https"));
        if !known || authority.host().is_empty() || text.contains('#') {
            return Err(TargetError::Url);
        }
        Ok(Self {
            uri,
            full: text.to_owned(),
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        let hidden = if self.path() == "/" { "/" } else { "/(hidden)" };
        write!(f, "{scheme}://{}{hidden}", self.authority())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_up_to_its_host() {
        let target: Target = "https://hooks.example.com:8443/services/T1/hunter2?token=hunter3"
            .parse()
            .unwrap();

        let shown = format!("{target} {target:?} {}", serde_json::json!(target));

        assert!(
            !shown.contains("hunter") && !shown.contains("T1"),
            "{shown}"
        );
        assert!(shown.starts_with("https://hooks.example.com:8443/(hidden) "));
        assert_eq!(target.path(), "/services/T1/hunter2?token=hunter3");
        assert_eq!((target.host(), target.port()), ("hooks.example.com", 8443));
        assert!(target.in_full().ends_with("hunter3"));
    }

    #[test]
    fn what_is_no_url_of_a_receiver_is_refused_and_not_repeated() {
        for (text, expected) in [
            ("", TargetError::Url),
            ("hunter2", TargetError::Url),
            ("/hunter2", TargetError::Url),
            ("ftp://hunter2/", TargetError::Url),
            ("https:///hunter2", TargetError::Url),
            ("https://a/#hunter2", TargetError::Url),
            ("https://u:hunter2@a/", TargetError::Userinfo),
            (
                &format!("https://a/{}", "x".repeat(2048)),
                TargetError::Long,
            ),
        ] {
            let error = text.parse::<Target>().unwrap_err();

            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("hunter"));
        }
    }

    #[test]
    fn an_ipv6_address_is_a_host_without_brackets() {
        let target: Target = "http://[::1]:9/x".parse().unwrap();

        assert_eq!((target.host(), target.port()), ("::1", 9));
        assert_eq!(target.authority(), "[::1]:9");
    }
}
