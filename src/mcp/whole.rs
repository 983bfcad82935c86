//! Cutting an event stream between its events, so that none is told in part.

use std::ops::{ControlFlow, Range};

use bytes::{Bytes, BytesMut};
use memchr::{memchr2, memmem};

/// Holds what came of an event until the event is complete, up to a bound.
#[derive(Debug)]
pub struct WholeEvents {
    lines: Lines,
    held: BytesMut,
    most_bytes: usize,
    /// A part of the event that is coming has been passed on, since it was too long to be held.
    is_inside: bool,
}

/// How far the lines of a stream are.
#[derive(Clone, Copy, Debug)]
struct Lines {
    /// Nothing has come of the line that is coming.
    is_blank: bool,
    /// The last byte was a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    /// The last line was blank.
    after_blank: bool,
}

impl WholeEvents {
    /// Holds at most `most_bytes` of an event.
    pub fn new(most_bytes: usize) -> Self {
        Self {
            lines: Lines::new(),
            held: BytesMut::new(),
            most_bytes,
            is_inside: false,
        }
    }

    /// The next bytes of the stream come. Gives whatever is complete now, and what is too long.
    pub fn pass(&mut self, piece: &Bytes) -> Bytes {
        let mut last = None;
        self.lines.pass(piece, |end| {
            last = Some(end);
            ControlFlow::Continue(())
        });
        let Some(end) = last else {
            return self.hold(piece);
        };
        self.is_inside = false;
        let rest = piece.slice(end..);
        let done = piece.slice(..end);
        let whole = if self.held.is_empty() {
            done
        } else {
            self.held.extend_from_slice(&done);
            self.held.split().freeze()
        };
        let begun = self.hold(&rest);
        if begun.is_empty() {
            return whole;
        }
        [whole, begun].concat().into()
    }

    fn hold(&mut self, piece: &[u8]) -> Bytes {
        if self.is_inside || self.held.len() + piece.len() > self.most_bytes {
            self.is_inside = true;
            self.held.extend_from_slice(piece);
            return self.held.split().freeze();
        }
        self.held.extend_from_slice(piece);
        Bytes::new()
    }

    /// How much is held.
    pub fn held_bytes(&self) -> usize {
        self.held.len()
    }

    /// What is held of an event that is not complete, to be held no longer.
    pub fn rest(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    /// Whether what has been given ends inside an event.
    pub fn is_inside(&self) -> bool {
        self.is_inside
    }
}

impl Lines {
    fn new() -> Self {
        Self {
            is_blank: true,
            after_return: false,
            after_blank: false,
        }
    }

    /// Tells where each blank line of a piece ends, until it is told to stop.
    fn pass(&mut self, piece: &[u8], mut ends: impl FnMut(usize) -> ControlFlow<()>) {
        let mut at = 0;
        while let Some(rest) = piece.get(at..).filter(|rest| !rest.is_empty()) {
            if std::mem::take(&mut self.after_return) && rest.first() == Some(&b'\n') {
                at += 1;
                // Some clients take an event for complete only when they have this half, too.
                if at == 1 && self.after_blank && ends(at).is_break() {
                    return;
                }
                continue;
            }
            let Some(length) = memchr2(b'\r', b'\n', rest) else {
                self.is_blank = false;
                return;
            };
            let was_blank = self.is_blank && length == 0;
            self.is_blank = true;
            self.after_blank = was_blank;
            self.after_return = rest.get(length) == Some(&b'\r');
            at += length + 1;
            if was_blank {
                let has_feed = self.after_return && piece.get(at) == Some(&b'\n');
                let end = at + usize::from(has_feed);
                if ends(end).is_break() {
                    return;
                }
            }
        }
    }
}

/// The first event of a stream, as far as it matters which one it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstEvent {
    /// Its type is `endpoint`: this is its data.
    Endpoint(String),
    /// It is anything else, or its data is no text.
    Other,
}

/// The first event of a stream that begins with these bytes, and which of them are of it. What has no
/// data is no event.
///
/// # Errors
/// While it is not complete: how many bytes there are of complete blocks that are no event.
pub fn first_event(begin: &[u8]) -> Result<(FirstEvent, Range<usize>), usize> {
    let mut lines = Lines::new();
    let (mut from, mut found) = (0, None);
    lines.pass(begin, |end| {
        let text = begin.get(from..end).unwrap_or_default();
        let text = match from {
            0 => text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text),
            _ => text,
        };
        found = event_of(text).map(|event| (event, from..end));
        from = end;
        match found {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    });
    found.ok_or(from)
}

