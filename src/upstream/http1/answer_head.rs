//! How the head of an answer is read: line by line, and each byte once.

use bytes::{Buf, Bytes};
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use http::{Method, Response, StatusCode, Version};

use crate::model::{place_of, without_space};
use crate::upstream::framing;

use super::error::WireError;
use super::lines::Lines;
use super::scratch::Scratch;

/// Most fields of an answer's head, and of its trailers.
pub(super) const MAX_FIELDS: usize = 100;
/// Fields that there is room for before any is read.
const USUAL_FIELDS: usize = 6;
/// Largest answer head that is read, in bytes.
pub(in crate::upstream) const MAX_BYTES: usize = 64 * 1024;

/// The head of an answer.
#[derive(Debug)]
pub(super) struct AnswerHead {
    pub(super) response: Response<()>,
    /// Where the body ends.
    pub(super) end: End,
    /// Whether the connection can be used again afterwards.
    pub(super) stays: bool,
}

/// Where the body of an answer ends (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// After so many bytes.
    Length(u64),
    /// With its last chunk.
    Chunks,
    /// With the connection.
    Close,
}

/// Reads a head from the beginning of these bytes, and says how many are its own; `None` while its end
/// has not come.
///
/// # Errors
/// [`WireError`] when they are none, however they go on.
pub(super) fn read(
    bytes: &Bytes,
    (method, scratch): (&Method, &Scratch),
) -> Result<Option<(AnswerHead, usize)>, WireError> {
    let Some((first, behind)) = line(bytes, 0) else {
        return may_be_status(bytes).then_some(None).ok_or(NO_STATUS);
    };
    let (version, code) = status(first)?;
    let mut response = Response::new(());
    *response.status_mut() = code;
    *response.version_mut() = version;
    let into = response.headers_mut();
    *into = scratch.lend_fields();
    let Some((said, length)) = fields((bytes, behind), Some(scratch.lines()), into)? else {
        return Ok(None);
    };
    let end = said.end(method, code)?;
    let is_old = version == Version::HTTP_10;
    if end == End::Chunks && is_old {
        // HTTP/1.0 has no chunks (RFC 9112, 6.1).
        return Err(WireError::Head("chunks in an old version"));
    }
    let stays = !said.closes && (!is_old || said.stays);
    let head = AnswerHead {
        response,
        end,
        stays: stays && end != End::Close,
    };
    Ok(Some((head, length)))
}

/// The line that begins here, without its end, and where the next one begins; `None` while its end has
/// not come. A line feed alone ends one, too (RFC 9112, 2.2).
fn line(bytes: &[u8], begin: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(begin..)?;
    let length = place_of(b'\n', rest)?;
    let line = rest.get(..length)?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), begin + length + 1))
}

/// Takes empty lines off what came before a head.
pub(super) fn skip_empty_lines(came: &mut Bytes) {
    while let [b'\n', ..] | [b'\r', b'\n', ..] = &**came {
        let length = if came.starts_with(b"\n") { 1 } else { 2 };
        came.advance(length);
    }
}

/// Whether this may become a first line.
fn may_be_status(begun: &[u8]) -> bool {
    // As it would be if what is missing were right.
    let whole = [begun, USUAL.get(begun.len()..).unwrap_or_default()].concat();
    begun == b"\r" || status(whole.strip_suffix(b"\r").unwrap_or(&whole)).is_ok()
}

/// Looks whether this may become a field, or the end of a head.
///
/// # Errors
/// [`WireError::Head`].
fn check_begun(line: &[u8]) -> Result<(), WireError> {
    let (name, value) = match place_of(b':', line) {
        Some(colon) => line.split_at(colon),
        None if matches!(line, b"" | b"\r") => return Ok(()),
        None => (line, &[][..]),
    };
    if HeaderName::from_bytes(name).is_err() {
        return Err(NO_NAME);
    }
    let value = value.strip_suffix(b"\r").unwrap_or(value);
    is_text(value).then_some(()).ok_or(NO_VALUE)
}

/// What may be in a value, or in the reason of a status (RFC 9110, 5.5).
fn is_text(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|byte| *byte == b'\t' || !byte.is_ascii_control())
}

/// What a first line says (RFC 9112, 4).
///
/// # Errors
/// [`WireError::Head`] when it is none, or of a version that is not spoken.
fn status(line: &[u8]) -> Result<(Version, StatusCode), WireError> {
    let rest = line.strip_prefix(VERSION).ok_or(NO_STATUS)?;
    let (version, code, reason) = match rest {
        [b'0', b' ', a, b, c, reason @ ..] => (Version::HTTP_10, [*a, *b, *c], reason),
        [b'1', b' ', a, b, c, reason @ ..] => (Version::HTTP_11, [*a, *b, *c], reason),
        _ => return Err(NO_STATUS),
    };
    let code = StatusCode::from_bytes(&code).map_err(|_| NO_STATUS)?;
    if matches!(reason, [] | [b' ', ..]) && is_text(reason) {
        Ok((version, code))
    } else {
        Err(NO_STATUS)
    }
}

