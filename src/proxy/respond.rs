//! Every error of any step becomes an answer here, and nowhere else.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Response, StatusCode, Version};
use http_body::Body;

use crate::listener::Connection;
use crate::mcp::{self, Refusal, RequestId};
use crate::model::Limit;
use crate::stats::AuthResult;
use crate::upstream::{ClientFault, LateBody, UpstreamError};

use super::answer::Answer;
use super::error::ProxyError;
use super::head::HeadError;
use super::pages;

/// How an error is to be told.
#[derive(Debug, Default)]
pub(super) struct Caller {
    /// The caller speaks JSON-RPC.
    pub(super) json_rpc: bool,
    /// The request's id, as far as it is known.
    pub(super) id: Option<RequestId>,
    /// The body that may tell it later.
    pub(super) late: Option<Rc<LateBody>>,
    /// The web page that asks, if the file lists it.
    pub(super) page: Option<HeaderValue>,
}

impl Caller {
    /// The request's id, as far as it is known by now.
    fn id(&self) -> Option<&RequestId> {
        let late = || self.late.as_ref()?.facts()?.id.as_ref();
        self.id.as_ref().or_else(late)
    }
}

/// When to come again after a refusal for want of room.
const BUSY: Duration = Duration::from_secs(1);

/// Whether an answer is made here.
pub(super) fn is_own(answered: &Result<Response<Answer>, ProxyError>) -> bool {
    let is_local = |response: &Response<Answer>| matches!(response.body(), Answer::Local(_));
    answered.as_ref().map_or(true, is_local)
}