/// Takes events of the type `endpoint` out of whole events. The first one of a stream says where its
/// messages go; clients follow a later one, too, which nobody has sealed.
pub fn without_endpoints(events: Bytes) -> Bytes {
    if memmem::find(&events, b"endpoint").is_none() {
        return events;
    }
    let mut kept = BytesMut::with_capacity(events.len());
    let mut from = 0;
    let mut keep = |range: Range<usize>| {
        let text = events.get(range).unwrap_or_default();
        if !matches!(event_of(text), Some(FirstEvent::Endpoint(_))) {
            kept.extend_from_slice(text);
        }
    };
    Lines::new().pass(&events, |end| {
        keep(from..end);
        from = end;
        ControlFlow::Continue(())
    });
    keep(from..events.len());
    kept.freeze()
}

/// Whole events with the data changed of those for which there is a change; what else they say stays.
pub(super) fn map_events(events: Bytes, change: impl Fn(&[u8]) -> Option<String>) -> Bytes {
    let mut changed: Option<BytesMut> = None;
    let mut from = 0;
    Lines::new().pass(&events, |end| {
        let text = events.get(from..end).unwrap_or_default();
        let event = data_of(text).and_then(|data| change(&data));
        if let Some(data) = event {
            let before = || BytesMut::from(events.get(..from).unwrap_or_default());
            write_event(changed.get_or_insert_with(before), (text, &data));
        } else if let Some(changed) = &mut changed {
            changed.extend_from_slice(text);
        }
        from = end;
        ControlFlow::Continue(())
    });
    let Some(mut changed) = changed else {
        return events;
    };
    changed.extend_from_slice(events.get(from..).unwrap_or_default());
    changed.freeze()
}

/// An event with other data.
fn write_event(to: &mut BytesMut, (text, data): (&[u8], &str)) {
    for line in text.split(|byte| matches!(byte, b'\r' | b'\n')) {
        if !line.is_empty() && field(line).0 != b"data" {
            to.extend_from_slice(line);
            to.extend_from_slice(b"\n");
        }
    }
    for line in data.split('\n') {
        to.extend_from_slice(b"data: ");
        to.extend_from_slice(line.as_bytes());
        to.extend_from_slice(b"\n");
    }
    to.extend_from_slice(b"\n");
}

/// The name and the value of a line.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let mut halves = line.splitn(2, |byte| *byte == b':');
    let name = halves.next().unwrap_or_default();
    let value = halves.next().unwrap_or_default();
    (name, value.strip_prefix(b" ").unwrap_or(value))
}

/// The data of an event, if it has any.
fn data_of(text: &[u8]) -> Option<Vec<u8>> {
    let mut data: Option<Vec<u8>> = None;
    // The halves of CR LF have an empty line between them, which is no field.
    for line in text.split(|byte| matches!(byte, b'\r' | b'\n')) {
        let (b"data", value) = field(line) else {
            continue;
        };
        match &mut data {
            Some(data) => {
                data.push(b'\n');
                data.extend_from_slice(value);
            }
            None => data = Some(value.to_vec()),
        }
    }
    data
}

