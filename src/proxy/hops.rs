//! One hop of a chain of proxies: the address that it names, if it certainly names one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address of an element of `X-Forwarded-For`: bare, or with a port as some proxies write it.
pub(super) fn plain(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?;
    // Most are addresses and nothing else.
    text.parse().ok().or_else(|| with_port(text))
}

/// The address of an element of `Forwarded` (RFC 7239, 4): what its one `for` names.
///
/// Elements are told apart by their commas alone. That a quoted text may have some does no harm:
/// what is left of such an element has a quote too few, and is none.
pub(super) fn forwarded(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?;
    let mut found = None;
    for pair in text.split(';') {
        let (name, value) = pair.trim_matches([' ', '\t']).split_once('=')?;
        let value = value_of(value)?;
        if name.is_empty() || !name.bytes().all(is_token) {
            return None;
        }
        if name.eq_ignore_ascii_case("for") && found.replace(value).is_some() {
            return None;
        }
    }
    match found? {
        Value::Token(token) => token.parse().ok().map(IpAddr::V4),
        Value::Quoted(text) => with_port(text),
    }
}

/// The value of a pair.
#[derive(Clone, Copy)]
enum Value<'a> {
    Token(&'a str),
    Quoted(&'a str),
}

/// A token, or a quoted text without its quotes; one with escapes inside is not read.
fn value_of(text: &str) -> Option<Value<'_>> {
    let quoted = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    match quoted {
        Some(inner) => (!inner.contains(['"', '\\'])).then_some(Value::Quoted(inner)),
        None => (!text.is_empty() && text.bytes().all(is_token)).then_some(Value::Token(text)),
    }
}

/// `1.2.3.4`, `1.2.3.4:80`, `[::1]` or `[::1]:80`.
fn with_port(text: &str) -> Option<IpAddr> {
    let (address, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        (IpAddr::V6(address.parse::<Ipv6Addr>().ok()?), port)
    } else {
        let end = text.find(':').unwrap_or(text.len());
        let (address, port) = text.split_at(end);
        (IpAddr::V4(address.parse::<Ipv4Addr>().ok()?), port)
    };
    match port.strip_prefix(':') {
        None => port.is_empty().then_some(address),
        Some(digits) => {
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            (is_number && digits.parse::<u16>().is_ok()).then_some(address)
        }
    }
}

/// What names and unquoted values are made of (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
