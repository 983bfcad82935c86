//! Bytes of answers that wait for clients to read them, over all workers.
//!
//! A client that reads is never held up for long: whatever the sum is, it gets the next piece as
//! soon as the last one is written. Those who do not read get no more than they have, once all of
//! them together hold as much as they may.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The sums of all workers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BufferBudget {
    /// Each has one writer, its worker.
    of_workers: Arc<[AtomicU64]>,
    most_bytes: u64,
}

impl BufferBudget {
    /// Room for this many bytes over so many workers.
    pub fn new(most_bytes: u64, workers: usize) -> Self {
        Self {
            of_workers: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            most_bytes,
        }
    }

    /// The part of one worker.
    pub fn of_worker(&self, number: usize) -> Rc<Buffered> {
        Rc::new(Buffered {
            budget: self.clone(),
            number,
            own: Cell::new(0),
            others: Cell::new(0),
        })
    }
}

/// What the clients of one worker have not read yet.
#[derive(Debug)]
pub struct Buffered {
    budget: BufferBudget,
    number: usize,
    own: Cell<u64>,
    /// What the other workers had when it was last looked at.
    others: Cell<u64>,
}

impl Buffered {
    /// Tells the others of the own sum, and takes theirs over. To be called now and then.
    pub fn exchange(&self) {
        let mut others = 0;
        for (number, sum) in self.budget.of_workers.iter().enumerate() {
            if number == self.number {
                sum.store(self.own.get(), Ordering::Relaxed);
            } else {
                others += sum.load(Ordering::Relaxed);
            }
        }
        self.others.set(others);
    }

    /// Whether all together hold as much as they may.
    pub(super) fn is_full(&self) -> bool {
        self.own.get() + self.others.get() >= self.budget.most_bytes
    }

    pub(super) fn add(&self, bytes: u64) {
        self.own.set(self.own.get() + bytes);
    }

    pub(super) fn subtract(&self, bytes: u64) {
        self.own.set(self.own.get().saturating_sub(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_all_workers() {
        let budget = BufferBudget::new(100, 2);
        let (one, other) = (budget.of_worker(0), budget.of_worker(1));
        one.add(60);
        other.add(50);
        assert!(!one.is_full() && !other.is_full());

        one.exchange();
        other.exchange();
        assert!(other.is_full());

        one.subtract(60);
        one.exchange();
        other.exchange();
        assert!(!one.is_full() && !other.is_full());
    }
}
