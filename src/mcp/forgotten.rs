//! Refusals by which servers say that they do not know a session.
//!
//! The protocol wants 404. Real servers that keep sessions in memory say 400 too, and tell it
//! apart from other refusals only in words.

use serde_json::Value;

/// Codes of JSON-RPC under which servers say it.
const CODES: [i64; 3] = [-32000, -32001, -32600];
/// Words of which one goes with "session" there.
const WORDS: [&str; 8] = [
    "not found",
    "no valid",
    "invalid",
    "unknown",
    "expired",
    "terminated",
    "no such",
    "does not exist",
];

/// Whether an answer to a request with a session's id says that there is no such session, so
/// that nothing of the request was done.
pub fn is_unknown_session(status: u16, body: &[u8]) -> bool {
    let body = body.trim_ascii();
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    let error = parsed.as_ref().and_then(|body| body.get("error"));
    let code = error.and_then(|error| error.get("code")?.as_i64());
    let message = || error.and_then(|error| error.get("message")?.as_str());
    // The answer to a call has its id, and may say that what the call sought was not found.
    let answers = || parsed.as_ref().is_some_and(has_id);
    match (status, code) {
        (404, Some(code)) if CODES.contains(&code) => {
            !answers() || message().is_some_and(names_the_session)
        }
        (404, None) => true,
        (400, Some(code)) if CODES.contains(&code) => message().is_some_and(names_the_session),
        (400, None) if parsed.is_none() => std::str::from_utf8(body).is_ok_and(names_the_session),
        _ => false,
    }
}

fn has_id(answer: &Value) -> bool {
    answer.get("id").is_some_and(|id| !id.is_null())
}

/// The same of an answer to a GET: a server that has no streams says 404 to every GET, whatever
/// session it is of, so that only words tell.
pub fn is_unknown_session_of_stream(status: u16, body: &[u8]) -> bool {
    is_unknown_session(status, body) && std::str::from_utf8(body).is_ok_and(names_the_session)
}

fn names_the_session(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("not initialized")
        || text.contains("session") && WORDS.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: i64, message: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","error":{{"code":{code},"message":"{message}"}},"id":null}}"#)
    }

    fn answered(code: i64, message: &str) -> String {
        error(code, message).replace("null", "7")
    }

    #[test]
    fn what_real_servers_say_is_known() {
        for (status, body) in [
            // The TypeScript SDK's transport, and the servers written after its examples.
            (404, error(-32001, "Session not found")),
            (
                400,
                error(-32000, "Bad Request: No valid session ID provided"),
            ),
            (400, error(-32000, "Bad Request: Server not initialized")),
            // The Python SDK, new and old.
            (404, error(-32600, "Session not found")),
            (
                404,
                error(-32600, "Not Found: Invalid or expired session ID"),
            ),
            (400, "Bad Request: No valid session ID provided".to_owned()),
            // rmcp.
            (404, "Not Found: Session not found".to_owned()),
            (404, answered(-32001, "Session not found")),
            (404, error(-32000, "Not found")),
            (404, String::new()),
            (404, "<html>".to_owned()),
        ] {
            assert!(is_unknown_session(status, body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn a_server_without_streams_has_not_forgotten_the_session() {
        for (body, says_so) in [
            (error(-32001, "Session not found"), true),
            ("Not Found: Session not found".to_owned(), true),
            (error(-32000, "Not found"), false),
            ("<pre>Cannot GET /mcp</pre>".to_owned(), false),
            (r#"{"detail":"Not Found"}"#.to_owned(), false),
            (String::new(), false),
        ] {
            let body = body.as_bytes();
            assert!(is_unknown_session(404, body));
            assert_eq!(is_unknown_session_of_stream(404, body), says_so);
        }
    }

    #[test]
    fn other_refusals_are_not_taken_for_it() {
        for (status, body) in [
            (404, error(-32601, "Method not found")),
            (404, error(-32002, "Resource not found")),
            (404, answered(-32000, "Order not found")),
            (404, answered(-32001, "Order not found")),
            (
                400,
                error(-32000, "Bad Request: Mcp-Session-Id header is required"),
            ),
            (
                400,
                error(-32600, "Invalid Request: Server already initialized"),
            ),
            (400, error(-32602, "Invalid session in the arguments")),
            (
                400,
                error(-32000, "Bad Request: Unsupported protocol version"),
            ),
            (400, r#"{"why":"invalid session"}"#.to_owned()),
            (400, "Bad Request: Missing session ID".to_owned()),
            (400, String::new()),
            (401, "Unauthorized: Session not found".to_owned()),
            (409, error(-32000, "Conflict: session not found")),
        ] {
            assert!(!is_unknown_session(status, body.as_bytes()), "{body}");
        }
    }
}
