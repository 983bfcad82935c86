//! Values in an answer that tie later calls to the server that made it.
//!
//! They stand directly in the result: the `taskId` of a task, the `requestState` of a call that
//! is to be repeated with more input, and the `nextCursor` of a list.

use super::events::{EventKind, EventReader, EventSink};
use super::format::Format;
use super::json::{Container, Place, Reader, Token, Visitor};
use super::tie::{Print, Tie, TieKind};
use super::word::Word;

/// Looks for such values in one answer. Feed it every byte of the body in order, uncompressed.
#[derive(Debug)]
pub struct MintScanner {
    events: Option<EventReader>,
    document: Document,
}

impl MintScanner {
    /// Most values that are told of one answer.
    pub const MOST: usize = 8;

    /// A scanner for an answer in this format.
    pub fn new(format: Format) -> Self {
        Self {
            events: match format {
                Format::Json => None,
                Format::EventStream => Some(EventReader::new()),
            },
            document: Document::new(),
        }
    }

    /// Looks at the next bytes of the body.
    pub fn feed(&mut self, bytes: &[u8]) {
        match &mut self.events {
            Some(events) => events.feed(bytes, &mut self.document),
            None => self.document.data(bytes),
        }
    }

    /// The values of the results so far.
    pub fn ties(&self) -> &[Tie] {
        &self.document.results.ties
    }
}

#[derive(Debug)]
struct Document {
    reader: Reader,
    results: Results,
}

impl Document {
    fn new() -> Self {
        Self {
            reader: Reader::new(),
            results: Results {
                in_result: false,
                watched: None,
                word: Word::new(),
                print: Print::default(),
                ties: Vec::new(),
            },
        }
    }
}

impl EventSink for Document {
    fn data(&mut self, piece: &[u8]) {
        self.reader.feed(piece, &mut self.results);
    }

    fn dispatch(&mut self, _kind: EventKind) {
        self.reader = Reader::new();
        self.results.in_result = false;
        self.results.watched = None;
    }
}

/// The values directly inside the results of messages. A batch, which this era has none of, tells
/// nothing.
#[derive(Debug)]
struct Results {
    /// The member of the message that is being read is its `result`.
    in_result: bool,
    /// What the next value is.
    watched: Option<TieKind>,
    word: Word<16>,
    print: Print,
    ties: Vec<Tie>,
}

impl Results {
    fn key(&mut self, depth: u8) {
        let word = self.word.get();
        if depth == 1 {
            self.in_result = word == Some(b"result");
            return;
        }
        self.print.clear();
        self.watched = match word {
            Some(b"taskId") => Some(TieKind::Task),
            Some(b"requestState") => Some(TieKind::State),
            Some(b"nextCursor") => Some(TieKind::Cursor),
            Some(_) | None => None,
        };
    }

    fn value(&mut self, token: Token<'_>) {
        let (Some(kind), Token::Text) = (self.watched.take(), token) else {
            return;
        };
        if let Some(tie) = self.print.take(kind)
            && self.ties.len() < MintScanner::MOST
        {
            self.ties.push(tie);
        }
    }
}

impl Visitor for Results {
    fn listens(&mut self, depth: u8, container: Container) -> bool {
        container == Container::Object && (depth == 1 || depth == 2 && self.in_result)
    }

    fn wants(&mut self, depth: u8, place: Place) -> bool {
        match place {
            Place::Key => {
                self.word.clear();
                depth == 1 || depth == 2 && self.in_result
            }
            Place::Value => depth == 2 && self.watched.is_some(),
        }
    }

    fn token(&mut self, depth: u8, token: Token<'_>) {
        if depth != 1 && !(depth == 2 && self.in_result) {
            return;
        }
        match token {
            Token::KeyPart(piece) => self.word.push(piece),
            Token::Key => self.key(depth),
            Token::TextPart(piece) => self.print.push(piece),
            Token::Close(Container::Object | Container::Array) | Token::NumberPart(_) => {}
            Token::Open(_)
            | Token::Text
            | Token::Number
            | Token::True
            | Token::False
            | Token::Null => self.value(token),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ties(format: Format, body: &str, size: usize) -> Vec<Tie> {
        let mut scanner = MintScanner::new(format);
        body.as_bytes()
            .chunks(size)
            .for_each(|piece| scanner.feed(piece));
        scanner.ties().to_vec()
    }

    fn tie(kind: TieKind, value: &str) -> Tie {
        Tie::new(kind, value.as_bytes())
    }

    #[test]
    fn values_are_found_wherever_they_stand_in_the_result() {
        let cases = [
            (
                r#"{"id":1,"result":{"resultType":"task","taskId":"t-1","ttlMs":5}}"#,
                vec![tie(TieKind::Task, "t-1")],
            ),
            (
                r#"{"result":{"inputRequests":{"a":{"requestState":"no"}},"requestState":"s\n1"},"id":1}"#,
                vec![tie(TieKind::State, "s\n1")],
            ),
            (
                r#"{"id":1,"result":{"tools":[{"nextCursor":"no"}],"next\u0043ursor":"2"}}"#,
                vec![tie(TieKind::Cursor, "2")],
            ),
        ];
        for (body, expected) in cases {
            for size in [1, 3, 1_000] {
                assert_eq!(ties(Format::Json, body, size), expected, "{body}");
                let events = format!(": hi\n\nevent: message\ndata: {body}\n\n");
                assert_eq!(ties(Format::EventStream, &events, size), expected, "{body}");
            }
        }
    }

    #[test]
    fn what_is_no_text_or_no_result_ties_nothing() {
        for body in [
            r#"{"id":1,"result":{"taskId":7,"nextCursor":null,"requestState":""}}"#,
            r#"{"id":1,"result":{"content":[{"type":"text","text":"taskId"}]}}"#,
            r#"{"id":1,"error":{"taskId":"t"}}"#,
            r#"{"method":"notifications/tasks","params":{"taskId":"t"}}"#,
            r#"{"taskId":"t","result":"taskId"}"#,
            r#"[{"id":1,"result":{"taskId":"t"}}]"#,
        ] {
            assert_eq!(ties(Format::Json, body, 2), [], "{body}");
        }
    }

    #[test]
    fn an_answer_of_many_values_tells_only_the_first() {
        let many = r#""taskId":"t","#.repeat(100);
        let body = format!(r#"{{"id":1,"result":{{{many}"x":1}}}}"#);

        assert_eq!(ties(Format::Json, &body, 64).len(), MintScanner::MOST);
    }
}
