//! One request, in order: the page to read first.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http::header::HeaderMap;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body::Body;

use crate::listener::Connection;
use crate::mcp::{Era, RequestFacts, RequestId};
use crate::model::Limit;
use crate::shadow::Twin;
use crate::upstream::{
    self, ClientBody, ClientFault, Endpoint, Intake, Kept, Outgoing, Pace, Template, Told,
};

use super::alone::{self, Alone};
use super::answer::{Answer, RequestGuard};
use super::asked;
use super::attempt;
use super::branch::{self, Main};
use super::choice;
use super::client::Peer;
use super::counted::Counted;
use super::crowd::{self, Seat};
use super::error::ProxyError;
use super::fallback;
use super::guard;
use super::head::Head;
use super::late::{self, Coming};
use super::manner;
use super::mirrored;
use super::pages;
use super::peek::{Looked, Taken};
use super::rehome::Asks;
use super::relay;
use super::request;
use super::respond::{Caller, finish, is_own};
use super::revive;
use super::rooms::Hatch;
use super::rules;
use super::session::{self, Pinned};
use super::sse::{self, Posted};
use super::upgrade::{self, Tunnel};
use super::view::{RouteView, View};
use super::worker::Worker;

/// One connection from downstream, as its requests see it.
#[derive(Debug)]
pub(super) struct Downstream {
    pub(super) worker: Rc<Worker>,
    pub(super) connection: Rc<Connection>,
    pub(super) peer: Peer,
    /// What the connection becomes once the answer under way is written: left by a request, taken
    /// by the connection.
    pub(super) tunnel: RefCell<Option<Box<Tunnel>>>,
    /// A message over it had a field more than once. Its maps have room for that from then on, nobody is told
    /// how much, and nobody else gets them.
    pub(super) repeats: Cell<bool>,
}

impl Downstream {
    /// Looks whether a message has a field more than once.
    fn note_repeats(&self, fields: &HeaderMap) {
        if fields.len() != fields.keys_len() {
            self.repeats.set(true);
        }
    }

    /// A request over it has its answer: its map of fields is for another message now.
    fn is_over(&self, endpoint: &Endpoint, request: &mut Outgoing) {
        if !self.repeats.get() {
            endpoint.take_fields(std::mem::take(request.headers_mut()));
        }
    }
}

/// Where a request goes.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) route: RouteView,
    /// The arm of the route.
    pub(super) place: usize,
    pub(super) endpoint: Rc<Endpoint>,
    /// Tells callers apart, if anything does.
    pub(super) key: Option<u64>,
    /// The MCP session that the request belongs to.
    pub(super) session: Option<Box<Pinned>>,
    /// What is known of a request of the MCP era that has no sessions.
    pub(super) alone: Option<Box<Alone>>,
    /// The message of a session over HTTP+SSE that the request brings.
    pub(super) posted: Option<Box<Posted>>,
    /// How a GET is asked for whose answer may be such a session.
    pub(super) stream: Option<Box<Template>>,
    /// Who asks, where the route knows its callers: a session that is opened is theirs alone.
    pub(super) owner: Option<Rc<str>>,
    /// What it is counted as.
    pub(super) counted: Counted,
    /// Where its session lives, where a rule leads it.
    pub(super) main: Option<Box<Main>>,
}

impl Decided {
    /// Where a request goes that nothing more is known of.
    pub(super) fn to(route: RouteView, (place, endpoint): (usize, Rc<Endpoint>)) -> Self {
        Self {
            route,
            place,
            endpoint,
            key: None,
            session: None,
            alone: None,
            posted: None,
            stream: None,
            owner: None,
            counted: Counted::Call,
            main: None,
        }
    }

    /// The arm and the endpoint.
    pub(super) fn at(&self) -> (usize, Rc<Endpoint>) {
        (self.place, Rc::clone(&self.endpoint))
    }

    /// Whether the request brings a value back to the server that made it.
    pub(super) fn is_tied(&self) -> bool {
        self.alone.as_ref().is_some_and(|alone| alone.is_tied())
    }
}

/// What a request is about, as far as its answer's reading needs it.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) method: Method,
    /// What its body says, where that was looked at and is clear.
    pub(super) facts: Option<Box<RequestFacts>>,
    /// All of the body was looked at, and it can be understood in several ways, or in none.
    pub(super) is_unclear: bool,
    /// The body itself, where it may have to be kept.
    pub(super) kept: Option<Bytes>,
    /// Whose the session is that it opens, as the table of sessions tells them apart.
    pub(super) opener: u64,
    /// The place of the event stream that is asked for.
    pub(super) seat: Option<Seat>,
    /// What is known of it once its body has been sent.
    pub(super) late: Option<Coming>,
}

