//! What is told of requests, and what is not.

use proptest::prelude::*;

use crate::mcp::oracle::{Doc, Style, chunks, docs, mutate};
use crate::mcp::{Kind, Method, RequestFacts, RequestId, Tie, TieKind};

use super::{Peeked, RequestPeek, Unclear};

fn peek(text: &str) -> Result<RequestFacts, Unclear> {
    peek_parts(&[text.as_bytes()])
}

fn peek_parts(parts: &[&[u8]]) -> Result<RequestFacts, Unclear> {
    let mut peek = RequestPeek::new();
    for part in parts {
        if peek.feed(part) == Peeked::Enough {
            break;
        }
    }
    peek.finish()
}

#[test]
fn a_tool_call_tells_its_tool_wherever_it_stands() {
    for text in [
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"work","arguments":{"name":"no"}}}"#,
        r#"{"params":{"arguments":{"name":"no","method":"x"},"name":"work"},"method":"tools/call","id":7}"#,
        r#"{"params":{"_meta":{"name":"no"},"n\u0061me":"w\u006frk"},"method":"tools\/call","id":7}"#,
    ] {
        let facts = peek(text).unwrap();

        assert_eq!(
            (facts.kind, facts.method),
            (Kind::Request, Method::ToolsCall),
            "{text}"
        );
        assert_eq!(facts.tool.as_deref(), Some("work"), "{text}");
        assert_eq!(facts.id, Some(RequestId::Number("7".into())), "{text}");
    }
}

#[test]
fn names_are_only_told_at_their_own_depth_and_method() {
    for text in [
        r#"{"id":1,"method":"tools/call","name":"work","params":{}}"#,
        r#"{"id":1,"method":"tools/call","params":{"a":{"name":"work"}}}"#,
        r#"{"id":1,"method":"tools/call","params":[{"name":"work"}]}"#,
        r#"{"id":1,"method":"tools/call","params":{"name":["work"]}}"#,
        r#"{"id":1,"method":"tools/call","params":"name"}"#,
        r#"{"id":1,"method":"prompts/get","params":{"name":"work"}}"#,
    ] {
        assert_eq!(peek(text).unwrap().tool, None, "{text}");
    }
}

#[test]
fn an_initialize_tells_the_version_it_asks_for() {
    let facts = peek(
        r#"{"id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{}}}"#,
    )
    .unwrap();

    assert!(facts.opens_session() && facts.expects_answer());
    assert_eq!(facts.protocol_version.as_deref(), Some("2025-06-18"));
}

