//! The messages of a session: where they go, and what is known of the calls in them.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Method, Uri};
use tokio::time::Instant;

use crate::mcp::asked::HomeMark;
use crate::mcp::{Belongs, Home, Kind, Lists, RequestFacts, sealed};
use crate::model::Outcome;
use crate::proxy::asked;
use crate::proxy::attempt::{self, Answered};
use crate::proxy::behind::{self, Elsewhere};
use crate::proxy::call::{Call, Counts, Part};
use crate::proxy::choice::Place;
use crate::proxy::error::ProxyError;
use crate::proxy::head::{self, Head};
use crate::proxy::pipeline::{Decided, Subject};
use crate::proxy::rehome::Asks;
use crate::proxy::retry::Tries;
use crate::proxy::session;
use crate::proxy::spec::LossSpec;
use crate::proxy::view::RouteView;
use crate::proxy::worker::Worker;
use crate::upstream::{Again, Endpoint, Kept, Outgoing, Pace, Repeats, Unanswered};

use super::leaving;
use super::live::{Asked, LiveSession, StreamHome};
use super::open_call::{Account, Tool};

/// What a message URL begins its query with. Clients of some SDKs look for this name.
pub(super) const PARAMETER: &str = "session_id=";

/// A message of a session.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct Posted {
    /// The session as its client knows it.
    pub(in crate::proxy) id: Box<str>,
    /// Tells callers apart.
    pub(in crate::proxy) key: u64,
    /// Where the backend takes the session's messages.
    pub(in crate::proxy) target: PathAndQuery,
    /// Nothing where the session's stream is another process's.
    live: Option<Arc<LiveSession>>,
    /// The number of the home that the message goes to.
    home: u64,
    /// What is asked there is told by this, unless that is the session's first home.
    mark: Option<HomeMark>,
    /// Its first home, where the session has left that and its stream is another process's.
    first: Option<Elsewhere>,
}

/// The sealed part of a message's URL, if it is one of those that are given out here, or looks like it.
pub(in crate::proxy) fn message_of<'a>(route: &RouteView, head: &'a Head) -> Option<&'a str> {
    let sealed = head.target.query()?.strip_prefix(PARAMETER)?;
    let is_message = head.method == Method::POST && sealed::may_be_sealed_target(sealed);
    (is_message && route.is_mcp()).then_some(sealed)
}

