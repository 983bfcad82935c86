//! Watching an MCP answer on its way: its outcome, and the few bodies that are kept.

use std::rc::Rc;

use bytes::Bytes;

use crate::mcp::{AnswerScanner, Batch, Format};
use crate::model::Outcome;
use crate::upstream::LateBody;

use super::alone::Minting;
use super::call::Call;

/// Watches one answer. Its bytes pass untouched.
pub(super) struct Watch {
    scanner: AnswerScanner,
    kept: Option<Kept>,
    /// Looks for values that later calls are tied by.
    minting: Option<Box<Minting>>,
    /// The body of the request, while it is not known what that is about.
    late: Option<Rc<LateBody>>,
}

/// A body that is kept up to a bound, for whoever wants to read it whole.
pub(super) struct Kept {
    bytes: Vec<u8>,
    cap_bytes: usize,
    reader: Box<Reader>,
}

/// Reads a kept body, once.
type Reader = dyn FnOnce(Format, &[u8]);

impl Kept {
    /// Keeps at most `cap_bytes`; a longer body is not read.
    pub(super) fn new(cap_bytes: usize, reader: impl FnOnce(Format, &[u8]) + 'static) -> Self {
        Self {
            bytes: Vec::new(),
            cap_bytes,
            reader: Box::new(reader),
        }
    }
}

impl Watch {
    /// Watches an answer in this format, to a batch if it is one.
    pub(super) fn new(
        (format, batch): (Format, Option<Batch>),
        kept: Option<Kept>,
        minting: Option<Box<Minting>>,
    ) -> Box<Self> {
        Box::new(Self {
            scanner: AnswerScanner::new(format).to_batch(batch),
            kept,
            minting,
            late: None,
        })
    }

    /// The answer has begun before the request's body was here.
    #[must_use]
    pub(super) fn before(mut self: Box<Self>, late: Option<Rc<LateBody>>) -> Box<Self> {
        self.late = late;
        self
    }

    /// Takes in what the request turns out to be, if that comes before its answer.
    fn learn(&mut self) {
        let facts = self.late.as_ref().and_then(|late| late.facts());
        let Some(facts) = facts.filter(|facts| facts.expects_answer()) else {
            return;
        };
        if let Some(batch) = Batch::of(facts) {
            self.scanner.turn_to_batch(batch);
        }
        self.late = None;
    }

    /// Whether nobody knows that the request wants an answer.
    fn is_unasked(&self) -> bool {
        let is_unasked = |late: &Rc<LateBody>| match late.facts() {
            Some(facts) => !facts.expects_answer(),
            None => !late.is_over(),
        };
        self.late.as_ref().is_some_and(is_unasked)
    }

    /// The next bytes of the body pass. Tells the outcome once the answer is there, though the
    /// body may go on; the call hears of each of its requests before.
    pub(super) fn pass(
        &mut self,
        format: Format,
        piece: &Bytes,
        call: &mut Call,
    ) -> Option<Outcome> {
        if self.late.is_some() {
            self.learn();
        }
        self.scanner.feed(piece);
        for (place, outcome) in self.scanner.news() {
            call.answered_one(place, outcome);
        }
        if let Some(minting) = &mut self.minting {
            minting.pass(piece);
        }
        if let Some(kept) = &mut self.kept {
            if kept.bytes.len() + piece.len() > kept.cap_bytes {
                self.kept = None;
            } else {
                kept.bytes.extend_from_slice(piece);
            }
        }
        if !self.scanner.response_seen() {
            return None;
        }
        self.tell(format);
        self.scanner.worst()
    }

    /// The body has ended before an answer was seen; nothing is told where none was asked for, as
    /// far as anybody knows.
    pub(super) fn end(mut self: Box<Self>, format: Format, call: &mut Call) -> Option<Outcome> {
        self.tell(format);
        self.learn();
        if self.is_unasked() {
            return None;
        }
        let (news, outcome) = self.scanner.end();
        for (place, outcome) in news {
            call.answered_one(place, outcome);
        }
        Some(outcome)
    }

    fn tell(&mut self, format: Format) {
        if let Some(minting) = self.minting.take() {
            minting.keep();
        }
        if let Some(kept) = self.kept.take() {
            (kept.reader)(format, &kept.bytes);
        }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}
