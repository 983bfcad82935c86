//! The event streams of one session, of which the older give way to newer ones.
//!
//! A client that connects again before its old stream was noticed dead must get in; so none is ever
//! refused, and what is too much is ended at the other end.

use std::sync::atomic::{AtomicU64, Ordering};

/// The streams of one session, each with a number in the order of their opening. Shared by all
/// workers.
#[derive(Debug, Default)]
pub struct Turns {
    opened: AtomicU64,
    open: AtomicU64,
    /// Streams with a smaller number are to end.
    from: AtomicU64,
}

impl Turns {
    /// One more is open, of which there may be so many; its number, and whether an older one has to
    /// give way.
    pub fn begin(&self, most: u64) -> (u64, bool) {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        let is_surplus = open > most.max(1);
        if is_surplus {
            let from = (number + 1).saturating_sub(most.max(1));
            self.from.fetch_max(from, Ordering::Relaxed);
        }
        (number, is_surplus)
    }

    /// One has ended.
    pub fn end(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether the stream of this number is to end.
    pub fn is_over(&self, number: u64) -> bool {
        number < self.from.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_give_way_and_only_when_there_are_too_many() {
        let turns = Turns::default();
        let begun: Vec<_> = (0..3).map(|_| turns.begin(3)).collect();
        assert_eq!(begun, [(0, false), (1, false), (2, false)]);

        turns.end();
        assert_eq!(turns.begin(3), (3, false));
        assert!(!turns.is_over(0), "there was room");
        assert_eq!(turns.begin(3), (4, true));

        let over: Vec<_> = (0..5).filter(|number| turns.is_over(*number)).collect();
        assert_eq!(over, [0, 1]);
    }

    #[test]
    fn the_newest_always_stays() {
        let turns = Turns::default();
        for _ in 0..100 {
            let (number, _) = turns.begin(0);
            assert!(!turns.is_over(number));
        }
    }
}
