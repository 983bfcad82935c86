//! Every error of any step becomes an answer here, and nowhere else.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

use crate::upstream::UpstreamError;

use super::answer::Answer;
use super::error::ProxyError;
use super::head::HeadError;
use super::spec::ProtocolSpec;

/// The answer to a request that went wrong, in the words of the route's protocol.
pub(super) fn respond(error: &ProxyError, protocol: ProtocolSpec) -> Response<Answer> {
    let status = status_of(error);
    let (kind, text) = match protocol {
        ProtocolSpec::Http => ("text/plain; charset=utf-8", format!("{error}\n")),
        ProtocolSpec::Mcp => ("application/json", json_rpc(status, error)),
    };
    let mut response = Response::new(Answer::local(Bytes::from(text)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if closes(error) {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn status_of(error: &ProxyError) -> StatusCode {
    match error {
        ProxyError::Head(HeadError::Method) => StatusCode::METHOD_NOT_ALLOWED,
        ProxyError::Head(_)
        | ProxyError::Body
        | ProxyError::Upstream(UpstreamError::ClientBody) => StatusCode::BAD_REQUEST,
        ProxyError::NoRoute | ProxyError::UnknownSession => StatusCode::NOT_FOUND,
        ProxyError::NoBackend { .. } => StatusCode::SERVICE_UNAVAILABLE,
        ProxyError::Upstream(error) => match error {
            UpstreamError::HeadTimeout { .. } | UpstreamError::ConnectTimeout { .. } => {
                StatusCode::GATEWAY_TIMEOUT
            }
            UpstreamError::Resolve { .. }
            | UpstreamError::Connect { .. }
            | UpstreamError::Broken { .. }
            | UpstreamError::ClientBody => StatusCode::BAD_GATEWAY,
        },
    }
}

/// Whether the connection is of no more use: what follows on it may not be a request.
fn closes(error: &ProxyError) -> bool {
    match error {
        ProxyError::Head(_) | ProxyError::Body => true,
        ProxyError::Upstream(error) => matches!(error, UpstreamError::ClientBody),
        ProxyError::NoRoute | ProxyError::NoBackend { .. } | ProxyError::UnknownSession => false,
    }
}

/// The error as JSON-RPC: -32001 for a session that is gone, as MCP's SDKs use it, else -32603.
fn json_rpc(status: StatusCode, error: &ProxyError) -> String {
    let code = if status == StatusCode::NOT_FOUND {
        -32001
    } else {
        -32603
    };
    let error = serde_json::json!({ "code": code, "message": error.to_string() });
    serde_json::json!({ "jsonrpc": "2.0", "error": error, "id": null }).to_string()
}
