//! Chance for the demo: cheap, seeded, good enough for think times and tool errors.

use std::sync::atomic::{AtomicU64, Ordering};

/// Splitmix64, one step a roll; shared without a lock.
#[derive(Debug)]
pub(super) struct Dice {
    state: AtomicU64,
}

impl Dice {
    /// Dice that always roll the same for the same seed.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            state: AtomicU64::new(seed),
        }
    }

    /// A number from 0 to below 1.
    pub(super) fn roll(&self) -> f64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self
            .state
            .fetch_add(STEP, Ordering::Relaxed)
            .wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something with this probability happens.
    pub(super) fn happens(&self, probability: f64) -> bool {
        self.roll() < probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rolls_spread_evenly_between_zero_and_one() {
        let dice = Dice::new(7);
        let rolls: Vec<f64> = (0..10_000).map(|_| dice.roll()).collect();

        assert!(rolls.iter().all(|roll| (0.0..1.0).contains(roll)));
        let mean = rolls.iter().sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
    }
}