/// The event of these lines, if they have data.
fn event_of(text: &[u8]) -> Option<FirstEvent> {
    let mut kind: &[u8] = b"";
    // The halves of CR LF have an empty line between them, which is no field.
    for line in text.split(|byte| matches!(byte, b'\r' | b'\n')) {
        if let (b"event", value) = field(line) {
            kind = value;
        }
    }
    let data = data_of(text)?;
    if kind != b"endpoint" {
        return Some(FirstEvent::Other);
    }
    // As clients read it: nothing that they may follow is taken for another event.
    Some(FirstEvent::Endpoint(
        String::from_utf8_lossy(&data).into_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(data: &str) -> FirstEvent {
        FirstEvent::Endpoint(data.into())
    }

    #[test]
    fn later_endpoints_are_taken_out_and_nothing_else() {
        for (events, left) in [
            ("data: endpoint\n\n", "data: endpoint\n\n"),
            (
                "data: a\n\nevent: endpoint\ndata: /m\n\ndata: b\n\n",
                "data: a\n\ndata: b\n\n",
            ),
            (
                "data: /m\r\nevent:endpoint\r\n\r\n: x\r\n\r\n",
                ": x\r\n\r\n",
            ),
            (
                "event: endpoint\r\rdata: b\r\r",
                "event: endpoint\r\rdata: b\r\r",
            ),
            ("event: endpoint\ndata: /m", ""),
        ] {
            let whole = without_endpoints(Bytes::from_static(events.as_bytes()));
            assert_eq!(whole, left, "{events:?}");
        }
    }

    #[test]
    fn the_first_event_is_found_whatever_its_line_ends_and_what_comes_before() {
        for (stream, event) in [
            ("event: endpoint\ndata: /m?s=1\n\n", endpoint("/m?s=1")),
            ("event: endpoint\r\ndata: /m\r\n\r\n", endpoint("/m")),
            ("event:endpoint\rdata:/m\r\r", endpoint("/m")),
            ("\u{FEFF}event: endpoint\ndata: /m\n\n", endpoint("/m")),
            ("data: /m\nevent: endpoint\n\n", endpoint("/m")),
            (
                ": hi\n\n: ho\n\nevent: endpoint\ndata: /m\n\n",
                endpoint("/m"),
            ),
            (
                "retry: 5\n\nid: 1\nevent: endpoint\ndata: /m\n\n",
                endpoint("/m"),
            ),
            ("event: x\n\nevent: endpoint\ndata: /m\n\n", endpoint("/m")),
            (
                "event: x\nevent: endpoint\ndata: a\ndata: b\n\n",
                endpoint("a\nb"),
            ),
            ("event: endpoint\ndata:  /m\n\n", endpoint(" /m")),
            ("event: endpoint \ndata: /m\n\n", FirstEvent::Other),
            ("data: {}\n\n", FirstEvent::Other),
            ("event: message\ndata: {}\n\n", FirstEvent::Other),
            ("event: endpoint\nevent:\ndata: /m\n\n", FirstEvent::Other),
        ] {
            let (found, of) = first_event(stream.as_bytes()).unwrap();
            assert_eq!((found, of.end), (event, stream.len()), "{stream:?}");
            let complete = stream.len() - usize::from(stream.ends_with("\r\n"));
            for end in 0..complete {
                let part = &stream.as_bytes()[..end];
                assert!(first_event(part).is_err(), "{stream:?} up to {end}");
            }
        }
    }

    #[test]
    fn an_endpoint_that_is_no_text_is_one_still() {
        let (found, _) = first_event(b"event: endpoint\ndata: //other/\xFF\n\n").unwrap();

        assert_eq!(found, endpoint("//other/\u{FFFD}"));
    }

    #[test]
    fn what_comes_behind_the_first_event_is_not_of_it() {
        let stream = b": c\n\nevent: endpoint\ndata: /m\n\nevent: endpoint\ndata: /n\n\n";

        assert_eq!(first_event(stream), Ok((endpoint("/m"), 5..31)));
        assert_eq!(first_event(b": c\n\n: d\n"), Err(5));
    }

    #[test]
    fn events_are_given_whole_in_any_chunks() {
        for stream in [
            "data: 1\n\ndata: 2\n\n",
            "data: 1\r\n\r\n: c\r\n\r\ndata: 2\r\n\r\n",
            "\n\ndata: 1\r\rdata: 2\r\r",
        ] {
            for size in 1..stream.len() {
                let mut whole = WholeEvents::new(100);
                let mut given = Vec::new();
                for piece in stream.as_bytes().chunks(size) {
                    let piece = whole.pass(&Bytes::copy_from_slice(piece));
                    given.extend_from_slice(&piece);
                    let text = std::str::from_utf8(&given).unwrap();
                    let ends = ["\n\n", "\r\r", "\n\r", "\n\r\n"];
                    let is_whole = ends.iter().any(|end| text.ends_with(end));
                    assert!(text.is_empty() || text == "\n" || is_whole, "{text:?}");
                }
                assert_eq!(given, stream.as_bytes(), "in pieces of {size}");
                assert!(!whole.is_inside());
            }
        }
    }

    #[test]
    fn what_is_too_long_to_be_held_passes_in_parts() {
        let mut whole = WholeEvents::new(10);

        assert_eq!(whole.pass(&Bytes::from_static(b"data: 12")), "");
        assert_eq!(whole.pass(&Bytes::from_static(b"345")), "data: 12345");
        assert!(whole.is_inside());
        assert_eq!(whole.pass(&Bytes::from_static(b"6")), "6");
        assert_eq!(whole.pass(&Bytes::from_static(b"\n\nda")), "\n\n");
        assert!(!whole.is_inside());
        assert_eq!(whole.pass(&Bytes::from_static(b"ta:\n\n")), "data:\n\n");
    }
}
