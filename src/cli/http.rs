//! A small HTTP/1.1 client, with a bound on every wait and every body.
//!
//! It follows no redirects, keeps no cookies and pools nothing: a caller that wants to use a
//! connection again holds on to its [`Connection`].

use std::fmt;
use std::future::Future;
use std::str::FromStr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{HOST, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

use crate::tls::{Alpn, ClientTls};

/// Longest wait for a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// No connection could be made.
    #[error("connecting to {origin}")]
    Connect {
        /// Where to.
        origin: Origin,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The TLS handshake failed.
    #[error("shaking hands with {origin} over TLS")]
    Tls {
        /// Where to.
        origin: Origin,
        /// What TLS or the socket said.
        #[source]
        source: std::io::Error,
    },
    /// The other side was too slow.
    #[error("{origin} did not answer within {}", humantime::format_duration(*.limit))]
    Timeout {
        /// Where to.
        origin: Origin,
        /// How long was waited.
        limit: Duration,
    },
    /// The exchange broke off.
    #[error("talking HTTP to {origin}")]
    Broken {
        /// Where to.
        origin: Origin,
        /// What hyper said.
        #[source]
        source: hyper::Error,
    },
    /// The answer is longer than was agreed.
    #[error("the answer of {origin} is longer than {max_bytes} bytes")]
    TooLong {
        /// Where to.
        origin: Origin,
        /// The bound.
        max_bytes: usize,
    },
}

impl HttpError {
    /// What is most likely to help.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Tls { source, .. } => match told_by_tls(source) {
                Some(rustls::Error::InvalidMessage(_)) => {
                    "does it speak clear text? then it is --admin http://..."
                }
                Some(rustls::Error::InvalidCertificate(_)) => {
                    "--ca FILE names the authority that signed its certificate, and the URL a name that it has"
                }
                Some(_) | None => {
                    "--cert FILE and --key FILE show a certificate, where one is asked for"
                }
            },
            Self::Broken { source, .. } if source.is_parse() => {
                "does it speak TLS? then it is --admin https://..., and --ca FILE names its authority"
            }
            Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Broken { .. }
            | Self::TooLong { .. } => {
                "is the gateway running there? --admin URL or SWITCHBACK_ADMIN names another address"
            }
        }
    }
}

fn told_by_tls(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Host and port of a server, and whether it is spoken to over TLS; or the path of its socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: Scheme,
    /// Host name or address; an IPv6 address without its brackets.
    host: String,
    port: u16,
}

/// What is spoken to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
    /// HTTP over a socket in the file system, whose path stands for the host.
    Unix,
}

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Unix => "unix",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Unix => 0,
        }
    }
}

/// Why a text is not the address of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OriginError {
    /// Another scheme than `http` and `https`.
    #[error("`{text}`: an address begins with http:// or https://")]
    Scheme {
        /// The refused text.
        text: String,
    },
    /// Not an address at all, or one with a path.
    #[error("`{text}` is not an address, which looks like http://127.0.0.1:9900")]
    Syntax {
        /// The refused text.
        text: String,
    },
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let syntax = || OriginError::Syntax {
            text: text.to_owned(),
        };
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(syntax()),
                path => Ok(Self {
                    scheme: Scheme::Unix,
                    host: path.to_owned(),
                    port: 0,
                }),
            };
        }
        let uri: http::Uri = text.parse().map_err(|_| syntax())?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            Some(_) => {
                return Err(OriginError::Scheme {
                    text: text.to_owned(),
                });
            }
            None => return Err(syntax()),
        };
        let authority = uri.authority().ok_or_else(syntax)?;
        let host = authority.host().trim_matches(['[', ']']);
        let plain = uri.query().is_none() && uri.path() == "/" && !authority.as_str().contains('@');
        let port = match authority.as_str().get(authority.host().len()..) {
            None | Some("") => scheme.default_port(),
            Some(rest) => rest
                .strip_prefix(':')
                .and_then(|port| port.parse().ok())
                .ok_or_else(syntax)?,
        };
        if !plain || host.is_empty() || port == 0 {
            return Err(syntax());
        }
        Ok(Self {
            scheme,
            host: host.to_owned(),
            port,
        })
    }
}

impl From<std::net::SocketAddr> for Origin {
    fn from(address: std::net::SocketAddr) -> Self {
        Self {
            scheme: Scheme::Http,
            host: address.ip().to_string(),
            port: address.port(),
        }
    }
}

impl Origin {
    /// Whether it is spoken to over TLS.
    pub(super) fn is_https(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// `host:port`, as a request's `Host` field says it.
    fn authority(&self) -> String {
        if self.scheme == Scheme::Unix {
            return "localhost".to_owned();
        }
        if self.host.contains(':') {
            return format!("[{}]:{}", self.host, self.port);
        }
        format!("{}:{}", self.host, self.port)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            Scheme::Unix => write!(f, "unix:{}", self.host),
            Scheme::Http | Scheme::Https => {
                write!(f, "{}://{}", self.scheme.as_str(), self.authority())
            }
        }
    }
}

