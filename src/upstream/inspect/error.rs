//! Why a server could not be asked what it promises.

use std::io;
use std::time::Duration;

use crate::mcp::BodyError;
use crate::mcp::contract::ContractError;
use crate::model::BackendName;
use crate::upstream::error::UpstreamError;

/// Why a server could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// No backend has this name.
    #[error("no backend is named `{0}`")]
    Unknown(BackendName),
    /// No connection.
    #[error("{0}{reason}", reason = reason(.0))]
    Connect(#[source] UpstreamError),
    /// The token that says who asks cannot be read.
    #[error("reading the token that says who asks: {0}")]
    Token(#[source] io::Error),
    /// The answer broke off, or is none.
    #[error("reading the answer to {method}: {source}")]
    Wire {
        /// The request's method.
        method: &'static str,
        /// What went wrong.
        source: hyper::Error,
    },
    /// The server wants to know who asks.
    #[error(
        "{method} is answered {status}: the server wants to know who asks, which `contract.token_file` of the route can say"
    )]
    Unauthorized {
        /// The request's method.
        method: &'static str,
        /// 401 or 403.
        status: u16,
    },
    /// The answer has another status than it should.
    #[error("{method} is answered with status {status}")]
    Status {
        /// The request's method.
        method: &'static str,
        /// The status.
        status: u16,
    },
    /// The answer is too long, or not JSON.
    #[error("{method}: {source}")]
    Body {
        /// The request's method.
        method: &'static str,
        /// What is wrong with it.
        source: BodyError,
    },
    /// The answer holds no response.
    #[error("the answer to {0} holds no response to it")]
    NoResponse(&'static str),
    /// Its event stream names no URL for messages that could be followed.
    #[error("the event stream does not begin with a URL for messages that is the server's own")]
    NoEndpoint,
    /// The server answers with an error.
    #[error("{method} is answered with the error {code}: {words}")]
    Refused {
        /// The request's method.
        method: &'static str,
        /// The error's code.
        code: i64,
        /// Its words, made harmless.
        words: String,
    },
    /// What it promises cannot be read.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// It took too long.
    #[error("not all was answered within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
}

fn reason(error: &UpstreamError) -> String {
    use std::error::Error;
    error
        .source()
        .map_or(String::new(), |source| format!(": {source}"))
}

impl InspectError {
    /// Whether the server understood, and does not do what it was asked for.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Status { status, .. } => {
                (400..500).contains(status) && !matches!(status, 408 | 429)
            }
            Self::NoResponse(_) | Self::Refused { .. } | Self::Contract(_) => true,
            Self::Unknown(_)
            | Self::Connect(_)
            | Self::Token(_)
            | Self::Wire { .. }
            | Self::Unauthorized { .. }
            | Self::Body { .. }
            | Self::NoEndpoint
            | Self::Timeout(_) => false,
        }
    }

    /// Whether `initialize` is answered as by a server that takes no POST there, as those of 2024-11-05
    /// do: it may have an event stream.
    pub(super) fn may_be_elder(&self) -> bool {
        const NO_POST_HERE: [u16; 3] = [400, 404, 405];
        matches!(self, Self::Status { status, .. } if NO_POST_HERE.contains(status))
    }
}
