//! What holds for every body whatever, as checks over bytes: for the fuzz targets and the tests.
//!
//! The first byte of an input says how the rest is cut into chunks.

use bytes::Bytes;
use serde_json::Value;

use super::events::{EventKind, EventReader, EventSink};
use super::{
    AnswerScanner, Finding, FirstEvent, Format, Method, RequestFacts, RequestPeek, Unclear,
    WholeEvents, first_event, without_endpoints,
};

/// A request's body says the same in any chunks, and never what another parser contradicts.
pub fn peek(input: &[u8]) {
    let (size, body) = cut(input);
    let whole = peeked(body.chunks(body.len().max(1)));
    assert_eq!(whole, peeked(body.chunks(size)));

    let (Ok(facts), Ok(Value::Object(body))) = (&whole, serde_json::from_slice(body)) else {
        return;
    };
    let method = body
        .get("method")
        .and_then(Value::as_str)
        .unwrap_or_default();
    assert_eq!(facts.method, Method::parse(method.as_bytes()), "{body:?}");
    if let Some(tool) = &facts.tool {
        let named = body.get("params").and_then(|params| params.get("name"));
        assert_eq!(named.and_then(Value::as_str), Some(&**tool), "{body:?}");
    }
    assert!(facts.members.is_empty(), "{body:?}");
}

/// An answer says the same in any chunks, is read where another parser reads it, and an event
/// stream says what its events say one by one.
pub fn events(input: &[u8]) {
    let (size, body) = cut(input);
    for format in [Format::Json, Format::EventStream] {
        let whole = scanned(format, body.chunks(body.len().max(1)));
        assert_eq!(whole, scanned(format, body.chunks(size)));
        if format == Format::Json && serde_json::from_slice::<Value>(body).is_ok() {
            assert!(!whole.malformed);
        }
    }

    let mut framed = Framed::default();
    EventReader::new().feed(body, &mut framed);
    let by_lines = events_by_lines(body);
    let kind_of = |kind: &[u8]| match kind {
        b"" | b"message" => EventKind::Message,
        _ => EventKind::Other,
    };
    let kinds = by_lines.iter();
    let kinds: Vec<_> = kinds
        .map(|(kind, data)| (kind_of(kind), data.clone()))
        .collect();
    assert_eq!(framed.events, kinds);
    endpoints(size, body, &by_lines);
}

/// Cutting a stream between its events loses nothing, and `endpoint` events are found as clients
/// find them.
fn endpoints(size: usize, stream: &[u8], by_lines: &[(Vec<u8>, Vec<u8>)]) {
    for most_bytes in [8, usize::MAX] {
        let mut whole = WholeEvents::new(most_bytes);
        let pieces = stream.chunks(size).map(Bytes::copy_from_slice);
        let passed: Vec<u8> = pieces.flat_map(|piece| whole.pass(&piece)).collect();
        assert!(stream.starts_with(&passed), "{most_bytes}");
        let held = stream.len() - passed.len();
        assert!(held <= most_bytes, "{held}");
    }

    let first = by_lines.first().map(|(kind, data)| match &**kind {
        b"endpoint" => FirstEvent::Endpoint(String::from_utf8_lossy(data).into_owned()),
        _ => FirstEvent::Other,
    });
    assert_eq!(first_event(stream).ok().map(|(event, _)| event), first);

    // What stands after the first event is no beginning of a stream.
    let later = [b"\n", stream].concat();
    let mut left = events_by_lines(&later);
    left.retain(|(kind, _)| kind != b"endpoint");
    let kept = without_endpoints(later.into());
    assert_eq!(events_by_lines(&kept), left);
}

fn cut(input: &[u8]) -> (usize, &[u8]) {
    let (first, rest) = input.split_first().unwrap_or((&0, &[]));
    (usize::from(*first).max(1), rest)
}

fn peeked<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Result<RequestFacts, Unclear> {
    let mut peek = RequestPeek::new();
    for chunk in chunks {
        // To the end, whatever the peek says: something may follow a complete message.
        peek.feed(chunk);
    }
    peek.finish()
}

fn scanned<'a>(format: Format, chunks: impl Iterator<Item = &'a [u8]>) -> Finding {
    let mut scanner = AnswerScanner::new(format);
    chunks.for_each(|chunk| scanner.feed(chunk));
    scanner.finish()
}

/// Collects events with all of their data.
#[derive(Debug, Default)]
struct Framed {
    data: Vec<u8>,
    events: Vec<(EventKind, Vec<u8>)>,
}

impl EventSink for Framed {
    fn data(&mut self, piece: &[u8]) {
        self.data.extend(piece);
    }

    fn dispatch(&mut self, kind: EventKind) {
        self.events.push((kind, std::mem::take(&mut self.data)));
    }
}

/// The types and data of a whole stream's events, line by line, as the standard of HTML tells it.
fn events_by_lines(stream: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let stream = stream.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(stream);
    let (mut events, mut data, mut kind) = (Vec::new(), None::<Vec<u8>>, Vec::new());
    for line in lines(stream) {
        if line.is_empty() {
            if let Some(data) = data.take() {
                events.push((kind.clone(), data));
            }
            kind.clear();
            continue;
        }
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let name = halves.next().unwrap_or_default();
        let value = halves.next().unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match (name, &mut data) {
            (b"data", Some(data)) => data.extend([b"\n", value].concat()),
            (b"data", None) => data = Some(value.to_vec()),
            (b"event", _) => kind = value.to_vec(),
            _ => {}
        }
    }
    events
}

/// The complete lines of a stream: each ends with CR LF, LF or CR.
fn lines(stream: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = stream;
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        let (line, tail) = rest.split_at(end);
        lines.push(line);
        let ending = if tail.starts_with(b"\r\n") { 2 } else { 1 };
        rest = tail.get(ending..).unwrap_or_default();
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What bodies and streams are made of, good and bad.
    const PIECES: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\u006d",
        "\\ud800",
        "\"id\":1",
        "\"method\":\"tools/call\"",
        "\"method\":\"initialize\"",
        "\"params\":{\"name\":\"work\"}",
        "\"Method\":\"x\"",
        "null",
        "-0.5e9",
        "true",
        "\"result\":{\"isError\":true}",
        "\"error\":{\"code\":-32603}",
        "\"jsonrpc\":\"2.0\"",
        " ",
        "\u{feff}",
        "data:",
        "data: ",
        "data",
        "event: message",
        "event: other",
        "event: endpoint",
        "event: endpoint\ndata: /m\n\n",
        "event",
        "id: 1",
        "retry: 5",
        ": comment",
        "\n",
        "\n\n",
        "\r",
        "\r\n",
        "\r\n\r\n",
    ];

    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let some = prop::collection::vec(prop::sample::select(PIECES), 0..24);
        (any::<u8>(), some)
            .prop_map(|(size, some)| [&[size % 8], some.concat().as_bytes()].concat())
    }

    proptest! {
        #[test]
        fn no_body_says_what_another_parser_contradicts(input in pieces()) {
            peek(&input);
        }

        #[test]
        fn a_stream_is_framed_as_line_by_line(input in pieces()) {
            events(&input);
        }
    }
}
