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

use crate::model::{self, Limit, place_of, without_space};

/// Most digits of a chunk's size.
const MAX_SIZE_DIGITS: usize = 16;
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
            if self.state == State::Fields && self.line.is_empty() {
                rest = self.pass_fields(rest);
                if rest.is_empty() {
                    break;
                }
            }
            match self.state {
                State::Off => return Ok(()),
                State::Sized | State::Chunk => rest = self.skip(rest),
                State::Start
                | State::Fields
                | State::ChunkLine
                | State::ChunkEnd
                | State::Trailers => {
                    let end = place_of(b'\n', rest);
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

    /// Goes through fields that are here as a whole and tell nothing of the body's end, as most are. Stops at
    /// the first line that is anything else, or goes beyond a bound: that one is looked at as every line is.
    fn pass_fields<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut left = self.left_of_head;
        let mut rest = bytes;
        while let Some(end) = place_of(b'\n', rest) {
            let (line, behind) = rest.split_at(end);
            let [text @ .., b'\r'] = line else { break };
            let is_beyond = left.fields == 0 || left.bytes <= line.len();
            if is_beyond || text.is_empty() || may_tell_the_end(text) {
                break;
            }
            left.fields -= 1;
            left.bytes -= line.len() + 1;
            rest = behind.get(1..).unwrap_or_default();
        }
        self.left_of_head = left;
        rest
    }

    /// Looks at nothing any more: what comes is no HTTP, or is not passed on.
    pub(super) fn off(&mut self) {
        self.state = State::Off;
        self.line = Vec::new();
    }

    /// Whether a head has begun and is not whole.
    pub(super) fn is_in_head(&self) -> bool {
        match self.state {
            State::Start => !self.line.is_empty(),
            State::Fields => true,
            State::Sized
            | State::ChunkLine
            | State::Chunk
            | State::ChunkEnd
            | State::Trailers
            | State::Off => false,
        }
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
                let coding = without_space(line.get(18..).unwrap_or_default());
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
        let extension = without_space(behind);
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

/// Whether a field has a name that begins like one of the two that tell where a body ends, and is as long.
fn may_tell_the_end(line: &[u8]) -> bool {
    match line.first() {
        Some(b'c' | b'C') => line.get(14) == Some(&b':'),
        Some(b't' | b'T') => line.get(17) == Some(&b':'),
        _ => false,
    }
}

fn is_named(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len())
        .is_some_and(|begin| begin.eq_ignore_ascii_case(name))
}

/// Digits and nothing else, with space around them.
fn number(value: &[u8]) -> Option<u64> {
    model::digits(without_space(value)).filter(|number| *number <= MAX_LENGTH)
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

#[cfg(test)]
mod tests;
