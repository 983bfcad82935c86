//! Header fields on their way through: what is passed on, what stays here.
//!
//! Every field is looked at before any is passed on: what belongs to one connection only
//! (RFC 9110, 7.6.1) stays here, and so does what imitates a field that is relied on.

use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, Entry, HeaderMap, HeaderName, HeaderValue};

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

/// Whether a field is not passed on: it belongs to one connection only.
/// Told by length first, since this is asked for every field of every message.
fn stays(name: &str, side: Side) -> bool {
    match name.len() {
        2 => name == "te",
        6 => side == Side::Request && name == "expect",
        7 => name == "trailer" || name == "upgrade",
        // Written anew where it is believed.
        9 => side == Side::Request && name == "forwarded",
        10 => name == "connection" || name == "keep-alive",
        14 => name == "http2-settings" || is_alias(name),
        15 | 20 => is_alias(name),
        16 => name == "proxy-connection" || is_alias(name),
        17 => name == "transfer-encoding" || is_alias(name),
        18 => name == "proxy-authenticate",
        19 => name == "proxy-authorization",
        _ => false,
    }
}

/// Whether a name with underscores stands for a field that is relied on: some servers read
/// `mcp_session_id` as `Mcp-Session-Id`.
fn is_alias(name: &str) -> bool {
    let underscore_at = |place: &usize| name.as_bytes().get(*place) == Some(&b'_');
    DASHES.iter().any(underscore_at) && KEPT.contains(&name.replace('_', "-").as_str())
}

/// Where the names of [`KEPT`] have their dashes.
const DASHES: [usize; 5] = [1, 3, 7, 11, 12];

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
            // A list of many names that are not there must not cost more than reading it.
            if let Ok(name) = HeaderName::from_bytes(option)
                && fields.contains_key(&name)
                && !KEPT.contains(&name.as_str())
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
pub(super) fn take_out(fields: &mut HeaderMap, side: Side) {
    let listed = if fields.contains_key(CONNECTION) {
        listed(fields)
    } else {
        Vec::new()
    };
    let stays = |name: &&HeaderName| stays(name.as_str(), side) || listed.contains(name);
    let out: Vec<HeaderName> = fields.keys().filter(stays).cloned().collect();
    for name in out {
        fields.remove(name);
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

/// Digits and nothing else (RFC 9110, 8.6), as a number.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// To a backend.
    Request,
    /// To a client.
    Response,
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

    fn passed(mut fields: HeaderMap, side: Side) -> HeaderMap {
        take_out(&mut fields, side);
        fields
    }

    fn names(fields: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = fields.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn fields_of_one_connection_stay_here() {
        let passed = passed(
            map(&[
                ("connection", "close, X-Private"),
                ("x-private", "1"),
                ("keep-alive", "timeout=5"),
                ("te", "trailers"),
                ("upgrade", "h2c"),
                ("http2-settings", "x"),
                ("transfer-encoding", "chunked"),
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
        let passed = passed(
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
        let passed = passed(
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
    fn every_dash_of_a_name_that_is_relied_on_is_looked_at() {
        for name in KEPT {
            for (place, _) in name.match_indices('-') {
                assert!(DASHES.contains(&place), "{name}");
            }
        }
        assert!(is_alias("mcp-session_id") && is_alias("x_forwarded_for"));
    }

    #[test]
    fn repeated_fields_keep_all_their_values_in_order() {
        let passed = passed(
            map(&[("set-cookie", "a"), ("set-cookie", "b")]),
            Side::Response,
        );

        assert_eq!(
            passed.get_all("set-cookie").iter().collect::<Vec<_>>(),
            ["a", "b"]
        );
    }

    #[test]
    fn a_length_is_kept_only_when_it_is_the_bodys() {
        let kept = |lengths: &[&str], body| {
            let pairs: Vec<_> = lengths
                .iter()
                .map(|length| ("content-length", *length))
                .collect();
            let mut fields = map(&pairs);
            check_length(&mut fields, body);
            fields.len()
        };

        assert_eq!(kept(&["5"], Some(5)), 1);
        assert_eq!(kept(&["5"], Some(6)), 0);
        assert_eq!(kept(&["5"], None), 0);
        assert_eq!(kept(&["5", "5"], Some(5)), 0);
        assert_eq!(kept(&["+5"], Some(5)), 0);
        assert_eq!(kept(&["5, 5"], Some(5)), 0);
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
