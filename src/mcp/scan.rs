//! The outcome inside an answer, found while its bytes pass.
//!
//! Nothing is kept of the body but a few words of state. What counts: a message with
//! `result` or `error` and without `method` is a response; a non-null `error` fails it by
//! its `code`, and `isError: true` directly in `result` makes it a failed tool. Of members with
//! the same name the last one counts, as it does for `serde_json`, for JavaScript and for Python.
//!
//! That is why nothing is known before a message's last brace: until then a second `result`,
//! `error` or `method` can turn it round. Less is read in two other ways. What lies deeper than
//! `result.isError` and `error.code` is checked and passed over, not looked at; and nothing is
//! read any more where nothing can change what is known, which is behind a mistake in a text.

use crate::model::Outcome;

use super::batch::Batch;
use super::events::{EventKind, EventReader, EventSink};
use super::format::Format;
use super::json::{Progress, Reader};
use super::messages::{Messages, Tally, worse};

/// Watches one answer. Feed it every byte of the body in order, uncompressed.
#[derive(Clone, Debug)]
pub struct AnswerScanner {
    framing: Framing,
    document: Document,
}

#[derive(Clone, Debug)]
enum Framing {
    Json,
    EventStream(EventReader),
}

/// What was found in an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// The worst outcome among the responses; `None` when there was no response.
    pub worst: Option<Outcome>,
    /// How many responses there were.
    pub responses: u32,
    /// Whether something that should be JSON was not, was cut short, or nested too deep.
    pub malformed: bool,
}

impl AnswerScanner {
    /// A scanner for an answer in this format.
    pub fn new(format: Format) -> Self {
        let framing = match format {
            Format::Json => Framing::Json,
            Format::EventStream => Framing::EventStream(EventReader::new()),
        };
        Self {
            framing,
            document: Document::new(),
        }
    }

    /// The answer is that to a batch of requests: a response each, by their ids, in one text or in
    /// an event each, in any order.
    #[must_use]
    pub fn to_batch(mut self, batch: Option<Batch>) -> Self {
        if let Some(batch) = batch {
            self.turn_to_batch(batch);
        }
        self
    }

    /// The same, of an answer that has begun already. Where a message is half read it stays one to a
    /// single request.
    pub fn turn_to_batch(&mut self, batch: Batch) {
        if self.document.reader.progress() == Progress::Blank {
            self.document.messages.tell_apart();
            self.document.batch = Some(Box::new(batch));
        }
    }

    /// What has become known of the requests of a batch since the last time, each by its place among
    /// the batch's requests. All of them are told once the call is over: when [`Self::response_seen`]
    /// says so, or by [`Self::end`].
    pub fn news(&mut self) -> Vec<(usize, Outcome)> {
        if self.document.batch.is_some() && self.response_seen() {
            self.close(Outcome::ServerError);
        }
        let batch = self.document.batch.as_mut();
        batch.map_or_else(Vec::new, |batch| batch.take_news())
    }

    /// No more responses come for a batch.
    fn close(&mut self, unanswered: Outcome) {
        if matches!(self.framing, Framing::Json) {
            // A complete text was not published yet, since more than blanks could follow.
            self.document.answer_batch();
        }
        if let Some(batch) = &mut self.document.batch {
            batch.close(unanswered);
        }
    }

    /// Looks at the next bytes of the body.
    pub fn feed(&mut self, bytes: &[u8]) {
        match &mut self.framing {
            Framing::Json => self.document.data(bytes),
            Framing::EventStream(events) => events.feed(bytes, &mut self.document),
        }
    }

    /// Whether the call's responses have passed as a whole, so that it is over although its
    /// stream may stay open.
    pub fn response_seen(&self) -> bool {
        match self.framing {
            Framing::Json => self.so_far().responses > 0,
            Framing::EventStream(_) => match &self.document.batch {
                Some(batch) => batch.is_answered(),
                None => self.so_far().responses > 0,
            },
        }
    }