/// Where a message goes: to the endpoint that its session's stream comes from, or to where the
/// session has moved. One whose home is gone is waited for until it has another.
///
/// # Errors
/// [`ProxyError::UnknownSession`] for a URL that is not ours, or that another caller was given,
/// and for a session whose home is gone and that has no other.
pub(in crate::proxy) async fn find(
    worker: &Worker,
    route: &RouteView,
    (sealed, asks): (&str, Asks<'_>),
) -> Result<(Place, Box<Posted>), ProxyError> {
    let belongs = Belongs {
        route: &route.route().name,
        owner: asks.principal.map(|principal| &*principal.owner),
    };
    let keys = &route.snapshot().session_keys;
    let unknown = || ProxyError::UnknownSession;
    let opened = sealed::open_target(keys, belongs, sealed).map_err(|_| unknown())?;
    let mut posted = Box::new(Posted {
        id: sealed.into(),
        key: route.route().keys.hash(sealed.as_bytes()),
        target: target_of(opened.target).ok_or_else(unknown)?,
        live: worker.shared().live.find(sealed),
        home: 0,
        mark: None,
        first: None,
    });
    let home = match &posted.live {
        Some(live) => {
            // Whoever is spoken to is not forgotten.
            worker.sessions().find(sealed, worker.tick());
            Some(live.home())
        }
        None => leaving::noted_home(worker, sealed).map(Arc::new),
    };
    // Where nobody knows it any more it may not stay, though another process may listen there.
    let is_gone = home.as_ref().is_some_and(|home| home.is_gone);
    let sealed_at = || session::sealed_at(route, (opened.backend, opened.endpoint, opened.key));
    let at = match home.filter(|home| home.number > 0) {
        Some(home) => {
            posted.first = sealed_at()
                .filter(|_| posted.live.is_none())
                .map(|(_, endpoint)| posted.elsewhere(endpoint));
            posted.follow(route, &home)
        }
        None => sealed_at(),
    };
    let may_stay = |at: &Place| !is_gone && session::may_stay(route, at);
    if let Some(at) = at.clone().filter(may_stay) {
        return Ok((at, posted));
    }
    if let Some(at) = posted.wait_for_move(worker, route, Asked::Look).await? {
        return Ok((at, posted));
    }
    let at = at.ok_or_else(unknown)?;
    if !is_gone && stays_after_all(worker, route, &at) {
        return Ok((at, posted));
    }
    // Lost with its stream, and counted there, once: whoever answers a message may know of neither.
    Err(unknown())
}

/// Whether what has been published since the request began lets a session stay where it is.
fn stays_after_all(worker: &Worker, route: &RouteView, (place, endpoint): &Place) -> bool {
    let Some((arm, _)) = route.arm(*place) else {
        return false;
    };
    let home = Home {
        backend: arm.backend.clone(),
        endpoint: Arc::clone(endpoint.name()),
        id: None,
        lists: Lists::NONE,
        way: None,
    };
    let newer = worker.view().named(&route.route().name);
    newer.is_some_and(|newer| {
        let at = session::home_at(&newer, &home);
        at.is_some_and(|at| session::may_stay(&newer, &at))
    })
}

/// A target as it can be sent on: one that two servers could read differently is none.
pub(super) fn target_of(target: String) -> Option<PathAndQuery> {
    let target = PathAndQuery::try_from(target).ok()?;
    head::is_plain(&target).then_some(target)
}

impl Posted {
    /// What tells the home that the message goes to, unless it is the session's first one.
    pub(in crate::proxy) fn mark(&self) -> Option<HomeMark> {
        self.mark
    }

    /// The home of this mark, or the first one without, if the session has left it and calls of it
    /// may be there.
    pub(in crate::proxy) fn former(
        &self,
        route: &RouteView,
        mark: Option<HomeMark>,
    ) -> Option<Elsewhere> {
        let Some(home) = self.left().filter(|home| home.mark() == mark) else {
            return self.first.clone().filter(|_| mark.is_none());
        };
        let (_, endpoint) = session::home_at(route, &home.at)?;
        Some(Elsewhere {
            endpoint,
            id: None,
            target: Some(home.target.clone()),
        })
    }

    /// Where the session lived before, while calls of it are under way there.
    fn left(&self) -> Option<Arc<StreamHome>> {
        let former = self.live.as_ref()?.former();
        // It may be moving at this moment: then the message itself goes there.
        former.filter(|home| home.number != self.home)
    }

    /// The place at this endpoint that its messages go to now.
    fn elsewhere(&self, endpoint: Rc<Endpoint>) -> Elsewhere {
        Elsewhere {
            endpoint,
            id: None,
            target: Some(self.target.clone()),
        }
    }

    /// The message goes to this home; where that is, if the route has it.
    fn follow(&mut self, route: &RouteView, home: &StreamHome) -> Option<Place> {
        self.home = home.number;
        self.mark = home.mark();
        self.target = home.target.clone();
        session::home_at(route, &home.at)
    }

    /// Waits until the session has another home, and goes there.
    async fn wait_for_move(
        &mut self,
        worker: &Worker,
        route: &RouteView,
        asked: Asked,
    ) -> Result<Option<Place>, ProxyError> {
        let Some(live) = self.live.clone() else {
            return Ok(None);
        };
        if route.route().on_loss == LossSpec::Sever {
            return Ok(None);
        }
        let mut moves = live.moves();
        let then = *moves.borrow_and_update();
        if then.number == self.home {
            live.ask(asked);
            live.hurries();
            let deadline = worker.deadlines().deadline();
            deadline.set(route.route().patience.head);
            let decided = pin!(moves.wait_for(|moves| moves.are_decided(then)));
            let decided = deadline.guard(decided).await;
            // It lives still, and others may have to move before it.
            decided.map_err(|_| ProxyError::Moving)?.ok();
        }
        let home = live.home();
        let has_moved = home.number != self.home;
        Ok(has_moved.then(|| self.follow(route, &home)).flatten())
    }

    /// Keeps what opens a session.
    pub(in crate::proxy) fn note(&self, subject: &Subject) {
        let (Some(live), Some(facts), Some(kept)) = (&self.live, &subject.facts, &subject.kept)
        else {
            return;
        };
        if facts.opens_session()
            && let Some(id) = &facts.id
        {
            // Copied: the piece that came in keeps the whole buffer alive that it was read into.
            live.opens_with(id.key(), Bytes::copy_from_slice(kept));
        }
    }
}

/// Sends a message, once, and counts the calls in it that fail here; how the others went is told by
/// the stream.
pub(in crate::proxy) async fn send(
    worker: &Rc<Worker>,
    (decided, subject): (&mut Decided, &Subject),
    request: &mut Outgoing,
    pace: &Rc<Pace>,
) -> Result<Answered, ProxyError> {
    tell_former(worker, (decided, subject), request);
    let mut call = begin_call(worker, decided, pace)?;
    let mut sent = Sent::new(worker, decided, subject);
    let sending = (&mut *request, Repeats::Unsent);
    let mut answer = attempt::upstream_send(decided, &mut call, sending, pace).await;
    if let Err(unanswered) = &answer
        && is_refused(unanswered)
        && !asked::may_have_answers(subject)
        && flee(worker, decided).await.is_some()
    {
        if let Some(posted) = &decided.posted {
            *request.uri_mut() = Uri::from(posted.target.clone());
        }
        sent.goes_to(decided);
        pace.again(Duration::MAX);
        call = begin_call(worker, decided, pace)?;
        let sending = (request, Repeats::Unsent);
        answer = attempt::upstream_send(decided, &mut call, sending, pace).await;
    }
    match answer {
        Ok(answer) => {
            let status = answer.status();
            if status.is_success() {
                sent.has_arrived();
            } else {
                sent.end(Outcome::of_status(status.as_u16()));
            }
            Ok((answer, call))
        }
        Err(unanswered) => {
            sent.end(unanswered.error.outcome());
            Err(unanswered.error.into())
        }
    }
}

/// Tells the calls that stayed behind when their session moved what their client notifies servers of. Not
/// what it answers: both number what they ask, and one could take the other's.
fn tell_former(worker: &Rc<Worker>, (decided, subject): (&Decided, &Subject), request: &Outgoing) {
    let facts = subject.facts.as_deref();
    let is_meant = facts.is_some_and(behind::is_notice);
    let posted = decided.posted.as_ref().filter(|_| is_meant);
    let Some(former) = posted.and_then(|posted| posted.left()) else {
        return;
    };
    let at = session::home_at(&decided.route, &former.at);
    if let (Some((_, endpoint)), Some(copy)) = (at, Kept::of(request)) {
        let to = Elsewhere {
            endpoint,
            id: None,
            target: Some(former.target.clone()),
        };
        behind::send(worker, decided, (copy.restore(), to));
    }
}

/// A message is no call of its own: those in it are counted apart.
fn begin_call(worker: &Worker, decided: &Decided, pace: &Rc<Pace>) -> Result<Call, ProxyError> {
    let mut call = attempt::begin(worker, (decided, pace), None)?;
    call.becomes_stream(Counts::No);
    Ok(call)
}

/// Whether nothing was sent, since nobody listens.
fn is_refused(unanswered: &Unanswered) -> bool {
    unanswered.again == Again::Unsent && unanswered.error.is_refusal()
}

/// Takes the session of a message elsewhere, since nobody listens where it lives.
async fn flee(worker: &Worker, decided: &mut Decided) -> Option<()> {
    Tries::first(Instant::now(), decided).away(worker, decided)?;
    let mut posted = decided.posted.take()?;
    let at = posted
        .wait_for_move(worker, &decided.route, Asked::Leave)
        .await;
    decided.posted = Some(posted);
    (decided.place, decided.endpoint) = at.ok()??;
    Some(())
}

/// The calls of a message on its way. Dropped before it has arrived they count as cancelled.
struct Sent {
    worker: Rc<Worker>,
    live: Option<Arc<LiveSession>>,
    account: Option<Account>,
    home: u64,
    open: Vec<u64>,
    /// The calls that it takes back.
    cancels: Vec<u64>,
}

impl Sent {
    fn new(worker: &Rc<Worker>, decided: &Decided, subject: &Subject) -> Self {
        let live = decided
            .posted
            .as_ref()
            .and_then(|posted| posted.live.clone());
        let part = attempt::part_of(worker, decided, subject);
        let open = match (&live, &subject.facts) {
            (Some(live), Some(facts)) => begin(live, facts, part.as_ref()),
            _ => Vec::new(),
        };
        let mut sent = Self {
            worker: Rc::clone(worker),
            live,
            account: None,
            home: 0,
            open,
            cancels: subject.facts.as_deref().map_or(Vec::new(), cancelled_by),
        };
        sent.goes_to(decided);
        sent
    }

    fn goes_to(&mut self, decided: &Decided) {
        let arm = decided.route.arm(decided.place);
        self.account = arm.map(|(arm, view)| Account {
            route: decided.route.route().name.clone(),
            backend: arm.backend.clone(),
            stats: Arc::clone(&view.stats),
        });
        self.home = decided.posted.as_ref().map_or(0, |posted| posted.home);
        if let Some(live) = &self.live {
            live.speaks();
            for key in &self.open {
                live.sent(*key, (self.home, false));
            }
        }
    }

    /// The backend has taken the message; the stream tells the rest.
    fn has_arrived(&mut self) {
        let Some(live) = self.live.clone() else {
            return;
        };
        if live.is_over() {
            return self.end(Outcome::Broken);
        }
        for key in self.open.drain(..) {
            live.sent(key, (self.home, true));
        }
        if !self.cancels.is_empty() {
            live.cancelled(&self.cancels);
        }
        // Its stream may have broken before this was known.
        if live.home().number != self.home {
            live.look();
        }
    }

    fn end(&mut self, outcome: Outcome) {
        let (Some(live), Some(account)) = (&self.live, &self.account) else {
            return;
        };
        for key in self.open.drain(..) {
            if let Some(call) = live.take(key) {
                account.end(&self.worker, &call, outcome);
            }
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.end(Outcome::Cancelled);
    }
}

/// The calls in a message begin.
fn begin(live: &LiveSession, facts: &RequestFacts, part: Option<&Part>) -> Vec<u64> {
    let requests = messages_of(facts).filter(|one| one.kind == Kind::Request);
    let calls = requests.filter_map(|one| Some((one.id.as_ref()?, Tool::of(one))));
    calls
        .filter_map(|call| live.begin(call, part.cloned()))
        .collect()
}

/// The calls that a message takes back.
fn cancelled_by(facts: &RequestFacts) -> Vec<u64> {
    let cancels = messages_of(facts).filter_map(|one| one.cancels.as_ref());
    cancels.map(|id| id.key()).collect()
}

/// The message that a body is, or the messages of a batch.
fn messages_of(facts: &RequestFacts) -> impl Iterator<Item = &RequestFacts> {
    let single = std::slice::from_ref(facts);
    if facts.kind == Kind::Batch {
        facts.members.iter()
    } else {
        single.iter()
    }
}
