//! A session's stream: from where the session lives to its client, through all its moves.

use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::mcp::{Home, Lists, Refusal};
use crate::model::{BackendName, Outcome, RouteName};
use crate::proxy::answer::{Relayed, RequestGuard};
use crate::proxy::crowd::Seat;
use crate::proxy::worker::Worker;
use crate::upstream::Template;

use super::leaving::{self, Leaving, Move, Why};
use super::live::{self, Asked, LiveSession};
use super::moving::{MoveError, Moved};
use super::open::{OpenedStream, Opener};
use super::open_call::{Account, OpenCall};
use super::source::{Of, Piece, Source};

/// Homes that a session has left, and whose last calls can still be counted as theirs.
const PAST_HOMES: usize = 4;

/// A session's stream.
pub(super) struct OpenStream {
    worker: Rc<Worker>,
    route: RouteName,
    session: Arc<LiveSession>,
    /// How the stream was asked for.
    template: Rc<Template>,
    /// Where the session lives; nothing while that is broken.
    source: Option<Source>,
    /// Where it lived before, until the calls there have ended.
    before: Option<Source>,
    /// Where the calls of its last homes are counted, by their numbers.
    past: VecDeque<(u64, Account)>,
    moving: Option<Move>,
    /// A new home, until the event under way is complete.
    found: Option<Box<Moved>>,
    /// What is passed on next.
    ready: VecDeque<Bytes>,
    /// What the client is told when the event under way is complete.
    untold: Vec<Bytes>,
    is_over: bool,
    is_lost: bool,
    /// Its place among the streams of its client.
    _seat: Option<Seat>,
    guard: RequestGuard,
}

