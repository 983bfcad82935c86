//! A session leaves where it is, when its turn has come.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::task::{JoinHandle, spawn_local};

use crate::mcp::{Home, Origin, SessionRecord};
use crate::model::RouteName;
use crate::proxy::session;
use crate::proxy::spec::LossSpec;
use crate::proxy::view::RouteView;
use crate::proxy::worker::Worker;
use crate::upstream::Template;

use super::live::{LiveSession, StreamHome};
use super::moving::{MoveError, Moved, Plan, move_on};
use super::posts::target_of;

/// A session that is to be opened elsewhere.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) worker: Rc<Worker>,
    pub(super) route: RouteName,
    pub(super) session: Arc<LiveSession>,
    /// How its stream was asked for.
    pub(super) template: Rc<Template>,
    pub(super) why: Why,
}

/// Why a session leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Its backend has to give it up, as far as is known now.
    Unwanted,
    /// There is nothing left where it is.
    Gone,
}

/// A move: a task of its own, since a client that reads nothing would keep others waiting for
/// their turn. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Move(JoinHandle<Result<Moved, MoveError>>);

impl Move {
    /// The session waits for its turn, and moves.
    pub(super) fn begin(leaving: Leaving) -> Self {
        Self(spawn_local(leave(leaving)))
    }

    /// What comes of it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Moved, MoveError>> {
        let done = std::task::ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(done.unwrap_or(Err(MoveError::Stream)))
    }
}

impl Drop for Move {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn leave(leaving: Leaving) -> Result<Moved, MoveError> {
    let Leaving {
        worker, session, ..
    } = &leaving;
    let live = Arc::clone(&worker.shared().live);
    let _turn = live.turns().take(session.hurry()).await;
    // Much may have been published while it waited.
    let route = worker.view().named(&leaving.route);
    let route = route.ok_or(MoveError::NoBackend)?;
    if leaving.why == Why::Unwanted && may_stay(&route, session) {
        return Err(MoveError::Unneeded);
    }
    let plan = Plan {
        record: record_of(worker, &route, session).ok_or(MoveError::Lost)?,
        key: route.route().keys.hash(session.id().as_bytes()),
        route,
        template: Rc::clone(&leaving.template),
    };
    move_on(Rc::clone(worker), plan).await
}

/// Whether a session may stay where it is.
pub(super) fn may_stay(route: &RouteView, session: &LiveSession) -> bool {
    let at = session::home_at(route, &session.home().at);
    at.is_some_and(|at| session::may_stay(route, &at))
}

/// What a session is opened with elsewhere, if it may be: nothing of one that nothing was said in.
#[expect(
    clippy::option_option,
    reason = "that nothing has to be said, and that nobody knows what, are two things"
)]
pub(super) fn record_of(
    worker: &Worker,
    route: &RouteView,
    session: &LiveSession,
) -> Option<Option<Arc<SessionRecord>>> {
    if route.route().on_loss == LossSpec::Sever {
        return None;
    }
    let known = worker.sessions().find(session.id(), worker.tick());
    match known {
        Some(known) => Some(Some(known.record())),
        None => (!session.has_spoken()).then_some(None),
    }
}

/// Writes down where a session lives that has moved: another process that gets its messages, as after
/// a takeover, finds it there.
pub(super) fn note_home(worker: &Worker, route: &RouteName, session: &LiveSession) {
    let (sessions, id, tick) = (worker.sessions(), session.id(), worker.tick());
    let Some(known) = sessions.find(id, tick) else {
        return;
    };
    let home = session.home();
    let origin = Origin {
        route: route.clone(),
        backend: home.at.backend.clone(),
        is_stream: true,
        owner: 0,
    };
    let record = SessionRecord::clone(&known.record());
    let noted = sessions.open_at(id, record, origin, tick);
    noted.set_home(Home {
        id: Some(home.target.as_str().into()),
        ..home.at.clone()
    });
    sessions.note(id);
}

/// Where a session has moved to whose stream is another process's, if that is known.
pub(super) fn noted_home(worker: &Worker, id: &str) -> Option<StreamHome> {
    let at = worker.sessions().find(id, worker.tick())?.home()?;
    Some(StreamHome {
        number: 1,
        target: target_of(at.id.as_deref()?.to_owned())?,
        at: Home::clone(&at),
        is_gone: false,
    })
}
