//! One canonical request: what routing, policy and forwarding all read.
//!
//! A head that two readers could understand differently is refused, never repaired: there is
//! no lenient mode. The path is matched and sent on as the same bytes.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use http::header::{CONTENT_LENGTH, EXPECT, HOST, HeaderMap, ORIGIN};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Version};

use crate::model;

use super::fields::{Several, only};

/// What a request is about, valid and unambiguous.
#[derive(Clone, Debug)]
pub(super) struct Head {
    /// The method; never CONNECT or TRACE.
    pub(super) method: Method,
    /// The one host, as it is sent on, its port included.
    pub(super) host: HeaderValue,
    /// The target, as it is sent on.
    pub(super) target: PathAndQuery,
    /// The host is that of the `Host` field, which need not be written again.
    pub(super) host_is_field: bool,
    /// Which fields there are to look at.
    pub(super) has: Has,
    /// How long the host is without its port, and without the dot at the end that stands for the root
    /// of all names and makes no other host of it.
    name_bytes: usize,
}

/// Which of the fields there are that most requests lack and each is asked for. To go through all names
/// once costs as much as to find out in the map that one of them is not there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Has {
    expect: bool,
    pub(super) length: bool,
    pub(super) origin: bool,
}

impl Has {
    fn of(fields: &HeaderMap) -> Self {
        let mut has = Self::default();
        for name in fields.keys() {
            has.expect |= *name == EXPECT;
            has.length |= *name == CONTENT_LENGTH;
            has.origin |= *name == ORIGIN;
        }
        has
    }
}

/// Why a request is not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeadError {
    /// No host, or more than one.
    #[error("a request has exactly one host")]
    HostCount,
    /// A host that is none.
    #[error("the request's host is not valid")]
    Host,
    /// `:authority` and `Host` differ.
    #[error("the request names two different hosts")]
    TwoHosts,
    /// More fields than a head may have.
    #[error("the request has too many fields")]
    Fields,
    /// A target that is not a path, or whose path may be read in two ways.
    #[error("the request's target is not valid")]
    Target,
    /// An expectation other than to be told to go on (RFC 9110, 10.1.1).
    #[error("the request expects what is not done here")]
    Expectation,
    /// A field that HTTP/2 does not have in this form (RFC 9113, 8.2.1).
    #[error("a field of the request is not valid")]
    Field,
    /// CONNECT, TRACE and their like: a gateway is no tunnel and no mirror.
    #[error("this method is not forwarded")]
    Method,
}

impl Head {
    /// Reads a request's head.
    ///
    /// # Errors
    /// [`HeadError`] when the head is invalid or ambiguous.
    pub(super) fn read(parts: &Parts, max_fields: usize) -> Result<Self, HeadError> {
        if parts.headers.len() > max_fields {
            // For HTTP/2, whose own bound is on bytes alone.
            return Err(HeadError::Fields);
        }
        if !is_forwarded(&parts.method) {
            return Err(HeadError::Method);
        }
        let has = Has::of(&parts.headers);
        if has.expect {
            check_expectation(&parts.headers)?;
        }
        if parts.version == Version::HTTP_2 {
            check_http2_fields(&parts.headers)?;
        }
        let target = target_of(parts)?;
        check_target(&parts.method, &target)?;
        let (host, name_bytes) = host_of(parts)?;
        let host_is_field = parts.uri.authority().is_none();
        Ok(Self {
            method: parts.method.clone(),
            host,
            target,
            host_is_field,
            has,
            name_bytes,
        })
    }

    /// The path to be routed by: nobody gets around a route by writing its path in another way.
    pub(super) fn path(&self) -> Cow<'_, str> {
        let path = self.target.path();
        if path.contains('%') {
            decoded(path).into()
        } else {
            path.into()
        }
    }

    /// The host without its port, to be routed by: ASCII, in any case.
    pub(super) fn host_name(&self) -> &[u8] {
        let name = self.host.as_bytes().get(..self.name_bytes);
        name.unwrap_or_default()
    }
}

