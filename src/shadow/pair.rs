//! A call and its copy, compared once both have ended.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::model::Outcome;
use crate::stats::{Comparison, MirrorStats};

use super::mirror::Tried;

/// What one of the two came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    /// 0 when there was no head of an answer.
    status: u16,
    outcome: Outcome,
    /// After this time.
    took: Duration,
}

/// A call and its copy. Each end is told by its own side.
#[derive(Debug)]
pub(super) struct Pair {
    real: Cell<Option<End>>,
    copy: Cell<Option<End>>,
    stats: Arc<MirrorStats>,
    /// Of the rollout that the copy is for.
    tried: Option<Tried>,
}

/// The real call's side of the pair.
#[derive(Clone, Debug)]
pub struct Twin {
    pair: Rc<Pair>,
    status: Cell<u16>,
}

impl Pair {
    pub(super) fn new(stats: &Arc<MirrorStats>, tried: Option<&Tried>) -> Rc<Self> {
        Rc::new(Self {
            real: Cell::new(None),
            copy: Cell::new(None),
            stats: Arc::clone(stats),
            tried: tried.cloned(),
        })
    }

    /// The real call's side.
    pub(super) fn twin(self: &Rc<Self>) -> Twin {
        Twin {
            pair: Rc::clone(self),
            status: Cell::new(0),
        }
    }

    /// The copy has ended, after this time.
    pub(super) fn copy_ended(&self, status: u16, outcome: Outcome, took: Duration) {
        self.copy.set(Some(End {
            status,
            outcome,
            took,
        }));
        self.compare();
    }

    fn compare(&self) {
        let (Some(real), Some(copy)) = (self.real.get(), self.copy.get()) else {
            return;
        };
        let comparison = compare(real, copy);
        self.stats.compare_one(comparison);
        if let Some(tried) = &self.tried {
            let times = [real.took, copy.took];
            tried.trial.compare_one(tried.worker, comparison, times);
        }
    }
}

fn compare(real: End, copy: End) -> Comparison {
    if real.outcome.tells_nothing() || real.status == 0 {
        Comparison::None
    } else if copy.status == 0 {
        Comparison::Unanswered
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

    /// The real call has ended, after this time.
    pub fn ended(&self, outcome: Outcome, took: Duration) {
        self.pair.real.set(Some(End {
            status: self.status.get(),
            outcome,
            took,
        }));
        self.pair.compare();
    }
}

#[cfg(test)]
mod tests {
    use crate::stats::MirrorTrial;

    use super::*;

    #[test]
    fn the_pair_is_compared_once_whoever_ends_first() {
        let stats = Arc::new(MirrorStats::default());
        let tried = Tried {
            trial: Arc::new(MirrorTrial::new(1)),
            worker: 0,
        };
        for real_first in [true, false] {
            let pair = Pair::new(&stats, Some(&tried));
            let twin = pair.twin();
            twin.answered(200);
            if real_first {
                twin.ended(Outcome::Success, Duration::ZERO);
                pair.copy_ended(200, Outcome::ToolError, Duration::ZERO);
            } else {
                pair.copy_ended(200, Outcome::ToolError, Duration::ZERO);
                twin.ended(Outcome::Success, Duration::ZERO);
            }
        }

        assert_eq!(stats.compared(Comparison::Outcome), 2);
        assert_eq!(tried.trial.compared(Comparison::Outcome), 2);
    }

    #[test]
    fn what_has_no_answer_is_told_apart() {
        let end = |status, outcome| End {
            status,
            outcome,
            took: Duration::ZERO,
        };

        assert_eq!(
            compare(end(200, Outcome::Cancelled), end(200, Outcome::Success)),
            Comparison::None
        );
        assert_eq!(
            compare(end(200, Outcome::Success), end(0, Outcome::Timeout)),
            Comparison::Unanswered
        );
        assert_eq!(
            compare(end(0, Outcome::Timeout), end(0, Outcome::Timeout)),
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
