//! The responses on a stream that carries those of many calls, each told by its id.

use crate::model::Outcome;

use super::answer::RequestId;
use super::events::{EventKind, EventReader, EventSink};
use super::id_key::IdKey;
use super::json::{Container, Place, Progress, Reader, Token, Visitor};
use super::messages::{Messages, Tally};
use super::word::Word;

/// A response that has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Which request it answers, as [`RequestId::key`] tells it.
    pub key: u64,
    /// How the call went.
    pub outcome: Outcome,
}

/// Most responses of one event that are told.
const MAX_REPLIES: usize = 256;
/// Reads a stream of events on its way. What lies deeper than a message's own members is passed
/// over.
#[derive(Debug)]
pub struct Replies {
    events: EventReader,
    document: Document,
}

#[derive(Debug)]
struct Document {
    reader: Reader,
    messages: Numbered,
}

impl Replies {
    /// At the start of a stream.
    pub fn new() -> Self {
        Self {
            events: EventReader::new(),
            document: Document {
                reader: Reader::new(),
                messages: Numbered::new(),
            },
        }
    }

    /// The next bytes of the stream pass. `heard` is told each response with an id.
    pub fn feed(&mut self, bytes: &[u8], heard: &mut dyn FnMut(Reply)) {
        let document = &mut self.document;
        self.events.feed(bytes, &mut Listener { document, heard });
    }
}

impl Default for Replies {
    fn default() -> Self {
        Self::new()
    }
}

struct Listener<'a> {
    document: &'a mut Document,
    heard: &'a mut dyn FnMut(Reply),
}

impl EventSink for Listener<'_> {
    fn data(&mut self, piece: &[u8]) {
        let Document { reader, messages } = &mut *self.document;
        reader.feed(piece, messages);
    }

    fn dispatch(&mut self, kind: EventKind) {
        let Document { reader, messages } = &mut *self.document;
        reader.finish(messages);
        if kind == EventKind::Message && reader.progress() == Progress::Complete {
            for reply in messages.replies.drain(..) {
                (self.heard)(reply);
            }
        }
        *reader = Reader::new();
        messages.begin();
    }
}

/// The messages of one JSON text, each with its id.
#[derive(Debug)]
struct Numbered {
    messages: Messages,
    /// How deep messages are: 0, or 1 inside a batch.
    base: u8,
    /// The member that is read is the message's id.
    is_id: bool,
    name: Word<4>,
    text: Word<{ RequestId::MAX_BYTES }>,
    id: Option<IdKey>,
    replies: Vec<Reply>,
}

impl Numbered {
    fn new() -> Self {
        Self {
            messages: Messages::new(),
            base: 0,
            is_id: false,
            name: Word::new(),
            text: Word::new(),
            id: None,
            replies: Vec::new(),
        }
    }

    fn begin(&mut self) {
        self.messages = Messages::new();
        self.base = 0;
        self.is_id = false;
        self.id = None;
        self.replies.clear();
    }

    /// Tokens at the level of messages.
    fn around(&mut self, depth: u8, token: Token<'_>) {
        match token {
            Token::Open(Container::Array) if depth == 0 => self.base = 1,
            Token::Open(Container::Object) => {
                self.id = None;
                self.is_id = false;
                self.messages.take_tally();
            }
            Token::Close(Container::Object) => {
                let Tally { worst, responses } = self.messages.take_tally();
                let reply = self.id.take().zip(worst).filter(|_| responses > 0);
                if let Some((id, outcome)) = reply
                    && self.replies.len() < MAX_REPLIES
                {
                    let key = id.number();
                    self.replies.push(Reply { key, outcome });
                }
            }
            Token::Open(Container::Array)
            | Token::Close(Container::Array)
            | Token::KeyPart(_)
            | Token::Key
            | Token::TextPart(_)
            | Token::Text
            | Token::NumberPart(_)
            | Token::Number
            | Token::True
            | Token::False
            | Token::Null => {}
        }
    }

    /// Tokens directly inside a message: of members with one name the last one counts.
    fn inside(&mut self, token: Token<'_>) {
        match token {
            Token::KeyPart(piece) => self.name.push(piece),
            Token::Key => {
                self.is_id = self.name.get() == Some(b"id");
                self.text.clear();
            }
            Token::TextPart(piece) | Token::NumberPart(piece) if self.is_id => {
                self.text.push(piece);
            }
            Token::Text if self.is_id => self.id = self.text.get().map(IdKey::of_text),
            Token::Number if self.is_id => self.id = self.text.get().map(IdKey::of_number),
            Token::Open(_) | Token::True | Token::False | Token::Null if self.is_id => {
                self.id = None;
            }
            Token::Open(_)
            | Token::Close(_)
            | Token::TextPart(_)
            | Token::Text
            | Token::NumberPart(_)
            | Token::Number
            | Token::True
            | Token::False
            | Token::Null => {}
        }
    }
}

