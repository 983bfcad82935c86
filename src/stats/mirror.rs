//! What became of the copies that a route sends to its shadow.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a copy was not sent, or not to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MirrorDrop {
    /// As many copies as may be were under way.
    Busy,
    /// As many bytes of copies as may be were held.
    Bytes,
    /// The call's body is too long to be copied.
    TooLong,
    /// The call's body broke off.
    Broken,
    /// The shadow would not open a session like the caller's.
    NoSession,
    /// No endpoint of the shadow is fit: its checks fail, it is ejected, or its breaker is open.
    Unfit,
}

impl MirrorDrop {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::Busy,
        Self::Bytes,
        Self::TooLong,
        Self::Broken,
        Self::NoSession,
        Self::Unfit,
    ];

    /// The reason's name in API and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Bytes => "bytes",
            Self::TooLong => "too_long",
            Self::Broken => "broken",
            Self::NoSession => "no_session",
            Self::Unfit => "unfit",
        }
    }
}

/// How a copy's answer compares with the real one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// The same status and the same outcome.
    Same,
    /// Another status.
    Status,
    /// The same status and another outcome.
    Outcome,
    /// The call had an answer, and its copy had none.
    Unanswered,
    /// The call tells nothing: its caller left, or it had no answer.
    None,
}

impl Comparison {
    /// Every comparison.
    pub const ALL: [Self; 5] = [
        Self::Same,
        Self::Status,
        Self::Outcome,
        Self::Unanswered,
        Self::None,
    ];

    /// The comparison's name in API and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Status => "status",
            Self::Outcome => "outcome",
            Self::Unanswered => "unanswered",
            Self::None => "none",
        }
    }
}

/// The counts of one route's copies. Written by all workers, off the real calls' way.
#[derive(Debug, Default)]
pub struct MirrorStats {
    dropped: [AtomicU64; MirrorDrop::ALL.len()],
    compared: [AtomicU64; Comparison::ALL.len()],
}

impl MirrorStats {
    /// A copy was not sent, or not to its end.
    pub fn drop_one(&self, why: MirrorDrop) {
        if let Some(count) = self.dropped.get(why as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A copy and its original have both ended.
    pub fn compare_one(&self, comparison: Comparison) {
        if let Some(count) = self.compared.get(comparison as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many copies were dropped for this reason.
    pub fn dropped(&self, why: MirrorDrop) -> u64 {
        self.dropped
            .get(why as usize)
            .map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// How many copies compared so.
    pub fn compared(&self, comparison: Comparison) -> u64 {
        self.compared
            .get(comparison as usize)
            .map_or(0, |count| count.load(Ordering::Relaxed))
    }
}
