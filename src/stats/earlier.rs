//! An older reading of the counts of tools, kept small, to tell what was called since.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{BackendName, Outcome};

use super::calls::CallSummary;
use super::histogram::FilledBuckets;
use super::tools::ToolSum;

/// What the tools of a route had been called at some moment. Its size follows the durations that were seen, not
/// those that can be told apart: a reading may be kept for days.
#[derive(Debug, Default)]
pub struct EarlierTools {
    tools: Vec<EarlierTool>,
}

#[derive(Debug)]
struct EarlierTool {
    /// Nothing for all that had no counts of their own.
    tool: Option<Arc<str>>,
    backend: BackendName,
    outcomes: [u64; Outcome::COUNT],
    latency: FilledBuckets,
}

impl EarlierTools {
    /// A reading of these counts.
    pub fn of(sums: impl IntoIterator<Item = ToolSum>) -> Self {
        let small = |sum: ToolSum| EarlierTool {
            outcomes: sum.calls.outcomes,
            latency: sum.calls.latency.filled(),
            tool: sum.tool,
            backend: sum.backend,
        };
        Self {
            tools: sums.into_iter().map(small).collect(),
        }
    }

    /// What of these counts, a later reading of the same board, was called since. No call is told twice or
    /// left out, whatever names had to go meanwhile.
    #[must_use]
    pub fn since(&self, mut now: Vec<ToolSum>) -> Vec<ToolSum> {
        // What was counted for a name that had to go is among the others now.
        let mut gone: BTreeMap<&BackendName, Vec<&EarlierTool>> = BTreeMap::new();
        for earlier in &self.tools {
            let same = now.iter_mut().find(|sum| earlier.is_of(sum));
            match same {
                Some(sum) => earlier.take_from(&mut sum.calls),
                None => gone.entry(&earlier.backend).or_default().push(earlier),
            }
        }
        for others in now.iter_mut().filter(|sum| sum.tool.is_none()) {
            let gone = gone.remove(&others.backend).into_iter().flatten();
            gone.for_each(|earlier| earlier.take_from(&mut others.calls));
        }
        now
    }
}

impl EarlierTool {
    /// Whether these are the same counts, later. A name that went and came back begins at zero, and is another text.
    fn is_of(&self, sum: &ToolSum) -> bool {
        let same_name = match (&self.tool, &sum.tool) {
            (Some(then), Some(now)) => Arc::ptr_eq(then, now),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same_name && self.backend == sum.backend
    }

    fn take_from(&self, calls: &mut CallSummary) {
        for (now, then) in calls.outcomes.iter_mut().zip(&self.outcomes) {
            *now = now.saturating_sub(*then);
        }
        calls.latency.take_away(&self.latency);
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Duration;

    use proptest::prelude::*;

    use crate::stats::{ToolBoard, ToolCounts};

    use super::*;

    /// Calls of one worker at one backend, each as many ms long as its number says.
    fn call(counts: &ToolCounts, tool: &str, ms: u64) {
        let shard = counts.of(Some(tool)).at(0).unwrap();
        shard.begin();
        shard.end(Outcome::Success, Duration::from_millis(ms));
    }

    fn board(most: usize) -> (Arc<ToolBoard>, ToolCounts) {
        let board = Arc::new(ToolBoard::default());
        board.hold_at_most(most);
        let backends: Rc<[BackendName]> = ["v1".parse().unwrap()].into();
        let counts = ToolCounts::new(Arc::clone(&board), 0, backends);
        (board, counts)
    }

    fn read(sums: &[ToolSum]) -> Vec<(&str, u64)> {
        let called = sums.iter().filter(|sum| sum.calls.total() > 0);
        let name = |sum: &ToolSum| -> &'static str {
            match sum.tool.as_deref() {
                Some("a") => "a",
                Some("b") => "b",
                Some(_) => "another",
                None => "_other",
            }
        };
        called.map(|sum| (name(sum), sum.calls.total())).collect()
    }

    #[test]
    fn only_what_was_called_since_is_told() {
        let (board, counts) = board(2);
        (0..10).for_each(|_| call(&counts, "a", 500));
        let then = EarlierTools::of(board.sums());
        (0..3).for_each(|_| call(&counts, "a", 2));
        call(&counts, "b", 2);

        let since = then.since(board.sums());

        assert_eq!(read(&since), [("a", 3), ("b", 1)]);
        let slowest = since[0].calls.latency.quantile(1.0).unwrap();
        assert!(slowest < Duration::from_millis(3), "{slowest:?}");
    }

    #[test]
    fn calls_of_a_name_that_had_to_go_do_not_look_new() {
        let (board, counts) = board(1);
        (0..5).for_each(|_| call(&counts, "a", 1));
        board.turn();
        let then = EarlierTools::of(board.sums());
        (0..20).for_each(|_| call(&counts, "b", 1));
        counts.report();
        board.turn();
        (0..4).for_each(|_| call(&counts, "b", 1));

        let since = then.since(board.sums());

        assert_eq!(read(&since), [("b", 4), ("_other", 20)]);
    }

    proptest! {
        /// Whatever names come, go and come back: the calls since are those that were made since.
        #[test]
        fn every_call_since_is_told_once(
            before in prop::collection::vec(0usize..6, 0..80),
            after in prop::collection::vec(0usize..6, 0..200),
            turns in 1usize..30,
        ) {
            let (board, counts) = board(2);
            let play = |calls: &[usize]| {
                for (number, tool) in calls.iter().enumerate() {
                    call(&counts, ["a", "b", "c", "d", "e", "f"][*tool], 1 + number as u64);
                    if number % turns == 0 {
                        counts.report();
                        board.turn();
                    }
                }
            };
            play(&before);
            let then = EarlierTools::of(board.sums());
            play(&after);

            let since = then.since(board.sums());

            let total: u64 = since.iter().map(|sum| sum.calls.total()).sum();
            let timed: u64 = since.iter().map(|sum| sum.calls.latency.count()).sum();
            prop_assert_eq!((total, timed), (after.len() as u64, after.len() as u64));
        }
    }
}
