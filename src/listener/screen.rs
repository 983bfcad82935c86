//! A strict look at the bytes of an HTTP/1 connection, before they are parsed.
//!
//! The parser behind forgives things that it does not tell of: it cuts a fragment off the target,
//! takes a bare line feed for the end of a line, drops a length that comes with chunks, looks at
//! the last coding of several only, and at nothing in a chunk's extension. A message with any of
//! that could be read in another way by somebody else, so it ends here: this is a second reading
//! of where messages begin and end, and where the two disagree nothing is passed on.
//!
//! It reads line by line and looks at no more than that takes; the content of fields is left to
//! the parser.

use memchr::memchr;
use wide::u8x16;

use crate::model::Limit;

/// Most digits of a chunk's size.
const MAX_SIZE_DIGITS: usize = 16;
/// Bytes that are looked at together.
const LANES: usize = 16;
/// Largest length of a body, or of a chunk: what others keep in a signed number is as large.
const MAX_LENGTH: u64 = i64::MAX as u64;

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub struct HeadBounds {
    /// From the request line to the empty line, the line ends included. No line of anything
    /// else is longer than this, either.
    pub bytes: usize,
    /// Lines that are fields.
    pub fields: usize,
}

/// Where a connection is in its messages.
#[derive(Debug)]
pub(super) struct Screen {
    bounds: HeadBounds,
    /// What is left of them for the present head.
    left_of_head: HeadBounds,
    state: State,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// Bytes that are left of a body or a chunk.
    left: u64,
    length: Option<u64>,
    chunked: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    Fields,
    Sized,
    ChunkLine,
    Chunk,
    ChunkEnd,
    Trailers,
    /// Nobody looks any more.
    Off,
}

/// What is wrong, behind how many of the bytes that were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// In a head, at the end of a line of it.
    Head(usize),
    /// A head that goes beyond a bound, before the line that does.
    Long(usize, Limit),
    /// In the framing of a body.
    Body(usize),
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// It is not what it should be.
    Unsound,
    /// It goes beyond a bound.
    Long(Limit),
}

impl Screen {
    /// A connection of which nothing has come.
    pub(super) fn new(bounds: HeadBounds) -> Self {
        Self {
            bounds,
            left_of_head: bounds,
            state: State::Start,
            line: Vec::new(),
            left: 0,
            length: None,
            chunked: false,
        }
    }