#[test]
fn a_subscription_tells_its_resource() {
    let facts = peek(r#"{"id":"s","method":"resources/subscribe","params":{"uri":"a://b"}}"#);

    let facts = facts.unwrap();
    assert_eq!(facts.uri.as_deref(), Some("a://b"));
    assert_eq!(facts.id, Some(RequestId::Text("s".into())));
}

#[test]
fn requests_notifications_and_responses_are_told_apart() {
    for (text, kind) in [
        (r#"{"method":"ping","id":1}"#, Kind::Request),
        (r#"{"method":"ping","id":null}"#, Kind::Request),
        (
            r#"{"method":"notifications/initialized"}"#,
            Kind::Notification,
        ),
        (r#"{"id":1,"result":{}}"#, Kind::Response),
        (r#"{"id":1,"error":{"code":1}}"#, Kind::Response),
    ] {
        assert_eq!(peek(text).unwrap().kind, kind, "{text}");
    }
}

#[test]
fn a_batch_tells_its_messages_in_order() {
    let facts = peek(r#" [{"method":"tools/list","id":1}, {"method":"x"} ]"#).unwrap();

    assert_eq!(facts.kind, Kind::Batch);
    assert!(facts.expects_answer() && !facts.opens_session());
    let methods: Vec<_> = facts.members.iter().map(|m| (m.kind, m.method)).collect();
    let expected = [
        (Kind::Request, Method::ToolsList),
        (Kind::Notification, Method::Other),
    ];
    assert_eq!(methods, expected);
}

#[test]
fn what_readers_could_understand_differently_is_ambiguous() {
    for text in [
        r#"{"method":"tools/list","method":"tools/call","id":1}"#,
        r#"{"method":"tools/list","Method":"tools/call","id":1}"#,
        r#"{"method":"tools/list","m\u0065thod":"tools/call","id":1}"#,
        r#"{"METHOD":"tools/call","id":1}"#,
        r#"{"id":1,"method":"ping","id":2}"#,
        r#"{"id":1,"method":"tools/call","params":{"name":"a"},"params":{"name":"b"}}"#,
        r#"{"id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#,
        r#"{"id":1,"method":"tools/call","params":{"name":"a","Name":"b"}}"#,
        r#"[{"id":1,"method":"ping"},{"id":1,"method":"ping","method":"ping"}]"#,
    ] {
        assert_eq!(peek(text), Err(Unclear::Ambiguous), "{text}");
    }
}

#[test]
fn what_is_no_message_is_not_told() {
    for text in [
        "{}",
        "[]",
        "7",
        "\"x\"",
        "null",
        "[7]",
        "[[]]",
        "[{\"method\":\"a\"},7]",
        r#"{"id":1}"#,
        r#"{"method":7,"id":1}"#,
        r#"{"method":["a"],"id":1}"#,
        r#"{"result":{}}"#,
        r#"{"id":1,"method":"ping","result":{}}"#,
    ] {
        assert_eq!(peek(text), Err(Unclear::NoMessage), "{text}");
    }
    for text in ["", " ", "{", r#"{"method":"ping","id":1"#] {
        assert_eq!(peek(text), Err(Unclear::Incomplete), "{text}");
    }
    for text in ["x", "{]", r#"{"method":"ping","id":01}"#] {
        assert_eq!(peek(text), Err(Unclear::Malformed), "{text}");
    }
}

#[test]
fn texts_out_of_bounds_are_not_kept() {
    let call = |tool: &str| {
        peek(&format!(
            r#"{{"id":1,"method":"tools/call","params":{{"name":"{tool}"}}}}"#
        ))
        .unwrap()
    };
    let longest = "x".repeat(RequestFacts::TOOL_BYTES);
    let id = "1".repeat(RequestId::MAX_BYTES + 1);
    let method = "m".repeat(5000);

    assert_eq!(call(&longest).tool.as_deref(), Some(&*longest));
    assert_eq!(call(&(longest + "x")).tool, None);
    assert_eq!(call(&"x".repeat(5000)).tool, None);
    assert_eq!(
        peek(&format!(r#"{{"id":{id},"method":"ping"}}"#))
            .unwrap()
            .id,
        None
    );
    let facts = peek(&format!(r#"{{"id":1,"method":"{method}"}}"#)).unwrap();
    assert_eq!((facts.kind, facts.method), (Kind::Request, Method::Other));
}

#[test]
fn a_long_batch_is_not_told() {
    let batch = |length| format!("[{}]", vec![r#"{"method":"a"}"#; length].join(","));

    assert_eq!(
        peek(&batch(RequestFacts::BATCH)).unwrap().members.len(),
        RequestFacts::BATCH
    );
    assert_eq!(
        peek(&batch(RequestFacts::BATCH + 1)),
        Err(Unclear::LongBatch)
    );
}

/// The facts that are told of a document's messages, by another reading.
fn expected(doc: &Doc) -> Option<Vec<(Kind, Method)>> {
    let messages = match doc {
        Doc::Array(items) => items.as_slice(),
        Doc::Null | Doc::Bool(_) | Doc::Number(_) | Doc::Text(_) | Doc::Object(_) => {
            std::slice::from_ref(doc)
        }
    };
    messages.iter().map(expected_of_one).collect()
}

fn expected_of_one(message: &Doc) -> Option<(Kind, Method)> {
    let Doc::Object(members) = message else {
        return None;
    };
    unique(members, &["method", "id", "params", "result", "error"])?;
    for (name, value) in members {
        if let ("params", Doc::Object(inner)) = (name.as_str(), value) {
            unique(inner, &["name", "uri", "protocolVersion"])?;
        }
    }
    let get = |name: &str| members.iter().find(|m| m.0 == name).map(|m| &m.1);
    let answers = get("result").or(get("error")).is_some();
    match (get("method"), get("id").is_some(), answers) {
        (Some(Doc::Text(method)), id, false) => {
            let kind = if id {
                Kind::Request
            } else {
                Kind::Notification
            };
            Some((kind, Method::parse(method.as_bytes())))
        }
        (None, true, true) => Some((Kind::Response, Method::Other)),
        _ => None,
    }
}

fn unique(members: &[(String, Doc)], names: &[&str]) -> Option<()> {
    for name in names {
        let near: Vec<_> = members
            .iter()
            .filter(|m| m.0.eq_ignore_ascii_case(name))
            .collect();
        if near.len() > 1 || near.iter().any(|m| m.0 != *name) {
            return None;
        }
    }
    Some(())
}

proptest! {
    #[test]
    fn facts_are_those_of_another_reader_under_any_chunking(doc in docs(), style: u64, cut: u64) {
        let text = doc.write(&mut Style::new(style));

        let facts = peek_parts(&chunks(text.as_bytes(), cut));

        let told = facts.ok().map(|facts| match facts.kind {
            Kind::Batch => facts.members.iter().map(|m| (m.kind, m.method)).collect(),
            Kind::Request | Kind::Notification | Kind::Response => vec![(facts.kind, facts.method)],
        });
        let expected = expected(&doc).filter(|messages| !messages.is_empty());
        prop_assert_eq!(told, expected, "{}", text);
    }

    #[test]
    fn broken_requests_never_panic_and_are_never_taken_for_less(doc in docs(), style: u64, change: u64, cut: u64) {
        let bytes = mutate(&doc.write(&mut Style::new(style)), change);

        let whole = peek_parts(&[&bytes]);
        let parts = peek_parts(&chunks(&bytes, cut));

        // Reading stops at the end of the document, so that only what follows it may differ.
        prop_assert!(whole == parts || whole == Err(Unclear::Malformed));
    }

    #[test]
    fn any_bytes_can_be_peeked_at(bytes: Vec<u8>, cut: u64) {
        let _ = peek_parts(&chunks(&bytes, cut));
    }
}

#[test]
fn what_names_a_request_in_its_own_era_is_told() {
    for (method, params, named) in [
        ("prompts/get", r#"{"name":"p"}"#, Some("p")),
        ("resources/read", r#"{"uri":"a://b"}"#, Some("a://b")),
        ("tasks/get", r#"{"taskId":"t"}"#, Some("t")),
        ("tasks/cancel", r#"{"task\u0049d":"t"}"#, Some("t")),
        ("tasks/get", r#"{"name":"t"}"#, None),
        ("tools/list", r#"{"name":"t"}"#, None),
    ] {
        let facts = peek(&format!(
            r#"{{"id":1,"method":"{method}","params":{params}}}"#
        ));

        assert_eq!(facts.unwrap().mirrored_name(), named, "{method} {params}");
    }
}

#[test]
fn the_claimed_version_is_the_one_in_the_meta_of_the_params() {
    const NAME: &str = "io.modelcontextprotocol/protocolVersion";
    for (params, claimed) in [
        (
            format!(r#"{{"_meta":{{"{NAME}":"2026-07-28"}}}}"#),
            Some("2026-07-28"),
        ),
        (
            format!(r#"{{"_meta":{{"x":{{"{NAME}":"no"}},"{NAME}":"yes"}}}}"#),
            Some("yes"),
        ),
        (format!(r#"{{"{NAME}":"2026-07-28"}}"#), None),
        (format!(r#"{{"a":{{"{NAME}":"2026-07-28"}}}}"#), None),
        (format!(r#"{{"_meta":{{"{NAME}":7}}}}"#), None),
    ] {
        let facts = peek(&format!(r#"{{"id":1,"method":"ping","params":{params}}}"#));

        assert_eq!(facts.unwrap().claimed.as_deref(), claimed, "{params}");
    }
    let twice = format!(r#"{{"_meta":{{"{NAME}":"a","{NAME}":"b"}}}}"#);
    let twice = peek(&format!(r#"{{"id":1,"method":"ping","params":{twice}}}"#));
    assert_eq!(twice, Err(Unclear::Ambiguous));
}

#[test]
fn what_is_taken_back_is_told_where_the_method_says_so() {
    let cancels = |method: &str, id: &str| {
        let text = format!(r#"{{"method":"{method}","params":{{"requestId":{id}}}}}"#);
        peek(&text).unwrap().cancels.map(|id| *id)
    };
    let method = "notifications/cancelled";

    let number = Some(RequestId::Number("7".into()));
    assert_eq!(cancels(method, "7"), number);
    let text = Some(RequestId::Text("a".into()));
    assert_eq!(cancels(method, r#""a""#), text);
    assert_eq!(cancels("notifications/progress", "7"), None);
    for odd in ["null", "{}", "[7]", "true"] {
        assert_eq!(cancels(method, odd), None, "{odd}");
    }
}

#[test]
fn a_request_is_tied_by_the_value_that_it_brings_back() {
    let long = "s".repeat(5_000);
    let tie = |kind, value: &str| Some(Tie::new(kind, value.as_bytes()));
    for (method, params, expected) in [
        (
            "tasks/update",
            r#"{"taskId":"t"}"#.to_owned(),
            tie(TieKind::Task, "t"),
        ),
        (
            "tools/list",
            r#"{"cursor":"c"}"#.to_owned(),
            tie(TieKind::Cursor, "c"),
        ),
        (
            "tools/list",
            r#"{"cursor":"\u0063"}"#.to_owned(),
            tie(TieKind::Cursor, "c"),
        ),
        (
            "tools/call",
            format!(r#"{{"cursor":"c","requestState":"{long}","name":"a"}}"#),
            tie(TieKind::State, &long),
        ),
        ("tools/call", r#"{"taskId":"t"}"#.to_owned(), None),
        (
            "tools/call",
            r#"{"arguments":{"requestState":"s"}}"#.to_owned(),
            None,
        ),
        (
            "tools/call",
            r#"{"requestState":{"a":"s"}}"#.to_owned(),
            None,
        ),
        ("tools/call", r#"{"requestState":""}"#.to_owned(), None),
        ("tools/call", r#"{"requestState":7}"#.to_owned(), None),
    ] {
        let text = format!(r#"{{"id":1,"method":"{method}","params":{params}}}"#);
        let parts: Vec<&[u8]> = text.as_bytes().chunks(7).collect();

        assert_eq!(
            peek_parts(&parts).unwrap().tie,
            expected,
            "{method} {params}"
        );
    }
}
