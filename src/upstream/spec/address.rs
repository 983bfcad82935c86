//! The address of an endpoint, as the file names it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The address of an endpoint: `http://host:port`, `https://host:port` or `unix:/path/of/a.sock`,
/// nothing behind it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EndpointUrl {
    /// Whether it is spoken to over TLS; a socket of this machine is not.
    pub scheme: Scheme,
    /// Where it is.
    pub address: Address,
}

/// Whether an endpoint is spoken to over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// HTTP in the clear.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// The scheme as a URL has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port of a URL that names none.
    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// At a port of a host.
    Net {
        /// Host name or address; an IPv6 address without its brackets.
        host: String,
        /// Port; 80 when the text has none, 443 with `https`.
        port: u16,
    },
    /// At a socket of this machine: the path, from the root.
    Unix(String),
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
    /// A user, perhaps with a password, which is not repeated.
    #[error("an endpoint has no user and no password, and looks like http://127.0.0.1:3001")]
    User,
    /// A scheme that is known but not spoken towards backends.
    #[error("`{text}`: an endpoint begins with http://, https:// or unix:")]
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
    /// Not the path of a socket.
    #[error(
        "`{text}`: a socket has a path from the root of at most 107 bytes, such as unix:/run/search.sock"
    )]
    Socket {
        /// The refused text.
        text: String,
    },
}

/// Longest path of a socket, in bytes: the system's own bound, less its end.
const MAX_PATH_BYTES: usize = 107;

impl EndpointUrl {
    /// The host of a request that is meant for this endpoint.
    pub fn authority(&self) -> String {
        match &self.address {
            Address::Net { host, port } if *port == self.scheme.default_port() => {
                if host.contains(':') {
                    return format!("[{host}]");
                }
                host.clone()
            }
            Address::Net { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Address::Net { host, port } => format!("{host}:{port}"),
            Address::Unix(_) => "localhost".to_owned(),
        }
    }

    /// The same address with its host in lower case, to be compared.
    pub(super) fn folded(&self) -> Address {
        match &self.address {
            Address::Net { host, port } => Address::Net {
                host: host.to_ascii_lowercase(),
                port: *port,
            },
            Address::Unix(path) => Address::Unix(path.clone()),
        }
    }
}

impl FromStr for EndpointUrl {
    type Err = EndpointUrlError;

    fn from_str(text: &str) -> Result<Self, EndpointUrlError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return socket(text, path);
        }
        let syntax = || EndpointUrlError::Syntax {
            text: text.to_owned(),
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(syntax)?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => {
                return Err(EndpointUrlError::Scheme {
                    text: text.to_owned(),
                });
            }
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(EndpointUrlError::Path {
                text: text.to_owned(),
            });
        }
        let parsed: http::uri::Authority = authority.parse().map_err(|_| syntax())?;
        if authority.contains('@') {
            return Err(EndpointUrlError::User);
        }
        if parsed.host().is_empty() {
            return Err(syntax());
        }
        let port = match authority.get(parsed.host().len()..) {
            None | Some("") => scheme.default_port(),
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
        Ok(Self {
            scheme,
            address: Address::Net { host, port },
        })
    }
}

fn socket(text: &str, path: &str) -> Result<EndpointUrl, EndpointUrlError> {
    let fine = path.starts_with('/') && !path.ends_with('/') && !path.contains('\0');
    if !fine || path.len() > MAX_PATH_BYTES {
        return Err(EndpointUrlError::Socket {
            text: text.to_owned(),
        });
    }
    Ok(EndpointUrl {
        scheme: Scheme::Http,
        address: Address::Unix(path.to_owned()),
    })
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme.as_str();
        match &self.address {
            Address::Net { host, port } if host.contains(':') => {
                write!(f, "{scheme}://[{host}]:{port}")
            }
            Address::Net { host, port } => write!(f, "{scheme}://{host}:{port}"),
            Address::Unix(path) => write!(f, "unix:{path}"),
        }
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
        schemars::json_schema!({ "type": "string", "pattern": "^(https?://.+|unix:/.+)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_a_port() {
        for (text, host, port) in [
            ("https://search:8443", "search", 8443),
            ("https://search", "search", 443),
            ("http://127.0.0.1:3001", "127.0.0.1", 3001),
            ("http://search:80/", "search", 80),
            ("http://search", "search", 80),
            ("http://[::1]:9", "::1", 9),
        ] {
            let url: EndpointUrl = text.parse().unwrap();

            let host = host.to_owned();
            assert_eq!(url.address, Address::Net { host, port }, "{text}");
            assert_eq!(url.to_string().parse(), Ok(url));
        }
    }

    #[test]
    fn or_the_socket_of_a_server_on_this_machine() {
        let url: EndpointUrl = "unix:/run/x.sock".parse().unwrap();

        assert_eq!(url.address, Address::Unix("/run/x.sock".to_owned()));
        assert_eq!(url.to_string(), "unix:/run/x.sock");
        let long = format!("unix:/{}", "x".repeat(107));
        for text in ["unix:", "unix:x", "unix:/", "unix:///", "unix:/a\0", &long] {
            assert!(text.parse::<EndpointUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn its_own_host_leaves_the_usual_port_out() {
        for (text, authority) in [
            ("http://search", "search"),
            ("https://search", "search"),
            ("https://search:80", "search:80"),
            ("http://search:81", "search:81"),
            ("http://[::1]", "[::1]"),
            ("http://[::1]:81", "[::1]:81"),
            ("unix:/x", "localhost"),
        ] {
            let url: EndpointUrl = text.parse().unwrap();

            assert_eq!(url.authority(), authority);
        }
    }

    #[test]
    fn anything_more_or_less_than_host_and_port_is_refused() {
        for text in [
            "127.0.0.1:3001",
            "ftp://a:1",
            "HTTPS://a:1",
            "http://",
            "http://:80",
            "http://u@a:1",
            "http://a:0",
            "http://a:99999",
            "http://a:1/x",
            "http://a:1?q",
            "http://a b:1",
            "http://[::1",
            "http://a:",
        ] {
            assert!(text.parse::<EndpointUrl>().is_err(), "{text}");
        }
    }
}
