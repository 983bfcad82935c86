//! Sessions whose calls a rule leads elsewhere.
//!
//! A session lives at one backend. Where a rule leads some of its calls to another one, the session is
//! opened there too, when the first of them comes, by what its client opened it with; the client goes on
//! under the one id that it knows. Which way a rule leads a session is decided once, and stays until
//! that backend may not keep sessions any more, in the next process, too. Where the second session cannot
//! be opened, the calls go where the session lives, and the backend that would not have it is to blame
//! for one. It ends when the session does, and hears what its client notifies the server of.

use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;
use tokio::time::Instant;

use crate::mcp::{Branch, Home, Session, Stay};
use crate::model::Outcome;
use crate::stats::BadCall;
use crate::upstream::OpenError;

use super::behind::Elsewhere;
use super::choice::{self, Place};
use super::error::ProxyError;
use super::pipeline::Decided;
use super::rehome::{self, Asks, RehomeError};
use super::session::{self, Pinned};
use super::view::RouteView;
use super::worker::Worker;

/// Where a session lives whose call is led by a rule.
#[derive(Debug)]
pub(super) struct Main {
    /// The route that the rule is of.
    route: RouteView,
    pinned: Box<Pinned>,
    /// Its backend's place among those of the rule, if it is one of them.
    stay: Option<usize>,
    is_away: bool,
}

/// How long a session stays at home whose second session could not be opened, where the rule has no
/// share for its home, in ticks: else each of its calls would wait for that to fail.
const AGAIN: u64 = 30;

/// Where a rule leads a session.
enum Lead {
    /// Where it lives.
    Home,
    /// Where it was opened a second time.
    Away(Place, Arc<Home>),
}

/// Where a session's call goes that a rule takes.
///
/// # Errors
/// [`ProxyError::UnknownSession`] as for any call of a session.
pub(super) async fn decide(
    (route, rule): (RouteView, RouteView),
    id: &HeaderValue,
    asks: Asks<'_>,
) -> Result<Decided, ProxyError> {
    let worker = &asks.downstream.worker;
    let pinned = session::find(worker, &route, id, asks).await?;
    let home = route.arm(pinned.place).map(|(arm, _)| &arm.backend);
    let mut arms = rule.route().arms.iter();
    let stay = arms.position(|arm| Some(&arm.backend) == home);
    let mut main = Main {
        route,
        pinned,
        stay,
        is_away: false,
    };
    let owner = asks.principal.map(|principal| Rc::clone(&principal.owner));
    let mut decided = main.at_home(&rule, owner);
    if let Lead::Away((place, endpoint), home) = lead(worker, &main, &rule, asks).await {
        main.is_away = true;
        let away = Pinned {
            place,
            endpoint: Rc::clone(&endpoint),
            backend_id: session::field_of(home.id.as_deref())?,
            mark: Some(home.mark()),
            home: Some(home),
            // What is heard of the second session is nothing of the first one's.
            stay: None,
            ..(*main.pinned).clone()
        };
        (decided.place, decided.endpoint, decided.route) = (place, endpoint, rule);
        decided.session = Some(Box::new(away));
    }
    decided.main = Some(Box::new(main));
    Ok(decided)
}

async fn lead(worker: &Worker, main: &Main, rule: &RouteView, asks: Asks<'_>) -> Lead {
    let Some(session) = session::record_of(worker, &main.pinned) else {
        // Nobody knows how to open it a second time.
        return Lead::Home;
    };
    if let Some(known) = main.known(worker, rule, &session) {
        return known;
    }
    let key = rule.route().keys.hash(main.pinned.client_id.as_bytes());
    let Ok(at) = choice::by_split(worker, rule, Some(key)) else {
        return Lead::Home;
    };
    if main.stay == Some(at.0) {
        main.remember(worker, (&session, rule), &Branch::Home(worker.tick()));
        return Lead::Home;
    }
    let _gate = session.gate().lock().await;
    if let Some(known) = main.known(worker, rule, &session) {
        return known;
    }
    let began = Instant::now();
    let template = rehome::template_of(rule, asks);
    let mut opening = Opening {
        worker,
        session: &session,
        main,
        rule,
        opened: None,
    };
    match rehome::open_at(worker, rule, session.record(), at.clone(), &template).await {
        Ok(home) => {
            let home = opening.opened.insert(Arc::new(home));
            metrics::counter!("switchback_sessions_branched_total").increment(1);
            Lead::Away(at, Arc::clone(home))
        }
        Err(error) => {
            metrics::counter!("switchback_branches_failed_total").increment(1);
            tracing::warn!(route = %rule.route().name, error = &error as &dyn std::error::Error, "a session could not be opened where a rule leads it");
            blame(worker, rule, (at.0, main.pinned.key), (&error, began));
            Lead::Home
        }
    }
}