impl Subject {
    /// What is told by the head of a request and its body.
    pub(super) fn of(head: &Head, body: &mut Taken) -> Self {
        Self {
            method: head.method.clone(),
            is_unclear: body.is_unclear(),
            kept: body.kept(),
            facts: body.facts(),
            opener: 0,
            seat: None,
            late: Coming::of(body),
        }
    }

    /// The id that an answer by us has to carry.
    fn id(&self) -> Option<RequestId> {
        self.facts.as_ref().and_then(|facts| facts.id.clone())
    }
}

/// A request, and what it came over.
pub(super) type Asked = (Rc<Downstream>, Parts, ClientBody);

/// What a request is answered with, whatever happens.
pub(super) type Replied = Result<Response<Answer>, Infallible>;

/// Answers one request after the other.
///
/// One function with the loop in it: a future that is made elsewhere and awaited here would be moved
/// here first, with all the room that it has for a request.
pub(super) async fn answer_all(hatch: Rc<Hatch<Asked, Replied>>) -> Infallible {
    loop {
        let (downstream, mut parts, body) = hatch.question().await;
        downstream.note_repeats(&parts.headers);
        let mut caller = Caller::default();
        let coming = body.comes_over_http1();
        let guard = RequestGuard::new(&downstream.worker, &downstream.connection);
        let answered = if guard.is_let_in() {
            proxy(&downstream, (&mut parts, body), guard, &mut caller).await
        } else {
            caller.json_rpc = manner::is_json_rpc(&downstream.worker, &parts);
            Err(ProxyError::Busy)
        };
        if coming && is_own(&answered) {
            // The connection sees what is left of a body that nobody reads: its last answer has to say so.
            tokio::task::yield_now().await;
        }
        let about = (&*downstream.connection, parts.version);
        let finished = finish(answered, caller, about);
        downstream.note_repeats(finished.headers());
        hatch.answer(Ok(finished));
    }
}

/// The steps of a request. `caller` learns, as soon as it is known, how an error is to be told.
async fn proxy(
    downstream: &Downstream,
    (parts, incoming): (&mut Parts, ClientBody),
    guard: RequestGuard,
    caller: &mut Caller,
) -> Result<Response<Answer>, ProxyError> {
    let worker = &downstream.worker;
    let view = worker.view();
    let mut head = Head::read(parts, view.snapshot.limits.request_fields)?;
    let Some(route) = find_route(&view, &head) else {
        return answer_here(downstream, &view, &head, &parts.headers);
    };
    caller.json_rpc = route.is_mcp();
    caller.page = pages::check(&route, downstream, &head, &parts.headers)?;
    let asked_by = caller.page.as_ref();
    if let Some(leave) = pages::preflight(&route, &head.method, asked_by, &parts.headers)? {
        return Ok(leave);
    }
    let principal = guard::check(worker, &route, &downstream.peer, &mut parts.headers)?;

    let pace = Rc::new(Pace::new(worker.deadlines(), route.route().patience));
    let upgrade = upgrade::asked(parts, &route, !incoming.is_end_stream());
    let intake = bound(worker, &route, incoming)?;
    let era = alone::era_of(&route, &parts.headers);
    let mut body = take_in(&route, (&head, era, &parts.headers), intake, &pace).await?;
    let mut subject = Subject::of(&head, &mut body);
    caller.id = subject.id();
    check_body(era, &parts.headers, (&subject, &mut body))?;

    let asks = Asks {
        downstream,
        head: &head,
        version: parts.version,
        fields: &parts.headers,
        principal: principal.as_deref(),
    };
    crowd::let_in(worker, (&route, &mut subject), asks)?;
    let mut decided = decide_by_era(route, (era, &subject), asks).await?;
    if body.coming().is_some() {
        let about = (&mut subject, body);
        body = Box::pin(late::settle(&mut decided, about, asks, &pace)).await?;
        (caller.late, caller.id) = (body.late().cloned(), subject.id());
    }
    let fields = std::mem::take(&mut parts.headers);
    let (mut sent, told) = request::fields(downstream, &decided, &head, (parts.version, fields));
    let about = (&mut decided, &subject);
    if let Some(taken) = see_to_session(worker, about, (&mut head, &mut sent), &mut body) {
        return Ok(taken);
    }
    let about = (&decided, &subject);
    let (mut sent, twin) = outgoing(worker, about, (head, sent, told), (body, upgrade), &pace);
    let kept = revive::keep(&decided, &sent);
    let mut answered = send(worker, (&mut decided, &subject), (&mut sent, twin), &pace).await?;
    late::answered(&mut subject, &mut answered.1);
    if may_be_refusal(worker, (&decided, &subject), answered.0.status()) {
        let about = (&mut decided, &subject);
        // Boxed: no other request has to be large enough for it, nor is its answer moved.
        answered = Box::pin(see_to_refusal(worker, about, (answered, kept), &pace)).await?;
        late::answered(&mut subject, &mut answered.1);
    }
    check_answer(worker, (&decided, &mut subject), &mut answered)?;
    downstream.is_over(&decided.endpoint, &mut sent);
    Ok(match answered.0.status() {
        StatusCode::SWITCHING_PROTOCOLS => upgrade::agree(downstream, &decided, answered, guard),
        _ => relay::relay(worker, decided, subject, answered, guard),
    })
}