    /// Looks at the next bytes of the connection.
    ///
    /// # Errors
    /// [`Fault`] when they are not part of a sound message; from then on nothing is looked at.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.state {
                State::Off => return Ok(()),
                State::Sized | State::Chunk => rest = self.skip(rest),
                State::Start
                | State::Fields
                | State::ChunkLine
                | State::ChunkEnd
                | State::Trailers => {
                    let end = line_end(rest);
                    let (line, behind) = rest.split_at(end.unwrap_or(rest.len()));
                    let in_head = matches!(self.state, State::Start | State::Fields);
                    let looked = match end {
                        Some(_) => self.line_ends(line),
                        None => self.keep(line),
                    };
                    if let Err(wrong) = looked {
                        self.off();
                        let (before, passed) =
                            (bytes.len() - rest.len(), bytes.len() - behind.len());
                        return Err(match wrong {
                            Wrong::Long(limit) if in_head => Fault::Long(before, limit),
                            Wrong::Unsound if in_head => Fault::Head(passed),
                            Wrong::Long(_) | Wrong::Unsound => Fault::Body(passed),
                        });
                    }
                    rest = behind.get(1..).unwrap_or_default();
                }
            }
        }
        Ok(())
    }

    /// Looks at nothing any more: what comes is no HTTP, or is not passed on.
    pub(super) fn off(&mut self) {
        self.state = State::Off;
        self.line = Vec::new();
    }

    /// Whether nothing of a message is missing.
    pub(super) fn may_close(&self) -> bool {
        matches!(self.state, State::Start | State::Off) && self.line.is_empty()
    }

    fn skip<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let taken = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        self.left -= taken as u64;
        if self.left == 0 {
            self.state = if self.state == State::Chunk {
                State::ChunkEnd
            } else {
                State::Start
            };
        }
        bytes.get(taken..).unwrap_or_default()
    }

    fn keep(&mut self, piece: &[u8]) -> Result<(), Wrong> {
        self.check_length(piece)?;
        self.line.extend_from_slice(piece);
        Ok(())
    }

    fn line_ends(&mut self, piece: &[u8]) -> Result<(), Wrong> {
        self.check_length(piece)?;
        let sound = if self.line.is_empty() {
            self.line_is_sound(piece)?
        } else {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(piece);
            self.line_is_sound(&line)?
        };
        if sound { Ok(()) } else { Err(Wrong::Unsound) }
    }

    /// Whether a line may still grow by this piece and its end.
    fn check_length(&self, piece: &[u8]) -> Result<(), Wrong> {
        if self.line.len() + piece.len() < self.left_of_head.bytes {
            Ok(())
        } else {
            Err(Wrong::Long(Limit::RequestHeadBytes))
        }
    }

    /// Takes in a line, which is here without its LF.
    fn line_is_sound(&mut self, whole: &[u8]) -> Result<bool, Wrong> {
        let Some((b'\r', line)) = whole.split_last() else {
            return Ok(false);
        };
        if let State::Start | State::Fields = self.state {
            self.left_of_head.bytes -= whole.len() + 1;
        }
        Ok(match (self.state, line.is_empty()) {
            (State::Start, true) | (State::Sized | State::Chunk | State::Off, _) => true,
            (State::Start, false) => self.request_line(line),
            (State::Fields, true) => self.head_ends(),
            (State::Fields, false) => {
                let left = self.left_of_head.fields.checked_sub(1);
                self.left_of_head.fields = left.ok_or(Wrong::Long(Limit::RequestFields))?;
                self.field(line)
            }
            (State::ChunkLine, _) => self.chunk_line(line),
            (State::ChunkEnd, _) => {
                self.state = State::ChunkLine;
                line.is_empty()
            }
            (State::Trailers, true) => {
                self.state = State::Start;
                true
            }
            (State::Trailers, false) => is_field(line),
        })
    }

    /// Visible ASCII behind the method, and no fragment (RFC 9112, 3.2).
    fn request_line(&mut self, line: &[u8]) -> bool {
        self.state = State::Fields;
        self.length = None;
        self.chunked = false;
        let space = line.iter().position(|byte| *byte == b' ');
        let behind = space.unwrap_or_default();
        let target = line.get(behind..).unwrap_or_default();
        let visible = |byte: &u8| matches!(byte, b' '..=b'"' | b'$'..=b'~');
        target.iter().all(visible) && !asks_for_options_of_nothing(line)
    }

    /// Takes note of what tells a body's end (RFC 9112, 6).
    fn field(&mut self, line: &[u8]) -> bool {
        match (line.get(14), line.get(17)) {
            (Some(b':'), _) if is_named(line, b"content-length:") => {
                let length = number(line.get(15..).unwrap_or_default());
                let same = self.length.is_none() || self.length == length;
                self.length = length;
                same && length.is_some()
            }
            (_, Some(b':')) if is_named(line, b"transfer-encoding:") => {
                let coding = trim(line.get(18..).unwrap_or_default());
                let first = !std::mem::replace(&mut self.chunked, true);
                first && coding.eq_ignore_ascii_case(b"chunked")
            }
            _ => true,
        }
    }

    fn head_ends(&mut self) -> bool {
        self.left_of_head = self.bounds;
        (self.state, self.left) = match (self.chunked, self.length) {
            (true, Some(_)) => return false,
            (true, None) => (State::ChunkLine, 0),
            (false, None | Some(0)) => (State::Start, 0),
            (false, Some(length)) => (State::Sized, length),
        };
        true
    }

    /// A size, and perhaps an extension without control bytes (RFC 9112, 7.1).
    fn chunk_line(&mut self, line: &[u8]) -> bool {
        let digits = line
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let (size, behind) = line.split_at(digits);
        let extension = trim(behind);
        let sound = behind.is_empty() || extension.starts_with(b";");
        if digits == 0 || digits > MAX_SIZE_DIGITS || !sound || !is_text(behind) {
            return false;
        }
        let value = |digit: &u8| char::from(*digit).to_digit(16).unwrap_or_default();
        self.left = size
            .iter()
            .fold(0, |size, digit| size << 4 | u64::from(value(digit)));
        if self.left > MAX_LENGTH {
            return false;
        }
        self.state = match self.left {
            0 => State::Trailers,
            _ => State::Chunk,
        };
        true
    }
}

