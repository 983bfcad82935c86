//! A bounded look at the body of an MCP request, before anything is decided about it: at all of it
//! where something is decided by it, else at what has come with the head.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::task::yield_now;

use crate::mcp::{Method, RequestFacts, RequestPeek, SessionRecord};
use crate::upstream::{self, Copy, Intake, LateBody, Pace, RequestBody, Upload};

use super::error::ProxyError;

/// A request's body as it was taken in.
#[derive(Debug)]
pub(super) enum Taken {
    /// Nobody has looked at it.
    Unseen(Intake),
    /// A part of it, or all of it, has been looked at.
    Looked(Box<Looked>),
    /// It is read while it is sent.
    Late(Rc<LateBody>),
}

/// Longest body that is kept for later, in bytes.
const MAX_KEPT_BYTES: usize = SessionRecord::INITIALIZE_BYTES;
/// Longest body in several pieces that is made one: only a whole one can be sent again.
const MAX_JOINED_BYTES: usize = 64 * 1024;
/// Most pieces of a body that are looked at: one costs memory however short it is.
const MAX_PIECES: usize = 4096;

impl Taken {
    /// What the body is about, where that was looked at and is clear. Told once.
    pub(super) fn facts(&mut self) -> Option<Box<RequestFacts>> {
        match self {
            Self::Unseen(_) | Self::Late(_) => None,
            Self::Looked(looked) => looked.facts.take(),
        }
    }

    /// Whether all of the body has been looked at, and it is not clear what it is about.
    pub(super) fn is_unclear(&self) -> bool {
        match self {
            Self::Unseen(_) | Self::Late(_) => false,
            Self::Looked(looked) => looked.ended && looked.facts.is_none(),
        }
    }

    /// The body as a whole, where it says something that is to be kept.
    pub(super) fn kept(&self) -> Option<Bytes> {
        match self {
            Self::Looked(looked) if looked.is_memorable() => looked.whole(MAX_KEPT_BYTES),
            Self::Unseen(_) | Self::Looked(_) | Self::Late(_) => None,
        }
    }

    /// A body of which only what has come was looked at: the rest may be read while it is sent.
    pub(super) fn coming(&mut self) -> Option<&mut Looked> {
        match self {
            Self::Looked(looked) if looked.may_be_late => Some(looked),
            Self::Looked(_) | Self::Unseen(_) | Self::Late(_) => None,
        }
    }

    /// The same body, to be read on while it is sent, where it may be.
    pub(super) fn into_late(self, pace: &Rc<Pace>) -> Self {
        match self {
            Self::Looked(looked) if looked.may_be_late => Self::Late(looked.into_late(pace)),
            other @ (Self::Looked(_) | Self::Unseen(_) | Self::Late(_)) => other,
        }
    }

    /// The body that tells only later what it is about.
    pub(super) fn late(&self) -> Option<&Rc<LateBody>> {
        match self {
            Self::Late(body) => Some(body),
            Self::Unseen(_) | Self::Looked(_) => None,
        }
    }

    /// The body, where all of it was looked at.
    pub(super) fn whole(&self) -> Option<Bytes> {
        match self {
            Self::Looked(looked) => looked.whole(usize::MAX),
            Self::Unseen(_) | Self::Late(_) => None,
        }
    }

    /// Another body in the place of one that was looked at as a whole.
    pub(super) fn replace(&mut self, body: Bytes) {
        if let Self::Looked(looked) = self {
            looked.pieces = VecDeque::from([body]);
        }
    }

    /// How many bytes the body has, if that is known.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Self::Unseen(body) => body.length(),
            Self::Looked(looked) => {
                let seen: u64 = looked.pieces.iter().map(|piece| piece.len() as u64).sum();
                if looked.ended {
                    return Some(seen);
                }
                looked.rest.length().map(|rest| seen + rest)
            }
            Self::Late(body) => body.length(),
        }
    }

    /// The body as it is sent on, copied on its way if that is wanted.
    pub(super) fn into_body(self, pace: &Rc<Pace>, copy: Option<Copy>) -> RequestBody {
        match self {
            Self::Looked(looked) => looked.into_body(pace, copy),
            Self::Late(body) => RequestBody::Late(body.read()),
            Self::Unseen(body) if body.is_end_stream() => {
                if let Some(mut copy) = copy {
                    copy.end();
                }
                // The wait for the answer begins now: a session may have been re-homed before.
                pace.sent();
                RequestBody::Empty
            }
            Self::Unseen(body) => RequestBody::Upload(Box::new(
                Upload::new(VecDeque::new(), body, Rc::clone(pace)).with_copy(copy),
            )),
        }
    }
}

/// What is to be kept of a body that says this.
pub(super) fn memorable(facts: &RequestFacts, whole: Option<Bytes>) -> Option<Bytes> {
    whole.filter(|whole| is_memorable(facts) && whole.len() <= MAX_KEPT_BYTES)
}

/// Whether a body opens a session, asks for something that a re-homed session must still have, or
/// has to be read once more; a batch, whether one of its messages does.
fn is_memorable(facts: &RequestFacts) -> bool {
    let by_itself = matches!(
        facts.method,
        Method::Initialize
            | Method::LoggingSetLevel
            | Method::ResourcesSubscribe
            | Method::ResourcesUnsubscribe
            | Method::SubscriptionsListen
    );
    by_itself || facts.members.iter().any(is_memorable)
}

