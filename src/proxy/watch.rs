//! Watching an MCP answer on its way: its outcome, and the few bodies that are kept.

use bytes::Bytes;

use crate::mcp::{AnswerScanner, Batch, Format};
use crate::model::Outcome;

use super::alone::Minting;
use super::call::Call;

/// Watches one answer. Its bytes pass untouched.
pub(super) struct Watch {
    scanner: AnswerScanner,
    kept: Option<Kept>,
    /// Looks for values that later calls are tied by.
    minting: Option<Box<Minting>>,
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
        })
    }

    /// The next bytes of the body pass. Tells the outcome once the answer is there, though the
    /// body may go on; the call hears of each of its requests before.
    pub(super) fn pass(
        &mut self,
        format: Format,
        piece: &Bytes,
        call: &mut Call,
    ) -> Option<Outcome> {
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

    /// The body has ended before an answer was seen.
    pub(super) fn end(mut self: Box<Self>, format: Format, call: &mut Call) -> Outcome {
        self.tell(format);
        let (news, outcome) = self.scanner.end();
        for (place, outcome) in news {
            call.answered_one(place, outcome);
        }
        outcome
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
