//! How a caller is spoken to who is turned away before anything was decided about the request.

use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use http::request::Parts;
use http::{HeaderValue, Method};

use super::head::Head;
use super::pipeline;
use super::worker::Worker;

/// Whether a request is a message of JSON-RPC: a POST of JSON to an MCP route, whose sender reads what such a
/// route answers. Looked at in this order, so that to turn others away costs nothing more.
pub(super) fn is_json_rpc(worker: &Worker, parts: &Parts) -> bool {
    parts.method == Method::POST
        && is_json(&parts.headers)
        && reads_answers(&parts.headers)
        && is_for_mcp(worker, parts)
}

fn is_json(fields: &HeaderMap) -> bool {
    let kind = fields.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let kind = kind.and_then(|kind| kind.split(|byte| *byte == b';').next());
    kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"application/json"))
}

fn reads_answers(fields: &HeaderMap) -> bool {
    if !fields.contains_key(ACCEPT) {
        // Who says nothing reads anything (RFC 9110, 12.5.1).
        return true;
    }
    let kinds = fields.get_all(ACCEPT).into_iter();
    let mut kinds =
        kinds.flat_map(|value| value.as_bytes().split(|byte| matches!(byte, b',' | b';')));
    kinds.any(|kind| {
        let kind = kind.trim_ascii();
        kind.eq_ignore_ascii_case(b"application/json")
            || kind.eq_ignore_ascii_case(b"text/event-stream")
            || kind.eq_ignore_ascii_case(b"application/*")
            || kind == b"*/*"
    })
}

fn is_for_mcp(worker: &Worker, parts: &Parts) -> bool {
    let view = worker.view();
    let Ok(head) = Head::read(parts, view.snapshot.limits.request_fields) else {
        return false;
    };
    pipeline::find_route(&view, &head).is_some_and(|route| route.is_mcp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (name.parse().unwrap(), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn a_body_is_json_whatever_is_said_beside_it() {
        for kind in ["application/json", "Application/JSON ; charset=utf-8"] {
            assert!(is_json(&fields(&[("content-type", kind)])), "{kind}");
        }
        for kind in ["", "application/jsonl", "text/plain; application/json"] {
            assert!(!is_json(&fields(&[("content-type", kind)])), "{kind}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn a_caller_reads_what_it_accepts() {
        for kinds in [
            "application/json",
            "text/html, Text/Event-Stream;q=0.5",
            "application/json;q=0.9,*/*",
            "*/*",
            "text/html, Application/*;q=0.1",
        ] {
            assert!(reads_answers(&fields(&[("accept", kinds)])), "{kinds}");
        }
        for kinds in ["", "text/*", "text/plain", "application/json-seq"] {
            assert!(!reads_answers(&fields(&[("accept", kinds)])), "{kinds}");
        }
        let two = fields(&[("accept", "text/html"), ("accept", "application/json")]);
        assert!(reads_answers(&two) && reads_answers(&HeaderMap::new()));
    }
}
