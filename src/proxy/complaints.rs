//! How often a worker says what is wrong with backends.

use std::cell::Cell;

/// Complaints about backends that could be made of each of their answers.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    /// The tick before which none is made again.
    quiet_until: Cell<u64>,
}

/// Least time between two of them, in ticks.
const EVERY: u64 = 60;

impl Complaints {
    /// Whether one may be made now.
    pub(super) fn may(&self, tick: u64) -> bool {
        let may = tick >= self.quiet_until.get();
        if may {
            self.quiet_until.set(tick + EVERY);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_complains_all_the_time() {
        let complaints = Complaints::default();

        let made = (1000..1600).filter(|tick| complaints.may(*tick)).count();

        assert_eq!(made, 10);
    }
}