/// Where the first LF is. The lines of a head are short, and there are many of them: what a search
/// through long texts prepares costs more than going through a line. A long one costs four instructions
/// for sixteen bytes.
fn line_end(bytes: &[u8]) -> Option<usize> {
    let (whole, rest) = bytes.as_chunks::<LANES>();
    for (place, lanes) in whole.iter().enumerate() {
        let found = u8x16::from(*lanes).simd_eq(u8x16::splat(b'\n'));
        let found = found.to_bitmask();
        if found != 0 {
            return Some(place * LANES + found.trailing_zeros() as usize);
        }
    }
    let at = rest.iter().position(|byte| *byte == b'\n')?;
    Some(bytes.len() - rest.len() + at)
}

/// Whether a request asks for the options of a server, and says so with a target that the parser
/// takes for the server's root: who passes it on has to write `*` (RFC 9112, 3.2.4).
fn asks_for_options_of_nothing(line: &[u8]) -> bool {
    let Some(target) = line.strip_prefix(b"OPTIONS ") else {
        return false;
    };
    let target = target.split(|byte| *byte == b' ').next();
    let mut parts = target.unwrap_or_default().splitn(2, |byte| *byte == b':');
    let behind = parts.nth(1).and_then(|rest| rest.strip_prefix(b"//"));
    behind.is_some_and(|rest| !rest.contains(&b'/') && !rest.contains(&b'?'))
}

fn is_named(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len())
        .is_some_and(|begin| begin.eq_ignore_ascii_case(name))
}

/// Digits and nothing else, with space around them.
fn number(value: &[u8]) -> Option<u64> {
    let digits = trim(value);
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    });
    number.filter(|number| *number <= MAX_LENGTH)
}

/// A name, a colon, and text.
fn is_field(line: &[u8]) -> bool {
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let Some(colon) = memchr(b':', line) else {
        return false;
    };
    let (name, value) = line.split_at(colon);
    !name.is_empty() && name.iter().all(token) && is_text(value)
}

/// What may be in the value of a field (RFC 9110, 5.5).
fn is_text(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..))
}

