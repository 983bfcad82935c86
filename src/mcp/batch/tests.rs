//! Which request of a batch was answered how.

use proptest::prelude::*;

use crate::mcp::{AnswerScanner, Format, RequestPeek};

use super::*;

fn facts(body: &str) -> RequestFacts {
    let mut peek = RequestPeek::new();
    peek.feed(body.as_bytes());
    peek.finish().unwrap()
}

/// A scanner for the answer to a batch of pings with these ids, as JSON.
fn scanner(format: Format, ids: &[&str]) -> AnswerScanner {
    let ping = |id: &&str| format!(r#"{{"id":{id},"method":"ping"}}"#);
    let pings: Vec<_> = ids.iter().map(ping).collect();
    let note = r#"{"method":"notifications/cancelled"}"#;
    let body = format!("[{note},{}]", pings.join(","));
    let batch = Batch::of(&facts(&body));
    assert!(batch.is_some());
    AnswerScanner::new(format).to_batch(batch)
}

fn end(mut scanner: AnswerScanner) -> (Vec<(usize, Outcome)>, Outcome) {
    scanner.end()
}

#[test]
fn one_request_is_no_batch() {
    for body in [
        r#"{"id":1,"method":"ping"}"#,
        r#"[{"id":1,"method":"ping"},{"method":"notifications/initialized"}]"#,
        r#"[{"method":"notifications/initialized"}]"#,
    ] {
        assert!(Batch::of(&facts(body)).is_none(), "{body}");
    }
}

#[test]
fn a_batch_is_over_when_all_its_responses_have_passed_in_any_order() {
    let mut scanner = scanner(Format::EventStream, &["1", "2", "\"3\""]);
    scanner.feed(b"data: {\"id\":\"\\u0033\",\"result\":{}}\n\n");
    assert_eq!(scanner.news(), [(2, Outcome::Success)]);
    scanner.feed(b"data: {\"id\":2,\"method\":\"sampling/createMessage\"}\n\n");
    assert_eq!(scanner.news(), []);
    assert!(!scanner.response_seen());
    let mut cut = scanner.clone();
    scanner.feed(b"data: [{\"id\":2.0,\"error\":{\"code\":-32602}},{\"id\":1,\"result\":1}]\n\n");

    assert!(scanner.response_seen());
    let news = [(1, Outcome::CallerError), (0, Outcome::Success)];
    assert_eq!(scanner.news(), news);
    assert_eq!(scanner.worst(), Some(Outcome::CallerError));
    let broken = [(0, Outcome::Broken), (1, Outcome::Broken)];
    assert_eq!(cut.end(), (broken.into(), Outcome::Broken));
}

#[test]
fn in_one_text_a_missing_response_is_the_servers_fault() {
    let mut scanner = scanner(Format::Json, &["1", "2", "3"]);
    scanner.feed(br#"[{"id":3,"result":{"isError":true}},{"id":1,"result":{}}"#);
    assert_eq!(scanner.news(), []);
    scanner.feed(b"]");

    assert!(scanner.response_seen());
    let news = [
        (2, Outcome::ToolError),
        (0, Outcome::Success),
        (1, Outcome::ServerError),
    ];
    assert_eq!(scanner.news(), news);
    assert_eq!(scanner.worst(), Some(Outcome::ServerError));
}

#[test]
fn an_error_to_nobody_is_everybodys_who_got_no_answer() {
    for id in ["null", "7"] {
        let mut scanner = scanner(Format::Json, &["1", "2"]);
        scanner.feed(format!(r#"{{"id":{id},"error":{{"code":-32600}}}}"#).as_bytes());

        let all = [(0, Outcome::CallerError), (1, Outcome::CallerError)];
        assert_eq!(scanner.news(), all, "{id}");
        assert_eq!(scanner.worst(), Some(Outcome::CallerError));
    }
}

#[test]
fn a_success_to_nobody_hides_no_missing_response() {
    for (format, missing) in [
        (Format::Json, Outcome::ServerError),
        (Format::EventStream, Outcome::Broken),
    ] {
        for stray in [
            r#"{"id":1,"result":{}}"#,
            r#"{"id":7,"result":{}}"#,
            r#"{"id":null,"result":{}}"#,
        ] {
            let mut scanner = scanner(format, &["1", "2"]);
            let text = match format {
                Format::Json => format!(r#"[{{"id":1,"result":{{}}}},{stray}]"#),
                Format::EventStream => {
                    format!("data: {{\"id\":1,\"result\":{{}}}}\n\ndata: {stray}\n\n")
                }
            };
            scanner.feed(text.as_bytes());
            assert_eq!(scanner.response_seen(), format == Format::Json);

            let mut news = scanner.news();
            news.extend(scanner.end().0);
            assert_eq!(news, [(0, Outcome::Success), (1, missing)], "{stray}");
        }
    }
}

#[test]
fn ids_that_come_twice_are_answered_one_after_the_other() {
    let mut scanner = scanner(Format::EventStream, &["1", "1", "1"]);
    scanner.feed(b"data: {\"id\":1,\"result\":{}}\n\ndata: {\"id\":1,\"error\":{}}\n\n");
    assert!(!scanner.response_seen());
    scanner.feed(b"data: {\"id\":1,\"result\":{}}\n\n");

    assert!(scanner.response_seen());
    let outcomes = [Outcome::Success, Outcome::ProtocolError, Outcome::Success];
    let news: Vec<_> = outcomes.into_iter().enumerate().collect();
    assert_eq!(scanner.news(), news);
}

#[test]
fn an_id_that_is_too_long_is_whoever_is_left() {
    let long = format!("\"{}\"", "x".repeat(RequestId::MAX_BYTES + 1));
    let mut scanner = scanner(Format::EventStream, &[&long, "1"]);
    scanner.feed(format!("data: {{\"id\":{long},\"error\":{{}}}}\n\n").as_bytes());
    scanner.feed(b"data: {\"id\":1,\"result\":{}}\n\n");

    // The long one is not told from null.
    assert!(!scanner.response_seen());
    let (news, worst) = end(scanner);
    assert_eq!(news, [(1, Outcome::Success), (0, Outcome::ProtocolError)]);
    assert_eq!(worst, Outcome::ProtocolError);
}

#[test]
fn what_a_broken_event_said_is_forgotten() {
    let mut scanner = scanner(Format::EventStream, &["1", "2"]);
    scanner.feed(b"data: [{\"id\":1,\"result\":{}},\n\ndata: {\"id\":2,\"result\":{}}\n\n");

    let (news, worst) = end(scanner);
    assert_eq!(news, [(1, Outcome::Success), (0, Outcome::Broken)]);
    assert_eq!(worst, Outcome::Broken);
}

#[test]
fn a_flood_of_responses_is_bounded() {
    let mut scanner = scanner(Format::Json, &["1", "2"]);
    scanner.feed(b"[");
    for _ in 0..100_000 {
        scanner.feed(br#"{"id":3,"result":{}},"#);
    }
    scanner.feed(br#"{"id":1,"result":{}}]"#);

    assert_eq!(scanner.news().len(), 2);
}

proptest! {
    #[test]
    fn every_request_has_one_outcome_however_the_answer_is_cut(
        ids in prop::collection::vec(0u8..6, 2..64),
        answers in prop::collection::vec((0u8..8, any::<bool>(), any::<bool>()), 0..90),
        as_events: bool,
        cut in 1usize..40,
    ) {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let answers: Vec<String> = answers.iter().map(|(id, fails, asks)| match (fails, asks) {
            (_, true) => format!(r#"{{"method":"ping","id":{id}}}"#),
            (true, _) => format!(r#"{{"error":{{"code":-1}},"id":{id}}}"#),
            (false, _) => format!(r#"{{"id":{id},"result":{{"id":9}}}}"#),
        }).collect();
        let (format, text) = if as_events {
            let events = answers.iter().map(|answer| format!("data: {answer}\n\n"));
            (Format::EventStream, events.collect::<String>())
        } else {
            (Format::Json, format!("[{}]", answers.join(",")))
        };
        let mut scanner = scanner(format, &ids);
        let mut news = Vec::new();
        for piece in text.as_bytes().chunks(cut) {
            scanner.feed(piece);
            news.extend(scanner.news());
            if scanner.response_seen() {
                break;
            }
        }
        if !scanner.response_seen() {
            news.extend(scanner.end().0);
        }

        let mut places: Vec<usize> = news.iter().map(|(place, _)| *place).collect();
        places.sort_unstable();
        let all: Vec<usize> = (0..ids.len()).collect();
        prop_assert_eq!(places, all);
    }
}
