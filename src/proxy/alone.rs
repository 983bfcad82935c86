//! Requests that belong to no session: where each goes, and what is remembered of it.
//!
//! A value that a server made leads back to it; any other request goes where its caller is held,
//! and a caller who is not held yet is drawn by the weights.

use std::rc::Rc;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use crate::mcp::{self, Era, Format, MintScanner, Mirrored, RequestFacts, Spot, Tie};
use crate::split::{Caller, CallerKey};
use crate::upstream::{Endpoint, MCP_PROTOCOL_VERSION};

use super::choice::{self, Place};
use super::error::ProxyError;
use super::fields::only;
use super::pipeline::{Decided, Subject};
use super::rehome::Asks;
use super::view::RouteView;
use super::worker::Worker;

const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// What is known of a request that belongs to no session.
#[derive(Debug)]
pub(super) struct Alone {
    /// Names the caller in the table of those that are held.
    caller: u64,
    /// The arm that was drawn for the caller, who is to be held on it; nothing where the caller
    /// is held already, or the request came by a tie.
    drawn: Option<usize>,
    /// The request came back to the server that made a value of it.
    tied: bool,
}

impl Alone {
    /// Whether the request goes to one server and no other.
    pub(super) fn is_tied(&self) -> bool {
        self.tied
    }
}

/// The era of a request. Where the version comes more than once, nothing else in its head is
/// worth more than that.
pub(super) fn era_of(route: &RouteView, fields: &HeaderMap) -> Era {
    if !route.is_mcp() {
        return Era::Sessions;
    }
    let version = only(fields, &MCP_PROTOCOL_VERSION).ok().flatten();
    Era::of(version.map(HeaderValue::as_bytes))
}

/// Whether the headers of a request say what its body says.
///
/// # Errors
/// [`ProxyError::Mismatch`] when they do not.
pub(super) fn check(fields: &HeaderMap, facts: &RequestFacts) -> Result<(), ProxyError> {
    mirrored(fields)?.check(facts).map_err(|mismatch| {
        metrics::counter!("switchback_header_mismatches_total").increment(1);
        ProxyError::Mismatch(mismatch)
    })
}

/// What the headers of a request repeat of its body.
///
/// # Errors
/// [`ProxyError::Mismatch`] for one that comes twice.
pub(super) fn mirrored(fields: &HeaderMap) -> Result<Mirrored<'_>, ProxyError> {
    let value = |name: &HeaderName, mismatch| match only(fields, name) {
        Ok(value) => Ok(value.map(HeaderValue::as_bytes)),
        Err(_several) => Err(ProxyError::Mismatch(mismatch)),
    };
    Ok(Mirrored {
        version: value(&MCP_PROTOCOL_VERSION, mcp::Mismatch::Version)?,
        method: value(&METHOD, mcp::Mismatch::Method)?,
        name: value(&NAME, mcp::Mismatch::Name)?,
    })
}

/// Where a request without session goes: arm, endpoint and key.
///
/// # Errors
/// [`ProxyError::NoBackend`] when no arm of the route takes traffic.
pub(super) fn decide(
    worker: &Worker,
    route: &RouteView,
    asks: Asks<'_>,
    subject: &Subject,
) -> Result<(Place, u64, Box<Alone>), ProxyError> {
    let CallerKey { key, caller } = key_of(route, asks);
    let mut alone = Box::new(Alone {
        caller,
        drawn: None,
        tied: false,
    });
    let mut ties = ties_of(subject).into_iter();
    if let Some(at) = ties.find_map(|tie| tied_to(worker, route, tie)) {
        alone.tied = true;
        return Ok((at, key, alone));
    }
    if let Some((place, endpoint)) = held_on(worker, route, caller) {
        let at = match endpoint {
            Some(endpoint) => (place, endpoint),
            None => choice::in_arm(worker, route, place, Some(caller))?,
        };
        return Ok((at, key, alone));
    }
    let at = choice::by_split(worker, route, Some(key))?;
    alone.drawn = Some(at.0);
    Ok((at, key, alone))
}

/// What ties a request to a server: for news of tasks there is more than one, and the first that
/// is known is followed.
fn ties_of(subject: &Subject) -> impl IntoIterator<Item = Tie> {
    let facts = subject.facts.as_ref();
    let listens = facts.filter(|facts| facts.method == mcp::Method::SubscriptionsListen);
    let body = listens.and(subject.kept.as_ref());
    let tasks = body.map_or(Vec::new(), |body| mcp::ties_of_listening(body));
    facts.and_then(|facts| facts.tie).into_iter().chain(tasks)
}

fn key_of(route: &RouteView, asks: Asks<'_>) -> CallerKey {
    let peer = asks.downstream.peer.address;
    let client = route.snapshot().forwarding.client(peer, asks.fields);
    let caller = Caller {
        headers: asks.fields,
        client: client.address(),
        owner: asks.principal.map(|principal| &*principal.owner),
        claims: asks
            .principal
            .map_or(&[][..], |principal| &principal.claims),
    };
    let route = route.route();
    let key = route.keys.of_request_alone(&caller, route.scope);
    // The client's address is a key that every request has.
    key.unwrap_or(CallerKey { key: 0, caller: 0 })
}

