//! Where an HTTP+SSE server (2024-11-05) wants the messages of a session: a reference, as an `endpoint` event
//! has it, becomes the path and query to send them to.

/// What an `endpoint` event's reference means that came over `base`, the path of the stream (RFC 3986,
/// 5.2): the path and query, without a fragment. A reference with an origin is followed only if
/// `is_own` says so of its authority.
///
/// `None` for what is no such reference, and for an origin that is not the backend's own.
pub fn resolve(base: &str, reference: &str, is_own: impl Fn(&str) -> bool) -> Option<String> {
    let visible = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    if reference.is_empty() || !reference.bytes().all(visible) {
        return None;
    }
    let (reference, _) = reference.split_once('#').unwrap_or((reference, ""));
    let base = base.split_once('?').map_or(base, |(path, _)| path);
    let (reference, is_absolute) = match without_origin(reference) {
        Origin::None => (reference, false),
        Origin::Named(authority, rest) if is_own(authority) => (rest, true),
        Origin::Named(..) | Origin::Unknown => return None,
    };
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    let path = match path {
        "" if is_absolute => "/".to_owned(),
        "" => base.to_owned(),
        path if path.starts_with('/') => without_dots(path),
        path => {
            let folder = base.rsplit_once('/').map_or("", |(folder, _)| folder);
            without_dots(&format!("{folder}/{path}"))
        }
    };
    Some(match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    })
}

/// What stands before the path of a reference.
enum Origin<'a> {
    None,
    /// An authority, and the rest.
    Named(&'a str, &'a str),
    /// Something that is not HTTP's.
    Unknown,
}

fn without_origin(reference: &str) -> Origin<'_> {
    let rest = match reference.find([':', '/', '?']) {
        Some(at) if reference.get(at..=at) == Some(":") => {
            let (scheme, rest) = reference.split_at(at);
            if !["http", "https"]
                .iter()
                .any(|known| scheme.eq_ignore_ascii_case(known))
            {
                return Origin::Unknown;
            }
            rest.get(1..).unwrap_or_default()
        }
        _ if !reference.starts_with("//") => return Origin::None,
        _ => reference,
    };
    let Some(rest) = rest.strip_prefix("//") else {
        return Origin::Unknown;
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    Origin::Named(authority, rest)
}

/// A path without `.` and `..` (RFC 3986, 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            part => kept.push(part),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(base: &str, reference: &str) -> Option<String> {
        resolve(base, reference, |authority| authority == "own:1")
    }

    #[test]
    fn references_of_every_form_are_understood() {
        for (base, reference, target) in [
            ("/sse", "/messages?sessionId=1", "/messages?sessionId=1"),
            (
                "/a/sse?key=1",
                "/a/messages/?s=1&t=2",
                "/a/messages/?s=1&t=2",
            ),
            ("/a/sse", "messages?s=1", "/a/messages?s=1"),
            ("/a/sse/", "messages", "/a/sse/messages"),
            ("/a/sse?key=1", "?s=1", "/a/sse?s=1"),
            ("/sse", "http://own:1/m?s=http://x/", "/m?s=http://x/"),
            ("/sse", "HTTPS://own:1/m", "/m"),
            ("/sse", "//own:1/m?s", "/m?s"),
            ("/sse", "http://own:1?s=1", "/?s=1"),
            ("/sse", "http://own:1", "/"),
            ("/a/b/sse", "../m", "/a/m"),
            ("/a/b/sse", "./m/../n/.", "/a/b/n/"),
            ("/sse", "../../m", "/m"),
            ("/sse", "/m?s=1#part", "/m?s=1"),
            ("/sse", "m:1/x", ""),
        ] {
            let expected = (!target.is_empty()).then(|| target.to_owned());
            assert_eq!(resolved(base, reference), expected, "{base} {reference}");
        }
    }

    #[test]
    fn other_origins_and_what_is_no_reference_are_not_followed() {
        for reference in [
            "",
            "http://other:1/m",
            "http://own:1@other/m",
            "http://own:1.other/m",
            "//other/m",
            "///m",
            "http:/m",
            "http:m",
            "ftp://own:1/m",
            "javascript:m",
            "/m s",
            "/m\u{e4}",
            "/m\r\nx",
            "\\\\other/m",
            "/\\other/m",
        ] {
            assert_eq!(resolved("/sse", reference), None, "{reference:?}");
        }
    }
}