impl OpenStream {
    /// The session of a stream that has told where its messages go; `None` where its route is gone.
    pub(super) fn new(opener: Opener, begun: OpenedStream, relayed: Relayed) -> Option<Self> {
        let Opener {
            worker,
            route,
            place,
            endpoint,
            template,
            ..
        } = opener;
        let (arm, _) = route.arm(place)?;
        let name = route.route().name.clone();
        let home = Home {
            backend: arm.backend.clone(),
            endpoint: Arc::clone(endpoint.name()),
            id: None,
            lists: Lists::NONE,
            way: None,
        };
        worker.sessions().streams().enter(&name, &home.backend);
        let session = worker.shared().live.enter(begun.id, (home, begun.target));
        if route.is_older_than(&worker.view()) {
            // What was published since may want it to leave.
            session.look();
        }
        let of = Of {
            worker: &worker,
            session: &session,
            route: &route,
            place,
            endpoint: &endpoint,
            number: 0,
            mark: None,
        };
        let source = Source::new(&of, (relayed.body, relayed.call));
        Some(Self {
            worker,
            route: name,
            session,
            template: Rc::new(template),
            source,
            before: None,
            past: VecDeque::new(),
            moving: None,
            found: None,
            ready: VecDeque::new(),
            untold: Vec::new(),
            is_over: false,
            is_lost: false,
            _seat: relayed.seat,
            guard: relayed.guard,
        })
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            self.poll_move(cx);
            self.tell();
            std::task::ready!(self.guard.connection.poll_may_give(cx));
            if let Some(piece) = self.ready.pop_front() {
                self.guard.connection.given(piece.len());
                return Poll::Ready(Some(piece));
            }
            if self.is_over {
                return Poll::Ready(None);
            }
            std::task::ready!(self.poll_sources(cx));
        }
    }

    /// Whatever is to be done about where the session lives.
    fn poll_move(&mut self, cx: &mut Context<'_>) {
        loop {
            let asked = self.session.asked(cx.waker());
            if self.is_over {
                return;
            }
            if asked != Asked::Nothing {
                self.heed(asked);
            }
            let Some(moving) = &mut self.moving else {
                break;
            };
            let Poll::Ready(moved) = moving.poll(cx) else {
                break;
            };
            self.moving = None;
            match moved {
                Ok(moved) => self.found = Some(Box::new(moved)),
                Err(MoveError::Unneeded) => self.stays_after_all(),
                Err(MoveError::Lost) => self.lose(),
                Err(error) => self.stays(&error),
            }
        }
        if self.found.is_some() && !self.is_inside_event() {
            self.arrive();
        }
    }

    /// Takes what comes, the older source first; nothing comes between the parts of an event.
    fn poll_sources(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let about = (&*self.worker, &*self.session);
        let is_crowded = self.guard.connection.is_crowded();
        let newer = self.source.as_ref();
        if !newer.is_some_and(Source::is_inside_event)
            && let Some(before) = &mut self.before
        {
            before.set_sparing(is_crowded);
            match before.poll(about, cx) {
                Poll::Ready(Piece::Events(events)) => {
                    self.ready.push_back(events);
                    self.leave_behind();
                    return Poll::Ready(());
                }
                Poll::Ready(Piece::End | Piece::Ended | Piece::Broken) => {
                    self.is_over |= before.is_inside_event();
                    let before = self.before.take();
                    self.forget(before);
                    self.bury_orphans();
                    return Poll::Ready(());
                }
                Poll::Pending if before.is_inside_event() => return Poll::Pending,
                Poll::Pending => {}
            }
        }
        let Some(source) = &mut self.source else {
            return Poll::Pending;
        };
        source.set_sparing(is_crowded);
        match std::task::ready!(source.poll(about, cx)) {
            Piece::Events(events) => self.ready.push_back(events),
            // The server, or this process, has ended the session.
            Piece::Ended => self.is_over = true,
            Piece::End => {
                let source = self.source.take();
                self.forget(source);
                self.is_over = true;
                self.bury_orphans();
            }
            Piece::Broken => self.breaks(),
        }
        Poll::Ready(())
    }

    fn is_inside_event(&self) -> bool {
        let sources = [&self.source, &self.before];
        let mut sources = sources.into_iter().flatten();
        sources.any(Source::is_inside_event)
    }

    /// The session's home is gone with its process.
    fn breaks(&mut self) {
        if self.is_inside_event() {
            // Whatever came now would be taken for a part of that event.
            self.lose();
        }
        let source = self.source.take();
        self.forget(source);
        self.session.home_is_gone();
        self.bury_orphans();
        if !self.is_over && self.moving.is_none() && self.found.is_none() {
            self.heed(Asked::Leave);
        }
    }

    /// Looks whether the session is to leave, and where it may go.
    fn heed(&mut self, asked: Asked) {
        self.end_calls(&self.session.take_cancelled(), Outcome::Cancelled);
        self.leave_behind();
        self.bury_orphans();
        if self.moving.is_some() || self.found.is_some() {
            return;
        }
        let view = self.worker.view();
        let Some(route) = view.named(&self.route) else {
            return self.lose();
        };
        let is_there = self.source.is_some();
        if is_there && asked != Asked::Leave && leaving::may_stay(&route, &self.session) {
            // Whoever waits looks again.
            return self.session.move_failed();
        }
        if leaving::record_of(&self.worker, &route, &self.session).is_none() {
            return self.lose();
        }
        let why = if is_there && asked != Asked::Leave {
            Why::Unwanted
        } else {
            Why::Gone
        };
        self.moving = Some(Move::begin(Leaving {
            worker: Rc::clone(&self.worker),
            route: self.route.clone(),
            session: Arc::clone(&self.session),
            template: Rc::clone(&self.template),
            why,
        }));
    }

    /// When its turn to move had come, the session could stay again.
    fn stays_after_all(&mut self) {
        if self.source.is_none() {
            // Meanwhile there is nothing left to stay at.
            return self.heed(Asked::Leave);
        }
        self.session.move_failed();
    }

    /// No new home was found: the session stays where it is, as long as that lives.
    fn stays(&mut self, error: &MoveError) {
        if !self.is_lost {
            let error = error as &dyn std::error::Error;
            tracing::warn!(route = %self.route, error, "a session could not be re-homed");
        }
        self.count_loss();
        self.session.move_failed();
        self.is_over |= self.source.is_none();
    }

    /// The session is gone: its stream ends, so that its client opens another.
    fn lose(&mut self) {
        self.count_loss();
        self.is_over = true;
    }

    fn count_loss(&mut self) {
        if !std::mem::replace(&mut self.is_lost, true) {
            let registry = &self.worker.shared().registry;
            let backend = &self.session.home().at.backend;
            registry.sessions(&self.route, Some(backend)).lose_one();
        }
    }

    /// The session is open at its new home, and goes on there.
    fn arrive(&mut self) {
        let Some(moved) = self.found.take() else {
            return;
        };
        let mark = live::mark_of(&moved.home, &moved.target);
        let of = Of {
            worker: &self.worker,
            session: &self.session,
            route: &moved.route,
            place: moved.place,
            endpoint: &moved.endpoint,
            number: self.session.home().number + 1,
            mark: Some(mark),
        };
        let Some(source) = Source::new(&of, (moved.body, moved.call)) else {
            return self.lose();
        };
        let backend = moved.home.backend.clone();
        self.count_move(&backend);
        let is_outdated = moved.route.is_older_than(&self.worker.view());
        let former = self.source.is_some().then(|| self.session.home());
        if let Some(mut old) = self.source.replace(source) {
            old.lingers(self.worker.streams(), (&self.route, &backend));
            // The one before that, if there is one, has had its time.
            let before = self.before.replace(old);
            self.forget(before);
        }
        let lists = moved.home.lists.events();
        // First, so that whoever finds the new home finds the old one, too.
        self.session.set_former(former);
        self.session.move_to(moved.home, moved.target);
        leaving::note_home(&self.worker, &self.route, &self.session);
        self.is_lost = false;
        let said = moved.said.into_iter();
        self.ready
            .extend(said.map(|events| mark.put_on_events(events)));
        self.ready.extend((!lists.is_empty()).then_some(lists));
        self.bury_orphans();
        self.leave_behind();
        if is_outdated {
            // What was published since may want it to leave again.
            self.session.look();
        }
    }

    fn count_move(&mut self, backend: &BackendName) {
        let streams = self.worker.sessions().streams();
        streams.leave(&self.route, &self.session.home().at.backend);
        streams.enter(&self.route, backend);
        let registry = &self.worker.shared().registry;
        registry.sessions(&self.route, Some(backend)).rehome_one();
    }

    /// Leaves the older source when none of its calls is under way.
    fn leave_behind(&mut self) {
        let is_done = |old: &Source| !old.is_inside_event() && !self.session.is_busy(old.number());
        if self.before.as_ref().is_some_and(is_done) {
            let before = self.before.take();
            self.forget(before);
        }
    }

    /// Ends the calls that were taken by a home that is gone, and tells the client.
    fn bury_orphans(&mut self) {
        let number = |source: &Option<Source>| source.as_ref().map(Source::number);
        let homes = [number(&self.source), number(&self.before)];
        let lost = self.session.take_orphans(homes);
        if lost.is_empty() {
            return;
        }
        self.end_calls(&lost, Outcome::Broken);
        for call in lost {
            let body = Refusal::BadGateway.body(Some(call.id()), None);
            let event = [b"event: message\ndata: ", &*body, b"\n\n"].concat();
            self.untold.push(event.into());
        }
        self.tell();
    }

    /// Tells the client what is left to tell; nothing comes between the parts of an event.
    fn tell(&mut self) {
        if !self.untold.is_empty() && !self.is_over && !self.is_inside_event() {
            self.ready.extend(self.untold.drain(..));
        }
    }

    fn end_calls(&self, calls: &[Arc<OpenCall>], outcome: Outcome) {
        if calls.is_empty() {
            return;
        }
        let sources = [&self.source, &self.before].into_iter().flatten();
        let here = sources.map(|source| (source.number(), source.account()));
        let past = self.past.iter().map(|(number, account)| (*number, account));
        let known: Vec<_> = here.chain(past).collect();
        for call in calls {
            let home = call.home();
            let account = known.iter().find(|(number, _)| *number == home);
            if let Some((_, account)) = account.or(known.first()) {
                account.end(&self.worker, call, outcome);
            }
        }
    }

    /// A source is over; the calls at it can still be counted.
    fn forget(&mut self, source: Option<Source>) {
        let Some(source) = source else {
            return;
        };
        self.past
            .push_front((source.number(), source.account().clone()));
        self.past.truncate(PAST_HOMES);
        if self.before.is_none() {
            self.session.set_former(None);
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.worker.shared().live.leave(&self.session);
        self.end_calls(&self.session.take_all(), Outcome::Cancelled);
        self.worker.sessions().close(self.session.id());
        let streams = self.worker.sessions().streams();
        streams.leave(&self.route, &self.session.home().at.backend);
    }
}

impl fmt::Debug for OpenStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenStream")
            .field("route", &self.route)
            .finish_non_exhaustive()
    }
}
