//! Reading what nobody listens to: whole tokens at a time, checked and passed over.
//!
//! Only what is regular and lies in one chunk as a whole is read here. Before anything else (a
//! token that the chunk cuts, a mistake) this stops, and leaves it to the reader, which takes
//! one token its own way and comes back.

use super::lexeme::{Passed, pass_literal, pass_number, pass_text, skip_blanks};
use super::{MAX_DEPTH, Next, Place, Reader, State};

/// The reader's place, in variables that the compiler can keep in registers.
struct Skim<'a> {
    rest: &'a [u8],
    next: Next,
    depth: u8,
    objects: u128,
    /// The bracket that closes this depth is left to the reader.
    floor: u8,
}

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// Before a token.
    Token,
    /// Inside a string.
    Text(Place),
}

impl Reader {
    /// Passes over tokens inside the object or array that nobody listens to. Its closing
    /// bracket is left, since that is told again.
    pub(super) fn skim<'a>(&mut self, next: Next, bytes: &'a [u8]) -> &'a [u8] {
        let mut skim = Skim {
            rest: bytes,
            next,
            depth: self.depth,
            objects: self.objects,
            floor: self.deaf_from,
        };
        let Err(stop) = skim.run();
        (self.depth, self.objects) = (skim.depth, skim.objects);
        self.state = match stop {
            Stop::Token => State::Before(skim.next),
            Stop::Text(place) => {
                self.place = place;
                self.wanted = false;
                State::Text
            }
        };
        skim.rest
    }
}

impl<'a> Skim<'a> {
    fn run(&mut self) -> Result<std::convert::Infallible, Stop> {
        loop {
            match self.next {
                Next::Value | Next::FirstElement => self.value()?,
                Next::AfterValue => self.after_value()?,
                Next::FirstKey | Next::Key => self.key()?,
                Next::Colon => self.colon()?,
            }
        }
    }

    fn value(&mut self) -> Result<(), Stop> {
        self.rest = skip_blanks(self.rest);
        let (rest, next) = match self.rest {
            [b'"', tail @ ..] => (self.text(tail, Place::Value)?, Next::AfterValue),
            [b'{', tail @ ..] if self.depth < MAX_DEPTH => {
                self.depth += 1;
                self.objects = self.objects << 1 | 1;
                (tail, Next::FirstKey)
            }
            [b'[', tail @ ..] if self.depth < MAX_DEPTH => {
                self.depth += 1;
                self.objects <<= 1;
                (tail, Next::FirstElement)
            }
            [b'-' | b'0'..=b'9', ..] => {
                let tail = pass_number(self.rest).ok_or(Stop::Token)?;
                (tail, Next::AfterValue)
            }
            [b't' | b'f' | b'n', ..] => {
                let tail = pass_literal(self.rest).ok_or(Stop::Token)?;
                (tail, Next::AfterValue)
            }
            [b']', tail @ ..] if self.next == Next::FirstElement => self.close(tail)?,
            _ => return Err(Stop::Token),
        };
        (self.rest, self.next) = (rest, next);
        Ok(())
    }

    fn after_value(&mut self) -> Result<(), Stop> {
        self.rest = skip_blanks(self.rest);
        let in_object = self.objects & 1 == 1;
        match self.rest {
            [b',', tail @ ..] if in_object => {
                (self.rest, self.next) = (tail, Next::Key);
                return self.key();
            }
            [b',', tail @ ..] => (self.rest, self.next) = (tail, Next::Value),
            [b'}', tail @ ..] if in_object => (self.rest, self.next) = self.close(tail)?,
            [b']', tail @ ..] if !in_object => (self.rest, self.next) = self.close(tail)?,
            _ => return Err(Stop::Token),
        }
        Ok(())
    }

    /// A name and, where it follows at once, the colon.
    fn key(&mut self) -> Result<(), Stop> {
        self.rest = skip_blanks(self.rest);
        let (rest, next) = match self.rest {
            [b'"', tail @ ..] => match self.text(tail, Place::Key)? {
                [b':', tail @ ..] => (tail, Next::Value),
                tail => (tail, Next::Colon),
            },
            [b'}', tail @ ..] if self.next == Next::FirstKey => self.close(tail)?,
            _ => return Err(Stop::Token),
        };
        (self.rest, self.next) = (rest, next);
        Ok(())
    }

    fn colon(&mut self) -> Result<(), Stop> {
        self.rest = skip_blanks(self.rest);
        let [b':', tail @ ..] = self.rest else {
            return Err(Stop::Token);
        };
        (self.rest, self.next) = (tail, Next::Value);
        Ok(())
    }

    #[inline]
    fn text(&mut self, bytes: &'a [u8], place: Place) -> Result<&'a [u8], Stop> {
        match pass_text(bytes) {
            Passed::Whole(tail) => Ok(tail),
            Passed::Part(tail) => {
                self.rest = tail;
                Err(Stop::Text(place))
            }
        }
    }

    #[inline]
    fn close(&mut self, tail: &'a [u8]) -> Result<(&'a [u8], Next), Stop> {
        if self.depth == self.floor {
            return Err(Stop::Token);
        }
        self.depth -= 1;
        self.objects >>= 1;
        Ok((tail, Next::AfterValue))
    }
}
