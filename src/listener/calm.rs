//! How much an HTTP/2 client may do besides asking.
//!
//! Frames that bring no request and no answer forward are paid for out of an allowance; answers
//! that are given, bytes that are taken and time that passes refill it. Who uses it up is told to
//! enhance its calm (RFC 9113, 10.5).

use std::cell::Cell;

use crate::model::Limit;

use super::frames::Seen;

/// Sweeps of the deadline table in the time that refills a part of the allowance: a second.
const REFILL_TICKS: u64 = 10;
/// The part of the whole that a second refills.
const REFILLS: u32 = 10;
/// Frames that come with an answer that was given, such as more room for the next.
const FRAMES_AN_ANSWER: u32 = 4;
/// Bytes of answers that come with one frame, such as more room.
const BYTES_A_FRAME: usize = 1024;

/// What a connection may do besides asking.
#[derive(Clone, Copy, Debug)]
pub struct CalmLimits {
    /// Frames that bring nothing forward.
    pub control_frames: u32,
    /// Streams that are taken back.
    pub resets: u32,
}

/// What is left of it. Written by the connection's own tasks.
#[derive(Debug)]
pub(super) struct Calm {
    limits: CalmLimits,
    control_frames: Cell<u32>,
    resets: Cell<u32>,
    /// The sweep at which it was last refilled.
    refilled: Cell<u64>,
    offended: Cell<bool>,
}

impl Calm {
    pub(super) fn new(limits: CalmLimits, now: u64) -> Self {
        Self {
            limits,
            control_frames: Cell::new(limits.control_frames),
            resets: Cell::new(limits.resets),
            refilled: Cell::new(now),
            offended: Cell::new(false),
        }
    }

    /// Pays for what was seen at this sweep.
    pub(super) fn pay(&self, seen: Seen, now: u64) {
        if seen.cost == 0 || self.offended.get() {
            return;
        }
        self.refill(now);
        let left = (
            self.control_frames.get().checked_sub(seen.cost),
            self.resets.get().checked_sub(seen.resets),
        );
        self.control_frames.set(left.0.unwrap_or(0));
        self.resets.set(left.1.unwrap_or(0));
        let limit = match left {
            (Some(_), Some(_)) => return,
            (_, None) => Limit::Http2Resets,
            (None, Some(_)) => Limit::Http2ControlFrames,
        };
        self.offended.set(true);
        limit.hit();
    }

    /// Whether more was done than is allowed.
    pub(super) fn is_offended(&self) -> bool {
        self.offended.get()
    }

    /// Whether streams were taken back of late.
    pub(super) fn takes_back(&self) -> bool {
        self.resets.get() < self.limits.resets
    }

    /// An answer has been given.
    pub(super) fn answered(&self) {
        self.earn(FRAMES_AN_ANSWER, 1);
    }

    /// The client has taken these bytes.
    pub(super) fn taken(&self, bytes: usize) {
        if bytes >= BYTES_A_FRAME {
            self.earn((bytes / BYTES_A_FRAME) as u32, 0);
        }
    }

    fn refill(&self, now: u64) {
        let seconds = now.saturating_sub(self.refilled.get()) / REFILL_TICKS;
        if seconds > 0 {
            self.refilled
                .set(self.refilled.get() + seconds * REFILL_TICKS);
            let parts = u32::try_from(seconds).unwrap_or(REFILLS).min(REFILLS);
            let of = |whole: u32| whole.div_ceil(REFILLS).saturating_mul(parts);
            self.earn(of(self.limits.control_frames), of(self.limits.resets));
        }
    }

    fn earn(&self, frames: u32, resets: u32) {
        let add = |cell: &Cell<u32>, more: u32, most: u32| {
            cell.set(cell.get().saturating_add(more).min(most));
        };
        add(&self.control_frames, frames, self.limits.control_frames);
        add(&self.resets, resets, self.limits.resets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: CalmLimits = CalmLimits {
        control_frames: 20,
        resets: 10,
    };

    fn seen(cost: u32, resets: u32) -> Seen {
        Seen {
            cost,
            resets,
            ..Seen::default()
        }
    }

    #[test]
    fn a_flood_uses_it_up_and_a_trickle_never_does() {
        let (flooded, trickled) = (Calm::new(FEW, 0), Calm::new(FEW, 0));

        (0..21).for_each(|_| flooded.pay(seen(1, 0), 5));
        (0..1000).for_each(|second| trickled.pay(seen(2, 0), second * REFILL_TICKS));

        assert!(flooded.is_offended() && !trickled.is_offended());
    }

    #[test]
    fn streams_that_are_taken_back_have_a_bound_of_their_own() {
        let calm = Calm::new(FEW, 0);
        assert!(!calm.takes_back());

        (0..10).for_each(|_| calm.pay(seen(1, 1), 0));
        assert!(calm.takes_back() && !calm.is_offended());
        calm.pay(seen(1, 1), 0);

        assert!(calm.is_offended());
    }

    #[test]
    fn who_asks_and_reads_may_send_what_goes_with_it() {
        let calm = Calm::new(FEW, 0);

        for _ in 0..1000 {
            calm.pay(seen(4, 1), 0);
            calm.answered();
            calm.pay(seen(16, 0), 0);
            calm.taken(16 * BYTES_A_FRAME);
        }

        assert!(!calm.is_offended());
    }
}
