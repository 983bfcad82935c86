//! Header fields on their way through: what is passed on, what stays here.
//!
//! Every field is looked at before any is passed on: what belongs to one connection only
//! (RFC 9110, 7.6.1) stays here, and so does what imitates a field that is relied on.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_ORIGIN, AGE,
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, DATE, DNT, ETAG, EXPIRES, Entry, HOST,
    HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LINK,
    LOCATION, ORIGIN, PRAGMA, RANGE, REFERER, SERVER, SET_COOKIE, STRICT_TRANSPORT_SECURITY,
    UPGRADE_INSECURE_REQUESTS, USER_AGENT, VARY, VIA, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

pub(super) use crate::upstream::{
    MCP_SESSION_ID, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO,
};

use smallvec::SmallVec;

use crate::model;
use crate::split::Keys;

/// Fields that no `Connection` option may take away, and that no other spelling may stand for:
/// somebody relies on them.
const RELIED_ON: [&str; 13] = [
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "accept-encoding",
    "authorization",
    "cookie",
    "origin",
    "last-event-id",
    "mcp-session-id",
    "mcp-protocol-version",
    "mcp-method",
    "mcp-name",
];

/// Fields by which proxies tell servers who asked, or for what. From anybody who is no trusted
/// proxy they are lies, or of no use.
const FORWARDING: [&str; 8] = [
    "forwarded",
    "client-ip",
    "client-cert",
    "client-cert-chain",
    "front-end-https",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
];

/// The same, behind `x-`. Beside these: all that begin with `x-forwarded-`.
const X_FORWARDING: [&str; 19] = [
    "forwarded",
    "scheme",
    "url-scheme",
    "real-ip",
    "client-ip",
    "client-cert",
    "cluster-client-ip",
    "remote-ip",
    "remote-addr",
    "remote-user",
    "host",
    "http-host-override",
    "original-url",
    "original-uri",
    "original-host",
    "original-method",
    "original-for",
    "original-forwarded-for",
    "rewrite-url",
];

/// What is written by this gateway alone begins so.
const OURS: &str = "x-switchback-";

/// Whether a field is not passed on, because it belongs to one connection only.
/// Told by length first, since this is asked for every field of every message.
fn is_of_one_connection(name: &str) -> bool {
    match name.len() {
        2 => name == "te",
        7 => name == "trailer" || name == "upgrade",
        10 => name == "connection" || name == "keep-alive",
        14 => name == "http2-settings",
        16 => name == "proxy-connection",
        17 => name == "transfer-encoding",
        18 => name == "proxy-authenticate",
        19 => name == "proxy-authorization",
        _ => false,
    }
}

fn is_forwarding(name: &str) -> bool {
    match name.strip_prefix("x-") {
        Some(rest) => rest.starts_with("forwarded-") || X_FORWARDING.contains(&rest),
        // By length first: most that are asked for are `content-` this or that.
        None => matches!(name.len(), 9 | 11 | 14..=17) && FORWARDING.contains(&name),
    }
}

impl Side<'_> {
    fn keeps_out(self, name: &str) -> bool {
        if is_of_one_connection(name) {
            return true;
        }
        match self {
            Self::Response => name.starts_with(OURS),
            Self::Request(word, keys) => match name.as_bytes() {
                // What is expected is met here, or refused; who asked is written anew. `Proxy`
                // becomes HTTP_PROXY in programs that get fields as variables (CVE-2016-5385).
                b"expect" | b"forwarded" | b"proxy" => true,
                bytes if !is_plain(bytes) => is_alias(name, keys),
                [b'x', b'-', ..] if name.starts_with(OURS) => true,
                [b'x', b'-', ..] | [b't' | b'f' | b'c', ..] => {
                    word == Word::Doubted && is_forwarding(name)
                }
                _ => false,
            },
        }
    }

    /// Whether somebody behind relies on a field, so that no `Connection` option takes it away.
    fn relies_on(self, name: &HeaderName) -> bool {
        let by_key = match self {
            Self::Request(_, keys) => keys.read_field(name.as_str()),
            Self::Response => false,
        };
        by_key || RELIED_ON.contains(&name.as_str()) || is_forwarding(name.as_str())
    }
}

/// Whether a field is one of those that many messages have and that always pass. One look at a number
/// tells, however many there are here, where a name is looked at byte by byte.
fn passes(name: &HeaderName) -> bool {
    *name == ACCEPT
        || *name == ACCEPT_ENCODING
        || *name == ACCEPT_LANGUAGE
        || *name == ACCEPT_RANGES
        || *name == ACCESS_CONTROL_ALLOW_ORIGIN
        || *name == AGE
        || *name == AUTHORIZATION
        || *name == CACHE_CONTROL
        || *name == CONTENT_ENCODING
        || *name == CONTENT_LANGUAGE
        || *name == CONTENT_LENGTH
        || *name == CONTENT_SECURITY_POLICY
        || *name == CONTENT_TYPE
        || *name == COOKIE
        || *name == DATE
        || *name == DNT
        || *name == ETAG
        || *name == EXPIRES
        || *name == HOST
        || *name == IF_MODIFIED_SINCE
        || *name == IF_NONE_MATCH
        || *name == LAST_MODIFIED
        || *name == LINK
        || *name == LOCATION
        || *name == ORIGIN
        || *name == PRAGMA
        || *name == RANGE
        || *name == REFERER
        || *name == SERVER
        || *name == SET_COOKIE
        || *name == STRICT_TRANSPORT_SECURITY
        || *name == UPGRADE_INSECURE_REQUESTS
        || *name == USER_AGENT
        || *name == VARY
        || *name == VIA
        || *name == X_CONTENT_TYPE_OPTIONS
        || *name == X_FRAME_OPTIONS
}

