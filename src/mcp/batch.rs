//! The requests of a batch and how each of them was answered, by their ids.

use crate::model::Outcome;

use super::answer::RequestId;
use super::facts::{Kind, RequestFacts};
use super::id_key::IdKey;
use super::messages::worse;
use super::word::Word;

/// The requests of a batch, by their place among its requests, and how they were answered so far.
#[derive(Clone, Debug)]
pub struct Batch {
    requests: Box<[Awaited]>,
    left: usize,
    /// The worst error that answers none of them, such as one whose id is null.
    stray: Option<Outcome>,
    /// What has not been told yet.
    news: Vec<(usize, Outcome)>,
}

#[derive(Clone, Copy, Debug)]
struct Awaited {
    /// Nothing for an id that is too long to be kept.
    id: Option<IdKey>,
    outcome: Option<Outcome>,
}

impl Batch {
    /// The requests of a body, if it is a batch with more than one.
    pub fn of(facts: &RequestFacts) -> Option<Self> {
        if facts.kind != Kind::Batch || facts.requests() < 2 {
            return None;
        }
        let requests = facts.members.iter().filter(|it| it.kind == Kind::Request);
        let requests = requests.map(|request| Awaited {
            id: request.id.as_ref().map(IdKey::of),
            outcome: None,
        });
        let requests: Box<[Awaited]> = requests.collect();
        Some(Self {
            left: requests.len(),
            requests,
            stray: None,
            news: Vec::new(),
        })
    }

    /// A response has passed. It answers the first request with its id that has no answer yet, or
    /// else the first one whose id nobody could keep. An error without an id answers none, or all.
    pub(super) fn hear(&mut self, id: Option<IdKey>, outcome: Outcome) {
        let open = |wanted: Option<IdKey>| {
            let mut requests = self.requests.iter();
            requests.position(|request| request.outcome.is_none() && request.id == wanted)
        };
        let is_success = outcome == Outcome::Success;
        let place = match id {
            Some(id) => open(Some(id)).or_else(|| open(None)),
            None => open(None).filter(|_| is_success),
        };
        let known = place.and_then(|place| Some((place, self.requests.get_mut(place)?)));
        let Some((place, request)) = known else {
            if !is_success {
                self.stray = Some(worse(self.stray, outcome));
            }
            return;
        };
        request.outcome = Some(outcome);
        self.left -= 1;
        self.news.push((place, outcome));
    }

    /// Whether every request has its answer.
    pub(super) fn is_answered(&self) -> bool {
        self.left == 0
    }

    /// No more responses come: requests without one went as badly as what came instead, or so.
    pub(super) fn close(&mut self, unanswered: Outcome) {
        let rest = self.stray.unwrap_or(unanswered);
        for (place, request) in self.requests.iter_mut().enumerate() {
            if request.outcome.is_none() {
                request.outcome = Some(rest);
                self.news.push((place, rest));
            }
        }
        self.left = 0;
    }

    /// The outcomes that have become known since the last time, each with the place of its request
    /// among the requests of the batch.
    pub(super) fn take_news(&mut self) -> Vec<(usize, Outcome)> {
        std::mem::take(&mut self.news)
    }

    /// The worst outcome so far.
    pub(super) fn worst(&self) -> Option<Outcome> {
        let known = self.requests.iter().filter_map(|request| request.outcome);
        known.fold(None, |worst, outcome| Some(worse(worst, outcome)))
    }
}

/// The responses of one JSON text by their ids, until it is known to be one.
#[derive(Clone, Debug)]
pub(super) struct Responses {
    /// The id that is being read.
    text: Word<{ RequestId::MAX_BYTES }>,
    id: Option<IdKey>,
    found: Vec<(Option<IdKey>, Outcome)>,
}

impl Responses {
    pub(super) fn new() -> Self {
        Self {
            text: Word::new(),
            id: None,
            found: Vec::new(),
        }
    }

    /// A message begins.
    pub(super) fn begin(&mut self) {
        self.id = None;
    }

    /// The value of an id begins.
    pub(super) fn begin_id(&mut self) {
        self.text.clear();
        self.id = None;
    }

    /// A piece of it.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.text.push(piece);
    }

    /// It is complete, and a text or a number.
    pub(super) fn end_id(&mut self, print: fn(&[u8]) -> IdKey) {
        self.id = self.text.get().map(print);
    }

    /// The message is complete, and a response. More than fit into a batch are not remembered.
    pub(super) fn end(&mut self, outcome: Outcome) {
        if self.found.len() < 2 * RequestFacts::BATCH {
            self.found.push((self.id.take(), outcome));
        }
    }

    /// Forgets what was found.
    pub(super) fn clear(&mut self) {
        self.found.clear();
        self.id = None;
    }

    /// What was found.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (Option<IdKey>, Outcome)> {
        self.found.drain(..)
    }
}

#[cfg(test)]
mod tests;