/// A body of which a part has been looked at; nothing of it is lost.
#[derive(Debug)]
pub(super) struct Looked {
    pieces: VecDeque<Bytes>,
    rest: Intake,
    seen_bytes: usize,
    /// Nothing is left of the body: what has no length tells its end only when it is reached.
    ended: bool,
    /// It need not be waited for.
    may_be_late: bool,
    /// There until the body's end.
    peek: Option<RequestPeek>,
    /// What the body is about, as far as that is clear.
    facts: Option<Box<RequestFacts>>,
}

impl Looked {
    /// A body of which nothing has been read.
    pub(super) fn begin(body: Intake) -> Box<Self> {
        let mut looked = Box::new(Self {
            pieces: VecDeque::new(),
            seen_bytes: 0,
            may_be_late: false,
            ended: body.is_end_stream(),
            rest: body,
            peek: Some(RequestPeek::new()),
            facts: None,
        });
        looked.conclude();
        looked
    }

    /// Whether all of the body has been looked at.
    pub(super) fn is_whole(&self) -> bool {
        self.ended
    }

    /// Looks at what is there.
    ///
    /// # Errors
    /// [`ProxyError::Body`] when the client's body breaks off, is too slow or too long.
    pub(super) async fn look_once(
        &mut self,
        cap_bytes: usize,
        pace: &Rc<Pace>,
    ) -> Result<(), ProxyError> {
        poll_fn(|cx| match self.poll(cx, cap_bytes, pace) {
            Poll::Pending => Poll::Ready(Ok(())),
            looked @ Poll::Ready(_) => looked,
        })
        .await
    }

    /// Looks at what has come, which takes a turn of the client's connection for each piece; waits
    /// for nothing.
    ///
    /// # Errors
    /// As [`Self::look_once`].
    pub(super) async fn look_ahead(
        &mut self,
        cap_bytes: usize,
        pace: &Rc<Pace>,
    ) -> Result<(), ProxyError> {
        loop {
            let before = self.pieces.len();
            yield_now().await;
            self.look_once(cap_bytes, pace).await?;
            if self.is_over(cap_bytes) || self.pieces.len() == before {
                self.may_be_late = !self.ended;
                return Ok(());
            }
        }
    }

    /// Looks until it is clear what the body is about, or `cap_bytes` have been read.
    ///
    /// # Errors
    /// As [`Self::look_once`].
    pub(super) async fn look(
        &mut self,
        cap_bytes: usize,
        pace: &Rc<Pace>,
    ) -> Result<(), ProxyError> {
        self.may_be_late = false;
        poll_fn(|cx| self.poll(cx, cap_bytes, pace)).await
    }

    /// Ready once nothing more is to be looked at.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        cap_bytes: usize,
        pace: &Rc<Pace>,
    ) -> Poll<Result<(), ProxyError>> {
        while !self.is_over(cap_bytes) {
            let Some(frame) = ready!(self.rest.poll_piece(cx, pace)) else {
                self.ended = true;
                break;
            };
            self.ended = self.rest.is_end_stream();
            let Ok(piece) = frame.map_err(ProxyError::Body)?.into_data() else {
                continue;
            };
            self.seen_bytes += piece.len();
            // The look goes on to the end of what is small, so that it can be kept and copied whole.
            if let Some(peek) = &mut self.peek {
                peek.feed(&piece);
            }
            self.pieces.push_back(piece);
        }
        self.conclude();
        Poll::Ready(Ok(()))
    }

    fn is_over(&self, cap_bytes: usize) -> bool {
        self.ended || self.seen_bytes >= cap_bytes || self.pieces.len() >= MAX_PIECES
    }

    /// What was not read to its end may go on with another message, and tells nothing yet.
    fn conclude(&mut self) {
        if self.ended
            && let Some(peek) = self.peek.take()
        {
            self.facts = peek.finish().ok().map(Box::new);
        }
    }

    fn into_late(self, pace: &Rc<Pace>) -> Rc<LateBody> {
        let peek = self.peek.unwrap_or_default();
        LateBody::new(self.pieces, peek, self.rest, pace)
    }

    fn is_memorable(&self) -> bool {
        self.facts.as_ref().is_some_and(|facts| is_memorable(facts))
    }

    /// The body as a whole, when all of it has been read and it is at most `cap_bytes` long.
    fn whole(&self, cap_bytes: usize) -> Option<Bytes> {
        let length: usize = self.pieces.iter().map(Bytes::len).sum();
        if !self.ended || length > cap_bytes {
            return None;
        }
        Some(upstream::join(self.pieces.iter()))
    }

    /// The body as it is sent on, copied on its way if that is wanted.
    fn into_body(mut self, pace: &Rc<Pace>, copy: Option<Copy>) -> RequestBody {
        let whole = match self.pieces.len() {
            0 | 1 if self.ended => Some(self.pieces.pop_front().unwrap_or_default()),
            _ => self.whole(MAX_JOINED_BYTES),
        };
        if let Some(whole) = whole {
            pace.sent();
            if let Some(mut copy) = copy {
                copy.add(&whole);
                copy.end();
            }
            return RequestBody::whole(whole);
        }
        RequestBody::Upload(Box::new(
            Upload::new(self.pieces, self.rest, Rc::clone(pace)).with_copy(copy),
        ))
    }
}