/// What a message of MCP means to its session, and what of it goes elsewhere. Gives the client's
/// answer, if nothing is left to be sent.
fn see_to_session(
    worker: &Rc<Worker>,
    (decided, subject): (&mut Decided, &Subject),
    (head, sent): (&mut Head, &mut HeaderMap),
    body: &mut Taken,
) -> Option<Response<Answer>> {
    if !decided.route.is_mcp() {
        return None;
    }
    relay::note_wishes(worker, decided, subject);
    let aside = asked::sort(worker, decided, (subject, body));
    let taken = aside.send(worker, decided, (head, sent));
    if taken.is_none() {
        sse::prepare(decided, (head, sent));
    }
    taken
}

/// What an answer must not be, as far as that is known from its head and the request.
fn check_answer(
    worker: &Worker,
    (decided, subject): (&Decided, &mut Subject),
    answered: &mut attempt::Answered,
) -> Result<(), ProxyError> {
    crowd::let_in_late(worker, subject)?;
    sse::check(decided, answered)
}

/// In the era without sessions the head repeats what the body says.
fn check_body(
    era: Era,
    fields: &HeaderMap,
    (subject, body): (&Subject, &mut Taken),
) -> Result<(), ProxyError> {
    // What comes later says no more: it is packed, too.
    let says_nothing = subject.is_unclear || body.coming().is_some();
    if says_nothing && upstream::is_packed(fields) {
        // Nothing is ever unpacked to be looked at: what it says is between client and server.
        metrics::counter!("switchback_packed_requests_total").increment(1);
    }
    match (era, &subject.facts) {
        (Era::Requests, Some(facts)) => alone::check(fields, facts),
        (Era::Requests, None) | (Era::Sessions, _) => Ok(()),
    }
}

