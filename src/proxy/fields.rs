//! Header fields on their way through: what is passed on, what stays here.
//!
//! The map that came in is taken apart and a new one is built; nothing is passed on because
//! nobody thought of it as long as it belongs to one connection only (RFC 9110, 7.6.1).

use http::header::{
    self, CONNECTION, CONTENT_LENGTH, COOKIE, Entry, HeaderMap, HeaderName, HeaderValue,
};

pub(super) use crate::upstream::MCP_SESSION_ID;

/// Fields of one connection, beside those that `Connection` lists.
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

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

/// Whether a field belongs to one connection only, or is written anew from what is known.
fn is_ours(name: &HeaderName) -> bool {
    *name == CONNECTION
        || *name == CONTENT_LENGTH
        || *name == header::TRANSFER_ENCODING
        || *name == header::TE
        || *name == header::TRAILER
        || *name == header::UPGRADE
        || *name == header::PROXY_AUTHENTICATE
        || *name == header::PROXY_AUTHORIZATION
        || *name == KEEP_ALIVE
        || *name == PROXY_CONNECTION
        || *name == HTTP2_SETTINGS
}

/// Whether a name with underscores stands for a field that is relied on: some servers read
/// `mcp_session_id` as `Mcp-Session-Id`.
fn is_alias(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.contains('_') && KEPT.contains(&name.replace('_', "-").as_str())
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

/// The fields of a message that are passed on, in a map of their own.
///
/// Of a request the host and the forwarding fields are left out too, since they are written
/// anew; `also` names what else is.
pub(super) fn passed_on(fields: HeaderMap, side: Side) -> HeaderMap {
    let listed = if fields.contains_key(CONNECTION) {
        listed(&fields)
    } else {
        Vec::new()
    };
    let mut passed = HeaderMap::with_capacity(fields.len() + SPARE);
    let mut last = None;
    let mut pass = true;
    for (name, value) in fields {
        if let Some(name) = name {
            pass = !is_ours(&name)
                && !side.writes(&name)
                && !listed.contains(&name)
                && !is_alias(&name);
            last = Some(name);
        }
        if let (true, Some(name)) = (pass, &last) {
            passed.append(name, value);
        }
    }
    passed
}

/// Room for the fields that are written anew.
const SPARE: usize = 5;

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// To a backend.
    Request,
    /// To a client.
    Response,
}

impl Side {
    /// Whether a field is written anew on this way.
    fn writes(self, name: &HeaderName) -> bool {
        match self {
            Self::Request => {
                *name == header::HOST
                    || *name == header::EXPECT
                    || *name == X_FORWARDED_FOR
                    || *name == X_FORWARDED_HOST
                    || *name == X_FORWARDED_PROTO
            }
            Self::Response => false,
        }
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
        let passed = passed_on(
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
        let passed = passed_on(
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
        let passed = passed_on(
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
        let passed = passed_on(
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
