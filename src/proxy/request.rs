//! The request that goes to the backend, built from validated parts.

use http::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING,
};
use http::{Method, Request, Version};
use http_body::Body;

use crate::upstream::{LAST_EVENT_ID, Outgoing, RequestBody, Told};

use super::fields::{self, MCP_SESSION_ID, Side};
use super::head::Head;
use super::pipeline::{Decided, Downstream};
use super::upgrade;
use super::view::RouteView;

/// The fields that go to the backend, and what it is told beside them.
pub(super) fn fields(
    downstream: &Downstream,
    decided: &Decided,
    head: &Head,
    (version, mut sent): (Version, HeaderMap),
) -> (HeaderMap, Option<Told>) {
    let told = pass_on(downstream, &decided.route, head, (version, &mut sent));
    if decided.route.is_mcp() {
        // Answers are looked at, and nothing is ever unpacked to be looked at.
        sent.remove(ACCEPT_ENCODING);
    }
    if decided.alone.is_some() {
        sent.remove(MCP_SESSION_ID);
    }
    if let Some(session) = &decided.session {
        match &session.backend_id {
            Some(id) => sent.insert(MCP_SESSION_ID, id.clone()),
            None => sent.remove(MCP_SESSION_ID),
        };
        if session.home.is_some() && !session.has_heard(sent.get(LAST_EVENT_ID)) {
            // It names an event of the server that is gone, as far as anybody knows.
            sent.remove(LAST_EVENT_ID);
        }
    }
    // Whoever copies the fields before they are sent copies all that is told.
    let may_be_copied = decided.route.is_mcp() || decided.route.mirror().is_some();
    match told {
        Some(told) if may_be_copied => {
            told.put_into(&mut sent);
            (sent, None)
        }
        told => (sent, told),
    }
}

/// Makes the fields that a client sent into those that any backend may get: nothing of the
/// client's connection, and of the client itself only what is known or believed. What else the
/// backend is to be told of it is given back.
pub(super) fn pass_on(
    downstream: &Downstream,
    route: &RouteView,
    head: &Head,
    (version, sent): (Version, &mut HeaderMap),
) -> Option<Told> {
    let forwarding = &route.snapshot().forwarding;
    let word = forwarding.word_of(&downstream.peer);
    let believed = forwarding.believed(&downstream.peer, sent);
    fields::take_out(sent, Side::Request(word, &route.route().keys));
    if version == Version::HTTP_2 {
        fields::join_cookies(sent);
    }
    if !head.host_is_field {
        sent.insert(HOST, head.host.clone());
    }
    forwarding.write(&downstream.peer, believed, &head.host, sent)
}

/// The request that asks to switch to this protocol.
pub(super) fn build_upgrade(
    head: Head,
    (mut sent, told): (HeaderMap, Option<Told>),
    protocol: &'static str,
) -> Outgoing {
    upgrade::ask(protocol, &mut sent);
    build(head, (sent, told), RequestBody::Upgrade(protocol))
}

/// The request with these fields, and what is told beside them.
pub(super) fn build(
    head: Head,
    (mut sent, told): (HeaderMap, Option<Told>),
    body: RequestBody,
) -> Outgoing {
    if head.has.length {
        fields::check_length(&mut sent, body.size_hint().exact());
    }
    // hyper leaves the length of an empty body out; some servers insist on it (RFC 9110, 8.6).
    if body.is_end_stream() && matches!(head.method, Method::POST | Method::PUT | Method::PATCH) {
        sent.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    // To a GET with a body of unknown length hyper gives a length of zero, and loses the body.
    if body.size_hint().exact().is_none() && matches!(head.method, Method::GET | Method::HEAD) {
        sent.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let mut request = Request::new(body);
    *request.method_mut() = head.method;
    *request.uri_mut() = http::Uri::from(head.target);
    *request.headers_mut() = sent;
    Outgoing::new(request, told)
}