/// The request as it is sent, and the other end of its copy if it is copied.
fn outgoing(
    worker: &Rc<Worker>,
    (decided, subject): (&Decided, &Subject),
    (head, sent, told): (Head, HeaderMap, Option<Told>),
    (body, upgrade): (Taken, Option<&'static str>),
    pace: &Rc<Pace>,
) -> (Outgoing, Option<Twin>) {
    if let Some(protocol) = upgrade {
        return (request::build_upgrade(head, (sent, told), protocol), None);
    }
    late::follow(worker, (decided, subject), (&head, &sent));
    let about = (&head, &sent, body.length());
    let (copy, twin) = mirrored::begin(worker, decided, subject, about);
    let body = body.into_body(pace, copy);
    (request::build(head, (sent, told), body), twin)
}

/// Whether an answer may be about the session or the era, and not about the request.
fn may_be_refusal(
    worker: &Worker,
    (decided, subject): (&Decided, &Subject),
    status: StatusCode,
) -> bool {
    revive::may_be_needed(decided, subject, status)
        || fallback::may_be_needed(worker, (decided, subject), status)
}

/// What becomes of an answer that may be about the session or the era, and not about the request.
async fn see_to_refusal(
    worker: &Rc<Worker>,
    (decided, subject): (&mut Decided, &Subject),
    (mut answered, kept): (attempt::Answered, Option<Kept>),
    pace: &Rc<Pace>,
) -> Result<attempt::Answered, ProxyError> {
    if revive::may_be_needed(decided, subject, answered.0.status()) {
        answered = revive::see_to(worker, (decided, subject, kept), answered, pace).await?;
    }
    if fallback::may_be_needed(worker, (decided, subject), answered.0.status()) {
        answered = fallback::read((decided, subject), answered).await?;
    }
    Ok(answered)
}

/// Sends a request to where it was decided, as what it is wants it.
async fn send(
    worker: &Rc<Worker>,
    about: (&mut Decided, &Subject),
    (request, twin): (&mut Outgoing, Option<Twin>),
    pace: &Rc<Pace>,
) -> Result<attempt::Answered, ProxyError> {
    if about.0.posted.is_some() {
        return Box::pin(sse::send(worker, about, request, pace)).await;
    }
    attempt::send(worker, about, (request, twin), pace).await
}

/// The answer to a request that no route takes: what a route says of itself, or nothing.
fn answer_here(
    downstream: &Downstream,
    view: &Rc<View>,
    head: &Head,
    fields: &HeaderMap,
) -> Result<Response<Answer>, ProxyError> {
    let found = view.document(head.host_name(), head.target.path());
    let (route, document) = found.ok_or(ProxyError::NoRoute)?;
    guard::check_route_address(&route, &downstream.peer, fields)?;
    Ok(document.answer(&head.method))
}

/// The route of a request.
pub(super) fn find_route(view: &Rc<View>, head: &Head) -> Option<RouteView> {
    view.route(head.host_name(), &head.path())
}

/// The body within the bounds of its route; one that says that it is too long is not even read.
fn bound(worker: &Worker, route: &RouteView, body: ClientBody) -> Result<Intake, ProxyError> {
    let bounds = route.route().intake;
    if body.size_hint().lower() > bounds.max_bytes {
        Limit::MaxBody.hit();
        return Err(ProxyError::Body(ClientFault::TooLong));
    }
    Ok(Intake::new(body, bounds, worker.deadlines()))
}

/// Takes the body in: as it is, or after a look at what it is about.
async fn take_in(
    route: &RouteView,
    (head, era, fields): (&Head, Era, &HeaderMap),
    body: Intake,
    pace: &Rc<Pace>,
) -> Result<Taken, ProxyError> {
    if !route.is_mcp() || head.method != Method::POST {
        return Ok(Taken::Unseen(body));
    }
    let cap_bytes = route.snapshot().limits.peek_bytes;
    let mut looked = Looked::begin(body);
    looked.look_once(cap_bytes, pace).await?;
    if looked.is_whole() {
        return Ok(Taken::Looked(looked));
    }
    // Boxed: most bodies are here with their head, and need not be large enough for it.
    if late::may_be(route, era, fields) {
        Box::pin(looked.look_ahead(cap_bytes, pace)).await?;
    } else {
        Box::pin(looked.look(cap_bytes, pace)).await?;
    }
    Ok(Taken::Looked(looked))
}

/// Where the request goes, by a rule of its route or without one, and what it is counted as.
async fn decide_by_era(
    route: RouteView,
    (era, subject): (Era, &Subject),
    asks: Asks<'_>,
) -> Result<Decided, ProxyError> {
    let rule = rules::find(&route, (era, asks.fields), (asks.head, subject));
    let mut decided = match (era, rule) {
        (Era::Requests, rule) => decide_alone(rule.unwrap_or(route), asks, subject)?,
        (Era::Sessions, Some(rule)) => match session::id_of(asks.fields)? {
            Some(id) => Box::pin(branch::decide((route, rule), id, asks)).await?,
            None => decide(rule, asks).await?,
        },
        // Without sessions there is nothing to wait for.
        (Era::Sessions, None) if !route.is_mcp() => choice::by_caller(route, asks)?,
        (Era::Sessions, None) => decide(route, asks).await?,
    };
    // The calls in a message of a session over HTTP+SSE are counted on its stream.
    if decided.posted.is_none() {
        decided.counted = Counted::of(&decided.route, (era, asks.fields), subject);
    }
    Ok(decided)
}

/// Where a request of MCP goes: with its session, else where its caller belongs.
async fn decide(route: RouteView, asks: Asks<'_>) -> Result<Decided, ProxyError> {
    let worker = &asks.downstream.worker;
    let owner = || asks.principal.map(|principal| Rc::clone(&principal.owner));
    if let Some(id) = session::id_of(asks.fields)? {
        let pinned = session::find(worker, &route, id, asks).await?;
        let at = (pinned.place, Rc::clone(&pinned.endpoint));
        return Ok(Decided {
            key: Some(pinned.key),
            session: Some(pinned),
            owner: owner(),
            ..Decided::to(route, at)
        });
    }
    if let Some(sealed) = sse::message_of(&route, asks.head) {
        let (at, posted) = Box::pin(sse::find(worker, &route, (sealed, asks))).await?;
        return Ok(Decided {
            key: Some(posted.key),
            posted: Some(posted),
            owner: owner(),
            ..Decided::to(route, at)
        });
    }
    choice::by_caller(route, asks)
}

/// Where a request goes that belongs to no session: back to the server that made a value of
/// it, else to where its caller is.
fn decide_alone(
    route: RouteView,
    asks: Asks<'_>,
    subject: &Subject,
) -> Result<Decided, ProxyError> {
    let worker = &asks.downstream.worker;
    let (at, key, alone) = alone::decide(worker, &route, asks, subject)?;
    Ok(Decided {
        key: Some(key),
        alone: Some(alone),
        owner: asks.principal.map(|principal| Rc::clone(&principal.owner)),
        ..Decided::to(route, at)
    })
}