/// A second session that is being opened. Where the caller leaves meanwhile, that has failed, too:
/// its next call would wait as long.
struct Opening<'a> {
    worker: &'a Worker,
    session: &'a Session,
    main: &'a Main,
    rule: &'a RouteView,
    opened: Option<Arc<Home>>,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        let opened = self.opened.take();
        let branch = opened.map_or_else(|| Branch::Home(self.worker.tick()), Branch::At);
        let of = (self.session, self.rule);
        self.main.remember(self.worker, of, &branch);
    }
}

/// A call that never was counts as one that failed: its backend would not have the session.
fn blame(
    worker: &Worker,
    rule: &RouteView,
    (place, key): (usize, u64),
    (error, began): (&RehomeError, Instant),
) {
    let outcome = match error {
        RehomeError::NoBackend => return,
        RehomeError::Elapsed(_) => Outcome::Timeout,
        RehomeError::Open(OpenError::Upstream(error)) => error.outcome(),
        RehomeError::Id | RehomeError::Open(OpenError::Answer | OpenError::Replay(_)) => {
            Outcome::ServerError
        }
    };
    let Some((arm, view)) = rule.arm(place) else {
        return;
    };
    view.stats.begin();
    view.stats.end(outcome, began.elapsed());
    if let Some((trial, role)) = rule.route().trial.as_ref().zip(arm.role) {
        let key = Some(key);
        trial.end(worker.number(), BadCall { role, key, outcome });
    }
}

impl Main {
    /// Where the rule has led the session before, if that is still good.
    fn known(&self, worker: &Worker, rule: &RouteView, session: &Session) -> Option<Lead> {
        match session.branch(&rule.route().name)? {
            Branch::Home(since) => {
                let stays = match self.stay {
                    Some(place) => rule.arm(place)?.0.standing.may_stay(),
                    None => worker.tick() < since + AGAIN,
                };
                stays.then_some(Lead::Home)
            }
            Branch::At(home) => {
                let at = session::home_at(rule, &home)?;
                session::may_stay(rule, &at).then_some(Lead::Away(at, home))
            }
        }
    }

    /// The rule leads the session there from now on, in the next process, too.
    fn remember(&self, worker: &Worker, (session, rule): (&Session, &RouteView), branch: &Branch) {
        session.set_branch(&rule.route().name, branch, |it| self.route.has_rule(it));
        if let Ok(id) = self.pinned.client_id.to_str() {
            worker.sessions().note(id);
        }
    }

    /// The call where the session lives: as one of the rule, if that has the backend.
    fn at_home(&self, rule: &RouteView, owner: Option<Rc<str>>) -> Decided {
        let mut pinned = self.pinned.clone();
        let route = match self.stay {
            Some(place) => {
                pinned.place = place;
                rule.clone()
            }
            None => self.route.clone(),
        };
        let at = (pinned.place, Rc::clone(&pinned.endpoint));
        Decided {
            key: Some(pinned.key),
            session: Some(pinned),
            owner,
            ..Decided::to(route, at)
        }
    }
}

/// Where the session of a request is open a second time, and its ids there.
pub(super) fn led_to(worker: &Worker, decided: &Decided) -> Vec<Elsewhere> {
    let pinned = decided.session.as_ref();
    let session = pinned.and_then(|pinned| session::record_of(worker, pinned));
    let homes = session.map(|session| session.seconds());
    let homes = homes.into_iter().flatten();
    homes
        .filter_map(|home| session::elsewhere(&decided.route, &home))
        .collect()
}

/// Whether a call was led away from where its session lives.
pub(super) fn is_away(decided: &Decided) -> bool {
    decided.main.as_ref().is_some_and(|main| main.is_away)
}

/// What a call that was led away holds of where it is, for as long as it is under way.
pub(super) fn stay_of(decided: &Decided) -> Option<Arc<Stay>> {
    let pinned = decided.session.as_ref().filter(|_| is_away(decided))?;
    pinned.home.clone().map(Stay::at).map(Arc::new)
}

/// What the session is to remember of where it was led away to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing: it is led anew at its next call.
    Again,
    /// It stays at home from now on.
    Stay,
}

/// Takes a call that was led away back to where its session lives. Tells whether it was; a call that
/// was at home is its route's again, for whatever is to become of its session.
pub(super) fn come_home(worker: &Worker, decided: &mut Decided, then: Then) -> bool {
    let Some(mut main) = decided.main.take() else {
        return false;
    };
    if !main.is_away {
        decided.route = main.route;
        decided.place = main.pinned.place;
        decided.session = Some(main.pinned);
        decided.counted = std::mem::take(&mut decided.counted).moved_to(&decided.route);
        return false;
    }
    let rule = decided.route.clone();
    if let Some(session) = session::record_of(worker, &main.pinned) {
        match then {
            Then::Again => session.forget_branch(&rule.route().name),
            Then::Stay => {
                let home = Branch::Home(worker.tick());
                main.remember(worker, (&session, &rule), &home);
            }
        }
    }
    let mut home = main.at_home(&rule, decided.owner.take());
    let counted = std::mem::take(&mut decided.counted);
    home.counted = match main.stay {
        Some(_) => counted,
        None => counted.moved_to(&home.route),
    };
    main.is_away = false;
    home.main = Some(main);
    *decided = home;
    true
}