impl Visitor for Numbered {
    fn listens(&mut self, depth: u8, container: Container) -> bool {
        let level = depth.wrapping_sub(self.base);
        self.messages.listens(depth, container) || level == 1 && container == Container::Object
    }

    fn wants(&mut self, depth: u8, place: Place) -> bool {
        let is_inside = depth.wrapping_sub(self.base) == 1;
        let mine = match place {
            Place::Key => {
                self.name.clear();
                is_inside
            }
            Place::Value => is_inside && self.is_id,
        };
        self.messages.wants(depth, place) || mine
    }

    fn token(&mut self, depth: u8, token: Token<'_>) {
        // The message's own end counts before it is asked what it was.
        self.messages.token(depth, token);
        match depth.wrapping_sub(self.base) {
            0 => self.around(depth, token),
            1 => self.inside(token),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> u64 {
        RequestId::Number(text.into()).key()
    }

    fn text(text: &str) -> u64 {
        RequestId::Text(text.into()).key()
    }

    fn heard(stream: &str) -> Vec<(u64, Outcome)> {
        let whole = heard_in(stream, stream.len().max(1));
        for size in [1, 2, 3, 7] {
            assert_eq!(
                heard_in(stream, size),
                whole,
                "{stream} in pieces of {size}"
            );
        }
        whole
    }

    fn heard_in(stream: &str, size: usize) -> Vec<(u64, Outcome)> {
        let (mut replies, mut told) = (Replies::new(), Vec::new());
        for piece in stream.as_bytes().chunks(size) {
            replies.feed(piece, &mut |reply| told.push((reply.key, reply.outcome)));
        }
        told
    }

    #[test]
    fn each_response_is_told_with_its_id_and_how_it_went() {
        let stream = concat!(
            "event: endpoint\ndata: /messages?id=1\n\n",
            "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"id\":9}}\n\n",
            "data: {\"id\":\"a\\u0062\",\"result\":{\"isError\":true,\"id\":2}}\n\n",
            "data: {\"result\":{},\"id\":2,\"id\":3}\n\n",
            "data: {\"error\":{\"code\":-32601,\"id\":8},\"id\":4}\n\n",
            ": ping\n\n",
        );

        assert_eq!(
            heard(stream),
            [
                (number("1"), Outcome::Success),
                (text("ab"), Outcome::ToolError),
                (number("3"), Outcome::Success),
                (number("4"), Outcome::MethodNotFound),
            ]
        );
    }

    #[test]
    fn messages_of_a_batch_are_told_one_by_one() {
        let stream = "data: [{\"id\":1,\"result\":{}},{\"id\":2,\"error\":{\"code\":-32603}},\ndata: {\"method\":\"m\",\"id\":3},{\"id\":4,\"result\":1}]\n\n";

        assert_eq!(
            heard(stream),
            [
                (number("1"), Outcome::Success),
                (number("2"), Outcome::ProtocolError),
                (number("4"), Outcome::Success),
            ]
        );
    }

    #[test]
    fn what_is_no_response_or_no_json_is_not_told() {
        let long = "x".repeat(RequestId::MAX_BYTES + 1);
        for data in [
            r#"{"id":1,"method":"roots/list"}"#,
            r#"{"method":"notifications/message","params":{"id":1,"result":{}}}"#,
            r#"{"id":1,"result":{}"#,
            r#"{"id":1,"result":{}}x"#,
            r#"{"id":null,"result":{}}"#,
            r#"{"id":[1],"result":{}}"#,
            r#"{"id":1,"id":{"id":1},"result":{}}"#,
            r#"{"result":{}}"#,
            r#"{"id":1}"#,
            &format!(r#"{{"id":"{long}","result":{{}}}}"#),
        ] {
            assert_eq!(heard(&format!("data: {data}\n\n")), [], "{data}");
        }
        assert_eq!(heard("event: x\ndata: {\"id\":1,\"result\":{}}\n\n"), []);
        assert_eq!(heard("data: {\"id\":1,\"result\":{}}\n"), []);
    }

    #[test]
    fn a_number_is_known_in_each_spelling() {
        assert_eq!(
            heard("data: {\"id\":7.0,\"result\":{}}\n\n"),
            [(number("7"), Outcome::Success)]
        );
    }
}
