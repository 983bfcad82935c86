//! An incremental JSON reader: chunks of any size in, tokens out, no tree, no allocation.
//!
//! It accepts what RFC 8259 accepts, after an optional byte order mark, down to a depth of
//! [`MAX_DEPTH`]. Bytes inside strings are not checked to be UTF-8, and halves of surrogate
//! pairs are taken for U+FFFD, because the peers' own decoders do the same.

mod lexeme;

use lexeme::{Digits, Literal, plain_length, skip_blanks};

/// Deepest nesting that is followed.
pub(super) const MAX_DEPTH: u8 = 64;

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
    /// Whether the pieces of the string that begins now are of interest.
    fn wants(&mut self, depth: u8, place: Place) -> bool;

    /// One more token.
    fn token(&mut self, depth: u8, token: Token<'_>);
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before everything; so many bytes of the byte order mark were seen.
    Start(u8),
    Value,
    FirstElement,
    FirstKey,
    NextKey,
    Colon,
    AfterValue,
    Text,
    Escape,
    /// So many hex digits of a `\u` escape were seen.
    Hex(u8),
    Number(Digits),
    Literal(Literal, u8),
    Complete,
    Malformed,
}

/// The reader's whole memory: a few words.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    state: State,
    depth: u8,
    /// One bit a level, the innermost lowest: set for an object.
    objects: u64,
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
                State::Value
                | State::FirstElement
                | State::FirstKey
                | State::NextKey
                | State::Colon
                | State::AfterValue
                | State::Complete => self.structure(rest, visitor),
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
            State::Value if self.depth == 0 => Progress::Blank,
            State::Start(_)
            | State::Value
            | State::FirstElement
            | State::FirstKey
            | State::NextKey
            | State::Colon
            | State::AfterValue
            | State::Text
            | State::Escape
            | State::Hex(_)
            | State::Number(_)
            | State::Literal(..) => Progress::Inside,
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
                self.state = State::Value;
                tail
            }
            (0, _) => {
                self.state = State::Value;
                rest
            }
            _ => self.fail(),
        }
    }

    /// Everything outside strings, numbers and literals.
    fn structure<'a, V: Visitor>(&mut self, rest: &'a [u8], visitor: &mut V) -> &'a [u8] {
        let Some((byte, tail)) = skip_blanks(rest).split_first() else {
            return &[];
        };
        match (self.state, byte) {
            (State::FirstKey | State::NextKey, b'"') => self.open_string(Place::Key, visitor),
            (State::AfterValue, b',') if self.objects & 1 == 1 => self.state = State::NextKey,
            (State::AfterValue, b',') | (State::Colon, b':') => self.state = State::Value,
            (State::AfterValue | State::FirstKey, b'}') if self.objects & 1 == 1 => {
                self.close(Container::Object, visitor);
            }
            (State::AfterValue | State::FirstElement, b']') if self.objects & 1 == 0 => {
                self.close(Container::Array, visitor);
            }
            (State::Value | State::FirstElement, _) => self.open_value(*byte, visitor),
            _ => return self.fail(),
        }
        // A number's first byte is a part of it.
        if matches!(self.state, State::Number(_)) {
            let (first, _) = skip_blanks(rest).split_at(1);
            visitor.token(self.depth, Token::NumberPart(first));
        }
        tail
    }

    fn open_value<V: Visitor>(&mut self, byte: u8, visitor: &mut V) {
        match byte {
            b'"' => self.open_string(Place::Value, visitor),
            b'{' => self.open(Container::Object, visitor),
            b'[' => self.open(Container::Array, visitor),
            b't' => self.state = State::Literal(Literal::True, 1),
            b'f' => self.state = State::Literal(Literal::False, 1),
            b'n' => self.state = State::Literal(Literal::Null, 1),
            b'-' => self.state = State::Number(Digits::Minus),
            b'0' => self.state = State::Number(Digits::Zero),
            b'1'..=b'9' => self.state = State::Number(Digits::Whole),
            _ => self.state = State::Malformed,
        }
    }

    fn open<V: Visitor>(&mut self, container: Container, visitor: &mut V) {
        if self.depth == MAX_DEPTH {
            self.state = State::Malformed;
            return;
        }
        visitor.token(self.depth, Token::Open(container));
        self.depth += 1;
        let (bit, state) = match container {
            Container::Object => (1, State::FirstKey),
            Container::Array => (0, State::FirstElement),
        };
        self.objects = self.objects << 1 | bit;
        self.state = state;
    }

    fn close<V: Visitor>(&mut self, container: Container, visitor: &mut V) {
        self.depth -= 1;
        self.objects >>= 1;
        self.end_value(Token::Close(container), visitor);
    }

    fn end_value<V: Visitor>(&mut self, token: Token<'_>, visitor: &mut V) {
        self.state = match self.depth {
            0 => State::Complete,
            _ => State::AfterValue,
        };
        visitor.token(self.depth, token);
    }

    fn open_string<V: Visitor>(&mut self, place: Place, visitor: &mut V) {
        self.place = place;
        self.wanted = visitor.wants(self.depth, place);
        self.state = State::Text;
    }

    /// Plain text, up to the next quote or backslash.
    fn text<'a, V: Visitor>(&mut self, rest: &'a [u8], visitor: &mut V) -> &'a [u8] {
        let (piece, tail) = rest.split_at(plain_length(rest));
        if self.wanted && !piece.is_empty() {
            self.lone_half(visitor);
            self.part(piece, visitor);
        }
        match tail.split_first() {
            Some((b'"', tail)) => {
                self.close_string(visitor);
                tail
            }
            Some((b'\\', tail)) => {
                self.state = State::Escape;
                tail
            }
            Some(_) => self.fail(),
            None => tail,
        }
    }

    fn close_string<V: Visitor>(&mut self, visitor: &mut V) {
        self.lone_half(visitor);
        match self.place {
            Place::Key => {
                self.state = State::Colon;
                visitor.token(self.depth, Token::Key);
            }
            Place::Value => self.end_value(Token::Text, visitor),
        }
    }

    fn escape<'a, V: Visitor>(&mut self, rest: &'a [u8], visitor: &mut V) -> &'a [u8] {
        let Some((byte, tail)) = rest.split_first() else {
            return rest;
        };
        let plain: &[u8] = match byte {
            b'"' => b"\"",
            b'\\' => b"\\",
            b'/' => b"/",
            b'b' => b"\x08",
            b'f' => b"\x0C",
            b'n' => b"\n",
            b'r' => b"\r",
            b't' => b"\t",
            b'u' => {
                self.unit = 0;
                self.state = State::Hex(0);
                return tail;
            }
            _ => return self.fail(),
        };
        self.state = State::Text;
        self.lone_half(visitor);
        self.part(plain, visitor);
        tail
    }

    fn hex<'a, V: Visitor>(&mut self, seen: u8, rest: &'a [u8], visitor: &mut V) -> &'a [u8] {
        let Some((byte, tail)) = rest.split_first() else {
            return rest;
        };
        let Some(digit) = char::from(*byte).to_digit(16) else {
            return self.fail();
        };
        self.unit = self.unit << 4 | digit as u16;
        self.state = State::Hex(seen + 1);
        if seen == 3 {
            self.state = State::Text;
            self.code_unit(visitor);
        }
        tail
    }

    /// A `\u` escape is complete: a character, or half of one.
    fn code_unit<V: Visitor>(&mut self, visitor: &mut V) {
        let unit = self.unit;
        if (0xDC00..0xE000).contains(&unit) && self.high != 0 {
            let pair = [self.high, unit];
            self.high = 0;
            for whole in char::decode_utf16(pair).flatten() {
                self.character(whole, visitor);
            }
            return;
        }
        self.lone_half(visitor);
        if (0xD800..0xDC00).contains(&unit) {
            self.high = unit;
            return;
        }
        let character = char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER);
        self.character(character, visitor);
    }

    /// The half of a surrogate pair that was waiting stays alone.
    fn lone_half<V: Visitor>(&mut self, visitor: &mut V) {
        if self.high != 0 {
            self.high = 0;
            self.character(char::REPLACEMENT_CHARACTER, visitor);
        }
    }

    fn character<V: Visitor>(&self, character: char, visitor: &mut V) {
        self.part(character.encode_utf8(&mut [0; 4]).as_bytes(), visitor);
    }

    fn part<V: Visitor>(&self, piece: &[u8], visitor: &mut V) {
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
            visitor.token(self.depth, Token::NumberPart(piece));
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
