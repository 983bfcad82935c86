//! The open event streams of one worker, where a revert and the worker's end find them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use slab::Slab;

use crate::mcp::{Home, Session};
use crate::model::{BackendName, Limit, RouteName};
use crate::stats::Listening;
use crate::upstream::{Endpoint, Pace};

use super::choice;
use super::snapshot::Snapshot;
use super::sse::LiveSession;
use super::view::View;

/// The open streams of one worker.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams {
    open: Rc<RefCell<Slab<Stream>>>,
}

#[derive(Debug)]
struct Stream {
    route: RouteName,
    backend: BackendName,
    pace: Rc<Pace>,
    kind: Kind,
}

/// Whose a stream is.
#[derive(Debug)]
pub(super) enum Kind {
    /// An MCP session's, which follows it to a new home.
    Session(Box<OfSession>),
    /// An MCP session over HTTP+SSE itself.
    Live {
        session: Arc<LiveSession>,
        endpoint: Rc<Endpoint>,
    },
    /// One of an MCP request without session, whose client asks for another one.
    Alone(#[expect(dead_code, reason = "held, not read")] Option<Listening>),
    /// Any other: no revert cuts it.
    Plain,
}

/// Whose stream it is, and where the session lived when it was opened.
#[derive(Debug)]
pub(super) struct OfSession {
    pub(super) endpoint: Rc<Endpoint>,
    /// Nothing of a session whose record is gone.
    pub(super) turn: Option<Turn>,
    pub(super) home: Option<Arc<Home>>,
}

impl OfSession {
    /// Whether the session has moved since.
    fn has_moved(&self) -> bool {
        let home = self.turn.as_ref().map(|turn| turn.session.home());
        home.is_some_and(|home| home != self.home)
    }

    /// Whether newer streams of the session have taken its place.
    fn gives_way(&self) -> bool {
        let turn = self.turn.as_ref();
        turn.is_some_and(|turn| turn.session.turns().is_over(turn.number))
    }
}

/// A stream among those of its session; leaves them when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    session: Arc<Session>,
    number: u64,
}

impl Turn {
    /// One more stream of a session that may have so many, and whether an older one has to end.
    pub(super) fn begin(session: Arc<Session>, most: u64) -> (Self, bool) {
        let (number, is_surplus) = session.turns().begin(most);
        if is_surplus {
            Limit::StreamsPerSession.hit();
        }
        (Self { session, number }, is_surplus)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.session.turns().end();
    }
}

/// A stream's place on the list; leaves it when dropped.
#[derive(Debug)]
pub(super) struct StreamEntry {
    streams: Streams,
    key: usize,
}

impl Streams {
    /// A stream has opened.
    pub(super) fn enter(
        &self,
        (route, backend): (&RouteName, &BackendName),
        pace: &Rc<Pace>,
        kind: Kind,
    ) -> StreamEntry {
        let stream = Stream {
            route: route.clone(),
            backend: backend.clone(),
            pace: Rc::clone(pace),
            kind,
        };
        StreamEntry {
            key: self.open.borrow_mut().insert(stream),
            streams: self.clone(),
        }
    }

    /// Ends every stream, since the worker is about to end; tells how many there are.
    pub(super) fn end_all(&self) -> usize {
        let open = self.open.borrow();
        for (_, stream) in open.iter() {
            stream.pace.end();
        }
        open.len()
    }

    /// Ends the streams of MCP callers to backends that were reverted, or are gone: their clients
    /// open them again and are let in where they belong now.
    pub(super) fn end_homeless(&self, snapshot: &Snapshot) {
        let open = self.open.borrow();
        let of_callers = open.iter().filter(|(_, s)| !matches!(s.kind, Kind::Plain));
        for (_, stream) in of_callers {
            let route = snapshot
                .routes
                .iter()
                .find(|route| route.name == stream.route);
            let arm =
                route.and_then(|route| route.arms.iter().find(|arm| arm.backend == stream.backend));
            if arm.is_none_or(|arm| !arm.standing.may_stay()) {
                stream.end();
            }
        }
    }

    /// Counts the open calls of sessions that have become slow since the last time.
    pub(super) fn sweep_calls(&self, worker: usize) {
        for (_, stream) in self.open.borrow().iter() {
            if let Kind::Live { session, .. } = &stream.kind {
                session.sweep(worker);
            }
        }
    }

    /// Ends the streams of sessions that newer ones have taken the places of; those of other
    /// workers end when these look at theirs.
    pub(super) fn end_surplus(&self) {
        for (_, stream) in self.open.borrow().iter() {
            if let Kind::Session(of) = &stream.kind
                && of.gives_way()
            {
                stream.pace.end();
            }
        }
    }

    /// Ends the streams of sessions that have moved since, and of those whose endpoint has died
    /// while another one could take them.
    pub(super) fn end_left(&self, view: &Rc<View>) {
        let open = self.open.borrow();
        for (_, stream) in open.iter() {
            let of = match &stream.kind {
                Kind::Session(of) => of,
                Kind::Live { session, endpoint } => {
                    if endpoint.is_dead() {
                        session.look();
                    }
                    continue;
                }
                Kind::Alone(_) | Kind::Plain => continue,
            };
            let is_lost = || {
                let route = view.named(&stream.route);
                route.is_some_and(|route| choice::is_lost(&route, &of.endpoint))
            };
            if of.has_moved() || of.gives_way() || (of.endpoint.is_dead() && is_lost()) {
                stream.pace.end();
            }
        }
    }
}

impl Stream {
    /// Ends the stream, or has its session look for another home.
    fn end(&self) {
        match &self.kind {
            Kind::Live { session, .. } => session.look(),
            Kind::Session(_) | Kind::Alone(_) | Kind::Plain => self.pace.end(),
        }
    }
}

impl StreamEntry {
    /// Whether the stream is a session's.
    pub(super) fn is_of_session(&self) -> bool {
        let open = self.streams.open.borrow();
        let stream = open.get(self.key);
        stream.is_some_and(|stream| matches!(stream.kind, Kind::Session(_)))
    }
}

impl Drop for StreamEntry {
    fn drop(&mut self) {
        self.streams.open.borrow_mut().try_remove(self.key);
    }
}
