//! A replay sends what the client sent, and refuses a server that is not the same to it.

use super::*;
use crate::mcp::record::Wish;

const INITIALIZE: &[u8] =
    br#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
const OPENED: &[u8] =
    br#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{}}}"#;

fn record() -> SessionRecord {
    SessionRecord::new(INITIALIZE, "2025-06-18").unwrap()
}

fn reply(status: u16, format: Format, body: &[u8]) -> ReplayReply<'_> {
    ReplayReply {
        status,
        format: Some(format),
        body,
    }
}

fn accepted() -> ReplayReply<'static> {
    ReplayReply {
        status: 202,
        format: None,
        body: b"",
    }
}

fn open(body: &[u8], format: Format) -> Result<(), ReplayError> {
    Replay::new(record().into()).accept(reply(200, format, body))
}

#[test]
fn a_bare_session_is_opened_in_two_steps() {
    let mut replay = Replay::new(record().into());

    let first = replay.request().unwrap();
    assert_eq!(
        (&*first.body, first.answer),
        (INITIALIZE, ReplayAnswer::Session)
    );
    replay.accept(reply(200, Format::Json, OPENED)).unwrap();
    let second = replay.request().unwrap();
    assert_eq!(second.answer, ReplayAnswer::Accepted);
    assert!(second.body.ends_with(br#""notifications/initialized"}"#));
    replay.accept(accepted()).unwrap();

    assert_eq!((replay.request(), replay.skipped()), (None, 0));
    assert_eq!(replay.version(), "2025-06-18");
}

#[test]
fn wishes_are_repeated_and_refused_ones_passed_over() {
    let level = Bytes::from_static(br#"{"id":3,"method":"logging/setLevel"}"#);
    let record = record()
        .with(Wish::LogLevel(level.clone()), 64)
        .with(Wish::Subscribe("a://\"1".into()), 64)
        .with(Wish::Subscribe("a://2".into()), 64)
        .with(Wish::Subscribe("a://2".into()), 64)
        .with(Wish::Subscribe("a://3".into()), 64)
        .with(Wish::Unsubscribe("a://3".into()), 64);
    let mut replay = Replay::new(record.into());
    replay.accept(reply(200, Format::Json, OPENED)).unwrap();
    replay.accept(accepted()).unwrap();

    assert_eq!(replay.request().unwrap().body, level);
    replay
        .accept(reply(200, Format::Json, br#"{"id":3,"result":{}}"#))
        .unwrap();
    let body: Value = serde_json::from_slice(&replay.request().unwrap().body).unwrap();
    assert_eq!(body["method"], "resources/subscribe");
    assert_eq!(body["params"]["uri"], "a://\"1");
    let refused = b"data: {\"id\":\"x\",\"error\":{\"code\":-32601}}\n\n";
    replay
        .accept(reply(200, Format::EventStream, refused))
        .unwrap();
    assert!(
        replay
            .request()
            .unwrap()
            .body
            .ends_with(br#"{"uri":"a://2"}}"#)
    );
    replay.accept(reply(500, Format::Json, b"oops")).unwrap();

    assert_eq!((replay.request(), replay.skipped()), (None, 2));
}

#[test]
fn the_answer_may_come_in_an_event_stream_behind_others() {
    let stream = [
        b"id: 1\ndata:\n\n: hello\nevent: message\ndata: {\"method\":\"notifications/message\"}\n\n"
            .as_slice(),
        b"data: {\"id\":7,\"result\":{\"protocolVersion\":\"2024-11-05\"}}\n\n",
        b"data: ",
        OPENED,
        b"\n\n",
    ]
    .concat();

    open(&stream, Format::EventStream).unwrap();
}

#[test]
fn a_server_that_does_not_open_the_same_session_is_refused() {
    let json = |body: &str| open(body.as_bytes(), Format::Json).unwrap_err();

    let other = json(r#"{"id":0,"result":{"protocolVersion":"2025-11-25"}}"#);
    assert!(matches!(other, ReplayError::Version { .. }), "{other}");
    assert!(matches!(
        json(r#"{"id":0,"result":{}}"#),
        ReplayError::Version { .. }
    ));
    assert!(matches!(
        json(r#"{"id":0,"error":{"code":-32602}}"#),
        ReplayError::Refused
    ));
    assert!(matches!(
        json(r#"{"id":"0","result":{}}"#),
        ReplayError::NoResponse
    ));
    assert!(matches!(json("{"), ReplayError::Body(BodyError::Json(_))));
    let long = " ".repeat(1024 * 1024 + 1);
    assert!(matches!(
        json(&long),
        ReplayError::Body(BodyError::TooLong { .. })
    ));
    let mut replay = Replay::new(record().into());
    let status = replay.accept(reply(503, Format::Json, OPENED));
    assert!(matches!(status, Err(ReplayError::Status { status: 503 })));
    assert!(matches!(
        replay.accept(accepted()),
        Err(ReplayError::NoResponse)
    ));
}

#[test]
fn a_refused_initialized_ends_the_replay() {
    let mut replay = Replay::new(record().into());
    replay.accept(reply(200, Format::Json, OPENED)).unwrap();

    assert!(matches!(
        replay.accept(reply(400, Format::Json, b"")),
        Err(ReplayError::Status { status: 400 })
    ));
}

#[test]
fn the_chosen_version_is_read_from_the_answer() {
    let of = |body: &[u8]| negotiated_version(Format::Json, body).unwrap();

    assert_eq!(of(OPENED).as_deref(), Some("2025-06-18"));
    assert_eq!(of(br#"{"id":0,"error":{}}"#), None);
    assert_eq!(of(br#"{"id":0,"result":{"protocolVersion":7}}"#), None);
    assert!(negotiated_version(Format::Json, b"<html>").is_err());
}
