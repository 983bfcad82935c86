//! Bodies in chunks (RFC 9112, 7.1), in the one way of writing them that nobody can misread.

use bytes::{Buf, Bytes};
use http::header::HeaderMap;

use super::answer_head;
use super::error::WireError;

/// Most bytes of extensions in the chunks of one body, which nobody reads.
const MAX_EXTENSION_BYTES: usize = 16 * 1024;
/// Most digits of a chunk's size, zeros before it included: who writes more has something in mind.
const MAX_DIGITS: usize = 16;
/// Most bytes of trailers.
const MAX_TRAILER_BYTES: usize = 16 * 1024;
/// What stands behind the data of the last chunk that has any, where there are no trailers.
const USUAL_END: &[u8] = b"\r\n0\r\n\r\n";

/// How far a body in chunks is.
#[derive(Debug)]
pub(super) struct Chunks {
    at: At,
    /// Of the chunk under way, what is left of it.
    left_bytes: u64,
    /// Of the size under way.
    digits: usize,
    extension_bytes: usize,
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// The first digit of a size.
    Size,
    /// More digits, or what ends them.
    MoreSize,
    /// Space behind a size.
    Space,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The beginning of a line of trailers, or of the last, empty one.
    Line,
    InLine,
    LineLf,
    LastLf,
    Over,
}

/// A part of a body.
#[derive(Debug)]
pub(super) enum Part {
    Data(Bytes),
    /// Boxed: hardly any body has them, and each part would be as large.
    Trailers(Box<HeaderMap>),
    /// More bytes are needed.
    More,
    End,
}

impl Chunks {
    pub(super) fn new() -> Self {
        Self {
            at: At::Size,
            left_bytes: 0,
            digits: 0,
            extension_bytes: 0,
            trailers: Vec::new(),
        }
    }

    /// Whether nothing is left of the body.
    pub(super) fn is_over(&self) -> bool {
        self.at == At::Over
    }

    /// Takes the next part out of what came; all of it, where more is needed.
    ///
    /// # Errors
    /// [`WireError::Chunks`].
    pub(super) fn take(&mut self, came: &mut Bytes) -> Result<Part, WireError> {
        loop {
            if self.at == At::Over {
                return Ok(Part::End);
            }
            if self.at == At::Data && !came.is_empty() {
                return Ok(Part::Data(self.take_data(came)));
            }
            let Some(byte) = came.first().copied() else {
                return Ok(Part::More);
            };
            came.advance(1);
            self.at = self.step(byte)?;
            if self.at == At::Over && !self.trailers.is_empty() {
                let mut lines = std::mem::take(&mut self.trailers);
                lines.extend_from_slice(b"\r\n");
                return answer_head::trailers(lines).map(|fields| Part::Trailers(Box::new(fields)));
            }
        }
    }

    fn take_data(&mut self, came: &mut Bytes) -> Bytes {
        let most = usize::try_from(self.left_bytes).unwrap_or(usize::MAX);
        let data = came.split_to(most.min(came.len()));
        self.left_bytes -= data.len() as u64;
        if self.left_bytes == 0 {
            self.at = At::DataCr;
            if **came == *USUAL_END {
                came.clear();
                self.at = At::Over;
            }
        }
        data
    }

    /// Where a byte of what is no data leads.
    fn step(&mut self, byte: u8) -> Result<At, WireError> {
        let next = match (self.at, byte) {
            (At::Size | At::MoreSize, digit) if digit.is_ascii_hexdigit() => {
                self.digit(digit)?;
                At::MoreSize
            }
            (At::MoreSize | At::Space, b' ' | b'\t') => At::Space,
            (At::MoreSize | At::Space | At::Extension, b'\r') => At::SizeLf,
            (At::MoreSize | At::Space, b';') => At::Extension,
            (At::SizeLf, b'\n') => {
                self.digits = 0;
                if self.left_bytes == 0 {
                    At::Line
                } else {
                    At::Data
                }
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size,
            (At::Line, b'\r') => At::LastLf,
            (At::InLine, b'\r') => At::LineLf,
            (At::LineLf, b'\n') => At::Line,
            (At::LastLf, b'\n') => At::Over,
            (At::Extension, byte) if byte != b'\n' => At::Extension,
            (At::Line | At::InLine, byte) if byte != b'\n' => At::InLine,
            _ => return Err(WireError::Chunks),
        };
        self.count(next, byte)?;
        Ok(next)
    }

    fn digit(&mut self, digit: u8) -> Result<(), WireError> {
        self.digits += 1;
        if self.digits > MAX_DIGITS {
            return Err(WireError::Chunks);
        }
        let value = char::from(digit).to_digit(16).map(u64::from);
        let size = self.left_bytes.checked_mul(16);
        self.left_bytes = size
            .zip(value)
            .map(|(size, value)| size + value)
            .ok_or(WireError::Chunks)?;
        Ok(())
    }

    /// Bounds what is no data: lines of trailers are kept, extensions are not.
    fn count(&mut self, next: At, byte: u8) -> Result<(), WireError> {
        if matches!(next, At::Extension | At::Space) {
            self.extension_bytes += 1;
            if self.extension_bytes > MAX_EXTENSION_BYTES {
                return Err(WireError::Chunks);
            }
        }
        let is_trailer = matches!(next, At::InLine | At::LineLf)
            || (next == At::Line && byte == b'\n' && self.at == At::LineLf);
        if is_trailer {
            if self.trailers.len() == MAX_TRAILER_BYTES {
                return Err(WireError::Chunks);
            }
            self.trailers.push(byte);
        }
        Ok(())
    }
}
