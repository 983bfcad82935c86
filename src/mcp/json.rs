//! An incremental JSON reader: chunks of any size in, tokens out, no tree, no allocation.
//!
//! It accepts what RFC 8259 accepts, after an optional byte order mark, down to a depth of
//! [`MAX_DEPTH`]. Bytes inside strings are not checked to be UTF-8, and halves of surrogate
//! pairs are taken for U+FFFD, because the peers' own decoders do the same.

mod escape;
mod lexeme;
mod run;
mod state;

use lexeme::{Digits, Literal, Passed, pass_text, skip_blanks, skip_plain};
use state::{Next, State};

/// Deepest nesting that is followed, which is as deep as `serde_json` goes.
pub(super) const MAX_DEPTH: u8 = 127;

/// What nests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    Object,
    Array,
}

/// What was read. Texts and numbers come in parts, since a chunk may end inside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// An object or array begins.
    Open(Container),
    /// The innermost object or array has ended.
    Close(Container),
    /// A piece of a member's name, escapes resolved; only when it was asked for.
    KeyPart(&'a [u8]),
    /// A member's name is complete.
    Key,
    /// A piece of a string value, escapes resolved; only when it was asked for.
    TextPart(&'a [u8]),
    /// A string value is complete.
    Text,
    /// A piece of a number.
    NumberPart(&'a [u8]),
    /// A number is complete.
    Number,
    True,
    False,
    Null,
}

/// What a string is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Key,
    Value,
}

/// Who is told the tokens. `depth` counts the objects and arrays around a token; those that
/// it opens or closes are not counted.
pub(super) trait Visitor {
    /// Whether anything inside the object or array that begins now is of interest; `depth`
    /// counts it. If not, nothing is told before its end, only checked.
    fn listens(&mut self, depth: u8, container: Container) -> bool;

    /// Whether the pieces of the string that begins now are of interest.
    fn wants(&mut self, depth: u8, place: Place) -> bool;

    /// One more token.
    fn token(&mut self, depth: u8, token: Token<'_>);

    /// A member's name that was asked for, as a whole: the same as its piece and its end.
    fn name(&mut self, depth: u8, name: &[u8]) {
        self.token(depth, Token::KeyPart(name));
        self.token(depth, Token::Key);
    }

    /// A string value that was asked for, as a whole: the same as its piece, if it has any, and
    /// its end.
    fn text(&mut self, depth: u8, text: &[u8]) {
        if !text.is_empty() {
            self.token(depth, Token::TextPart(text));
        }
        self.token(depth, Token::Text);
    }

    /// A number as a whole: the same as its piece and its end.
    fn number(&mut self, depth: u8, number: &[u8]) {
        self.token(depth, Token::NumberPart(number));
        self.token(depth, Token::Number);
    }
}

/// Where reading stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing but blanks so far.
    Blank,
    /// Inside the document.
    Inside,
    /// The document is complete.
    Complete,
    /// Not JSON, or nested deeper than [`MAX_DEPTH`].
    Malformed,
}

/// The reader's whole memory: a few words.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    state: State,
    depth: u8,
    /// One bit a level, the innermost lowest: set for an object.
    objects: u128,
    /// From this depth on nothing is told, since nobody listens.
    deaf_from: u8,
    place: Place,
    wanted: bool,
    /// The `\u` escape being read.
    unit: u16,
    /// A high surrogate that waits for its other half, or 0.
    high: u16,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self {
            state: State::Start(0),
            depth: 0,
            objects: 0,
            deaf_from: u8::MAX,
            place: Place::Value,
            wanted: false,
            unit: 0,
            high: 0,
        }
    }

    /// Reads on.
    pub(super) fn feed<V: Visitor>(&mut self, bytes: &[u8], visitor: &mut V) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match self.state {
                State::Text => self.text(rest, visitor),
                State::Escape => self.escape(rest, visitor),
                State::Hex(digits) => self.hex(digits, rest, visitor),
                State::Number(digits) => self.number(digits, rest, visitor),
                State::Literal(literal, seen) => self.literal(literal, seen, rest, visitor),
                State::Start(seen) => self.start(seen, rest),
                State::Malformed => return,
                State::Before(next) => self.run(next, rest, visitor),
                State::Complete => match skip_blanks(rest) {
                    [] => &[],
                    _ => self.fail(),
                },
            };
        }
    }

    /// There is nothing more to read: a number at the top ends here.
    pub(super) fn finish<V: Visitor>(&mut self, visitor: &mut V) {
        if let State::Number(digits) = self.state
            && self.depth == 0
            && digits.may_end()
        {
            self.end_value(Token::Number, visitor);
        }
    }

    /// Where reading stands.
    pub(super) fn progress(&self) -> Progress {
        match self.state {
            State::Start(0) => Progress::Blank,
            State::Complete => Progress::Complete,
            State::Malformed => Progress::Malformed,
            State::Before(_) if self.depth == 0 => Progress::Blank,
            State::Start(_)
            | State::Before(_)
            | State::Text
            | State::Escape
            | State::Hex(_)
            | State::Number(_)
            | State::Literal(..) => Progress::Inside,
        }
    }

    fn is_deaf(&self) -> bool {
        self.depth >= self.deaf_from
    }

    fn tell<V: Visitor>(&self, token: Token<'_>, visitor: &mut V) {
        if !self.is_deaf() {
            visitor.token(self.depth, token);
        }
    }

    fn fail<'a>(&mut self) -> &'a [u8] {
        self.state = State::Malformed;
        &[]
    }

    /// Passes an optional byte order mark.
    fn start<'a>(&mut self, seen: u8, rest: &'a [u8]) -> &'a [u8] {
        match (seen, rest.split_first()) {
            (0, Some((0xEF, tail))) => {
                self.state = State::Start(1);
                tail
            }
            (1, Some((0xBB, tail))) => {
                self.state = State::Start(2);
                tail
            }
            (2, Some((0xBF, tail))) => {
                self.state = State::Before(Next::Value);
                tail
            }
            (0, _) => {
                self.state = State::Before(Next::Value);
                rest
            }
            _ => self.fail(),
        }
    }

    /// The first part of a token that is not there as a whole.
    fn part<'a, V: Visitor>(&mut self, next: Next, rest: &'a [u8], visitor: &mut V) -> &'a [u8] {
        let Some((byte, tail)) = rest.split_first() else {
            self.state = State::Before(next);
            return rest;
        };
        let place = match next {
            Next::FirstKey | Next::Key => Place::Key,
            Next::Value | Next::FirstElement => Place::Value,
            Next::Colon | Next::AfterValue => return self.fail(),
        };
        match (place, byte) {
            (_, b'"') => self.string(place, tail, visitor),
            (Place::Value, b'-' | b'0'..=b'9') => self.number(Digits::Start, rest, visitor),
            (Place::Value, b't') => self.literal(Literal::True, 0, rest, visitor),
            (Place::Value, b'f') => self.literal(Literal::False, 0, rest, visitor),
            (Place::Value, b'n') => self.literal(Literal::Null, 0, rest, visitor),
            (Place::Key | Place::Value, _) => self.fail(),
        }
    }

    fn end_value<V: Visitor>(&mut self, token: Token<'_>, visitor: &mut V) {
        self.state = match self.depth {
            0 => State::Complete,
            _ => State::Before(Next::AfterValue),
        };
        self.tell(token, visitor);
    }

    /// A string, whose opening quote is behind.
    fn string<'a, V: Visitor>(
        &mut self,
        place: Place,
        tail: &'a [u8],
        visitor: &mut V,
    ) -> &'a [u8] {
        self.place = place;
        self.wanted = !self.is_deaf() && visitor.wants(self.depth, place);
        self.state = State::Text;
        self.text(tail, visitor)
    }

    /// Plain text, up to the next quote or backslash.
    fn text<'a, V: Visitor>(&mut self, rest: &'a [u8], visitor: &mut V) -> &'a [u8] {
        if !self.wanted {
            return match pass_text(rest) {
                Passed::Whole(tail) => self.close_string(tail, visitor),
                Passed::Part(tail) => self.end_text(tail, visitor),
            };
        }
        let tail = skip_plain(rest);
        let (piece, _) = rest.split_at(rest.len() - tail.len());
        if !piece.is_empty() {
            self.lone_half(visitor);
            self.piece(piece, visitor);
        }
        self.end_text(tail, visitor)
    }

    /// What ends plain text.
    fn end_text<'a, V: Visitor>(&mut self, tail: &'a [u8], visitor: &mut V) -> &'a [u8] {
        match tail.split_first() {
            Some((b'"', tail)) => self.close_string(tail, visitor),
            Some((b'\\', tail)) => {
                self.state = State::Escape;
                tail
            }
            Some(_) => self.fail(),
            None => tail,
        }
    }

    fn close_string<'a, V: Visitor>(&mut self, tail: &'a [u8], visitor: &mut V) -> &'a [u8] {
        self.lone_half(visitor);
        match self.place {
            Place::Key => {
                self.tell(Token::Key, visitor);
                self.state = State::Before(Next::Colon);
                tail
            }
            Place::Value => {
                self.end_value(Token::Text, visitor);
                tail
            }
        }
    }

    fn piece<V: Visitor>(&self, piece: &[u8], visitor: &mut V) {
        match (self.wanted, self.place) {
            (false, _) => {}
            (true, Place::Key) => visitor.token(self.depth, Token::KeyPart(piece)),
            (true, Place::Value) => visitor.token(self.depth, Token::TextPart(piece)),
        }
    }

    fn number<'a, V: Visitor>(
        &mut self,
        mut digits: Digits,
        rest: &'a [u8],
        visitor: &mut V,
    ) -> &'a [u8] {
        let mut length = 0;
        for byte in rest {
            let Some(next) = digits.next(*byte) else {
                break;
            };
            digits = next;
            length += 1;
        }
        let (piece, tail) = rest.split_at(length);
        if !piece.is_empty() {
            self.tell(Token::NumberPart(piece), visitor);
        }
        self.state = State::Number(digits);
        if tail.is_empty() {
            return tail;
        }
        if !digits.may_end() {
            return self.fail();
        }
        self.end_value(Token::Number, visitor);
        tail
    }

    fn literal<'a, V: Visitor>(
        &mut self,
        literal: Literal,
        seen: u8,
        rest: &'a [u8],
        visitor: &mut V,
    ) -> &'a [u8] {
        let (name, token) = literal.spelling();
        let Some((byte, tail)) = rest.split_first() else {
            return rest;
        };
        if name.get(usize::from(seen)) != Some(byte) {
            return self.fail();
        }
        self.state = State::Literal(literal, seen + 1);
        if usize::from(seen) + 1 == name.len() {
            self.end_value(token, visitor);
        }
        tail
    }
}

#[cfg(test)]
mod tests;
