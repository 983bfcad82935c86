//! Why a request is answered here instead of by a backend.

use crate::model::RouteName;
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
    /// As many requests are under way as may be.
    #[error("too many requests are under way")]
    Busy,
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
    /// A candidate's call failed, and stable would not open its session.
    #[error("route {route} could not answer in the candidate's place")]
    NoStandIn {
        /// The route.
        route: RouteName,
    },
    /// The client's body is at fault.
    #[error(transparent)]
    Body(ClientFault),
}
