//! The framing of `text/event-stream`: chunks of any size in, the data of events out.

use memchr::{memchr2, memchr3};

use super::word::Word;

/// Who is told the events.
pub(super) trait EventSink {
    /// A piece of the data of the event that is being read. Lines of data are joined with
    /// line feeds.
    fn data(&mut self, piece: &[u8]);

    /// The event that the pieces belong to is complete.
    fn dispatch(&mut self, kind: EventKind);
}

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventKind {
    /// An event without a type, or of type `message`: what carries JSON-RPC.
    Message,
    /// An event of any other type.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Data,
    Event,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the name of a field, or before anything of the line.
    Name,
    /// Behind the colon, where one space is passed over.
    Space(Field),
    Value(Field),
}

/// Whether a client can take the stream up again where it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resume {
    Never,
    /// An event had an id.
    ById,
}

/// Finds events. An event that is cut before its empty line is none.
#[derive(Clone, Debug)]
pub(super) struct EventReader {
    state: State,
    name: Word<12>,
    kind: Word<12>,
    /// The last byte was a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    /// On the first line, which may begin with a byte order mark.
    first_line: bool,
    has_data: bool,
    resume: Resume,
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

impl EventReader {
    pub(super) fn new() -> Self {
        Self {
            state: State::Name,
            name: Word::new(),
            kind: Word::new(),
            after_return: false,
            first_line: true,
            has_data: false,
            resume: Resume::Never,
        }
    }

    /// Whether an event had an id, from which the stream can be taken up again elsewhere.
    pub(super) fn can_be_resumed(&self) -> bool {
        self.resume == Resume::ById
    }

    /// Reads on.
    pub(super) fn feed<S: EventSink>(&mut self, bytes: &[u8], sink: &mut S) {
        let mut rest = bytes;
        while let Some((byte, tail)) = rest.split_first() {
            if std::mem::take(&mut self.after_return) && *byte == b'\n' {
                rest = tail;
                continue;
            }
            rest = match self.state {
                State::Name => self.name(rest, sink),
                State::Space(field) => {
                    self.state = State::Value(field);
                    if *byte == b' ' { tail } else { rest }
                }
                State::Value(field) => self.value(field, rest, sink),
            };
        }
    }

    fn name<'a, S: EventSink>(&mut self, rest: &'a [u8], sink: &mut S) -> &'a [u8] {
        let end = memchr3(b':', b'\r', b'\n', rest).unwrap_or(rest.len());
        let (piece, tail) = rest.split_at(end);
        self.name.push(piece);
        let Some((byte, tail)) = tail.split_first() else {
            return tail;
        };
        if *byte == b':' {
            let field = self.field(sink);
            self.state = State::Space(field);
            return tail;
        }
        if self.line_name() == Some(b"") {
            self.blank_line(sink);
        } else {
            self.field(sink);
        }
        self.end_line(*byte);
        tail
    }

    fn value<'a, S: EventSink>(&mut self, field: Field, rest: &'a [u8], sink: &mut S) -> &'a [u8] {
        let end = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let (piece, tail) = rest.split_at(end);
        match field {
            Field::Data if !piece.is_empty() => sink.data(piece),
            Field::Event => self.kind.push(piece),
            Field::Data | Field::Other => {}
        }
        let Some((byte, tail)) = tail.split_first() else {
            return tail;
        };
        self.end_line(*byte);
        tail
    }

    /// The name of the line's field, without a byte order mark before it.
    fn line_name(&self) -> Option<&[u8]> {
        let name = self.name.get()?;
        if self.first_line {
            return Some(name.strip_prefix(BYTE_ORDER_MARK).unwrap_or(name));
        }
        Some(name)
    }

    /// The name is complete: what the value behind it belongs to.
    fn field<S: EventSink>(&mut self, sink: &mut S) -> Field {
        match self.line_name() {
            Some(b"data") => {
                if std::mem::replace(&mut self.has_data, true) {
                    sink.data(b"\n");
                }
                Field::Data
            }
            Some(b"event") => {
                self.kind.clear();
                Field::Event
            }
            Some(b"id") => {
                self.resume = Resume::ById;
                Field::Other
            }
            Some(_) | None => Field::Other,
        }
    }

    fn blank_line<S: EventSink>(&mut self, sink: &mut S) {
        if std::mem::take(&mut self.has_data) {
            sink.dispatch(match self.kind.get() {
                Some(b"" | b"message") => EventKind::Message,
                Some(_) | None => EventKind::Other,
            });
        }
        self.kind.clear();
    }

    fn end_line(&mut self, byte: u8) {
        self.after_return = byte == b'\r';
        self.first_line = false;
        self.name.clear();
        self.state = State::Name;
    }
}

#[cfg(test)]
mod tests;
