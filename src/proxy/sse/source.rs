//! A backend's end of a session's stream.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Body;

use crate::mcp::asked::HomeMark;
use crate::mcp::{self, Format, Replies, Reply, SessionRecord, WholeEvents};
use crate::model::{BackendName, Outcome, RouteName};
use crate::proxy::call::Call;
use crate::proxy::streams::{Kind, StreamEntry, Streams};
use crate::proxy::view::{ArmView, RouteView};
use crate::proxy::worker::Worker;
use crate::upstream::{AnswerBody, Endpoint};

use super::leaving;
use super::live::LiveSession;
use super::open_call::Account;

/// A backend's end of a session's stream.
#[derive(Debug)]
pub(super) struct Source {
    body: AnswerBody,
    call: Call,
    /// The number of the session's home.
    number: u64,
    account: Account,
    events: WholeEvents,
    /// What is asked from there is told by this.
    mark: Option<HomeMark>,
    replies: Replies,
    /// Where a revert and the worker's end find it.
    entry: StreamEntry,
}

/// What a source gives.
#[derive(Debug)]
pub(super) enum Piece {
    Events(Bytes),
    /// The server ended the stream.
    End,
    /// It was ended here.
    Ended,
    Broken,
}

/// Whose a source is.
pub(super) struct Of<'a> {
    pub(super) worker: &'a Worker,
    pub(super) session: &'a Arc<LiveSession>,
    pub(super) route: &'a RouteView,
    pub(super) place: usize,
    pub(super) endpoint: &'a Rc<Endpoint>,
    /// The number of the session's home.
    pub(super) number: u64,
    /// What is asked there is told by this, unless it is the session's first home.
    pub(super) mark: Option<HomeMark>,
}

impl Source {
    /// The source of a session, which lives there from now on; `None` where the route has no
    /// such place.
    pub(super) fn new(of: &Of<'_>, (body, call): (AnswerBody, Call)) -> Option<Self> {
        let (arm, view): (_, &ArmView) = of.route.arm(of.place)?;
        let whose = (&of.route.route().name, &arm.backend);
        let kind = Kind::Live {
            session: Arc::clone(of.session),
            endpoint: Rc::clone(of.endpoint),
        };
        Some(Self {
            entry: of.worker.streams().enter(whose, body.pace(), kind),
            body,
            call,
            number: of.number,
            account: Account {
                route: whose.0.clone(),
                backend: whose.1.clone(),
                stats: Arc::clone(&view.stats),
            },
            events: WholeEvents::new(of.route.snapshot().limits.event_bytes),
            mark: of.mark,
            replies: Replies::new(),
        })
    }

    /// The number of the session's home.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Where its calls are counted.
    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    /// Whether what has been given ends inside an event.
    pub(super) fn is_inside_event(&self) -> bool {
        self.events.is_inside()
    }

    /// From now on little of it is read at a time, or as much as there is.
    pub(super) fn set_sparing(&mut self, sparing: bool) {
        self.body.set_sparing(sparing);
    }

    /// The session has moved: what is under way here may end, and nothing else keeps it.
    pub(super) fn lingers(&mut self, streams: &Streams, of: (&RouteName, &BackendName)) {
        self.entry = streams.enter(of, self.body.pace(), Kind::Plain);
        self.body.pace().answered(false);
    }

    /// What comes next.
    pub(super) fn poll(
        &mut self,
        (worker, session): (&Worker, &LiveSession),
        cx: &mut Context<'_>,
    ) -> Poll<Piece> {
        loop {
            let piece = match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(_)) => {
                    self.call.end(Outcome::Broken);
                    return Poll::Ready(Piece::Broken);
                }
                None if self.body.pace().is_ending() => return Poll::Ready(Piece::Ended),
                None => return Poll::Ready(Piece::End),
            };
            let opening = self.hear((worker, session), &piece);
            let events = self.events.pass(&piece);
            if let Some(request) = opening {
                remember((worker, session), &request, &events);
                if session.home().number > 0 {
                    leaving::note_home(worker, &self.account.route, session);
                }
            }
            let mut events = mcp::without_endpoints(events);
            if let Some(mark) = self.mark {
                events = mark.put_on_events(events);
            }
            if !events.is_empty() {
                return Poll::Ready(Piece::Events(events));
            }
        }
    }

    /// Counts the calls that are answered; gives the request that opens the session, if that
    /// is one of them.
    fn hear(&mut self, (worker, session): (&Worker, &LiveSession), piece: &[u8]) -> Option<Bytes> {
        let mut opening = None;
        let account = &self.account;
        self.replies.feed(piece, &mut |Reply { key, outcome }| {
            if let Some(call) = session.take(key) {
                account.end(worker, &call, outcome);
            }
            if outcome == Outcome::Success {
                opening = session.opened_by(key).or(opening.take());
            }
        });
        opening
    }
}

/// A session has been opened: keeps how, so that it can be opened again elsewhere.
fn remember((worker, session): (&Worker, &LiveSession), request: &[u8], events: &[u8]) {
    let version = mcp::negotiated_version(Format::EventStream, events);
    if let Ok(Some(version)) = version
        && let Ok(record) = SessionRecord::new(request, &version)
    {
        worker.sessions().open(session.id(), record, worker.tick());
    }
}