/// Whether a name is made of what most names are made of, in lower case.
fn is_plain(name: &[u8]) -> bool {
    // Without a way out in between, which would cost more than it saves: nearly all of them are.
    let plain = |byte: &u8| PLAIN.get(usize::from(*byte)) == Some(&true);
    name.iter().fold(true, |all, byte| all & plain(byte))
}

#[expect(
    clippy::indexing_slicing,
    reason = "made while compiling, where an iterator cannot go"
)]
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        plain[byte as usize] = matches!(byte, b'a'..=b'z' | b'-' | b'0'..=b'9');
        byte += 1;
    }
    plain
};

/// Whether a name with underscores, or other signs, stands for a field that is relied on, or kept
/// out: some servers read `mcp_session_id` or `mcp.session.id` as `Mcp-Session-Id`.
fn is_alias(name: &str, keys: &Keys) -> bool {
    let name = name.replace(|sign| !char::is_ascii_alphanumeric(&sign), "-");
    RELIED_ON.contains(&name.as_str())
        || matches!(name.as_str(), "expect" | "proxy")
        || is_of_one_connection(&name)
        || is_forwarding(&name)
        || name.starts_with(OURS)
        || keys.read_field(&name)
}

/// The one value of a field, `None` without any.
///
/// # Errors
/// [`Several`] when the field comes more than once.
pub(super) fn only<'a>(
    fields: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, Several> {
    // Most messages repeat no field at all, which costs nothing to tell.
    if fields.len() != fields.keys_len() && fields.get_all(name).iter().nth(1).is_some() {
        return Err(Several);
    }
    Ok(fields.get(name))
}

/// A field that may come once only comes more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Several;

/// The names that `Connection` lists and that may be taken away.
fn listed(fields: &HeaderMap, side: Side<'_>) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for value in fields.get_all(CONNECTION) {
        for option in value
            .as_bytes()
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
        {
            if option.eq_ignore_ascii_case(b"keep-alive") || option.eq_ignore_ascii_case(b"close") {
                continue;
            }
            // A list of many names that are not there must not cost more than reading it.
            if let Ok(name) = HeaderName::from_bytes(option)
                && fields.contains_key(&name)
                && !side.relies_on(&name)
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
    }
    names
}

/// Takes out of a message every field that is not passed on, after a look at each of them.
///
/// Done in place: moving what is left into a second map would say the same and cost as much as
/// all the rest of a request's way through here. What is written anew (host, length, forwarding
/// fields) is overwritten by whoever writes it.
pub(super) fn take_out(fields: &mut HeaderMap, side: Side<'_>) {
    let mut lists = false;
    // Most that have any have up to three: `Connection`, `Keep-Alive`, `TE` or `Upgrade`.
    let mut out = SmallVec::<[HeaderName; 3]>::new();
    for name in fields.keys() {
        if !passes(name) && side.keeps_out(name.as_str()) {
            lists |= *name == CONNECTION;
            out.push(name.clone());
        }
    }
    if lists {
        out.extend(listed(fields, side));
    }
    for name in &out {
        fields.remove(name);
    }
}

/// What a trailer may not say, since it would have to be known before the body: framing, routing,
/// who asks, and how the body is to be read or kept (RFC 9110, 6.5.1).
const ONLY_IN_HEADS: [&str; 20] = [
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "content-range",
    "authorization",
    "www-authenticate",
    "cookie",
    "set-cookie",
    "cache-control",
    "expires",
    "age",
    "date",
    "vary",
    "location",
    "retry-after",
    "range",
    "mcp-session-id",
    "server",
    "content-location",
];

/// Takes out of trailers what is not passed on.
pub(super) fn take_out_of_trailers(trailers: &mut HeaderMap) {
    take_out(trailers, Side::Response);
    for name in ONLY_IN_HEADS {
        trailers.remove(name);
    }
}

/// Keeps the length of a message only if it is what its body will have: one number, the right one.
pub(super) fn check_length(fields: &mut HeaderMap, length: Option<u64>) {
    let right = match only(fields, &CONTENT_LENGTH) {
        Ok(None) => return,
        Ok(Some(told)) => length.is_some() && number(told.as_bytes()) == length,
        Err(Several) => false,
    };
    if !right {
        fields.remove(CONTENT_LENGTH);
    }
}

/// Digits, and none that says nothing, as a number.
fn number(digits: &[u8]) -> Option<u64> {
    let is_plain = !matches!(digits, [b'0', _, ..]);
    is_plain.then(|| model::digits(digits)).flatten()
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side<'a> {
    /// To a backend, from somebody whose word has this weight, on a route with these keys.
    Request(Word, &'a Keys),
    /// To a client.
    Response,
}

/// What the word of a client is worth, on who asks and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It is a trusted proxy.
    Believed,
    /// It is anybody.
    Doubted,
}

/// Joins the cookie fields of an HTTP/2 request into the one that HTTP/1.1 has (RFC 9113, 8.2.3).
pub(super) fn join_cookies(fields: &mut HeaderMap) {
    let Entry::Occupied(entry) = fields.entry(COOKIE) else {
        return;
    };
    let crumbs: Vec<_> = entry.iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() < 2 {
        return;
    }
    let joined = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]));
    if let Ok(joined) = joined {
        fields.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests;
