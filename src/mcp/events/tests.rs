//! The framing against a reading of the whole text at once.

use proptest::prelude::*;

use crate::mcp::oracle::chunks;

use super::{EventKind, EventReader, EventSink};

#[derive(Debug, Default, PartialEq)]
struct Events {
    current: Vec<u8>,
    done: Vec<(EventKind, Vec<u8>)>,
}

impl EventSink for Events {
    fn data(&mut self, piece: &[u8]) {
        self.current.extend_from_slice(piece);
    }

    fn dispatch(&mut self, kind: EventKind) {
        self.done.push((kind, std::mem::take(&mut self.current)));
    }
}

fn read(parts: &[&[u8]]) -> Vec<(EventKind, Vec<u8>)> {
    let mut reader = EventReader::new();
    let mut events = Events::default();
    for part in parts {
        reader.feed(part, &mut events);
    }
    events.done
}

fn messages(text: &str) -> Vec<String> {
    read(&[text.as_bytes()])
        .into_iter()
        .filter(|(kind, _)| *kind == EventKind::Message)
        .map(|(_, data)| String::from_utf8(data).unwrap())
        .collect()
}

/// The events of a text by the words of the HTML standard, line by line.
fn expected(bytes: &[u8]) -> Vec<(EventKind, Vec<u8>)> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut lines = vec![Vec::new()];
    let mut previous = 0;
    for byte in bytes {
        match byte {
            b'\n' if previous == b'\r' => {}
            b'\n' | b'\r' => lines.push(Vec::new()),
            byte => lines.last_mut().unwrap().push(*byte),
        }
        previous = *byte;
    }
    // What follows the last line ending is no line yet.
    lines.pop();
    let (mut events, mut data, mut kind) = (Vec::new(), None::<Vec<u8>>, Vec::new());
    for line in lines {
        if line.is_empty() {
            if let Some(data) = data.take() {
                let message = kind.is_empty() || kind == b"message";
                let kind = if message {
                    EventKind::Message
                } else {
                    EventKind::Other
                };
                events.push((kind, data));
            }
            kind.clear();
            continue;
        }
        let colon = line.iter().position(|b| *b == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or(b"");
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"data" => match &mut data {
                Some(data) => data.extend([b"\n", value].concat()),
                None => data = Some(value.to_vec()),
            },
            b"event" => kind = value.to_vec(),
            _ => {}
        }
    }
    events
}

#[test]
fn every_line_ending_ends_a_line() {
    for end in ["\n", "\r", "\r\n"] {
        let text = "data: a\ndata:b\n\nid: 7\ndata: c\n\n".replace('\n', end);

        assert_eq!(messages(&text), ["a\nb", "c"], "{end:?}");
    }
}

#[test]
fn comments_and_other_fields_are_passed_over() {
    let text =
        ": hello\nid: 1\nretry: 100\ndatax: no\n data: no\nDATA: no\ndata: yes\n:data: no\n\n";

    assert_eq!(messages(text), ["yes"]);
}

#[test]
fn only_events_without_a_type_or_of_type_message_carry_messages() {
    let text = "event: ping\ndata: 1\n\nevent: message\ndata: 2\n\ndata: 3\n\n\
        event\ndata: 4\n\nevent: message2\ndata: 5\n\nevent: x\nevent: message\ndata: 6\n\n\
        event: ping\n\ndata: 7\n\n";

    assert_eq!(messages(text), ["2", "3", "4", "6", "7"]);
}

#[test]
fn an_event_that_is_cut_is_none_and_one_without_data_neither() {
    assert!(messages("data: a\n").is_empty());
    assert!(messages("data: a").is_empty());
    assert!(messages("id: 3\n\n\n\n").is_empty());
    assert_eq!(messages("data\n\n"), [""]);
    assert_eq!(messages("data\ndata\n\n"), ["\n"]);
}

#[test]
fn a_byte_order_mark_is_passed_over_once() {
    assert_eq!(messages("\u{feff}data: a\n\n"), ["a"]);
    assert_eq!(messages("\u{feff}\u{feff}data: a\n\n"), [""; 0]);
    assert_eq!(messages("\n\u{feff}data: a\n\n"), [""; 0]);
}

proptest! {
    #[test]
    fn events_are_those_of_the_standard_under_any_chunking(
        parts in prop::collection::vec(prop::sample::select(vec![
            "data", "event", "id", ":", ": ", " ", "\n", "\r", "\r\n", "\n\n", "message", "{", "é",
            "\u{feff}", "data: x", "event: message",
        ]), 0..40),
        cut: u64,
    ) {
        let text = parts.concat();

        let found = read(&chunks(text.as_bytes(), cut));

        prop_assert_eq!(found, expected(text.as_bytes()));
    }

    #[test]
    fn any_bytes_are_framed_alike(bytes: Vec<u8>, cut: u64) {
        prop_assert_eq!(read(&chunks(&bytes, cut)), expected(&bytes));
    }
}
