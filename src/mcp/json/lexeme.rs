//! The smallest parts of JSON: numbers, literals, blanks.

use memchr::memchr2;
use wide::u8x16;

use super::Token;

/// How far a number has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Digits {
    Start,
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
            (Self::Start, b'-') => Some(Self::Minus),
            (Self::Start | Self::Minus, b'0') => Some(Self::Zero),
            (Self::Start | Self::Minus, b'1'..=b'9') | (Self::Whole, b'0'..=b'9') => {
                Some(Self::Whole)
            }
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

#[inline]
pub(super) fn skip_blanks(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [b' ' | b'\t' | b'\r' | b'\n', tail @ ..] = rest {
        rest = tail;
        // Written for people, JSON is indented by many blanks at a time.
        while let Some(tail) = rest.strip_prefix(b"        ") {
            rest = tail;
        }
    }
    rest
}

/// How far a string was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed<'a> {
    /// To its end; this follows its closing quote.
    Whole(&'a [u8]),
    /// Up to the end of the chunk, or to an escape or a byte that needs a closer look.
    Part(&'a [u8]),
}

/// Passes over what is left of a string whose opening quote, and whole escapes, are behind.
#[inline]
pub(super) fn pass_text(bytes: &[u8]) -> Passed<'_> {
    let mut rest = bytes;
    loop {
        let stopped = skip_plain(rest);
        rest = match stopped {
            [b'"', tail @ ..] => return Passed::Whole(tail),
            [b'\\', escaped, tail @ ..] if is_short_escape(*escaped) => tail,
            [b'\\', b'u', digits @ ..] => match digits.split_first_chunk::<4>() {
                Some((digits, tail)) if digits.iter().all(u8::is_ascii_hexdigit) => tail,
                Some(_) | None => return Passed::Part(stopped),
            },
            _ => return Passed::Part(stopped),
        };
    }
}

/// Whether a backslash and this byte are a character.
#[inline]
fn is_short_escape(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't')
}

/// Passes over a number; `None` when it is none, or may go on in the next chunk.
#[inline]
pub(super) fn pass_number(bytes: &[u8]) -> Option<&[u8]> {
    let rest = match bytes.strip_prefix(b"-").unwrap_or(bytes) {
        [b'0', tail @ ..] => tail,
        [b'1'..=b'9', tail @ ..] => skip_digits(tail),
        _ => return None,
    };
    let rest = match rest {
        [b'.', b'0'..=b'9', tail @ ..] => skip_digits(tail),
        [b'.', ..] => return None,
        _ => rest,
    };
    let rest = match rest {
        [b'e' | b'E', b'+' | b'-', b'0'..=b'9', tail @ ..]
        | [b'e' | b'E', b'0'..=b'9', tail @ ..] => skip_digits(tail),
        [b'e' | b'E', ..] => return None,
        _ => rest,
    };
    (!rest.is_empty()).then_some(rest)
}

fn skip_digits(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [b'0'..=b'9', tail @ ..] = rest {
        rest = tail;
    }
    rest
}

/// Passes over `true`, `false` or `null`.
#[inline]
pub(super) fn pass_literal(bytes: &[u8]) -> Option<(Token<'static>, &[u8])> {
    match bytes {
        [b't', b'r', b'u', b'e', tail @ ..] => Some((Token::True, tail)),
        [b'f', b'a', b'l', b's', b'e', tail @ ..] => Some((Token::False, tail)),
        [b'n', b'u', b'l', b'l', tail @ ..] => Some((Token::Null, tail)),
        _ => None,
    }
}

/// Bytes of a string that are looked at together, and how often before the rest is searched: names
/// and most values are shorter, and a search costs more to set up.
const LANES: usize = 16;
const SHORT_STEPS: usize = 3;

/// What follows the bytes before the next quote, backslash or control character.
#[expect(
    clippy::inline_always,
    reason = "called for every few bytes of a text: a fifth of what it costs"
)]
#[inline(always)]
pub(super) fn skip_plain(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    for _ in 0..SHORT_STEPS {
        let Some((lanes, tail)) = rest.split_first_chunk() else {
            break;
        };
        let stops = stops(*lanes);
        if stops != 0 {
            let (_, stopped) = rest.split_at(stops.trailing_zeros() as usize);
            return stopped;
        }
        rest = tail;
    }
    let (_, stopped) = rest.split_at(long_plain_length(rest));
    stopped
}

/// How many they are, by a search that pays where there is much to pass over.
#[inline(never)]
fn long_plain_length(bytes: &[u8]) -> usize {
    let end = memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
    let (plain, _) = bytes.split_at(end);
    first_control(plain).unwrap_or(end)
}

/// A bit for each byte that ends plain text, the first one lowest.
#[inline]
fn stops(lanes: [u8; LANES]) -> u32 {
    let lanes = u8x16::from(lanes);
    let control = lanes.min(u8x16::splat(0x1F)).simd_eq(lanes);
    let stops = lanes.simd_eq(u8x16::splat(b'"')) | lanes.simd_eq(u8x16::splat(b'\\')) | control;
    stops.to_bitmask()
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
