//! What holds for every head whatever, as checks over bytes: for the fuzz targets and the tests.
//!
//! The bytes are a head as people write one, `METHOD URI VERSION` and a field a line, then a
//! body. They are read leniently, so that what gets here is all that the types of `http` can
//! hold, which is more than any parser in front of us lets through.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Uri, Version};
use http_body::Body as _;

use crate::split::Keys;
use crate::upstream::{Outgoing, RequestBody};

use super::fields::{self, Side, Word};
use super::head::Head;
use super::request::build;

/// Most fields of a head that is read here.
const FIELDS: usize = 100;

/// Fields of one connection: none of them is ever passed on.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "http2-settings",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
];

/// Fields that others rely on, also when they are spelled with underscores.
const RELIED_ON: [&str; 4] = [
    "mcp-session-id",
    "mcp-protocol-version",
    "x-forwarded-for",
    "content-length",
];

/// A head that is accepted is sent on with one host, one target, one length, and as nothing that
/// would be read differently the second time.
pub fn head(input: &[u8]) {
    let Some((parts, body)) = message(input) else {
        return;
    };
    let Ok(head) = Head::read(&parts, FIELDS) else {
        return;
    };
    let version = parts.version;
    let mut sent = rebuild(head, parts, body);
    assert_sound(&sent);
    let (mut again, body) = sent.take().into_parts();
    // A backend reads what was sent: the same host and target.
    again.version = Version::HTTP_11;
    let Ok(second) = Head::read(&again, FIELDS + 2) else {
        unreachable!("a backend would refuse what {version:?} became: {again:?}")
    };
    assert_eq!(Some(&second.host), again.headers.get(HOST));
    assert_eq!(Some(&second.target), again.uri.path_and_query());
    assert_eq!(second.method, again.method);
    drop(body);
}

/// What belongs to one connection stays here, what was listed goes, what is relied on stays.
pub fn hop_by_hop(input: &[u8]) {
    let keys = Keys::new(&[], 0);
    for side in [
        Side::Request(Word::Believed, &keys),
        Side::Request(Word::Doubted, &keys),
        Side::Response,
    ] {
        let before = field_lines(input);
        let mut after = before.clone();
        fields::take_out(&mut after, side);

        for name in HOP_BY_HOP.iter().chain(&["transfer-encoding"]) {
            assert!(!after.contains_key(*name), "{name} of {before:?}");
        }
        for name in after.keys() {
            assert_eq!(
                before.get_all(name).iter().collect::<Vec<_>>(),
                after.get_all(name).iter().collect::<Vec<_>>()
            );
            let plain = name.as_str().replace('_', "-");
            let imitates = plain != name.as_str() && RELIED_ON.contains(&plain.as_str());
            assert!(!imitates || matches!(side, Side::Response), "{name}");
        }
        for name in ["host", "authorization", "cookie", "mcp-session-id"] {
            assert_eq!(
                before.contains_key(name),
                after.contains_key(name),
                "{name}"
            );
        }
        let mut twice = after.clone();
        fields::take_out(&mut twice, side);
        assert_eq!(twice, after);
    }
}

/// A target is taken as it is or refused: never two hosts, never a path that hides another.
pub fn host_and_target(input: &[u8]) {
    let Some((parts, _)) = message(input) else {
        return;
    };
    let Ok(head) = Head::read(&parts, FIELDS) else {
        return;
    };
    assert!(!matches!(head.method, Method::CONNECT | Method::TRACE));
    let host = head.host.as_bytes();
    assert!(!host.is_empty());
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(byte);
    assert!(host.iter().all(plain), "{:?}", head.host);
    let host = head.host.to_str().unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    assert_eq!(head.host_name(), name.as_bytes());
    match parts.uri.authority() {
        Some(authority) => assert_eq!(head.host, authority.as_str()),
        None => assert_eq!(Some(&head.host), parts.headers.get(HOST)),
    }
    assert!(parts.headers.get_all(HOST).iter().count() <= 1);
    assert_target(&head.method, head.target.as_str());
    let asked = parts.uri.path_and_query().map(PathAndQuery::as_str);
    // A query alone is that of the root.
    assert!(
        asked.is_some_and(
            |asked| head.target == asked || head.target.as_str() == format!("/{asked}")
        )
    );
}

fn assert_target(method: &Method, target: &str) {
    if target == "*" {
        assert_eq!(method, Method::OPTIONS);
        return;
    }
    assert!(target.starts_with('/'), "{target}");
    assert!(
        target.bytes().all(|byte| byte.is_ascii_graphic()),
        "{target}"
    );
    assert!(!target.contains('#'), "{target}");
    let path = target.split('?').next().unwrap_or_default();
    let decoded = decoded(path.as_bytes());
    assert!(!decoded.contains(&0), "{target}");
    for segment in decoded.split(|byte| matches!(byte, b'/' | b'\\')) {
        assert!(segment != b"." && segment != b"..", "{target}");
    }
}

/// The path with every `%xx` decoded once: what the laxest of backends may make of it.
fn decoded(path: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|b| char::from(*b).to_digit(16));
    let mut plain = Vec::new();
    let mut rest = path;
    while let Some((byte, tail)) = rest.split_first() {
        let pair = (digit(tail.first()), digit(tail.get(1)));
        let (next, left) = match (byte, pair) {
            (b'%', (Some(high), Some(low))) => (high * 16 + low, tail.get(2..).unwrap_or_default()),
            _ => (u32::from(*byte), tail),
        };
        plain.extend(u8::try_from(next));
        rest = left;
    }
    plain
}

