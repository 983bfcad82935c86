//! One request, in order: the page to read first.

use std::rc::Rc;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;

use crate::listener::Connection;
use crate::model::Outcome;
use crate::upstream::{self, AnswerBody, Endpoint, Pace, RequestBody, Upload};

use super::answer::{Answer, RequestGuard};
use super::call::{Call, Part};
use super::client::{Came, Peer};
use super::error::ProxyError;
use super::fields::{self, Side};
use super::head::Head;
use super::respond::respond;
use super::spec::ProtocolSpec;
use super::view::RouteView;
use super::worker::Worker;

/// One connection from downstream, as its requests see it.
#[derive(Debug)]
pub(super) struct Downstream {
    pub(super) worker: Rc<Worker>,
    pub(super) connection: Rc<Connection>,
    pub(super) peer: Peer,
}

/// Answers one request, whatever happens.
pub(super) async fn answer(
    downstream: Rc<Downstream>,
    request: Request<Incoming>,
) -> Response<Answer> {
    let mut protocol = ProtocolSpec::Http;
    let guard = RequestGuard::new(&downstream.connection);
    match relay(&downstream, request, guard, &mut protocol).await {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "answered here");
            respond(&error, protocol)
        }
    }
}

async fn relay(
    downstream: &Downstream,
    request: Request<Incoming>,
    guard: RequestGuard,
    protocol: &mut ProtocolSpec,
) -> Result<Response<Answer>, ProxyError> {
    let worker = &downstream.worker;
    let view = worker.view();
    let (parts, body) = request.into_parts();
    let head = Head::read(&parts)?;
    let route = find_route(&view, &head).ok_or(ProxyError::NoRoute)?;
    *protocol = route.route().protocol;

    let forwarding = &route.snapshot().forwarding;
    let client = forwarding.client(downstream.peer.address, &parts.headers);
    let key = route.route().keys.of_request(&parts.headers, client);
    let (arm, endpoint) = choose(worker, &route, key)?;

    let pace = Rc::new(Pace::new(
        worker.deadlines(),
        route.route().response_head_timeout,
        route.route().idle_timeout,
    ));
    let upstream_request = Request::new(upload(body, &pace));
    let version = parts.version;
    let method = head.method.clone();
    let request = fill(
        upstream_request,
        head,
        version,
        parts.headers,
        |host, came, sent| {
            forwarding.write(&downstream.peer, came, host, sent);
        },
    );

    let call = begin(worker, &route, arm, &endpoint, key)?;
    let response = exchange(&endpoint, request, &pace, call).await?;
    Ok(relayed(response, &method, guard))
}

/// The route of a request; hosts are compared in lower case.
fn find_route(view: &Rc<super::view::View>, head: &Head) -> Option<RouteView> {
    let host = head.host_name();
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return view.route(&host.to_ascii_lowercase(), head.target.path());
    }
    view.route(host, head.target.path())
}

/// The arm and the endpoint of a request that is bound to neither.
fn choose(
    worker: &Worker,
    route: &RouteView,
    key: Option<u64>,
) -> Result<(usize, Rc<Endpoint>), ProxyError> {
    let none = || ProxyError::NoBackend {
        route: route.route().name.clone(),
    };
    let split = &route.route().split;
    let arm = match key {
        Some(key) => split.by_key(key),
        None => split.by_draw(worker.draw()),
    };
    let place = arm.ok_or_else(none)?;
    let (_, arm) = route.arm(place).ok_or_else(none)?;
    let endpoint = worker.pick_endpoint(&arm.endpoints, key).ok_or_else(none)?;
    Ok((place, endpoint))
}

fn upload(body: Incoming, pace: &Rc<Pace>) -> RequestBody {
    if body.is_end_stream() {
        return RequestBody::Empty;
    }
    RequestBody::Upload(Upload::new(
        std::collections::VecDeque::new(),
        body,
        Rc::clone(pace),
    ))
}

/// Builds the request that goes to the backend, from validated parts.
fn fill(
    mut request: Request<RequestBody>,
    head: Head,
    version: Version,
    came: HeaderMap,
    forward: impl FnOnce(&HeaderValue, Came, &mut HeaderMap),
) -> Request<RequestBody> {
    let forwarded = Came::read(&came);
    let mut sent = fields::passed_on(came, Side::Request);
    if version == Version::HTTP_2 {
        fields::join_cookies(&mut sent);
    }
    forward(&head.host, forwarded, &mut sent);
    sent.insert(HOST, head.host);
    // hyper leaves the length of an empty body out; some servers insist on it (RFC 9110, 8.6).
    if request.body().is_end_stream()
        && matches!(head.method, Method::POST | Method::PUT | Method::PATCH)
    {
        sent.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    *request.method_mut() = head.method;
    *request.uri_mut() = http::Uri::from(head.target);
    *request.headers_mut() = sent;
    request
}

fn begin(
    worker: &Worker,
    route: &RouteView,
    place: usize,
    endpoint: &Rc<Endpoint>,
    key: Option<u64>,
) -> Result<Call, ProxyError> {
    let (arm, view) = route.arm(place).ok_or_else(|| ProxyError::NoBackend {
        route: route.route().name.clone(),
    })?;
    let part = route
        .route()
        .trial
        .as_ref()
        .zip(arm.role)
        .map(|(trial, role)| Part {
            trial: std::sync::Arc::clone(&trial.trial),
            worker: worker.number(),
            role,
            key,
        });
    Ok(Call::begin(
        &view.stats,
        endpoint,
        part,
        worker.open_calls(),
    ))
}

/// Sends the request and waits for the head of its answer; names the outcome when there is none.
async fn exchange(
    endpoint: &Rc<Endpoint>,
    request: Request<RequestBody>,
    pace: &Rc<Pace>,
    mut call: Call,
) -> Result<(Response<AnswerBody>, Call), ProxyError> {
    match upstream::send(endpoint, request, pace).await {
        Ok(response) => Ok((response, call)),
        Err(error) => {
            call.end(error.outcome());
            Err(error.into())
        }
    }
}

/// Turns a backend's answer into ours.
fn relayed(
    (response, mut call): (Response<AnswerBody>, Call),
    method: &Method,
    guard: RequestGuard,
) -> Response<Answer> {
    let (parts, body) = response.into_parts();
    let endless = is_event_stream(&parts.headers);
    body.pace().answered(endless);
    if endless {
        call.becomes_stream(true);
    }
    let bodiless = *method == Method::HEAD || parts.status == StatusCode::NOT_MODIFIED;
    let length = bodiless
        .then(|| parts.headers.get(CONTENT_LENGTH).cloned())
        .flatten();
    let mut fields = fields::passed_on(parts.headers, Side::Response);
    if let Some(length) = length {
        fields.insert(CONTENT_LENGTH, length);
    }
    let mut ours = Response::new(Answer::relayed(body, call, by_status(parts.status), guard));
    *ours.status_mut() = parts.status;
    *ours.headers_mut() = fields;
    ours
}

fn is_event_stream(fields: &HeaderMap) -> bool {
    fields.get(CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes();
        kind.get(..17)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"text/event-stream"))
    })
}

/// What a status line alone says.
fn by_status(status: StatusCode) -> Outcome {
    match status.as_u16() {
        500.. => Outcome::ServerError,
        400.. => Outcome::ClientError,
        _ => Outcome::Success,
    }
}