/// Whether a method is one that is passed on. Servers that do not care for case take `trace` for
/// TRACE; TRACK is another name of it; PRI is how a connection over HTTP/2 begins.
fn is_forwarded(method: &Method) -> bool {
    match *method {
        Method::GET
        | Method::POST
        | Method::PUT
        | Method::DELETE
        | Method::HEAD
        | Method::OPTIONS
        | Method::PATCH => true,
        _ => {
            let is = |other: &&str| method.as_str().eq_ignore_ascii_case(other);
            !["CONNECT", "TRACE", "TRACK", "PRI"].iter().any(is)
        }
    }
}

/// The target without its host; a query alone is that of the root (RFC 9112, 3.2.1).
fn target_of(parts: &Parts) -> Result<PathAndQuery, HeadError> {
    let target = parts.uri.path_and_query().ok_or(HeadError::Target)?;
    if target.as_str() == "/" {
        // What `http://host#x` leaves reads as this, and would be written as nothing.
        return Ok(PathAndQuery::from_static("/"));
    }
    let is_absolute = parts.version < Version::HTTP_2 && parts.uri.authority().is_some();
    if target.as_str().starts_with('?') && is_absolute {
        return PathAndQuery::try_from(format!("/{}", target.as_str()))
            .map_err(|_| HeadError::Target);
    }
    Ok(target.clone())
}

/// To be told to go on is all that can be expected, once.
fn check_expectation(fields: &HeaderMap) -> Result<(), HeadError> {
    match only(fields, &EXPECT) {
        Ok(None) => Ok(()),
        Ok(Some(value)) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(()),
        Ok(Some(_)) | Err(Several) => Err(HeadError::Expectation),
    }
}

/// What HTTP/1 cannot bring here: space around values, and more than one length.
fn check_http2_fields(fields: &HeaderMap) -> Result<(), HeadError> {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let padded = |value: &HeaderValue| {
        let bytes = value.as_bytes();
        is_space(bytes.first()) || is_space(bytes.last())
    };
    // The one byte that `http` lets into names though no name may have it (RFC 9110, 5.6.2).
    let quoted = |name: &HeaderName| name.as_str().contains('"');
    let wrong = fields
        .iter()
        .any(|(name, value)| padded(value) || quoted(name));
    if wrong || only(fields, &CONTENT_LENGTH).is_err() {
        return Err(HeadError::Field);
    }
    Ok(())
}

/// The path as a server reads it that takes the coding off letters that need none
/// (RFC 3986, 6.2.2.2): `/%61dmin` is `/admin`. What is sent on stays as it is.
fn decoded(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, behind)) = rest.split_once('%') {
        decoded.push_str(before);
        let coded = behind
            .get(..2)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        rest = match coded.map(char::from) {
            Some(plain) if plain.is_ascii_alphanumeric() || "-._~".contains(plain) => {
                decoded.push(plain);
                behind.get(2..).unwrap_or_default()
            }
            _ => {
                decoded.push('%');
                behind
            }
        };
    }
    decoded.push_str(rest);
    decoded
}

/// The one host of a request: the target's wins over the field (RFC 9112, 3.2.2; RFC 9113, 8.3.1).
/// And how long its name is.
fn host_of(parts: &Parts) -> Result<(HeaderValue, usize), HeadError> {
    let field = only(&parts.headers, &HOST).map_err(|Several| HeadError::HostCount)?;
    let name_bytes = field
        .map(|field| check_host(field.as_bytes()))
        .transpose()?;
    let Some(authority) = parts.uri.authority() else {
        let field = field.cloned().zip(name_bytes);
        return field.ok_or(HeadError::HostCount);
    };
    if field.is_none() && parts.version < Version::HTTP_2 {
        return Err(HeadError::HostCount);
    }
    if !matches!(parts.uri.scheme_str(), None | Some("http" | "https")) {
        return Err(HeadError::Target);
    }
    let name_bytes = check_host(authority.as_str().as_bytes())?;
    let differs = |field: &HeaderValue| {
        !field
            .as_bytes()
            .eq_ignore_ascii_case(authority.as_str().as_bytes())
    };
    if parts.version >= Version::HTTP_2 && field.is_some_and(differs) {
        return Err(HeadError::TwoHosts);
    }
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| HeadError::Host)?;
    Ok((host, name_bytes))
}

