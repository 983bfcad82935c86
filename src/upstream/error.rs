//! What goes wrong between us and a backend.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{BackendName, Outcome};

use super::http1::WireError;
use super::intake::ClientFault;
use super::shortage;

/// Why a request to an endpoint has no answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The endpoint's name has no address.
    #[error("resolving endpoint {endpoint}")]
    Resolve {
        /// The endpoint, as `http://host:port`.
        endpoint: Arc<str>,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// The endpoint refused the connection, or cannot be reached.
    #[error("connecting to endpoint {endpoint}")]
    Connect {
        /// The endpoint, as `http://host:port`.
        endpoint: Arc<str>,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// This process had no descriptor, port or memory left for a connection.
    #[error("connecting to endpoint {endpoint}: nothing is left for it here")]
    Exhausted {
        /// The endpoint, as `http://host:port`.
        endpoint: Arc<str>,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The TLS handshake failed: the endpoint's certificate is not trusted, ours is not, or it
    /// speaks no TLS.
    #[error("shaking hands with endpoint {endpoint} over TLS")]
    Tls {
        /// The endpoint, as `https://host:port`.
        endpoint: Arc<str>,
        /// What TLS or the socket said.
        #[source]
        source: io::Error,
    },
    /// The connection was not there in time.
    #[error("connecting to endpoint {endpoint}: timed out")]
    ConnectTimeout {
        /// The endpoint, as `http://host:port`.
        endpoint: Arc<str>,
    },
    /// The head of the answer was not there in time.
    #[error("waiting for the answer of endpoint {endpoint}: timed out")]
    HeadTimeout {
        /// The endpoint, as `http://host:port`.
        endpoint: Arc<str>,
    },
    /// The connection broke before the head of the answer, or the head is malformed.
    #[error("reading the answer of endpoint {endpoint}")]
    Broken {
        /// The endpoint, as `http://host:port`.
        endpoint: Arc<str>,
        /// What is wrong with it.
        #[source]
        source: Broken,
    },
    /// The endpoint switched to another protocol; it was not asked to (RFC 9110, 7.8).
    #[error("endpoint {endpoint} switched protocols unasked")]
    Switched {
        /// The endpoint, as `http://host:port`.
        endpoint: Arc<str>,
    },
    /// The backend is spared this call; nothing was sent.
    #[error("backend {backend} is spared: {why}")]
    Shed {
        /// The backend.
        backend: BackendName,
        /// Why.
        why: Shed,
        /// When another call may pass, as far as that is known.
        after: Duration,
    },
    /// The head of the answer says two things about its end, or has a status that there is not.
    #[error("the answer of endpoint {endpoint} is malformed")]
    Malformed {
        /// The endpoint, as `http://host:port`.
        endpoint: Arc<str>,
    },
    /// The client's own body is at fault; the backend is not to blame.
    #[error(transparent)]
    ClientBody(ClientFault),
}

impl UpstreamError {
    /// A connection to an endpoint was not made, whoever is to blame for it.
    pub(super) fn connect(endpoint: &Arc<str>, source: io::Error) -> Self {
        let endpoint = Arc::clone(endpoint);
        if shortage::is_own(&source) {
            Self::Exhausted { endpoint, source }
        } else {
            Self::Connect { endpoint, source }
        }
    }

    /// Whether it is this process alone that is to blame.
    pub fn is_own(&self) -> bool {
        matches!(self, Self::Exhausted { .. })
    }

    /// Whether nobody listens at the endpoint: the process that did is gone, with all it knew.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Connect { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// How this counts. A fault of the client's body counts as its leaving.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::Tls { .. }
            | Self::ConnectTimeout { .. }
            | Self::Shed { .. } => Outcome::Unreachable,
            Self::Exhausted { .. } => Outcome::Exhausted,
            Self::HeadTimeout { .. } => Outcome::Timeout,
            Self::Switched { .. } | Self::Malformed { .. } => Outcome::ServerError,
            Self::Broken { source, .. } if source.is_parse() => Outcome::ServerError,
            Self::Broken { .. } => Outcome::Broken,
            Self::ClientBody(_) => Outcome::Cancelled,
        }
    }
}

/// What is wrong with a connection, by the protocol spoken over it.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// HTTP/1.
    #[error(transparent)]
    Http1(#[from] WireError),
    /// HTTP/2.
    #[error(transparent)]
    Http2(#[from] h2::Error),
}

impl Broken {
    /// Whether it is what the other side said that is wrong, and not the connection.
    pub fn is_parse(&self) -> bool {
        match self {
            Self::Http1(error) => error.is_parse(),
            Self::Http2(_) => false,
        }
    }
}

/// Why a backend is spared a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shed {
    /// Its breaker is open.
    Open,
    /// As many calls are under way as it may have.
    InFlight,
    /// As many connections to it are being made as may be.
    Connecting,
}

impl Shed {
    /// All of them, in the order of [`Shed::index`].
    pub const ALL: [Self; 3] = [Self::Open, Self::InFlight, Self::Connecting];
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// A dense number below [`Shed::COUNT`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The reason's name in metrics and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::InFlight => "in_flight",
            Self::Connecting => "connecting",
        }
    }
}

impl fmt::Display for Shed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "its breaker is open",
            Self::InFlight => "too many calls are under way",
            Self::Connecting => "too many connections are being made",
        })
    }
}

/// Why an answer's body ends before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The other side broke off or sent what is no body.
    #[error("reading a body")]
    Broken(#[source] Broken),
    /// The other side took its stream back, with whatever code, before the body was complete.
    #[error("reading a body: the stream was reset")]
    Reset,
    /// Nothing came for too long.
    #[error("reading a body: timed out")]
    Stalled,
}