/// Without the space around it, of which there are two kinds.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: HeadBounds = HeadBounds {
        bytes: 65_536,
        fields: 1000,
    };
    const HEAD: &str = "POST /a?b HTTP/1.1\r\nHost: h\r\n";

    /// Looks at bytes in pieces of this size; how many of them passed.
    fn looked(bytes: &[u8], piece: usize) -> (usize, Result<(), Fault>, bool) {
        let mut screen = Screen::new(BOUNDS);
        let mut passed = 0;
        for piece in bytes.chunks(piece) {
            match screen.look(piece) {
                Ok(()) => passed += piece.len(),
                Err(fault) => {
                    let (Fault::Head(at) | Fault::Long(at, _) | Fault::Body(at)) = fault;
                    return (passed + at, Err(fault), false);
                }
            }
        }
        (passed, Ok(()), screen.may_close())
    }

    fn is_sound(text: &str) -> bool {
        looked(text.as_bytes(), usize::MAX).1.is_ok()
    }

    #[test]
    fn sound_messages_pass_and_leave_nothing_open() {
        for message in [
            format!("{HEAD}\r\n"),
            format!("\r\n\r\n{HEAD}\r\n{HEAD}\r\n"),
            format!("{HEAD}content-length:\t5 \r\nContent-Length: 5\r\n\r\nabc\n\0"),
            format!("{HEAD}content-length: 0\r\n\r\n"),
            format!("{HEAD}TRANSFER-encoding: Chunked\t\r\n\r\n5\r\nab\r\n\n\r\n0\r\n\r\n"),
            format!(
                "{HEAD}transfer-encoding: chunked\r\n\r\n0a ; x=\"y\"\r\n0123456789\r\n0;\r\nA: b\r\n\r\n"
            ),
        ] {
            let whole = (message.len(), Ok(()), true);
            assert_eq!(looked(message.as_bytes(), usize::MAX), whole, "{message:?}");
            for piece in 1..message.len() {
                assert_eq!(
                    looked(message.as_bytes(), piece),
                    whole,
                    "{message:?} by {piece}"
                );
            }
        }
    }

    #[test]
    fn a_head_that_others_may_read_otherwise_is_a_fault_before_it_ends() {
        for head in [
            "GET /#a HTTP/1.1\r\n\r\n",
            "GET /\u{e9} HTTP/1.1\r\n\r\n",
            "GET /\ta HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\n\n",
            "\nGET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n",
            "GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            "GET / HTTP/1.1\r\ncontent-length: 1, 1\r\n\r\n",
            "GET / HTTP/1.1\r\ncontent-length:\r\n\r\n",
            "GET / HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n",
            "GET / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            "GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\ntransfer-encoding: identity\r\n\r\n",
            "GET / HTTP/1.1\r\ntransfer-encoding: \u{b}chunked\r\n\r\n",
        ] {
            for piece in 1..=head.len() {
                let (passed, fault, _) = looked(head.as_bytes(), piece);
                assert!(matches!(fault, Err(Fault::Head(_))), "{head:?}");
                assert_eq!(head.as_bytes()[passed], b'\n', "{head:?}");
            }
        }
    }

    #[test]
    fn a_body_in_faulty_chunks_is_a_fault_of_the_body() {
        for chunks in [
            "\r\n",
            "5\n",
            "+5\r\n",
            "-5\r\n",
            " 5\r\n",
            "5 \r\n",
            "0x5\r\n",
            "5;a\n",
            "5;\0\r\n",
            "5\r\r\n",
            "5;a\r\r\n",
            "5word\r\n",
            "0_5\r\n",
            "12345678123456789\r\n",
            "2\r\nokX\r\n",
            "2\r\nok\n",
            "2\r\nok\r\n\r\n",
            "0\r\nx\r\n\r\n",
            "0\r\nx : y\r\n\r\n",
            "0\r\nx: \r y\r\n\r\n",
            "0\r\n x: y\r\n\r\n",
            "0\r\nx: y\n\r\n",
            "0\r\n\n",
        ] {
            let message = format!("{HEAD}transfer-encoding: chunked\r\n\r\n{chunks}");
            for piece in 1..=message.len() {
                let fault = looked(message.as_bytes(), piece).1;
                assert!(
                    matches!(fault, Err(Fault::Body(_))),
                    "{chunks:?} by {piece}"
                );
            }
        }
    }

    #[test]
    fn a_size_that_fills_its_number_is_counted_down_as_it_is() {
        let of_size = |size: &str| {
            let message = format!("{HEAD}transfer-encoding: chunked\r\n\r\n{size}\r\n");
            is_sound(&(message + &"x".repeat(1000)))
        };
        assert!(of_size("7fffffffffffffff"));
        assert!(!of_size("8000000000000000"));
    }

    proptest! {
        #[test]
        fn a_line_ends_at_its_first_line_feed(bytes in "[a\n]{0,5}[ab]{0,80}\n?[a\n]{0,20}") {
            prop_assert_eq!(line_end(bytes.as_bytes()), memchr(b'\n', bytes.as_bytes()));
        }

        #[test]
        fn it_does_not_matter_how_bytes_are_cut(
            bytes in "(POST / HTTP/1.1\r\n|x: y\r\n|content-length: [0-3]\r\n|transfer-encoding: chunked\r\n|\r\n|[0-3]\r\n|a|\n|#){0,20}",
            piece in 1usize..20,
        ) {
            let (whole, pieces) = (looked(bytes.as_bytes(), usize::MAX), looked(bytes.as_bytes(), piece));
            prop_assert_eq!(whole.0, pieces.0);
            prop_assert_eq!(whole.1.is_ok(), pieces.1.is_ok());
            prop_assert_eq!(whole.2, pieces.2);
        }
    }
}
