//! Pages from elsewhere that the file lets in: what their browsers have to be told.
//!
//! A browser asks before a page may send a call (the preflight, which carries no token), and keeps
//! an answer from the page unless it says that the page may have it. Nobody is told so but pages
//! that `admin.origins` lists. There are no cookies, so nothing is said of credentials.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    VARY,
};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};

use super::door::Door;
use super::reply::{self, Body};

/// What calls may be made with; the same for every path, so that a preflight tells nothing.
const METHODS: &str = "GET, HEAD, PUT, POST";
/// What calls may carry.
const FIELDS: &str = "authorization, content-type, if-match, last-event-id, x-switchback-who";
/// What pages may read of an answer's head.
const EXPOSED: &str = "etag, retry-after, www-authenticate";
/// How long a browser need not ask again, in seconds.
const MAX_AGE: &str = "600";

/// The page of a request, if it is one that the file lists.
pub(super) fn listed<'a>(door: &Door, head: &'a Parts) -> Option<&'a HeaderValue> {
    let page = head.headers.get(ORIGIN)?;
    let same = |listed: &String| page.as_bytes().eq_ignore_ascii_case(listed.as_bytes());
    door.origins().iter().any(same).then_some(page)
}

/// Whether a browser asks what a page may do.
pub(super) fn is_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS
        && head.headers.contains_key(ORIGIN)
        && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight of a page that the file lists.
pub(super) fn preflight() -> Response<Body> {
    let mut answer = reply::whole(StatusCode::NO_CONTENT, "text/plain", "");
    let fields: [(HeaderName, &'static str); 3] = [
        (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (ACCESS_CONTROL_ALLOW_HEADERS, FIELDS),
        (ACCESS_CONTROL_MAX_AGE, MAX_AGE),
    ];
    for (name, value) in fields {
        let value = HeaderValue::from_static(value);
        answer.headers_mut().insert(name, value);
    }
    answer
}

/// Lets a page that the file lists read an answer.
pub(super) fn let_read(answer: &mut Response<Body>, page: &HeaderValue) {
    let fields = answer.headers_mut();
    fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, page.clone());
    fields.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(EXPOSED),
    );
    fields.append(VARY, HeaderValue::from_static("origin"));
}