/// The answer as the client's connection takes it, whatever came of the request.
pub(super) fn finish(
    answered: Result<Response<Answer>, ProxyError>,
    caller: Caller,
    (connection, version): (&Connection, Version),
) -> Response<Answer> {
    let mut response = answered.unwrap_or_else(|error| {
        tracing::debug!(error = &error as &dyn std::error::Error, "answered here");
        respond(&error, &caller)
    });
    if let Some(page) = caller.page {
        pages::let_read(response.headers_mut(), page);
    }
    if version == Version::HTTP_10 && response.body().size_hint().exact().is_none() {
        connection.answers_to_its_end();
    }
    if connection.answers_last() && !response.status().is_informational() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

/// The answer to a request that went wrong, in the words of its caller.
fn respond(error: &ProxyError, caller: &Caller) -> Response<Answer> {
    if let ProxyError::Ended = error {
        return Response::new(Answer::nothing());
    }
    if let ProxyError::Head(fault) = error {
        if *fault == HeadError::Fields {
            Limit::RequestFields.hit();
        } else {
            count_malformed();
        }
    }
    let (kind, text) = if caller.json_rpc {
        ("application/json", as_json_rpc(error, caller))
    } else {
        ("text/plain; charset=utf-8", plain(error).into_bytes())
    };
    let mut response = Response::new(Answer::local(Bytes::from(text)));
    *response.status_mut() = status_of(error);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let is_busy = matches!(
        error,
        ProxyError::Busy
            | ProxyError::Crowded
            | ProxyError::Moving
            | ProxyError::Upstream(UpstreamError::Exhausted { .. })
    );
    let after = if let ProxyError::Upstream(UpstreamError::Shed { after, .. }) = error {
        Some(*after)
    } else {
        is_busy.then_some(BUSY)
    };
    if let Some(after) = after {
        response.headers_mut().insert(RETRY_AFTER, seconds(after));
    }
    advise(error, response.headers_mut());
    if closes(error) {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A client's request, or its connection, was refused for what it is.
pub(super) fn count_malformed() {
    metrics::counter!("switchback_malformed_requests_total").increment(1);
}

fn as_json_rpc(error: &ProxyError, caller: &Caller) -> Vec<u8> {
    let id = caller.id();
    if let ProxyError::OtherEra { requested } = error {
        return mcp::unsupported_version(id, requested);
    }
    refusal(error).body(id, detail(error).as_deref())
}

/// A time in whole seconds, one at least: `Retry-After` knows no parts.
fn seconds(after: Duration) -> HeaderValue {
    HeaderValue::from(after.as_secs_f64().ceil().max(1.0) as u64)
}

/// RFC 6750, 3.1; without keys it is not the caller who has to do something.
fn status_of_auth(result: AuthResult) -> StatusCode {
    match result {
        AuthResult::BadRequest => StatusCode::BAD_REQUEST,
        AuthResult::Scope => StatusCode::FORBIDDEN,
        AuthResult::NoKeys => StatusCode::SERVICE_UNAVAILABLE,
        AuthResult::Admitted
        | AuthResult::NoToken
        | AuthResult::Malformed
        | AuthResult::Algorithm
        | AuthResult::UnknownKey
        | AuthResult::Signature
        | AuthResult::Expired
        | AuthResult::NotYet
        | AuthResult::Issuer
        | AuthResult::Audience
        | AuthResult::Claim => StatusCode::UNAUTHORIZED,
    }
}

/// What a caller who is not let in is told to do about it.
fn advise(error: &ProxyError, fields: &mut HeaderMap) {
    let ProxyError::Auth { result, challenge } = error else {
        return;
    };
    if let Some(challenge) = challenge {
        fields.insert(WWW_AUTHENTICATE, challenge.clone());
    }
    if *result == AuthResult::NoKeys {
        fields.insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
}

fn plain(error: &ProxyError) -> String {
    match detail(error) {
        Some(detail) => format!("{detail}\n"),
        None => format!("{}\n", refusal(error).message()),
    }
}

fn status_of(error: &ProxyError) -> StatusCode {
    match error {
        ProxyError::Head(HeadError::Method) => StatusCode::METHOD_NOT_ALLOWED,
        ProxyError::Head(HeadError::Fields) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        ProxyError::Head(HeadError::Expectation) => StatusCode::EXPECTATION_FAILED,
        ProxyError::Head(_) | ProxyError::Mismatch(_) | ProxyError::OtherEra { .. } => {
            StatusCode::BAD_REQUEST
        }
        ProxyError::Body(fault) | ProxyError::Upstream(UpstreamError::ClientBody(fault)) => {
            match fault {
                ClientFault::Broken => StatusCode::BAD_REQUEST,
                ClientFault::TooSlow => StatusCode::REQUEST_TIMEOUT,
                ClientFault::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            }
        }
        ProxyError::Address | ProxyError::Page | ProxyError::Rebound => StatusCode::FORBIDDEN,
        ProxyError::Auth { result, .. } => status_of_auth(*result),
        ProxyError::Ended => StatusCode::OK,
        ProxyError::Crowded => StatusCode::TOO_MANY_REQUESTS,
        ProxyError::NoRoute | ProxyError::UnknownSession => StatusCode::NOT_FOUND,
        ProxyError::Busy
        | ProxyError::Moving
        | ProxyError::NoBackend { .. }
        | ProxyError::Upstream(UpstreamError::Shed { .. } | UpstreamError::Exhausted { .. }) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ProxyError::Upstream(
            UpstreamError::HeadTimeout { .. } | UpstreamError::ConnectTimeout { .. },
        ) => StatusCode::GATEWAY_TIMEOUT,
        ProxyError::Upstream(
            UpstreamError::Resolve { .. }
            | UpstreamError::Connect { .. }
            | UpstreamError::Tls { .. }
            | UpstreamError::Switched { .. }
            | UpstreamError::Malformed { .. }
            | UpstreamError::Broken { .. },
        )
        | ProxyError::Packed
        | ProxyError::NoStandIn { .. } => StatusCode::BAD_GATEWAY,
    }
}

/// The same as JSON-RPC.
fn refusal(error: &ProxyError) -> Refusal {
    match error {
        ProxyError::UnknownSession | ProxyError::Ended => Refusal::SessionNotFound,
        ProxyError::Crowded => Refusal::TooMany,
        ProxyError::Address | ProxyError::Page | ProxyError::Rebound => Refusal::Forbidden,
        ProxyError::Mismatch(_) => Refusal::HeaderMismatch,
        ProxyError::OtherEra { .. } => Refusal::UnsupportedVersion,
        ProxyError::Auth { result, .. } => match status_of_auth(*result) {
            StatusCode::FORBIDDEN => Refusal::Forbidden,
            StatusCode::BAD_REQUEST => Refusal::BadRequest,
            StatusCode::SERVICE_UNAVAILABLE => Refusal::Unavailable,
            _ => Refusal::Unauthorized,
        },
        ProxyError::Head(_)
        | ProxyError::Body(_)
        | ProxyError::NoRoute
        | ProxyError::Upstream(UpstreamError::ClientBody(_)) => Refusal::BadRequest,
        ProxyError::Busy
        | ProxyError::Moving
        | ProxyError::NoBackend { .. }
        | ProxyError::Upstream(UpstreamError::Shed { .. } | UpstreamError::Exhausted { .. }) => {
            Refusal::Unavailable
        }
        ProxyError::Upstream(
            UpstreamError::HeadTimeout { .. } | UpstreamError::ConnectTimeout { .. },
        ) => Refusal::Timeout,
        ProxyError::Upstream(
            UpstreamError::Resolve { .. }
            | UpstreamError::Connect { .. }
            | UpstreamError::Tls { .. }
            | UpstreamError::Switched { .. }
            | UpstreamError::Malformed { .. }
            | UpstreamError::Broken { .. },
        )
        | ProxyError::Packed
        | ProxyError::NoStandIn { .. } => Refusal::BadGateway,
    }
}

/// What is told beyond the refusal's own words; clients know the session's by heart. Addresses of
/// backends are for the log, not for callers.
fn detail(error: &ProxyError) -> Option<String> {
    match error {
        ProxyError::Upstream(UpstreamError::ClientBody(fault)) => Some(fault.to_string()),
        ProxyError::UnknownSession
        | ProxyError::Ended
        | ProxyError::OtherEra { .. }
        | ProxyError::Upstream(_) => None,
        ProxyError::Head(_)
        | ProxyError::Body(_)
        | ProxyError::Address
        | ProxyError::Page
        | ProxyError::Rebound
        | ProxyError::Busy
        | ProxyError::Crowded
        | ProxyError::Moving
        | ProxyError::Packed
        | ProxyError::Auth { .. }
        | ProxyError::NoRoute
        | ProxyError::NoStandIn { .. }
        | ProxyError::Mismatch(_)
        | ProxyError::NoBackend { .. } => Some(error.to_string()),
    }
}

/// Whether the connection is of no more use: what follows on it may not be a request.
fn closes(error: &ProxyError) -> bool {
    match error {
        // The next try may find another gateway behind the same name, and this one has room again.
        ProxyError::Head(_) | ProxyError::Body(_) | ProxyError::Busy => true,
        ProxyError::Upstream(error) => matches!(error, UpstreamError::ClientBody(_)),
        ProxyError::Address
        | ProxyError::Page
        | ProxyError::Rebound
        | ProxyError::Mismatch(_)
        | ProxyError::OtherEra { .. }
        | ProxyError::NoStandIn { .. }
        | ProxyError::Auth { .. }
        | ProxyError::NoRoute
        | ProxyError::NoBackend { .. }
        | ProxyError::Crowded
        | ProxyError::Moving
        | ProxyError::Packed
        | ProxyError::Ended
        | ProxyError::UnknownSession => false,
    }
}
