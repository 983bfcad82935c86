//! A call and its copy, compared once both have ended.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use crate::model::Outcome;
use crate::stats::{Comparison, MirrorStats};

/// What one of the two came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    /// 0 when there was no head of an answer.
    status: u16,
    outcome: Outcome,
}

/// A call and its copy. Each end is told by its own side.
#[derive(Debug)]
pub(super) struct Pair {
    real: Cell<Option<End>>,
    copy: Cell<Option<End>>,
    stats: Arc<MirrorStats>,
}

/// The real call's side of the pair.
#[derive(Clone, Debug)]
pub struct Twin {
    pair: Rc<Pair>,
    status: Cell<u16>,
}

impl Pair {
    pub(super) fn new(stats: &Arc<MirrorStats>) -> Rc<Self> {
        Rc::new(Self {
            real: Cell::new(None),
            copy: Cell::new(None),
            stats: Arc::clone(stats),
        })
    }

    /// The real call's side.
    pub(super) fn twin(self: &Rc<Self>) -> Twin {
        Twin {
            pair: Rc::clone(self),
            status: Cell::new(0),
        }
    }

    /// The copy has ended.
    pub(super) fn copy_ended(&self, status: u16, outcome: Outcome) {
        self.copy.set(Some(End { status, outcome }));
        self.compare();
    }

    fn compare(&self) {
        let (Some(real), Some(copy)) = (self.real.get(), self.copy.get()) else {
            return;
        };
        self.stats.compare_one(compare(real, copy));
    }
}

fn compare(real: End, copy: End) -> Comparison {
    if real.outcome.tells_nothing() || real.status == 0 || copy.status == 0 {
        Comparison::None
    } else if real.status != copy.status {
        Comparison::Status
    } else if real.outcome != copy.outcome {
        Comparison::Outcome
    } else {
        Comparison::Same
    }
}

impl Twin {
    /// The head of the real answer has come.
    pub fn answered(&self, status: u16) {
        self.status.set(status);
    }

    /// The real call has ended.
    pub fn ended(&self, outcome: Outcome) {
        self.pair.real.set(Some(End {
            status: self.status.get(),
            outcome,
        }));
        self.pair.compare();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pair_is_compared_once_whoever_ends_first() {
        let stats = Arc::new(MirrorStats::default());
        for real_first in [true, false] {
            let pair = Pair::new(&stats);
            let twin = pair.twin();
            twin.answered(200);
            if real_first {
                twin.ended(Outcome::Success);
                pair.copy_ended(200, Outcome::ToolError);
            } else {
                pair.copy_ended(200, Outcome::ToolError);
                twin.ended(Outcome::Success);
            }
        }

        assert_eq!(stats.compared(Comparison::Outcome), 2);
    }

    #[test]
    fn what_has_no_answer_is_not_compared() {
        let end = |status, outcome| End { status, outcome };

        assert_eq!(
            compare(end(200, Outcome::Cancelled), end(200, Outcome::Success)),
            Comparison::None
        );
        assert_eq!(
            compare(end(200, Outcome::Success), end(0, Outcome::Timeout)),
            Comparison::None
        );
        assert_eq!(
            compare(end(200, Outcome::Success), end(503, Outcome::ServerError)),
            Comparison::Status
        );
        assert_eq!(
            compare(end(200, Outcome::Success), end(200, Outcome::Success)),
            Comparison::Same
        );
    }
}
