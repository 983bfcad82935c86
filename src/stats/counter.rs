//! Counters with one writer and many readers.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// A number that only grows. One thread writes, any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `more`. Only the counter's one writer may call this: two writers lose counts.
    #[inline]
    pub fn add(&self, more: u64) {
        // A plain load and store: with one writer this is exact, and it needs no bus lock.
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(more),
            Ordering::Relaxed,
        );
    }

    /// The count as of some recent moment.
    #[inline]
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that grows and shrinks. One thread writes, any thread reads.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds `change`. Only the gauge's one writer may call this.
    #[inline]
    pub fn add(&self, change: i64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(change),
            Ordering::Relaxed,
        );
    }

    /// The value as of some recent moment, zero at least.
    #[inline]
    pub fn read(&self) -> u64 {
        u64::try_from(self.0.load(Ordering::Relaxed)).unwrap_or(0)
    }
}
