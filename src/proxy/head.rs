//! One canonical request: what routing, policy and forwarding all read.
//!
//! A head that two readers could understand differently is refused, never repaired: there is
//! no lenient mode. The path is matched and sent on as the same bytes.

use http::header::HOST;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Version};

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
    /// CONNECT and TRACE: a gateway is no tunnel and no mirror.
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
        if matches!(parts.method, Method::CONNECT | Method::TRACE) {
            return Err(HeadError::Method);
        }
        let target = parts.uri.path_and_query().ok_or(HeadError::Target)?;
        check_target(&parts.method, target)?;
        let host = host_of(parts)?;
        let host_is_field = parts.uri.authority().is_none();
        Ok(Self {
            method: parts.method.clone(),
            host,
            target: target.clone(),
            host_is_field,
        })
    }

    /// The host without its port, to be routed by; lower case is up to the caller.
    pub(super) fn host_name(&self) -> &str {
        let host = self.host.to_str().unwrap_or_default();
        match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => name,
            _ => host,
        }
    }
}

/// The one host of a request: the target's wins over the field (RFC 9112, 3.2.2; RFC 9113, 8.3.1).
fn host_of(parts: &Parts) -> Result<HeaderValue, HeadError> {
    let field = only(&parts.headers, &HOST).map_err(|Several| HeadError::HostCount)?;
    if let Some(field) = field {
        check_host(field.as_bytes())?;
    }
    let Some(authority) = parts.uri.authority() else {
        return field.cloned().ok_or(HeadError::HostCount);
    };
    if field.is_none() && parts.version < Version::HTTP_2 {
        return Err(HeadError::HostCount);
    }
    if !matches!(parts.uri.scheme_str(), None | Some("http" | "https")) {
        return Err(HeadError::Target);
    }
    check_host(authority.as_str().as_bytes())?;
    let differs = |field: &HeaderValue| {
        !field
            .as_bytes()
            .eq_ignore_ascii_case(authority.as_str().as_bytes())
    };
    if parts.version >= Version::HTTP_2 && field.is_some_and(differs) {
        return Err(HeadError::TwoHosts);
    }
    HeaderValue::from_str(authority.as_str()).map_err(|_| HeadError::Host)
}

/// A host and an optional port (RFC 9110, 4.2.1): no user, no path, nothing encoded.
fn check_host(host: &[u8]) -> Result<(), HeadError> {
    let (name, port) = match host.iter().rposition(|byte| *byte == b':') {
        Some(at) if host.last() != Some(&b']') => host.split_at(at),
        _ => (host, &[][..]),
    };
    let digits = port.strip_prefix(b":").unwrap_or_default();
    if !digits.iter().all(u8::is_ascii_digit) || digits.len() > 5 || name.is_empty() {
        return Err(HeadError::Host);
    }
    let literal = name
        .strip_prefix(b"[")
        .and_then(|rest| rest.strip_suffix(b"]"));
    let valid = match literal {
        Some(address) => {
            !address.is_empty()
                && address
                    .iter()
                    .all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
        }
        None => name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')),
    };
    if valid { Ok(()) } else { Err(HeadError::Host) }
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
    if !whole.starts_with('/') || !whole.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(HeadError::Target);
    }
    let path = target.path();
    if is_suspicious(path) && hides_another_path(path) {
        Err(HeadError::Target)
    } else {
        Ok(())
    }
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

/// Whether a path has dot segments, plain or encoded, or an encoded NUL.
fn hides_another_path(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    if lower.contains("%00") {
        return true;
    }
    let plain = lower
        .replace("%2e", ".")
        .replace("%2f", "/")
        .replace("%5c", "/")
        .replace('\\', "/");
    plain
        .split('/')
        .any(|segment| matches!(segment, "." | ".."))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn read(uri: &str, version: Version, hosts: &[&str]) -> Result<Head, HeadError> {
        let mut request = Request::builder().uri(uri).version(version);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        Head::read(&request.body(()).unwrap().into_parts().0, 4)
    }

    #[test]
    fn an_ordinary_request_keeps_its_host_and_target() {
        let head = read("/a/b?c=d", Version::HTTP_11, &["Example.com:8080"]).unwrap();

        assert_eq!(head.host, "Example.com:8080");
        assert_eq!(head.host_name(), "Example.com");
        assert_eq!(head.target.as_str(), "/a/b?c=d");
    }

    #[test]
    fn the_targets_authority_wins() {
        let head = read("http://b/x", Version::HTTP_11, &["a"]).unwrap();

        assert_eq!(head.host, "b");
        assert_eq!(
            read("http://b/x", Version::HTTP_2, &["a"]).unwrap_err(),
            HeadError::TwoHosts
        );
        assert_eq!(
            read("http://b/x", Version::HTTP_2, &["B"]).unwrap().host,
            "b"
        );
        assert_eq!(read("http://b/x", Version::HTTP_2, &[]).unwrap().host, "b");
    }

    #[test]
    fn anything_but_one_valid_host_is_refused() {
        let refused: [&[&str]; 12] = [
            &[],
            &["a", "a"],
            &["a", "b"],
            &["a b"],
            &["a@b"],
            &["a/b"],
            &[""],
            &["a:b"],
            &["a:123456"],
            &["[::1"],
            &["a,b"],
            &["a%00"],
        ];
        for hosts in refused {
            assert!(read("/", Version::HTTP_11, hosts).is_err(), "{hosts:?}");
        }
        for host in ["[::1]", "[::1]:80", "a_b", "1.2.3.4:5", "a:"] {
            assert!(read("/", Version::HTTP_11, &[host]).is_ok(), "{host}");
        }
    }

    #[test]
    fn fields_are_counted_whatever_their_size() {
        let request = |count: usize| {
            let mut request = Request::builder().uri("http://h/").version(Version::HTTP_2);
            for _ in 0..count {
                request = request.header("cookie", "a");
            }
            Head::read(&request.body(()).unwrap().into_parts().0, 4)
        };

        assert!(request(4).is_ok());
        assert_eq!(request(5).unwrap_err(), HeadError::Fields);
    }

    #[test]
    fn a_path_that_hides_another_is_refused() {
        for path in [
            "/a/../b",
            "/..",
            "/a/.",
            "/%2e%2e/b",
            "/a/%2E./b",
            "/a%2f..%2fb",
            "/a/..%5cb",
            "/a%00b",
            "/é",
        ] {
            assert_eq!(
                read(path, Version::HTTP_11, &["h"]).unwrap_err(),
                HeadError::Target,
                "{path}"
            );
        }
        for path in [
            "/.well-known/x",
            "/a..b",
            "/...",
            "/a%20b",
            "/a%2fb",
            "//a",
            "/?x=/../y",
        ] {
            assert!(read(path, Version::HTTP_11, &["h"]).is_ok(), "{path}");
        }
    }

    #[test]
    fn tunnels_and_mirrors_are_refused() {
        for method in [Method::CONNECT, Method::TRACE] {
            let request = Request::builder()
                .method(method)
                .uri("/")
                .header(HOST, "h")
                .body(())
                .unwrap();
            assert_eq!(
                Head::read(&request.into_parts().0, 4).unwrap_err(),
                HeadError::Method
            );
        }
        assert!(read("*", Version::HTTP_11, &["h"]).is_err());
    }
}
