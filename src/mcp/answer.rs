//! The JSON-RPC answers that the gateway gives in its own name.

use std::sync::Arc;

use serde_json::json;

use super::revision::Revision;

/// The id of a request, as its answer must repeat it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestId {
    /// A number, in the caller's own spelling.
    Number(Arc<str>),
    /// A text, without its quotes and escapes.
    Text(Arc<str>),
}

impl RequestId {
    /// Longest id that is kept, in bytes; a longer one is answered with `null`.
    pub const MAX_BYTES: usize = 256;

    fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Number(text) => serde_json::from_str(text).unwrap_or_default(),
            Self::Text(text) => json!(**text),
        }
    }
}

/// Why the gateway itself answers a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The session is not known, or cannot be continued: 404.
    SessionNotFound,
    /// The request cannot be understood: 400.
    BadRequest,
    /// Who asks is not known: 401.
    Unauthorized,
    /// Who asks may not: 403.
    Forbidden,
    /// The body says something else than the headers: 400.
    HeaderMismatch,
    /// Who answers now does not speak this revision: 400.
    UnsupportedVersion,
    /// The backend's answer could not be had or understood: 502.
    BadGateway,
    /// The caller has too much under way: 429.
    TooMany,
    /// No backend can take the call now: 503.
    Unavailable,
    /// The backend did not answer in time: 504.
    Timeout,
}

impl Refusal {
    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        match self {
            Self::SessionNotFound => 404,
            Self::BadRequest | Self::HeaderMismatch | Self::UnsupportedVersion => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::BadGateway => 502,
            Self::TooMany => 429,
            Self::Unavailable => 503,
            Self::Timeout => 504,
        }
    }

    /// The JSON-RPC code. Few have a code that clients know; the others share the first of the codes that servers may define.
    pub fn code(self) -> i32 {
        match self {
            Self::SessionNotFound => -32001,
            Self::BadRequest => -32600,
            Self::HeaderMismatch => -32020,
            Self::UnsupportedVersion => -32022,
            Self::Unauthorized
            | Self::Forbidden
            | Self::BadGateway
            | Self::TooMany
            | Self::Unavailable
            | Self::Timeout => -32000,
        }
    }

    /// What a caller is told when there is nothing better to say.
    pub fn message(self) -> &'static str {
        match self {
            Self::SessionNotFound => "Session not found",
            Self::BadRequest => "Bad request",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::HeaderMismatch => "Header mismatch",
            Self::UnsupportedVersion => "Unsupported protocol version",
            Self::BadGateway => "Bad gateway",
            Self::TooMany => "Too many requests",
            Self::Unavailable => "Service unavailable",
            Self::Timeout => "Gateway timeout",
        }
    }

    /// The body of the answer: a JSON-RPC error for the request `id`, or for none that is
    /// known. `detail` follows the message and may hold any text.
    pub fn body(self, id: Option<&RequestId>, detail: Option<&str>) -> Vec<u8> {
        let message = match detail {
            None => self.message().to_owned(),
            Some(detail) => format!("{}: {detail}", self.message()),
        };
        json!({
            "jsonrpc": "2.0",
            "id": id.map(RequestId::to_json),
            "error": { "code": self.code(), "message": message },
        })
        .to_string()
        .into_bytes()
    }
}

/// The body of the answer to a request of the era without sessions, where whoever answers now
/// speaks only of the era with sessions: a client of both then opens a session. `requested` is the
/// version that it asked for.
pub fn unsupported_version(id: Option<&RequestId>, requested: &str) -> Vec<u8> {
    let refusal = Refusal::UnsupportedVersion;
    let supported: Vec<_> = Revision::with_sessions().map(Revision::as_str).collect();
    json!({
        "jsonrpc": "2.0",
        "id": id.map(RequestId::to_json),
        "error": {
            "code": refusal.code(),
            "message": refusal.message(),
            "data": { "supported": supported, "requested": requested },
        },
    })
    .to_string()
    .into_bytes()
}

/// The last event of a `subscriptions/listen` stream that ends here, as a server says it that
/// is about to stop: a client then listens anew, and does not take it for a fault.
pub fn end_of_listening(id: &RequestId) -> Vec<u8> {
    let message = json!({
        "jsonrpc": "2.0",
        "id": id.to_json(),
        "result": {
            "resultType": "complete",
            "_meta": { "io.modelcontextprotocol/subscriptionId": id.to_json() },
        },
    });
    format!("event: message\ndata: {message}\n\n").into_bytes()
}

/// Whether the body of a refusal is one that the era without sessions knows, so that whoever
/// sent it speaks of that era.
pub fn is_of_requests_era(status: u16, body: &[u8]) -> bool {
    let body: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let code = body.and_then(|body| body.get("error")?.get("code")?.as_i64());
    match code {
        Some(-32022..=-32020 | -32602) => true,
        Some(-32601) => status == 404,
        Some(_) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_session_is_told_as_clients_expect_it() {
        let body = Refusal::SessionNotFound.body(None, None);

        assert_eq!(
            String::from_utf8(body).unwrap(),
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}"#
        );
    }

    #[test]
    fn the_requests_id_is_repeated_in_its_own_type() {
        for (id, text) in [
            (RequestId::Number("7".into()), "7"),
            (RequestId::Number("-1".into()), "-1"),
            (
                RequestId::Text("a\"\n\u{202e}".into()),
                "\"a\\\"\\n\u{202e}\"",
            ),
        ] {
            let body = String::from_utf8(Refusal::Timeout.body(Some(&id), None)).unwrap();

            assert!(body.contains(&format!(r#""id":{text},"#)), "{body}");
        }
    }

    #[test]
    fn an_unsupported_version_is_told_with_those_that_have_sessions() {
        let id = RequestId::Text("probe".into());
        let body = unsupported_version(Some(&id), "2026-07-28");
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();

        assert_eq!(
            (&body["id"], &body["error"]["code"]),
            (&json!("probe"), &json!(-32022))
        );
        let data = &body["error"]["data"];
        assert_eq!(data["requested"], "2026-07-28");
        assert_eq!(data["supported"][0], "2025-11-25");
        let supported = data["supported"].as_array().unwrap();
        assert!(!supported.contains(&json!("2026-07-28")));
    }

    #[test]
    fn refusals_of_the_era_without_sessions_are_known() {
        for (status, body, known) in [
            (400, r#"{"error":{"code":-32022}}"#, true),
            (400, r#"{"error":{"code":-32020}}"#, true),
            (400, r#"{"error":{"code":-32602}}"#, true),
            (404, r#"{"error":{"code":-32601}}"#, true),
            (400, r#"{"error":{"code":-32601}}"#, false),
            (400, r#"{"error":{"code":-32000}}"#, false),
            (404, r#"{"error":{"code":-32001}}"#, false),
            (400, "", false),
            (405, "Method Not Allowed", false),
        ] {
            assert_eq!(
                is_of_requests_era(status, body.as_bytes()),
                known,
                "{status} {body}"
            );
        }
    }

    #[test]
    fn no_detail_breaks_out_of_its_string() {
        let detail = "endpoint \"x\"\r\n\0\u{1b}";
        let body = Refusal::BadGateway.body(None, Some(detail));
        let parsed: serde_json::Value = serde_json::from_slice(&body).unwrap();

        assert_eq!(parsed["error"]["message"], format!("Bad gateway: {detail}"));
        assert!(body.iter().all(|byte| *byte >= 0x20));
    }
}
