//! Escapes inside strings that somebody wants to read.

use super::{Reader, State, Visitor};

impl Reader {
    /// What follows a backslash.
    pub(super) fn escape<'a, V: Visitor>(&mut self, rest: &'a [u8], visitor: &mut V) -> &'a [u8] {
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
        self.piece(plain, visitor);
        tail
    }

    /// The digits of a `\u` escape.
    pub(super) fn hex<'a, V: Visitor>(
        &mut self,
        seen: u8,
        rest: &'a [u8],
        visitor: &mut V,
    ) -> &'a [u8] {
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
    pub(super) fn lone_half<V: Visitor>(&mut self, visitor: &mut V) {
        if self.high != 0 {
            self.high = 0;
            self.character(char::REPLACEMENT_CHARACTER, visitor);
        }
    }

    fn character<V: Visitor>(&self, character: char, visitor: &mut V) {
        self.piece(character.encode_utf8(&mut [0; 4]).as_bytes(), visitor);
    }
}