    /// The worst outcome among the responses so far.
    pub fn worst(&self) -> Option<Outcome> {
        match &self.document.batch {
            Some(batch) => batch.worst(),
            None => self.so_far().worst,
        }
    }

    fn so_far(&self) -> Finding {
        match self.framing {
            // Should anything but blanks follow, it takes back what was found.
            Framing::Json if self.document.reader.progress() == Progress::Complete => {
                self.document.messages.tally().into()
            }
            Framing::Json | Framing::EventStream(_) => self.document.finding,
        }
    }

    /// The body has ended. An event without its closing empty line is none.
    pub fn finish(mut self) -> Finding {
        self.end_text();
        self.document.finding
    }

    fn end_text(&mut self) {
        match self.framing {
            Framing::Json => self.document.dispatch(EventKind::Message),
            Framing::EventStream(_) => {}
        }
    }

    /// The body has ended: how the call went whose whole answer it is. What holds no response
    /// is no answer, however fine its status is.
    pub fn outcome(mut self) -> Outcome {
        self.end().1
    }

    /// The same, and what has become known with it of the requests of a batch: those without a
    /// response, too.
    pub fn end(&mut self) -> (Vec<(usize, Outcome)>, Outcome) {
        let unanswered = match &self.framing {
            Framing::Json => Outcome::ServerError,
            // The response comes in another stream, when the client asks for it.
            Framing::EventStream(events) if events.can_be_resumed() => Outcome::Success,
            Framing::EventStream(_) => Outcome::Broken,
        };
        self.end_text();
        let found = self.document.finding;
        let unanswered = match found.worst {
            None if found.malformed => Outcome::ServerError,
            Some(_) | None => unanswered,
        };
        match &mut self.document.batch {
            Some(batch) => {
                batch.close(unanswered);
                let worst = batch.worst();
                (batch.take_news(), worst.unwrap_or(unanswered))
            }
            None => (Vec::new(), found.worst.unwrap_or(unanswered)),
        }
    }
}

/// The JSON text being read, and what the ones before it came to.
#[derive(Clone, Debug)]
struct Document {
    reader: Reader,
    messages: Messages,
    finding: Finding,
    /// The requests that are answered, where there are several.
    batch: Option<Box<Batch>>,
}

impl Document {
    fn new() -> Self {
        Self {
            reader: Reader::new(),
            messages: Messages::new(),
            finding: Finding::default(),
            batch: None,
        }
    }

    /// The text is complete: what it held counts.
    fn publish(&mut self) {
        let Tally { worst, responses } = self.messages.tally();
        self.finding.responses = self.finding.responses.saturating_add(responses);
        if let Some(outcome) = worst {
            self.finding.worst = Some(worse(self.finding.worst, outcome));
        }
        self.answer_batch();
    }

    /// The responses in a complete text are those to a batch.
    fn answer_batch(&mut self) {
        if let (Some(batch), Some(each)) = (&mut self.batch, self.messages.each()) {
            for (id, outcome) in each.take() {
                batch.hear(id, outcome);
            }
        }
    }
}

impl From<Tally> for Finding {
    fn from(Tally { worst, responses }: Tally) -> Self {
        Self {
            worst,
            responses,
            malformed: false,
        }
    }
}

impl EventSink for Document {
    fn data(&mut self, piece: &[u8]) {
        self.reader.feed(piece, &mut self.messages);
    }

    fn dispatch(&mut self, kind: EventKind) {
        self.reader.finish(&mut self.messages);
        match (kind, self.reader.progress()) {
            (EventKind::Other, _) | (EventKind::Message, Progress::Blank) => {}
            (EventKind::Message, Progress::Complete) => self.publish(),
            (EventKind::Message, Progress::Inside | Progress::Malformed) => {
                self.finding.malformed = true;
            }
        }
        self.reader = Reader::new();
        self.messages.renew();
    }
}

#[cfg(test)]
mod tests;
