//! A body that is sent on before it is known what it is about, and read while it passes.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;

use crate::mcp::{RequestFacts, RequestPeek};

use super::body::join;
use super::intake::{ClientFault, Intake};
use super::pace::Pace;

/// A client's body that is sent on as it comes, and what it turns out to be about. Its beginning is
/// kept, so that all of it can be sent once more as long as it is short.
pub struct LateBody {
    state: RefCell<State>,
    pace: Rc<Pace>,
    /// Written once, when all of the body has passed; nothing in it if it is not clear.
    facts: OnceCell<Option<RequestFacts>>,
    /// The number of the reading that goes on: an older one is not to take pieces away from it.
    turn: Cell<u32>,
}

/// Is told what a body was about, and the body itself where it was kept.
type Then = dyn FnOnce(&RequestFacts, Option<Bytes>);

struct State {
    /// The pieces that are kept, from the body's beginning while `is_kept`.
    pieces: VecDeque<Bytes>,
    piece_bytes: usize,
    /// How many of them have been sent.
    sent: usize,
    is_kept: bool,
    rest: Intake,
    /// There until the body's end.
    peek: Option<RequestPeek>,
    then: Option<Box<Then>>,
    /// Nobody wants the pieces any more once the body has passed.
    is_done: bool,
}

impl LateBody {
    /// Longest body that is kept, in bytes.
    pub const KEPT_BYTES: usize = 64 * 1024;
    /// Most pieces that are kept: one costs memory however short it is.
    const KEPT_PIECES: usize = 4096;

    /// The body that began with `pieces`, at which `peek` has looked, and that goes on with `rest`.
    pub fn new(
        pieces: VecDeque<Bytes>,
        peek: RequestPeek,
        rest: Intake,
        pace: &Rc<Pace>,
    ) -> Rc<Self> {
        let mut state = State {
            piece_bytes: pieces.iter().map(Bytes::len).sum(),
            pieces,
            sent: 0,
            is_kept: true,
            rest,
            peek: Some(peek),
            then: None,
            is_done: false,
        };
        state.bound();
        Rc::new(Self {
            state: RefCell::new(state),
            pace: Rc::clone(pace),
            facts: OnceCell::new(),
            turn: Cell::new(0),
        })
    }

    /// Whether all of the body has passed.
    pub fn is_over(&self) -> bool {
        self.facts.get().is_some()
    }

    /// What the body was about, if all of it has passed and it is clear.
    pub fn facts(&self) -> Option<&RequestFacts> {
        self.facts.get()?.as_ref()
    }

    /// Does this once when all of the body has passed, if it is clear what it was about.
    pub fn then(&self, then: impl FnOnce(&RequestFacts, Option<Bytes>) + 'static) {
        self.state.borrow_mut().then = Some(Box::new(then));
    }

    /// The body as a whole, if all of it has passed and was kept.
    pub fn whole(&self) -> Option<Bytes> {
        let state = self.state.borrow();
        (self.is_over() && state.is_kept).then(|| join(state.pieces.iter()))
    }

    /// Whether the body can be sent once more from its beginning.
    pub fn is_kept(&self) -> bool {
        self.state.borrow().is_kept
    }

    /// It will not be sent once more.
    pub fn forget(&self) {
        let mut state = self.state.borrow_mut();
        state.is_done = true;
        if self.is_over() {
            state.let_go();
        }
    }

    /// How many bytes the body has, if that is known.
    pub fn length(&self) -> Option<u64> {
        let state = self.state.borrow();
        let rest = state.rest.length()?;
        Some(rest + state.piece_bytes as u64)
    }

    /// The body from its beginning, for the request that carries it from now on.
    pub fn read(self: &Rc<Self>) -> Reading {
        self.pace.client_came();
        if !self.is_over() {
            self.pace.sending();
        }
        self.state.borrow_mut().sent = 0;
        self.turn.set(self.turn.get() + 1);
        Reading {
            turn: self.turn.get(),
            body: Rc::clone(self),
        }
    }

    /// The body's end has passed.
    fn end(&self) {
        let mut state = self.state.borrow_mut();
        let Some(peek) = state.peek.take() else {
            return;
        };
        let then = state.then.take();
        drop(state);
        let facts = self.facts.get_or_init(|| peek.finish().ok());
        self.pace.sent();
        if let (Some(facts), Some(then)) = (facts, then) {
            then(facts, self.whole());
        }
        let mut state = self.state.borrow_mut();
        if state.is_done {
            state.let_go();
        }
    }
}

impl State {
    /// The next of the kept pieces.
    fn next_kept(&mut self) -> Option<Bytes> {
        if !self.is_kept {
            return self.pieces.pop_front();
        }
        let piece = self.pieces.get(self.sent)?.clone();
        self.sent += 1;
        Some(piece)
    }

    /// A piece passes.
    fn pass(&mut self, piece: &Bytes) {
        if let Some(peek) = &mut self.peek {
            peek.feed(piece);
        }
        if self.is_kept {
            self.piece_bytes += piece.len();
            self.pieces.push_back(piece.clone());
            self.sent += 1;
            self.bound();
        }
    }

    /// What is too long is not kept, but for what is still to be sent.
    fn bound(&mut self) {
        if self.piece_bytes > LateBody::KEPT_BYTES || self.pieces.len() > LateBody::KEPT_PIECES {
            self.let_go();
        }
    }

    fn let_go(&mut self) {
        if std::mem::take(&mut self.is_kept) {
            self.pieces.drain(..self.sent.min(self.pieces.len()));
        }
    }
}

impl fmt::Debug for LateBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LateBody")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

/// A late body on its way, in one request.
#[derive(Debug)]
pub struct Reading {
    body: Rc<LateBody>,
    turn: u32,
}

impl Reading {
    /// The body that is read.
    pub(super) fn body(&self) -> &Rc<LateBody> {
        &self.body
    }

    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientFault>>> {
        let (body, pace) = (&*self.body, &self.body.pace);
        if self.turn != body.turn.get() {
            // Another request has it now, and this one is to end without the rest.
            return Poll::Ready(Some(Err(ClientFault::Broken)));
        }
        let mut state = body.state.borrow_mut();
        if let Some(piece) = state.next_kept() {
            if !body.is_over() {
                pace.sending();
            }
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if body.is_over() {
            return Poll::Ready(None);
        }
        let frame = match ready!(state.rest.poll_piece(cx, pace)) {
            Some(Ok(frame)) => frame,
            Some(Err(fault)) => {
                pace.send_failed(fault);
                return Poll::Ready(Some(Err(fault)));
            }
            None => {
                drop(state);
                body.end();
                return Poll::Ready(None);
            }
        };
        let Ok(piece) = frame.into_data() else {
            // Trailers go no further, as with any body.
            drop(state);
            body.end();
            return Poll::Ready(None);
        };
        pace.sending();
        state.pass(&piece);
        let is_last = state.rest.is_end_stream();
        drop(state);
        if is_last {
            body.end();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let state = self.body.state.borrow();
        let none_left = if state.is_kept {
            state.sent >= state.pieces.len()
        } else {
            state.pieces.is_empty()
        };
        self.body.is_over() && none_left
    }

    /// How many bytes the body has, before anything of it was read.
    pub(super) fn length(&self) -> Option<u64> {
        self.body.length()
    }
}
