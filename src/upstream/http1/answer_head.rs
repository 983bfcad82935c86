//! How the head of an answer is read.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Response, StatusCode, Version};
use httparse::ParserConfig;

use crate::upstream::framing;

use super::error::WireError;
use super::names::Names;

/// Most fields of an answer's head, and of its trailers.
pub(super) const MAX_FIELDS: usize = 100;
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
    (method, names): (&Method, &Names),
) -> Result<Option<(AnswerHead, usize)>, WireError> {
    let mut room = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let status = ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, bytes, &mut room)
        .map_err(|error| {
            if error == httparse::Error::TooManyHeaders {
                WireError::HeadTooLarge
            } else {
                WireError::Head(error)
            }
        })?;
    let httparse::Status::Complete(length) = status else {
        return Ok(None);
    };
    let code = parsed.code.unwrap_or_default();
    let code = StatusCode::from_u16(code).map_err(|_| WireError::Head(httparse::Error::Status))?;
    let mut response = Response::new(());
    *response.status_mut() = code;
    let is_old = parsed.version == Some(0);
    *response.version_mut() = if is_old {
        Version::HTTP_10
    } else {
        Version::HTTP_11
    };
    let said = fields(parsed.headers, (bytes, names), response.headers_mut())?;
    let end = said.end(method, code)?;
    if end == End::Chunks && is_old {
        // HTTP/1.0 has no chunks (RFC 9112, 6.1).
        return Err(WireError::Head(httparse::Error::Version));
    }
    let stays = !said.closes && (!is_old || said.stays);
    let head = AnswerHead {
        response,
        end,
        stays: stays && end != End::Close,
    };
    Ok(Some((head, length)))
}

/// What the fields of a head say about its connection.
#[derive(Debug, Default)]
struct Said<'a> {
    framing: framing::Said<'a>,
    closes: bool,
    stays: bool,
}

impl Said<'_> {
    fn connection(&mut self, options: &[u8]) {
        for option in options.split(|byte| *byte == b',') {
            let option = option.trim_ascii();
            self.closes |= option.eq_ignore_ascii_case(b"close");
            self.stays |= option.eq_ignore_ascii_case(b"keep-alive");
        }
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

/// Puts fields that are slices of `bytes` into a map.
fn fields<'a>(
    parsed: &[httparse::Header<'a>],
    (bytes, names): (&Bytes, &Names),
    into: &mut HeaderMap,
) -> Result<Said<'a>, WireError> {
    let mut said = Said::default();
    into.reserve(parsed.len());
    for field in parsed {
        let name = names.read(field.name.as_bytes());
        let name = name.ok_or(WireError::Head(httparse::Error::HeaderName))?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value))
            .map_err(|_| WireError::Head(httparse::Error::HeaderValue))?;
        if name == CONTENT_LENGTH {
            said.framing.length(field.value);
        } else if name == TRANSFER_ENCODING {
            said.framing.coding(field.value);
        } else if name == CONNECTION {
            said.connection(field.value);
        }
        into.append(name, value);
    }
    Ok(said)
}

/// Reads trailers, their last empty line included.
///
/// # Errors
/// [`WireError::Chunks`] when they are malformed.
pub(super) fn trailers(bytes: Vec<u8>) -> Result<HeaderMap, WireError> {
    let names = Names::default();
    let bytes = Bytes::from(bytes);
    let mut room = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut map = HeaderMap::new();
    match httparse::parse_headers(&bytes, &mut room) {
        Ok(httparse::Status::Complete((_, parsed))) => fields(parsed, (&bytes, &names), &mut map)
            .map(|_| map)
            .map_err(|_| WireError::Chunks),
        Ok(httparse::Status::Partial) | Err(_) => Err(WireError::Chunks),
    }
}
