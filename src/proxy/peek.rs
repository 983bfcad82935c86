//! A bounded look at the body of an MCP request, before anything is decided about it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;

use bytes::Bytes;

use crate::mcp::{Method, RequestFacts, RequestPeek, SessionRecord};
use crate::upstream::{self, Copy, Intake, Pace, RequestBody, Upload};

use super::error::ProxyError;

/// A request's body as it was taken in.
#[derive(Debug)]
pub(super) enum Taken {
    /// Nobody has looked at it.
    Unseen(Intake),
    /// A part of it, or all of it, has been looked at.
    Looked(Box<Looked>),
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
            Self::Unseen(_) => None,
            Self::Looked(looked) => looked.facts.take(),
        }
    }

    /// Whether all of the body has been looked at, and it is not clear what it is about.
    pub(super) fn is_unclear(&self) -> bool {
        match self {
            Self::Unseen(_) => false,
            Self::Looked(looked) => looked.ended && looked.facts.is_none(),
        }
    }

    /// The body as a whole, where it says something that is to be kept.
    pub(super) fn kept(&self) -> Option<Bytes> {
        match self {
            Self::Looked(looked) if looked.is_memorable() => looked.whole(MAX_KEPT_BYTES),
            Self::Unseen(_) | Self::Looked(_) => None,
        }
    }

    /// The body, where all of it was looked at.
    pub(super) fn whole(&self) -> Option<Bytes> {
        match self {
            Self::Looked(looked) => looked.whole(usize::MAX),
            Self::Unseen(_) => None,
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
        }
    }

    /// The body as it is sent on, copied on its way if that is wanted.
    pub(super) fn into_body(self, pace: &Rc<Pace>, copy: Option<Copy>) -> RequestBody {
        match self {
            Self::Looked(looked) => looked.into_body(pace, copy),
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

/// A body of which a part has been looked at; nothing of it is lost.
#[derive(Debug)]
pub(super) struct Looked {
    pieces: VecDeque<Bytes>,
    rest: Intake,
    /// Nothing is left of the body: what has no length tells its end only when it is reached.
    ended: bool,
    /// What the body is about, as far as that is clear.
    facts: Option<Box<RequestFacts>>,
}

/// Reads a body until it is clear what it is about, or `cap_bytes` have been read.
///
/// # Errors
/// [`ProxyError::Body`] when the client's body breaks off, is too slow or too long.
pub(super) async fn look(
    mut body: Intake,
    cap_bytes: usize,
    pace: &Rc<Pace>,
) -> Result<Box<Looked>, ProxyError> {
    let mut peek = RequestPeek::new();
    let mut pieces = VecDeque::new();
    let mut seen = 0;
    let mut ended = body.is_end_stream();
    while !ended && seen < cap_bytes && pieces.len() < MAX_PIECES {
        let Some(frame) = poll_fn(|cx| body.poll_piece(cx, pace)).await else {
            ended = true;
            break;
        };
        ended = body.is_end_stream();
        let Ok(piece) = frame.map_err(ProxyError::Body)?.into_data() else {
            continue;
        };
        seen += piece.len();
        // The look goes on to the end of what is small, so that it can be kept and copied whole.
        peek.feed(&piece);
        pieces.push_back(piece);
    }
    // What was not read to its end may go on with another message.
    let facts = if ended { peek.finish().ok() } else { None };
    Ok(Box::new(Looked {
        pieces,
        rest: body,
        ended,
        facts: facts.map(Box::new),
    }))
}

impl Looked {
    /// Whether the body opens a session, asks for something that a re-homed session must still
    /// have, or has to be read once more.
    fn is_memorable(&self) -> bool {
        let is_memorable = |facts: &RequestFacts| {
            matches!(
                facts.method,
                Method::Initialize
                    | Method::LoggingSetLevel
                    | Method::ResourcesSubscribe
                    | Method::ResourcesUnsubscribe
                    | Method::SubscriptionsListen
            )
        };
        let facts = self.facts.as_deref();
        facts.is_some_and(|it| is_memorable(it) || it.members.iter().any(is_memorable))
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
