//! The scanner against another reading of the same answers.

use proptest::prelude::*;

use crate::mcp::oracle::{Reading, Style, chunks, docs, judge, mutate, parse};
use crate::model::Outcome;

use super::{AnswerScanner, Finding, Format};

fn scan(format: Format, parts: &[&[u8]]) -> Finding {
    let mut scanner = AnswerScanner::new(format);
    for part in parts {
        scanner.feed(part);
    }
    scanner.finish()
}

fn json(text: &str) -> Finding {
    scan(Format::Json, &[text.as_bytes()])
}

fn found(responses: u32, worst: Outcome) -> Finding {
    Finding {
        worst: Some(worst),
        responses,
        malformed: false,
    }
}

#[test]
fn a_result_is_a_success_and_is_error_in_it_a_failed_tool() {
    for (text, outcome) in [
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Outcome::Success),
        (r#"{"result":null}"#, Outcome::Success),
        (r#"{"result":"isError"}"#, Outcome::Success),
        (r#"{"result":{"isError":false}}"#, Outcome::Success),
        (r#"{"result":{"isError":"true"}}"#, Outcome::Success),
        (r#"{"result":{"isError":true}}"#, Outcome::ToolError),
        (
            r#"{"result":{"isErr\u006fr":true},"id":1}"#,
            Outcome::ToolError,
        ),
        (
            r#"{"result":{"content":[{"text":"}{\"isError\":false"}],"isError":true}}"#,
            Outcome::ToolError,
        ),
        (
            r#"{"result":{"isError":true,"content":[]}}"#,
            Outcome::ToolError,
        ),
        (
            r#"{"result":{"isError":true,"isError":false}}"#,
            Outcome::Success,
        ),
        (r#"{"result":{"a":{"isError":true}}}"#, Outcome::Success),
        (r#"{"result":[{"isError":true}]}"#, Outcome::Success),
        (r#"{"result":{"isError":[true]}}"#, Outcome::Success),
        (r#"{"result":{},"isError":true}"#, Outcome::Success),
        (
            r#"{"result":{"structuredContent":{"isError":true,"error":{"code":1}}}}"#,
            Outcome::Success,
        ),
        (r#"{"result":{"\"isError":true}}"#, Outcome::Success),
        (
            "\u{feff} {\"result\" :\t{ \"isError\"\r\n: true } }\n",
            Outcome::ToolError,
        ),
    ] {
        assert_eq!(json(text), found(1, outcome), "{text}");
    }
}

#[test]
fn an_error_is_told_by_its_code() {
    for (error, outcome) in [
        (r#"{"code":-32601,"message":"x"}"#, Outcome::MethodNotFound),
        (r#"{"message":"x","code":-32602}"#, Outcome::CallerError),
        (r#"{"code":-32600}"#, Outcome::CallerError),
        (r#"{"code":-32700}"#, Outcome::CallerError),
        (r#"{"code":-3.2601e4}"#, Outcome::MethodNotFound),
        (r#"{"code":-32601.0}"#, Outcome::MethodNotFound),
        (r#"{"code":-32601.5}"#, Outcome::ProtocolError),
        (r#"{"code":-32603}"#, Outcome::ProtocolError),
        (r#"{"code":-32000}"#, Outcome::ProtocolError),
        (r#"{"code":1e999}"#, Outcome::ProtocolError),
        (r#"{"code":"-32601"}"#, Outcome::ProtocolError),
        (r#"{"code":null}"#, Outcome::ProtocolError),
        (r#"{"code":[-32601]}"#, Outcome::ProtocolError),
        (r#"{"data":{"code":-32601}}"#, Outcome::ProtocolError),
        (r#"{"code":-32601,"code":-32603}"#, Outcome::ProtocolError),
        (r#"{"code":-32603,"code":-32601}"#, Outcome::MethodNotFound),
        (
            r#"{"code":-32601,"data":{"code":-32603}}"#,
            Outcome::MethodNotFound,
        ),
        ("{}", Outcome::ProtocolError),
        ("[]", Outcome::ProtocolError),
        ("false", Outcome::ProtocolError),
        ("\"oops\"", Outcome::ProtocolError),
    ] {
        let text = format!(r#"{{"id":1,"error":{error}}}"#);

        assert_eq!(json(&text), found(1, outcome), "{text}");
    }
    let padded = format!(r#"{{"error":{{"code":-32601.{}}}}}"#, "0".repeat(100));
    assert_eq!(json(&padded), found(1, Outcome::ProtocolError));
}

#[test]
fn of_members_with_one_name_the_last_one_counts() {
    for (text, outcome) in [
        (
            r#"{"result":{"isError":true},"result":{}}"#,
            Outcome::Success,
        ),
        (
            r#"{"result":{},"r\u0065sult":{"isError":true}}"#,
            Outcome::ToolError,
        ),
        (
            r#"{"result":{"isError":true,"isError":null}}"#,
            Outcome::Success,
        ),
        (
            r#"{"result":{"isError":true},"error":{"code":1},"error":null}"#,
            Outcome::ToolError,
        ),
        (
            r#"{"error":{"code":-32601},"error":{}}"#,
            Outcome::ProtocolError,
        ),
        (
            r#"{"error":7,"error":{"code":-32601,"data":[{}]}}"#,
            Outcome::MethodNotFound,
        ),
        (
            r#"{"method":"x","result":1,"method":null}"#,
            Outcome::Success,
        ),
    ] {
        assert_eq!(json(text), found(1, outcome), "{text}");
    }
    let turned = r#"{"result":1,"method":null,"method":"x"}"#;
    assert_eq!(json(turned), Finding::default());
}

#[test]
fn an_empty_error_beside_a_result_is_none() {
    assert_eq!(
        json(r#"{"error":null,"result":{}}"#),
        found(1, Outcome::Success)
    );
    assert_eq!(json(r#"{"id":1,"error":null}"#), Finding::default());
    assert_eq!(
        json(r#"{"method":null,"result":1}"#),
        found(1, Outcome::Success)
    );
}

#[test]
fn the_servers_own_requests_and_notifications_are_no_responses() {
    for text in [
        r#"{"method":"ping","id":1}"#,
        r#"{"method":"notifications/message","params":{"result":{"isError":true},"error":1}}"#,
        r#"{"error":{"code":1},"method":"x"}"#,
        r#"{"issuer":"https://example.com"}"#,
        "[]",
        "7",
        "",
        " \r\n",
    ] {
        assert_eq!(json(text), Finding::default(), "{text}");
    }
}

#[test]
fn a_batch_is_as_bad_as_its_worst_response() {
    let text = r#"[{"result":{}},{"method":"x"},{"result":{"isError":true}},{"error":{"code":-32602}},
        [{"error":{}}],7]"#;

    assert_eq!(json(text), found(3, Outcome::ToolError));
}

#[test]
fn what_is_not_json_is_malformed_whatever_came_before() {
    for text in [
        "{\"result\":{}",
        "<html>",
        "{\"result\":{\"a\":[1,,2]}}",
        "{\"result\":{\"a\":{\"b\":1]}}",
        "{\"result\":{\"a\":{\"b\" 1}}}",
        "{\"result\":{\"a\":[\"\\x\"]}}",
        "{\"result\":{\"a\":[01]}}",
        "{\"result\":{\"a\":[1,]}}",
        "{\"result\":{\"a\":{\"b\":1,}}}",
        "{\"params\":[nul],\"result\":{}}",
        "{\"result\":{}}x",
        "{\"result\":{}}{}",
        "\"",
        "[1",
    ] {
        let told = Finding {
            malformed: true,
            ..Finding::default()
        };
        assert_eq!(json(text), told, "{text}");
    }
    let deep = format!(r#"{{"result":{}{}}}"#, "[".repeat(127), "]".repeat(127));
    assert!(json(&deep).malformed);
}

#[test]
fn a_stream_is_over_as_a_call_when_its_response_has_passed() {
    let mut scanner = AnswerScanner::new(Format::EventStream);
    scanner
        .feed(b"id: 1\ndata:\n\nevent: message\ndata: {\"method\":\"notifications/progress\"}\n\n");
    assert!(!scanner.response_seen());
    scanner.feed(b"event: message\ndata: {\"id\":1,\"result\":{\"isEr");
    scanner.feed(b"ror\":true}}\n");
    assert!(!scanner.response_seen());
    scanner.feed(b"\n");

    assert!(scanner.response_seen());
    assert_eq!(scanner.worst(), Some(Outcome::ToolError));
    assert_eq!(scanner.finish(), found(1, Outcome::ToolError));
}

#[test]
fn a_json_answer_is_over_with_its_last_brace() {
    let mut scanner = AnswerScanner::new(Format::Json);
    scanner.feed(b"{\"result\":{}");
    assert!(!scanner.response_seen());
    scanner.feed(b"}");

    assert!(scanner.response_seen());
    assert_eq!(scanner.worst(), Some(Outcome::Success));
}

#[test]
fn what_follows_a_json_answer_takes_it_back() {
    let mut scanner = AnswerScanner::new(Format::Json);
    scanner.feed(b"{\"result\":{}} \n");
    assert!(scanner.response_seen());
    scanner.feed(b"}");

    assert!(!scanner.response_seen());
    assert_eq!(scanner.worst(), None);
    assert_eq!(scanner.outcome(), Outcome::ServerError);
}

#[test]
fn an_event_cut_short_is_none_and_a_broken_one_does_not_hide_the_next() {
    let events = |text: &str| scan(Format::EventStream, &[text.as_bytes()]);

    assert_eq!(events("data: {\"result\":{}}\n"), Finding::default());
    assert_eq!(
        events("event: ping\ndata: nonsense\n\n"),
        Finding::default()
    );
    let broken = events("data: {\"result\":\n\ndata: {\"result\":{}}\n\n");
    assert!(broken.malformed && broken.responses == 1);
    assert!(events("data: \"a\ndata: b\"\n\n").malformed);
    assert_eq!(
        events("data: {\"result\"\ndata: :{}}\n\n"),
        found(1, Outcome::Success)
    );
}

fn as_events(texts: &[String], style: &mut Style) -> String {
    let end = ["\n", "\r\n", "\r"][style.below(3) as usize];
    let mut stream = String::new();
    for text in texts {
        if style.below(3) == 0 {
            stream += [": comment\n", "id: 7\n", "retry: 5\n", "\n"][style.below(4) as usize];
        }
        if style.below(2) == 0 {
            stream += "event: message\n";
        }
        for line in text.split('\n') {
            stream += ["data: ", "data:"][style.below(2) as usize];
            stream += line;
            stream += "\n";
        }
        stream += "\n";
    }
    stream.replace('\n', end)
}

proptest! {
    #[test]
    fn answers_are_judged_as_another_reader_judges_them(doc in docs(), style: u64, cut: u64) {
        let text = doc.write(&mut Style::new(style));
        let (responses, worst) = judge(&doc);

        let found = scan(Format::Json, &chunks(text.as_bytes(), cut));

        prop_assert_eq!(found, Finding { worst, responses, malformed: false }, "{}", text);
    }

    #[test]
    fn event_streams_are_judged_by_the_worst_of_their_events(
        docs in prop::collection::vec(docs(), 0..4), seed: u64, cut: u64,
    ) {
        let mut style = Style::new(seed);
        let texts: Vec<_> = docs.iter().map(|doc| doc.write(&mut style)).collect();
        let stream = as_events(&texts, &mut style);

        let found = scan(Format::EventStream, &chunks(stream.as_bytes(), cut));

        let verdicts = docs.iter().map(judge);
        let worst = verdicts.clone().filter_map(|v| v.1).fold(None, |w, o| Some(super::worse(w, o)));
        let responses = verdicts.map(|v| v.0).sum();
        prop_assert_eq!(found, Finding { worst, responses, malformed: false }, "{}", stream);
    }

    #[test]
    fn broken_answers_are_judged_alike_under_any_chunking(doc in docs(), style: u64, change: u64, cut: u64) {
        let bytes = mutate(&doc.write(&mut Style::new(style)), change);
        let whole = scan(Format::Json, &[&bytes]);

        prop_assert_eq!(scan(Format::Json, &chunks(&bytes, cut)), whole);
        match parse(&bytes) {
            Reading::Document(doc) => prop_assert_eq!((whole.responses, whole.worst), judge(&doc)),
            Reading::Malformed => {
                let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
                prop_assert_eq!(whole.malformed, !text.trim_ascii().is_empty());
                prop_assert_eq!((whole.responses, whole.worst), (0, None));
            }
            Reading::Differs => {}
        }
    }

    #[test]
    fn any_bytes_are_judged_alike_under_any_chunking(bytes: Vec<u8>, cut: u64) {
        for format in [Format::Json, Format::EventStream] {
            prop_assert_eq!(scan(format, &chunks(&bytes, cut)), scan(format, &[&bytes]));
        }
    }
}

#[test]
fn what_ends_without_a_response_is_no_answer() {
    let outcome = |format, text: &str| {
        let mut scanner = AnswerScanner::new(format);
        scanner.feed(text.as_bytes());
        scanner.outcome()
    };
    for text in ["", "{}", "[]", r#"{"method":"x"}"#, "{"] {
        assert_eq!(outcome(Format::Json, text), Outcome::ServerError, "{text}");
    }
    for text in ["", ": open\n\n", "data: {\"method\":\"x\"}\n\n"] {
        let of = outcome(Format::EventStream, text);
        assert_eq!(of, Outcome::Broken, "{text:?}");
    }
    let resumed = outcome(Format::EventStream, "id: 7\ndata:\n\n");
    assert_eq!(resumed, Outcome::Success);
    let answered = outcome(Format::EventStream, "data: {\"result\":1}\n\n");
    assert_eq!(answered, Outcome::Success);
}