/// The request that would go to a backend.
fn rebuild(head: Head, parts: Parts, body: Bytes) -> Outgoing {
    let mut sent = parts.headers;
    fields::take_out(&mut sent, Side::Request(Word::Doubted, &Keys::new(&[], 0)));
    fields::join_cookies(&mut sent);
    if !head.host_is_field {
        sent.insert(HOST, head.host.clone());
    }
    build(head, (sent, None), RequestBody::whole(body))
}

fn assert_sound(sent: &Request<RequestBody>) {
    let fields = sent.headers();
    assert_target(sent.method(), &sent.uri().to_string());
    assert_eq!(fields.get_all(HOST).iter().count(), 1, "{fields:?}");
    for name in HOP_BY_HOP {
        assert!(!fields.contains_key(name), "{name} in {fields:?}");
    }
    assert!(fields.get_all("cookie").iter().count() <= 1, "{fields:?}");
    let lengths: Vec<_> = fields.get_all(CONTENT_LENGTH).iter().collect();
    let body = sent.body().size_hint().exact().unwrap_or_default();
    match lengths.as_slice() {
        [] => {}
        [length] => assert_eq!(*length, &HeaderValue::from(body)),
        [..] => unreachable!("two lengths in {fields:?}"),
    }
    assert!(!fields.contains_key("transfer-encoding"), "{fields:?}");
}

/// The bytes as a request and its body, if its first line is one at all.
fn message(input: &[u8]) -> Option<(Parts, Bytes)> {
    let mut lines = input.splitn(2, |byte| *byte == b'\n');
    let mut words = lines
        .next()?
        .trim_ascii_end()
        .splitn(3, |byte| *byte == b' ');
    let method = Method::from_bytes(words.next()?).ok()?;
    let uri = Uri::try_from(words.next()?).ok()?;
    let version = match words.next() {
        Some(b"HTTP/2") => Version::HTTP_2,
        Some(b"HTTP/1.0") => Version::HTTP_10,
        Some(_) | None => Version::HTTP_11,
    };
    let rest = lines.next().unwrap_or_default();
    let mut request = Request::builder().method(method).uri(uri).version(version);
    if let Some(fields) = request.headers_mut() {
        *fields = field_lines(rest);
    }
    let parts = request.body(()).ok()?.into_parts().0;
    Some((parts, Bytes::copy_from_slice(behind_fields(rest))))
}

/// Every line up to an empty one that can be a field.
fn field_lines(input: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in input
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii_end)
    {
        if line.is_empty() {
            break;
        }
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let name = halves.next().map(HeaderName::from_bytes);
        let value = halves
            .next()
            .map(<[u8]>::trim_ascii)
            .map(HeaderValue::from_bytes);
        if let (Some(Ok(name)), Some(Ok(value))) = (name, value) {
            // A map holds 32,768 names; more than one of them says nothing new.
            if fields.len() < 1000 {
                fields.append(name, value);
            }
        }
    }
    fields
}

fn behind_fields(input: &[u8]) -> &[u8] {
    let end = input.windows(2).position(|pair| pair == b"\n\n");
    end.and_then(|end| input.get(end + 2..)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What heads are made of, good and bad.
    const PIECES: &[&str] = &[
        "GET / HTTP/1.1\n",
        "POST http://b/x?y HTTP/1.1\n",
        "GET https://a:80/%2e%2e/ HTTP/2\n",
        "OPTIONS * HTTP/1.1\n",
        "GET /a%2f..%5C%00 HTTP/1.0\n",
        "CONNECT a:443 HTTP/1.1\n",
        "PUT /é HTTP/2\n",
        "host: a\n",
        "Host: B:8080\n",
        "host: a b\n",
        "host: [::1]:80\n",
        "host:\n",
        "cookie: a=1\n",
        "connection: close, x-a, authorization, mcp-session-id\n",
        "connection: \u{80}, ,x-a\n",
        "x-a: 1\n",
        "authorization: z\n",
        "te: trailers\n",
        "transfer-encoding: chunked\n",
        "upgrade: h2c\n",
        "content-length: 4\n",
        "content-length: +4\n",
        "content_length: 9\n",
        "mcp_session_id: evil\n",
        "mcp-session-id: s\n",
        "x_forwarded_for: 1\n",
        "expect: 100-continue\n",
        "http2-settings: AA\n",
        "proxy-connection: x\n",
        ": none\n",
        "no colon\n",
        "\n",
        "\nbody",
        "\r\n",
        "/../",
        "%",
        "\\",
        "..",
    ];

    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let some = prop::collection::vec(prop::sample::select(PIECES), 0..16);
        (some, any::<Vec<u8>>(), any::<prop::sample::Index>()).prop_map(|(some, odd, at)| {
            let mut bytes = some.concat().into_bytes();
            let at = at.index(bytes.len() + 1);
            if odd.len() % 4 == 1 {
                bytes.splice(at..at, odd.into_iter().take(8));
            }
            bytes
        })
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_sent_on_in_one_reading(input in pieces()) {
            head(&input);
            host_and_target(&input);
        }

        #[test]
        fn whatever_belongs_to_one_connection_stays_here(input in pieces()) {
            hop_by_hop(&input);
        }
    }
}
