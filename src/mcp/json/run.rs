//! Reading whole tokens, one after the other.
//!
//! Only what lies in one chunk as a whole is read here. Before anything else (a token that the
//! chunk cuts, a text with escapes that somebody wants to read, a mistake) this stops, and leaves
//! it to the reader, which takes one token its own way and comes back.

use super::lexeme::{Passed, pass_literal, pass_number, pass_text, skip_blanks, skip_plain};
use super::{Container, MAX_DEPTH, Next, Place, Reader, State, Token, Visitor};

/// The reader's place, in variables that the compiler can keep in registers.
struct Run<'a, 'v, V> {
    rest: &'a [u8],
    depth: u8,
    objects: u128,
    deaf_from: u8,
    visitor: &'v mut V,
}

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// Before this, which is not here as a whole, or is a mistake.
    Before(Next),
    /// Inside a string that nobody wants to read.
    Text(Place),
    /// Behind the document.
    Complete,
}

impl Reader {
    /// Reads as many tokens as are there as a whole, and the first part of the one behind them.
    pub(super) fn run<'a, V: Visitor>(
        &mut self,
        next: Next,
        bytes: &'a [u8],
        visitor: &mut V,
    ) -> &'a [u8] {
        let mut run = Run {
            rest: bytes,
            depth: self.depth,
            objects: self.objects,
            deaf_from: self.deaf_from,
            visitor,
        };
        let stop = run.tokens(next);
        let rest = run.rest;
        (self.depth, self.objects, self.deaf_from) = (run.depth, run.objects, run.deaf_from);
        match stop {
            Stop::Before(next) => return self.part(next, rest, visitor),
            Stop::Text(place) => {
                self.place = place;
                self.wanted = false;
                self.state = State::Text;
            }
            Stop::Complete => self.state = State::Complete,
        }
        rest
    }
}

