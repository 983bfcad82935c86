//! Header fields on their way through: what is passed on, what stays here.
//!
//! The map that came in is taken apart and a new one is built; nothing is passed on because
//! nobody thought of it as long as it belongs to one connection only (RFC 9110, 7.6.1).

use std::cell::RefCell;

use http::header::{CONNECTION, COOKIE, Entry, HeaderMap, HeaderName, HeaderValue};

pub(super) use crate::upstream::MCP_SESSION_ID;

/// The client's address, as proxies tell it.
pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The host that the client asked for.
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The scheme that the client used.
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Fields that no `Connection` option may take away: others rely on them.
const KEPT: [&str; 9] = [
    "host",
    "content-length",
    "authorization",
    "cookie",
    "mcp-session-id",
    "mcp-protocol-version",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// Whether a field is not passed on: it belongs to one connection only, or is written anew.
/// Told by length first, since this is asked for every field of every message.
fn stays(name: &str, side: Side) -> bool {
    let request = side == Side::Request;
    match name.len() {
        2 => name == "te",
        4 => request && name == "host",
        6 => request && name == "expect",
        7 => name == "trailer" || name == "upgrade",
        10 => name == "connection" || name == "keep-alive",
        14 => name == "content-length" || name == "http2-settings" || is_alias(name),
        15 => request && name == "x-forwarded-for" || is_alias(name),
        16 => request && name == "x-forwarded-host" || name == "proxy-connection" || is_alias(name),
        17 => {
            request && name == "x-forwarded-proto" || name == "transfer-encoding" || is_alias(name)
        }
        18 => name == "proxy-authenticate",
        19 => name == "proxy-authorization",
        20 => is_alias(name),
        _ => false,
    }
}

/// Whether a name with underscores stands for a field that is relied on: some servers read
/// `mcp_session_id` as `Mcp-Session-Id`.
fn is_alias(name: &str) -> bool {
    name.bytes().any(|byte| byte == b'_') && KEPT.contains(&name.replace('_', "-").as_str())
}

/// The names that `Connection` lists and that may be taken away.
fn listed(fields: &HeaderMap) -> Vec<HeaderName> {
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
            if let Ok(name) = HeaderName::from_bytes(option)
                && !KEPT.contains(&name.as_str())
            {
                names.push(name);
            }
        }
    }
    names
}

/// Moves the fields of a message that are passed on into an empty map of their own. Of a
/// request the host and the forwarding fields stay behind too, since they are written anew.
pub(super) fn pass_on(fields: &mut HeaderMap, passed: &mut HeaderMap, side: Side) {
    let listed = if fields.contains_key(CONNECTION) {
        listed(fields)
    } else {
        Vec::new()
    };
    let mut last = None;
    for (name, value) in fields.drain() {
        if let Some(name) = name {
            let goes = !stays(name.as_str(), side) && !listed.contains(&name);
            last = goes.then_some(name);
        }
        if let Some(name) = &last {
            passed.append(name, value);
        }
    }
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// To a backend.
    Request,
    /// To a client.
    Response,
}

/// Emptied maps, kept for their memory: a request and its answer then need none of their own.
#[derive(Debug, Default)]
pub(super) struct SpareMaps {
    maps: RefCell<Vec<HeaderMap>>,
}

impl SpareMaps {
    /// Most maps that are kept.
    const MAPS: usize = 64;
    /// Largest map that is kept, in fields.
    const FIELDS: usize = 64;

    /// An empty map.
    pub(super) fn take(&self) -> HeaderMap {
        self.maps.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives an emptied map back.
    pub(super) fn give(&self, map: HeaderMap) {
        let mut maps = self.maps.borrow_mut();
        if maps.len() < Self::MAPS && map.is_empty() && map.capacity() <= Self::FIELDS {
            maps.push(map);
        }
    }

    /// The fields of a message that are passed on, in a map of their own.
    pub(super) fn passed_on(&self, mut fields: HeaderMap, side: Side) -> HeaderMap {
        let mut passed = self.take();
        pass_on(&mut fields, &mut passed, side);
        self.give(fields);
        passed
    }
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
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())
        };
        let mut map = HeaderMap::new();
        for (name, value) in fields.iter().map(pair) {
            map.append(name, value);
        }
        map
    }

    fn names(fields: &HeaderMap) -> Vec<&str> {
        fields.keys().map(HeaderName::as_str).collect()
    }

    #[test]
    fn fields_of_one_connection_stay_here() {
        let passed = SpareMaps::default().passed_on(
            map(&[
                ("connection", "close, X-Private"),
                ("x-private", "1"),
                ("keep-alive", "timeout=5"),
                ("te", "trailers"),
                ("upgrade", "h2c"),
                ("http2-settings", "x"),
                ("transfer-encoding", "chunked"),
                ("content-length", "5"),
                ("proxy-authorization", "x"),
                ("proxy-connection", "keep-alive"),
                ("trailer", "x"),
                ("accept", "*/*"),
            ]),
            Side::Request,
        );

        assert_eq!(names(&passed), ["accept"]);
    }

    #[test]
    fn connection_cannot_take_away_what_others_rely_on() {
        let passed = SpareMaps::default().passed_on(
            map(&[
                ("connection", "authorization, mcp-session-id"),
                ("authorization", "a"),
                ("mcp-session-id", "s"),
            ]),
            Side::Request,
        );

        assert_eq!(names(&passed), ["authorization", "mcp-session-id"]);
    }

    #[test]
    fn aliases_with_underscores_are_dropped() {
        let passed = SpareMaps::default().passed_on(
            map(&[
                ("mcp_session_id", "evil"),
                ("x_forwarded_for", "1"),
                ("x_y", "ok"),
            ]),
            Side::Request,
        );

        assert_eq!(names(&passed), ["x_y"]);
    }

    #[test]
    fn repeated_fields_keep_all_their_values_in_order() {
        let passed = SpareMaps::default().passed_on(
            map(&[("set-cookie", "a"), ("set-cookie", "b")]),
            Side::Response,
        );

        assert_eq!(
            passed.get_all("set-cookie").iter().collect::<Vec<_>>(),
            ["a", "b"]
        );
    }

    #[test]
    fn cookie_crumbs_become_one_field() {
        let mut fields = map(&[("cookie", "a=1"), ("cookie", "b=2; c=3")]);
        join_cookies(&mut fields);

        assert_eq!(
            fields.get_all(COOKIE).iter().collect::<Vec<_>>(),
            ["a=1; b=2; c=3"]
        );
    }
}
