//! Web pages that ask: which of them may, and what their browsers have to be told.
//!
//! A page can make its reader's browser call whatever the browser reaches. Where it comes from is in
//! `Origin`, which a page cannot forge. Where the file lists pages, no other one gets through. Where it
//! does not, an MCP route that is reached over loopback answers pages of loopback alone, and under no
//! name that a stranger may have bent to loopback (DNS rebinding): the name is still in `Host`.
//! Programs send no `Origin`.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, ORIGIN, VARY,
};
use http::uri::Authority;
use http::{HeaderValue, Method, Response, StatusCode};

use super::answer::Answer;
use super::error::ProxyError;
use super::fields::{Several, only};
use super::head::Head;
use super::pipeline::Downstream;
use super::spec::{ProtocolSpec, RouteSpec};
use super::view::RouteView;

/// What names end in that are never given away.
const OWN: [&str; 2] = ["localhost", "internal"];
/// Stands for every page.
const ANY: &str = "*";
/// What a page may call with; which of it there is, the route's backend knows.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
/// What a page may read of an answer's head.
const EXPOSED: HeaderValue = HeaderValue::from_static("mcp-session-id, www-authenticate");
/// How long a browser need not ask again, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Which pages a route answers.
#[derive(Debug)]
pub(super) struct Pages {
    /// Those that the file lists, in lower case.
    listed: Option<Vec<Box<str>>>,
    /// Without a list, loopback answers loopback alone.
    guards_loopback: bool,
    /// Any host is taken, so that a name bent to loopback would be too.
    any_host: bool,
    /// Callers show a token, which a browser does not send along when it asks for leave.
    asks_for_tokens: bool,
}

impl Pages {
    pub(super) fn new(spec: &RouteSpec) -> Self {
        let lower = |page: &String| page.to_ascii_lowercase().into_boxed_str();
        let listed = spec.origins.as_ref();
        Self {
            listed: listed.map(|pages| pages.iter().map(lower).collect()),
            guards_loopback: spec.protocol == ProtocolSpec::Mcp,
            any_host: spec.matches.host.is_none(),
            asks_for_tokens: spec.auth.is_some(),
        }
    }

    /// Whether the file lists a page.
    fn lists(&self, page: &HeaderValue) -> bool {
        let same =
            |listed: &str| listed == ANY || page.as_bytes().eq_ignore_ascii_case(listed.as_bytes());
        self.listed.iter().flatten().any(|listed| same(listed))
    }
}

/// Lets the request of a page through, or of no page at all. Tells the page, if the file lists it.
///
/// # Errors
/// [`ProxyError::Page`] for a page that the route does not answer, [`ProxyError::Rebound`] for a
/// host that loopback does not go by.
pub(super) fn check(
    route: &RouteView,
    downstream: &Downstream,
    head: &Head,
    fields: &HeaderMap,
) -> Result<Option<HeaderValue>, ProxyError> {
    let pages = &route.route().pages;
    let page = if head.has.origin {
        only(fields, &ORIGIN)
    } else {
        Ok(None)
    };
    let checked = match page {
        Err(Several) => Err(ProxyError::Page),
        Ok(Some(page)) if pages.lists(page) => Ok(Some(page.clone())),
        Ok(Some(_)) if pages.listed.is_some() => Err(ProxyError::Page),
        Ok(Some(_) | None) => Ok(None),
    };
    let checked = checked.and_then(|listed| {
        if pages.guards_loopback && is_own(route, downstream) {
            let from_here = page.is_ok_and(|page| page.is_none_or(is_of_loopback));
            if pages.listed.is_none() && !from_here {
                return Err(ProxyError::Page);
            }
            if pages.any_host && may_be_bent(head.host_name()) {
                return Err(ProxyError::Rebound);
            }
        }
        Ok(listed)
    });
    if checked.is_err() {
        let name = route.route().name.to_string();
        metrics::counter!("switchback_page_refusals_total", "route" => name).increment(1);
    }
    checked
}

/// Whether a connection came over loopback from who is no proxy of ours: from this machine.
fn is_own(route: &RouteView, downstream: &Downstream) -> bool {
    let local = downstream.connection.local.ip().to_canonical();
    let forwarding = &route.snapshot().forwarding;
    local.is_loopback() && !forwarding.trusts(downstream.peer.address)
}

fn is_of_loopback(page: &HeaderValue) -> bool {
    let text = page.to_str().unwrap_or_default();
    let host = ["http://", "https://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let host = host.and_then(|host| host.parse::<Authority>().ok());
    host.is_some_and(|host| !host.as_str().contains('@') && is_loopback(host.host()))
}

/// Whether a host is a name of this machine that no stranger can give away.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let named = host.eq_ignore_ascii_case("localhost");
    let address = bare.parse::<IpAddr>();
    named || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Whether a host may be a stranger's name that leads to this machine. Names without a dot and those
/// below a name that nobody can buy are the local network's own; an address leads to itself.
fn may_be_bent(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else {
        return true;
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let name = host.strip_suffix('.').unwrap_or(host);
    let Some((_, last)) = name.rsplit_once('.') else {
        return false;
    };
    let is_own = OWN.iter().any(|own| last.eq_ignore_ascii_case(own));
    !is_own && bare.parse::<IpAddr>().is_err()
}

/// The answer to a browser that asks what a page may do, where the route has to give it: there
/// callers show tokens, and this request has none.
///
/// # Errors
/// [`ProxyError::Page`] for a page that the file does not list.
pub(super) fn preflight(
    route: &RouteView,
    method: &Method,
    listed: Option<&HeaderValue>,
    fields: &HeaderMap,
) -> Result<Option<Response<Answer>>, ProxyError> {
    let asks = *method == Method::OPTIONS
        && fields.contains_key(ORIGIN)
        && fields.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if !asks || !route.route().pages.asks_for_tokens {
        return Ok(None);
    }
    if listed.is_none() {
        return Err(ProxyError::Page);
    }
    let mut answer = Response::new(Answer::local(Bytes::new()));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let ours = answer.headers_mut();
    ours.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    ours.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    // A field that a page may not send is for the backend to mind.
    if let Some(asked) = fields.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        ours.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    Ok(Some(answer))
}

/// Lets a page that the file lists read an answer, unless the backend has said what it may.
pub(super) fn let_read(fields: &mut HeaderMap, page: HeaderValue) {
    if fields.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        return;
    }
    fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, page);
    fields.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    fields.append(VARY, HeaderValue::from_static("origin"));
}