impl<'a, V: Visitor> Run<'a, '_, V> {
    fn tokens(&mut self, mut next: Next) -> Stop {
        loop {
            let read = match next {
                Next::Value | Next::FirstElement => self.value(next),
                Next::AfterValue => self.after_value(),
                Next::FirstKey | Next::Key => self.key(next),
                Next::Colon => self.colon(),
            };
            match read {
                Ok(then) => next = then,
                Err(why) => return why,
            }
        }
    }

    #[inline]
    fn value(&mut self, next: Next) -> Result<Next, Stop> {
        self.rest = skip_blanks(self.rest);
        let (token, tail) = match self.rest {
            [b'"', tail @ ..] => return self.text(next, tail),
            [b'{', tail @ ..] if self.depth < MAX_DEPTH => {
                return Ok(self.open(Container::Object, tail));
            }
            [b'[', tail @ ..] if self.depth < MAX_DEPTH => {
                return Ok(self.open(Container::Array, tail));
            }
            [b']', tail @ ..] if next == Next::FirstElement => {
                return self.close(Container::Array, tail);
            }
            [b'-' | b'0'..=b'9', ..] => return self.number(next),
            _ => pass_literal(self.rest).ok_or(Stop::Before(next))?,
        };
        self.tell(token);
        self.end_value(tail)
    }

    #[inline]
    fn text(&mut self, next: Next, bytes: &'a [u8]) -> Result<Next, Stop> {
        if self.is_heard() && self.visitor.wants(self.depth, Place::Value) {
            let (text, tail) = whole_text(bytes).ok_or(Stop::Before(next))?;
            self.visitor.text(self.depth, text);
            return self.end_value(tail);
        }
        let tail = self.pass_text(bytes, Place::Value)?;
        self.tell(Token::Text);
        self.end_value(tail)
    }

    #[inline]
    fn number(&mut self, next: Next) -> Result<Next, Stop> {
        let tail = pass_number(self.rest).ok_or(Stop::Before(next))?;
        if self.is_heard() {
            let (number, _) = self.rest.split_at(self.rest.len() - tail.len());
            self.visitor.number(self.depth, number);
        }
        self.end_value(tail)
    }

    #[inline]
    fn after_value(&mut self) -> Result<Next, Stop> {
        self.rest = skip_blanks(self.rest);
        let in_object = self.objects & 1 == 1;
        match self.rest {
            [b',', tail @ ..] if in_object => {
                self.rest = tail;
                self.key(Next::Key)
            }
            [b',', tail @ ..] => {
                self.rest = tail;
                Ok(Next::Value)
            }
            [b'}', tail @ ..] if in_object => self.close(Container::Object, tail),
            [b']', tail @ ..] if !in_object => self.close(Container::Array, tail),
            _ => Err(Stop::Before(Next::AfterValue)),
        }
    }

    #[inline]
    fn key(&mut self, next: Next) -> Result<Next, Stop> {
        self.rest = skip_blanks(self.rest);
        match self.rest {
            [b'"', tail @ ..] => self.name(next, tail),
            [b'}', tail @ ..] if next == Next::FirstKey => self.close(Container::Object, tail),
            _ => Err(Stop::Before(next)),
        }
    }

    /// A name, whose opening quote is behind, and the colon where it follows at once.
    #[inline]
    fn name(&mut self, next: Next, bytes: &'a [u8]) -> Result<Next, Stop> {
        let tail = if self.is_heard() && self.visitor.wants(self.depth, Place::Key) {
            let (name, tail) = whole_text(bytes).ok_or(Stop::Before(next))?;
            self.visitor.name(self.depth, name);
            tail
        } else {
            let tail = self.pass_text(bytes, Place::Key)?;
            self.tell(Token::Key);
            tail
        };
        if let [b':', tail @ ..] = tail {
            self.rest = tail;
            return Ok(Next::Value);
        }
        self.rest = tail;
        Ok(Next::Colon)
    }

    #[inline]
    fn colon(&mut self) -> Result<Next, Stop> {
        self.rest = skip_blanks(self.rest);
        let [b':', tail @ ..] = self.rest else {
            return Err(Stop::Before(Next::Colon));
        };
        self.rest = tail;
        Ok(Next::Value)
    }

    #[inline]
    fn open(&mut self, container: Container, tail: &'a [u8]) -> Next {
        let is_heard = self.is_heard();
        self.tell(Token::Open(container));
        self.rest = tail;
        self.depth += 1;
        if is_heard && !self.visitor.listens(self.depth, container) {
            self.deaf_from = self.depth;
        }
        let (bit, next) = match container {
            Container::Object => (1, Next::FirstKey),
            Container::Array => (0, Next::FirstElement),
        };
        self.objects = self.objects << 1 | bit;
        next
    }

    #[inline]
    fn close(&mut self, container: Container, tail: &'a [u8]) -> Result<Next, Stop> {
        self.depth -= 1;
        self.objects >>= 1;
        if self.depth < self.deaf_from {
            self.deaf_from = u8::MAX;
        }
        self.tell(Token::Close(container));
        self.end_value(tail)
    }

    /// Behind a value that ends before `tail`.
    #[inline]
    fn end_value(&mut self, tail: &'a [u8]) -> Result<Next, Stop> {
        self.rest = tail;
        match self.depth {
            0 => Err(Stop::Complete),
            _ => Ok(Next::AfterValue),
        }
    }

    #[inline]
    fn pass_text(&mut self, bytes: &'a [u8], place: Place) -> Result<&'a [u8], Stop> {
        match pass_text(bytes) {
            Passed::Whole(tail) => Ok(tail),
            Passed::Part(tail) => {
                self.rest = tail;
                Err(Stop::Text(place))
            }
        }
    }

    #[inline]
    fn is_heard(&self) -> bool {
        self.depth < self.deaf_from
    }

    #[inline]
    fn tell(&mut self, token: Token<'_>) {
        if self.is_heard() {
            self.visitor.token(self.depth, token);
        }
    }
}

/// A string without escapes, whose opening quote is behind, and what follows it.
#[inline]
fn whole_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let stopped = skip_plain(bytes);
    let [b'"', tail @ ..] = stopped else {
        return None;
    };
    let (text, _) = bytes.split_at(bytes.len() - stopped.len());
    Some((text, tail))
}