/// The arm that a caller is held on, if it may keep them and can take the request, and the
/// endpoint, if that can.
fn held_on(
    worker: &Worker,
    route: &RouteView,
    caller: u64,
) -> Option<(usize, Option<Rc<Endpoint>>)> {
    let spot = worker.bonds().callers.find(caller, worker.tick())?;
    let arms = &route.route().arms;
    let place = arms
        .iter()
        .position(|arm| arm.identity == spot.backend && arm.standing.may_stay());
    let place = place.filter(|place| choice::has_fit(route, *place));
    if place.is_none() {
        metrics::counter!("switchback_callers_redrawn_total").increment(1);
    }
    let (arm, view) = route.arm(place?)?;
    let at = arm.endpoints.iter().position(|one| *one == spot.endpoint);
    let endpoint = at.and_then(|at| view.endpoints.get(at));
    let endpoint = endpoint.filter(|endpoint| choice::is_fit(endpoint));
    Some((place?, endpoint.cloned()))
}

/// Where a value was made, if that server is still there. To any other it would mean nothing,
/// so that not even a revert takes its requests away.
fn tied_to(worker: &Worker, route: &RouteView, tie: Tie) -> Option<Place> {
    let spot = worker
        .bonds()
        .ties
        .find(tie.key(route.route().family), worker.tick())?;
    let at = spot_at(route, spot);
    let name = if at.is_some() {
        "switchback_ties_followed_total"
    } else {
        "switchback_ties_lost_total"
    };
    metrics::counter!(name).increment(1);
    at
}

fn spot_at(route: &RouteView, spot: Spot) -> Option<Place> {
    let arms = &route.route().arms;
    let place = arms.iter().position(|arm| arm.identity == spot.backend)?;
    let (arm, view) = route.arm(place)?;
    let at = arm.endpoints.iter().position(|one| *one == spot.endpoint)?;
    let endpoint = view.endpoints.get(at)?;
    (!endpoint.is_dead()).then(|| (place, Rc::clone(endpoint)))
}

/// Where a request was answered.
fn spot_of(decided: &Decided) -> Option<Spot> {
    let (arm, view) = decided.route.arm(decided.place)?;
    let at = view
        .endpoints
        .iter()
        .position(|one| Rc::ptr_eq(one, &decided.endpoint))?;
    Some(Spot {
        route: decided.route.route().identity,
        backend: arm.identity,
        endpoint: *arm.endpoints.get(at)?,
    })
}

/// The head of an answer has come: a caller who was served is held where that was. Nobody is
/// held by being refused, so that strangers cannot fill the table.
pub(super) fn answered(worker: &Worker, decided: &Decided, status: StatusCode) {
    let Some(alone) = &decided.alone else {
        return;
    };
    if !status.is_success() {
        return;
    }
    let Some(spot) = spot_of(decided) else {
        return;
    };
    worker.bonds().has_spoken(spot);
    // Not where stable answered in a candidate's place.
    if alone.drawn == Some(decided.place) {
        let bonds = worker.bonds();
        bonds.callers.put(alone.caller, spot, worker.tick());
    }
}

/// Whether the backend that a request goes to is known to speak of its era.
pub(super) fn is_understood(worker: &Worker, decided: &Decided) -> bool {
    spot_of(decided).is_none_or(|spot| worker.bonds().speaks(spot))
}

/// What looks for values in an answer that later calls are tied by.
#[derive(Debug)]
pub(super) struct Minting {
    scanner: MintScanner,
    spot: Spot,
    /// The route's.
    scope: u64,
    worker: Rc<Worker>,
}

impl Minting {
    /// Looks into the answer to this request, if there may be such values in it.
    pub(super) fn of(
        worker: &Rc<Worker>,
        decided: &Decided,
        (subject, format): (&Subject, Format),
    ) -> Option<Box<Self>> {
        decided.alone.as_ref()?;
        let facts = subject.facts.as_ref()?;
        if subject.method != Method::POST || !may_mint(facts.method) {
            return None;
        }
        Some(Box::new(Self {
            scanner: MintScanner::new(format),
            spot: spot_of(decided)?,
            scope: decided.route.route().family,
            worker: Rc::clone(worker),
        }))
    }

    /// The next bytes of the answer pass.
    pub(super) fn pass(&mut self, piece: &[u8]) {
        self.scanner.feed(piece);
    }

    /// The answer is there: the values in it lead back from now on.
    pub(super) fn keep(self) {
        for tie in self.scanner.ties() {
            let key = tie.key(self.scope);
            let ties = &self.worker.bonds().ties;
            ties.add(key, self.spot, self.worker.tick());
        }
    }
}

/// Whether the answer to a method may hold a value that ties later calls.
fn may_mint(method: mcp::Method) -> bool {
    match method {
        mcp::Method::ToolsCall
        | mcp::Method::PromptsGet
        | mcp::Method::ResourcesRead
        | mcp::Method::ToolsList
        | mcp::Method::PromptsList
        | mcp::Method::ResourcesList
        | mcp::Method::ResourcesTemplatesList
        | mcp::Method::Other => true,
        mcp::Method::Initialize
        | mcp::Method::Initialized
        | mcp::Method::Ping
        | mcp::Method::ResourcesSubscribe
        | mcp::Method::ResourcesUnsubscribe
        | mcp::Method::CompletionComplete
        | mcp::Method::LoggingSetLevel
        | mcp::Method::Cancelled
        | mcp::Method::Progress
        | mcp::Method::ServerDiscover
        | mcp::Method::SubscriptionsListen
        | mcp::Method::TasksGet
        | mcp::Method::TasksResult
        | mcp::Method::TasksUpdate
        | mcp::Method::TasksCancel => false,
    }
}