/// How the first line of an answer begins.
const VERSION: &[u8] = b"HTTP/1.";
/// A first line.
const USUAL: &[u8] = b"HTTP/1.1 200";
const NO_STATUS: WireError = WireError::Head("its first line is none");
const NO_NAME: WireError = WireError::Head("a field has no name");
const NO_VALUE: WireError = WireError::Head("a field has a value that is none");

const KEEP_ALIVE: &[u8] = b"keep-alive";

/// What the fields of a head say about its connection.
#[derive(Debug, Default)]
struct Said<'a> {
    framing: framing::Said<'a>,
    closes: bool,
    stays: bool,
}

/// To whom a field of a head speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    /// To this connection alone.
    Us,
    /// To this connection, and to others.
    All,
    /// Not to this connection.
    Others,
}

impl<'a> Said<'a> {
    /// Takes note of what a field says of this connection.
    fn note(&mut self, (name, written): (&HeaderName, &[u8]), value: &'a [u8]) -> To {
        if *name == CONTENT_LENGTH {
            self.framing.length(value);
            return To::All;
        }
        if *name == TRANSFER_ENCODING {
            self.framing.coding(value);
            return To::Us;
        }
        if *name == CONNECTION {
            let is_all = self.connection(value);
            return if is_all { To::Us } else { To::All };
        }
        // How long it stays, which is found out when it goes.
        if written.eq_ignore_ascii_case(KEEP_ALIVE) {
            return To::Us;
        }
        To::Others
    }

    /// Takes note of the options of the connection; whether these are all that are named.
    fn connection(&mut self, options: &[u8]) -> bool {
        let mut is_all = true;
        for option in options.split(|byte| *byte == b',') {
            let option = option.trim_ascii();
            let closes = option.eq_ignore_ascii_case(b"close");
            let stays = option.eq_ignore_ascii_case(KEEP_ALIVE);
            self.closes |= closes;
            self.stays |= stays;
            is_all &= closes || stays;
        }
        is_all
    }

    /// Where the body ends.
    ///
    /// # Errors
    /// [`WireError::Unclear`] where somebody else might see another end.
    fn end(&self, method: &Method, code: StatusCode) -> Result<End, WireError> {
        if !code.is_informational() && !self.framing.is_sound(code) {
            return Err(WireError::Unclear);
        }
        let is_empty = *method == Method::HEAD
            || matches!(code, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || code.is_informational();
        Ok(match self.framing.bytes() {
            _ if is_empty => End::Length(0),
            _ if self.framing.is_chunked() => End::Chunks,
            Some(length) => End::Length(length),
            None => End::Close,
        })
    }
}

/// Puts the fields that `bytes` has from a place on into a map; what they say, and where they end.
/// `None` while their end has not come. Lines that are known are not read. `Transfer-Encoding`, `Keep-Alive` and a `Connection` that says no more
/// than whether it stays are not put there: they are about this connection, and whoever passes the answer
/// on would have to find them and take them out.
fn fields<'a>(
    (bytes, begin): (&'a Bytes, usize),
    lines: Option<&Lines>,
    into: &mut HeaderMap,
) -> Result<Option<(Said<'a>, usize)>, WireError> {
    let mut said = Said::default();
    into.reserve(USUAL_FIELDS);
    let (mut at, mut count) = (begin, 0);
    while let Some((line, next)) = line(bytes, at) {
        at = next;
        if line.is_empty() {
            return Ok(Some((said, at)));
        }
        count += 1;
        if count > MAX_FIELDS {
            return Err(WireError::HeadTooLarge);
        }
        if let Some((name, value)) = lines.and_then(|lines| lines.read(line)) {
            into.append(name, value);
            continue;
        }
        let colon = place_of(b':', line).ok_or(NO_NAME)?;
        let (written, value) = line.split_at(colon);
        let name = match lines {
            Some(lines) => lines.names().read(written),
            None => HeaderName::from_bytes(written).ok(),
        };
        let name = name.ok_or(NO_NAME)?;
        let value = without_space(value.get(1..).unwrap_or_default());
        let to = said.note((&name, written), value);
        if to == To::Us {
            is_text(value).then_some(()).ok_or(NO_VALUE)?;
            continue;
        }
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(value)).map_err(|_| NO_VALUE)?;
        if let (To::Others, Some(lines)) = (to, lines) {
            lines.note(line, (&name, &value));
        }
        into.append(name, value);
    }
    check_begun(bytes.get(at..).unwrap_or_default()).map(|()| None)
}

/// Reads trailers, their last empty line included.
///
/// # Errors
/// [`WireError::Chunks`] when they are malformed.
pub(super) fn trailers(bytes: Vec<u8>) -> Result<HeaderMap, WireError> {
    let bytes = Bytes::from(bytes);
    let mut map = HeaderMap::new();
    let read = fields((&bytes, 0), None, &mut map);
    match read {
        Ok(Some((_, length))) if length == bytes.len() => Ok(map),
        Ok(_) | Err(_) => Err(WireError::Chunks),
    }
}

#[cfg(test)]
mod tests;
