//! What goes wrong between us and a backend.

use std::io;
use std::sync::Arc;

use crate::model::Outcome;

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
        /// What hyper said.
        #[source]
        source: hyper::Error,
    },
    /// The endpoint switched to another protocol; it was not asked to (RFC 9110, 7.8).
    #[error("endpoint {endpoint} switched protocols unasked")]
    Switched {
        /// The endpoint, as `http://host:port`.
        endpoint: Arc<str>,
    },
    /// The client's own body broke off or stalled; the backend is not to blame.
    #[error("reading the request's body")]
    ClientBody,
}

impl UpstreamError {
    /// How this counts. A fault of the client's body counts as its leaving.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Resolve { .. } | Self::Connect { .. } | Self::ConnectTimeout { .. } => {
                Outcome::Unreachable
            }
            Self::HeadTimeout { .. } => Outcome::Timeout,
            Self::Switched { .. } => Outcome::ServerError,
            Self::Broken { source, .. } if source.is_parse() => Outcome::ServerError,
            Self::Broken { .. } => Outcome::Broken,
            Self::ClientBody => Outcome::Cancelled,
        }
    }
}

/// Why a body ends before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The other side broke off or sent what is no body.
    #[error("reading a body")]
    Broken(#[source] hyper::Error),
    /// Nothing came for too long.
    #[error("reading a body: timed out")]
    Stalled,
}