/// A host and an optional port (RFC 9110, 4.2.1): no user, no path, nothing encoded. How long its
/// name is, which is ASCII.
fn check_host(host: &[u8]) -> Result<usize, HeadError> {
    let (name, port) = match host.iter().rposition(|byte| *byte == b':') {
        Some(at) if host.last() != Some(&b']') => host.split_at(at),
        _ => (host, &[][..]),
    };
    if name.is_empty() || !is_port(port.strip_prefix(b":").unwrap_or_default()) {
        return Err(HeadError::Host);
    }
    let valid = match name {
        [b'[', address @ .., b']'] => {
            std::str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok())
        }
        _ => kinds_of(name) & NO_NAME == 0,
    };
    if !valid {
        return Err(HeadError::Host);
    }
    Ok(name.len() - usize::from(name.ends_with(b".")))
}

/// A port, or nothing.
fn is_port(digits: &[u8]) -> bool {
    let is_number = || model::digits(digits).is_some_and(|number| number <= u16::MAX.into());
    digits.is_empty() || (digits.len() <= 5 && is_number())
}

/// A path, or `*` for OPTIONS; visible ASCII; nothing that a backend could read as another path.
fn check_target(method: &Method, target: &PathAndQuery) -> Result<(), HeadError> {
    let whole = target.as_str();
    if whole == "*" {
        return if method == Method::OPTIONS {
            Ok(())
        } else {
            Err(HeadError::Target)
        };
    }
    let kinds = kinds_of(whole.as_bytes());
    if !whole.starts_with('/') || kinds & INVISIBLE != 0 {
        return Err(HeadError::Target);
    }
    let path = target.path();
    if kinds & MAY_HIDE != 0 && is_suspicious(path) && hides_another_path(path) {
        Err(HeadError::Target)
    } else {
        Ok(())
    }
}

/// It is not visible ASCII.
const INVISIBLE: u8 = 1;
/// A path that has it may hide another one.
const MAY_HIDE: u8 = 2;
/// It is in no name of a host.
const NO_NAME: u8 = 4;

/// What kinds of bytes are in a text. All are looked at, which costs less than to stop at one.
fn kinds_of(text: &[u8]) -> u8 {
    let kinds = |byte: &u8| KINDS.get(usize::from(*byte)).copied().unwrap_or_default();
    text.iter().fold(0, |all, byte| all | kinds(byte))
}

#[expect(
    clippy::indexing_slicing,
    reason = "made while compiling, where an iterator cannot go"
)]
const KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let it = byte as u8;
        if !it.is_ascii_graphic() {
            kinds[byte] |= INVISIBLE;
        }
        if matches!(it, b'%' | b'\\' | b'.') {
            kinds[byte] |= MAY_HIDE;
        }
        if !it.is_ascii_alphanumeric() && !matches!(it, b'-' | b'.' | b'_' | b'~') {
            kinds[byte] |= NO_NAME;
        }
        byte += 1;
    }
    kinds
};

/// Whether a target is a path, and can be read in one way only.
pub(super) fn is_plain(target: &PathAndQuery) -> bool {
    check_target(&Method::POST, target).is_ok()
}

/// Whether a path may hide another one: most do not even have the bytes for it.
fn is_suspicious(path: &str) -> bool {
    let mut before = 0;
    path.bytes().any(|byte| {
        let suspicious = matches!(byte, b'%' | b'\\') || byte == b'.' && before == b'/';
        before = byte;
        suspicious
    })
}

/// Whether a path has dot segments, plain, encoded, or with parameters that some servers take
/// off first (`..;x`), or an encoded NUL.
fn hides_another_path(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    if lower.contains("%00") {
        return true;
    }
    let plain = lower
        .replace("%2e", ".")
        .replace("%2f", "/")
        .replace("%5c", "/")
        .replace("%3b", ";")
        .replace('\\', "/");
    let without_parameters = |segment: &str| match segment.split_once(';') {
        Some((name, _)) => matches!(name, "." | ".."),
        None => matches!(segment, "." | ".."),
    };
    plain.split('/').any(without_parameters)
}

#[cfg(test)]
mod tests;
