//! The host of a request, where the two versions of HTTP have it.

use http::header::{HOST, HeaderValue, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery};
use http::{Request, Uri, Version};

use super::body::RequestBody;

/// Says in the target what HTTP/1.1 says in `Host`, and takes out what HTTP/2 has no use for.
pub(super) fn put_authority(request: &mut Request<RequestBody>, scheme: &'static str) {
    request.headers_mut().remove(TRANSFER_ENCODING);
    let host = request.headers_mut().remove(HOST);
    let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = scheme.parse().ok();
    parts.authority = authority;
    parts.path_and_query = Some(
        parts
            .path_and_query
            .unwrap_or(PathAndQuery::from_static("/")),
    );
    // The parts have been looked at, each for itself, and make a whole.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    *request.version_mut() = Version::HTTP_2;
}

/// The other way round.
pub(super) fn take_authority(request: &mut Request<RequestBody>) {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = None;
    let authority = parts.authority.take();
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    *request.version_mut() = Version::HTTP_11;
    if let Some(host) = authority.and_then(|name| HeaderValue::from_str(name.as_str()).ok()) {
        request.headers_mut().insert(HOST, host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_the_same_in_both_versions() {
        let mut request = Request::builder()
            .uri("/a?b=c")
            .header(HOST, "search.internal:81")
            .header("x-own", "1")
            .body(RequestBody::Empty)
            .unwrap();

        put_authority(&mut request, "https");

        assert_eq!(request.uri(), "https://search.internal:81/a?b=c");
        assert!(!request.headers().contains_key(HOST));
        take_authority(&mut request);
        assert_eq!(request.uri(), "/a?b=c");
        assert_eq!(request.headers()[HOST], "search.internal:81");
        assert_eq!(request.headers()["x-own"], "1");
    }
}
