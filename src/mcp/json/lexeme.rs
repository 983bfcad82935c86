//! The smallest parts of JSON: numbers, literals, blanks.

use memchr::memchr2;

use super::Token;

/// How far a number has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Digits {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    E,
    Sign,
    Exponent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Literal {
    True,
    False,
    Null,
}

impl Digits {
    /// The state after one more byte; `None` when it is no part of the number.
    pub(super) fn next(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Minus, b'0') => Some(Self::Zero),
            (Self::Minus, b'1'..=b'9') | (Self::Whole, b'0'..=b'9') => Some(Self::Whole),
            (Self::Zero | Self::Whole, b'.') => Some(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Whole | Self::Fraction, b'e' | b'E') => Some(Self::E),
            (Self::E, b'+' | b'-') => Some(Self::Sign),
            (Self::E | Self::Sign | Self::Exponent, b'0'..=b'9') => Some(Self::Exponent),
            _ => None,
        }
    }

    pub(super) fn may_end(self) -> bool {
        matches!(
            self,
            Self::Zero | Self::Whole | Self::Fraction | Self::Exponent
        )
    }
}

impl Literal {
    pub(super) fn spelling(self) -> (&'static [u8], Token<'static>) {
        match self {
            Self::True => (b"true", Token::True),
            Self::False => (b"false", Token::False),
            Self::Null => (b"null", Token::Null),
        }
    }
}

pub(super) fn skip_blanks(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [b' ' | b'\t' | b'\r' | b'\n', tail @ ..] = rest {
        rest = tail;
    }
    rest
}

/// Words of a string that are looked at one by one before the rest is searched: names and
/// most values are shorter, and a search costs more to set up.
const SHORT_WORDS: usize = 2;

/// Bytes before the next quote, backslash or control character.
pub(super) fn plain_length(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    for _ in 0..SHORT_WORDS {
        let Some((word, tail)) = rest.split_first_chunk() else {
            break;
        };
        let stops = stops(u64::from_le_bytes(*word));
        if stops != 0 {
            return bytes.len() - rest.len() + stops.trailing_zeros() as usize / 8;
        }
        rest = tail;
    }
    let end = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
    let (plain, _) = rest.split_at(end);
    bytes.len() - rest.len() + first_control(plain).unwrap_or(end)
}

/// The high bit of the lowest byte that ends plain text, and perhaps of bytes above it.
fn stops(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word & HIGHS;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    equal(b'"') | equal(b'\\') | below(word, 0x20)
}

/// Where the first control character is. The look over all bytes has no early end, so that
/// the compiler can look at many at once.
fn first_control(bytes: &[u8]) -> Option<usize> {
    let least = bytes.iter().fold(u8::MAX, |least, byte| least.min(*byte));
    if least >= 0x20 {
        return None;
    }
    bytes.iter().position(|byte| *byte < 0x20)
}
