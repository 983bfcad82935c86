//! The JSON-RPC answers that the gateway gives in its own name.

use serde_json::json;

/// The id of a request, as its answer must repeat it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestId {
    /// A number, in the caller's own spelling.
    Number(Box<str>),
    /// A text, without its quotes and escapes.
    Text(Box<str>),
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
    /// The backend's answer could not be had or understood: 502.
    BadGateway,
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
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::BadGateway => 502,
            Self::Unavailable => 503,
            Self::Timeout => 504,
        }
    }

    /// The JSON-RPC code. Only a lost session and a bad request have codes that clients know;
    /// the others share the first of the codes that servers may define.
    pub fn code(self) -> i32 {
        match self {
            Self::SessionNotFound => -32001,
            Self::BadRequest => -32600,
            Self::Unauthorized
            | Self::Forbidden
            | Self::BadGateway
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
            Self::BadGateway => "Bad gateway",
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
    fn no_detail_breaks_out_of_its_string() {
        let detail = "endpoint \"x\"\r\n\0\u{1b}";
        let body = Refusal::BadGateway.body(None, Some(detail));
        let parsed: serde_json::Value = serde_json::from_slice(&body).unwrap();

        assert_eq!(parsed["error"]["message"], format!("Bad gateway: {detail}"));
        assert!(body.iter().all(|byte| *byte >= 0x20));
    }
}
