//! Why a request is answered here instead of by a backend.

use http::HeaderValue;

use crate::mcp::Mismatch;
use crate::model::RouteName;
use crate::stats::AuthResult;
use crate::upstream::{ClientFault, UpstreamError};

use super::head::HeadError;

/// Why a request is answered here instead of by a backend.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    /// The head is invalid or ambiguous.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The client's address is not let in.
    #[error("this route is not open to the client's address")]
    Address,
    /// The web page that the request comes from is not let in.
    #[error("this route does not answer pages of this origin; `origins` lists those that it does")]
    Page,
    /// A host that may be a stranger's, over loopback.
    #[error(
        "over loopback this route does not go by this host, unless `match.host` names it or a proxy of `forwarding.trusted_proxies` passes it on"
    )]
    Rebound,
    /// The client has as many event streams open as it may have.
    #[error("this client has as many event streams open as it may have")]
    Crowded,
    /// As many requests are under way as may be.
    #[error("too many requests are under way")]
    Busy,
    /// The caller's token is not believed, or there is none.
    #[error("{}", told(*result))]
    Auth {
        /// What the look at it came to.
        result: AuthResult,
        /// What the caller is told to do about it, as `WWW-Authenticate`.
        challenge: Option<HeaderValue>,
    },
    /// No route takes the request.
    #[error("no route takes this request")]
    NoRoute,
    /// No backend of the route takes traffic.
    #[error("route {route} has no backend that takes traffic")]
    NoBackend {
        /// The route.
        route: RouteName,
    },
    /// The backend did not answer.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The session's id is not one of ours, or nothing can carry it on.
    #[error("session not found")]
    UnknownSession,
    /// The session is being opened elsewhere, which takes its time.
    #[error("the session is being opened elsewhere, which takes its time")]
    Moving,
    /// The backend's stream is compressed, so that nobody can tell where its messages go.
    #[error(
        "the server compresses its event stream, though nobody asked for that: where its messages go cannot be told"
    )]
    Packed,
    /// The session was to end, and its server is gone or has forgotten it: it has ended.
    #[error("the session has ended")]
    Ended,
    /// A candidate's call failed, and stable would not open its session.
    #[error("route {route} could not answer in the candidate's place")]
    NoStandIn {
        /// The route.
        route: RouteName,
    },
    /// The headers of a request contradict its body.
    #[error(transparent)]
    Mismatch(Mismatch),
    /// The backend does not speak of the era without sessions, in which it was asked.
    #[error("the protocol version is not supported here")]
    OtherEra {
        /// The version of the request.
        requested: Box<str>,
    },
    /// The client's body is at fault.
    #[error(transparent)]
    Body(ClientFault),
}

/// What a caller is told whose token is not believed. More would help those who try to forge one.
fn told(result: AuthResult) -> &'static str {
    match result {
        AuthResult::NoToken => "this route asks for a bearer token",
        AuthResult::BadRequest => "the request does not have one bearer token",
        AuthResult::Expired => "the token has expired",
        AuthResult::Scope => "the token's scope is not enough",
        AuthResult::NoKeys => "tokens cannot be checked yet",
        AuthResult::Admitted
        | AuthResult::Malformed
        | AuthResult::Algorithm
        | AuthResult::UnknownKey
        | AuthResult::Signature
        | AuthResult::NotYet
        | AuthResult::Issuer
        | AuthResult::Audience
        | AuthResult::Claim => "the token is not accepted",
    }
}