/// One open connection. Its task ends when this is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    origin: Origin,
    host: HeaderValue,
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Connects in clear text, within three seconds.
    ///
    /// # Errors
    /// [`HttpError::Connect`], [`HttpError::Timeout`] and [`HttpError::Broken`].
    pub(super) async fn open(origin: &Origin) -> Result<Self, HttpError> {
        Self::open_with(origin, None).await
    }

    /// Connects, over TLS where it is given; three seconds each for the connection and the
    /// handshake.
    ///
    /// # Errors
    /// The same, and [`HttpError::Tls`].
    pub(super) async fn open_with(
        origin: &Origin,
        tls: Option<&ClientTls>,
    ) -> Result<Self, HttpError> {
        if origin.scheme == Scheme::Unix {
            let connecting = UnixStream::connect(&origin.host);
            let stream = within(origin, CONNECT_LIMIT, connecting).await?;
            let stream = stream.map_err(|source| HttpError::Connect {
                origin: origin.clone(),
                source,
            })?;
            return Self::talk(origin, stream).await;
        }
        let connecting = TcpStream::connect((origin.host.as_str(), origin.port));
        let stream = within(origin, CONNECT_LIMIT, connecting)
            .await?
            .map_err(|source| HttpError::Connect {
                origin: origin.clone(),
                source,
            })?;
        // A failure costs a little delay, not the request.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else {
            return Self::talk(origin, stream).await;
        };
        let shaking = tls.connect(&origin.host, Alpn::Http1, stream);
        let stream = within(origin, CONNECT_LIMIT, shaking)
            .await?
            .map_err(|source| HttpError::Tls {
                origin: origin.clone(),
                source,
            })?;
        Self::talk(origin, stream).await
    }

    /// Speaks HTTP over a connection.
    async fn talk<S>(origin: &Origin, stream: S) -> Result<Self, HttpError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, driving) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|source| HttpError::Broken {
                origin: origin.clone(),
                source,
            })?;
        let driver = tokio::spawn(async move {
            // What breaks the connection also fails the request on it, which is where it is told.
            let _ = driving.await;
        });
        let host = HeaderValue::from_str(&origin.authority())
            .unwrap_or_else(|_| HeaderValue::from_static("localhost"));
        Ok(Self {
            origin: origin.clone(),
            host,
            sender,
            driver,
        })
    }

    /// Whether another request may be sent.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends a request and waits for the head of its answer, at most `limit`.
    ///
    /// # Errors
    /// [`HttpError::Timeout`] and [`HttpError::Broken`].
    pub(super) async fn send(
        &mut self,
        mut request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<Response<Incoming>, HttpError> {
        request.headers_mut().insert(HOST, self.host.clone());
        let broken = |source| HttpError::Broken {
            origin: self.origin.clone(),
            source,
        };
        let exchange = async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        };
        within(&self.origin, limit, exchange).await?.map_err(broken)
    }

    /// Reads a body to its end: at most `max_bytes`, and at most `limit` long.
    ///
    /// # Errors
    /// [`HttpError::TooLong`], [`HttpError::Timeout`] and [`HttpError::Broken`].
    pub(super) async fn read(
        &self,
        mut body: Incoming,
        max_bytes: usize,
        limit: Duration,
    ) -> Result<Bytes, HttpError> {
        let reading = async {
            let mut whole = BytesMut::new();
            while let Some(chunk) = self.next_chunk(&mut body).await? {
                if whole.len() + chunk.len() > max_bytes {
                    return Err(HttpError::TooLong {
                        origin: self.origin.clone(),
                        max_bytes,
                    });
                }
                whole.extend_from_slice(&chunk);
            }
            Ok(whole.freeze())
        };
        within(&self.origin, limit, reading).await?
    }

    /// The next piece of a body, or `None` at its end. Waits as long as it takes.
    ///
    /// # Errors
    /// [`HttpError::Broken`] when the body is cut.
    pub(super) async fn next_chunk(&self, body: &mut Incoming) -> Result<Option<Bytes>, HttpError> {
        loop {
            match body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(chunk) = frame.into_data() {
                        return Ok(Some(chunk));
                    }
                }
                Some(Err(source)) => {
                    return Err(HttpError::Broken {
                        origin: self.origin.clone(),
                        source,
                    });
                }
            }
        }
    }
}

async fn within<T>(
    origin: &Origin,
    limit: Duration,
    what: impl Future<Output = T>,
) -> Result<T, HttpError> {
    tokio::time::timeout(limit, what)
        .await
        .map_err(|_| HttpError::Timeout {
            origin: origin.clone(),
            limit,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_host_and_a_port_and_nothing_more() {
        for (text, shown) in [
            ("http://127.0.0.1:9900", "http://127.0.0.1:9900"),
            ("http://127.0.0.1:9900/", "http://127.0.0.1:9900"),
            ("http://gateway", "http://gateway:80"),
            ("http://[::1]:9900", "http://[::1]:9900"),
            ("https://gateway", "https://gateway:443"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), shown);
        }

        for text in [
            "",
            "127.0.0.1:9900",
            "http://",
            "http://a:0",
            "http://a:x",
            "http://a/x",
            "http://u@a",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
        assert!(matches!(
            "ftp://a".parse::<Origin>(),
            Err(OriginError::Scheme { .. })
        ));
    }

    #[tokio::test]
    async fn nobody_listening_is_a_connect_error() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);

        let error = Connection::open(&address.into()).await.unwrap_err();

        assert!(matches!(error, HttpError::Connect { .. }), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_a_timeout() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = Origin::from(listener.local_addr().unwrap());
        let mut connection = Connection::open(&origin).await.unwrap();

        let error = connection
            .send(Request::new(Full::default()), Duration::from_secs(2))
            .await
            .unwrap_err();

        assert!(matches!(error, HttpError::Timeout { .. }), "{error}");
    }
}
