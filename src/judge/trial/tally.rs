//! Small counts for the record.

use serde::{Deserialize, Serialize};

use crate::judge::baseline::few;
use crate::judge::bets::Labels;

/// Events of both arms for the record; more than fit count as that many.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) stable: u32,
    pub(super) candidate: u32,
}

impl Tally {
    pub(super) fn add(&mut self, more: Labels) {
        self.stable = self.stable.saturating_add(few(more.stable));
        self.candidate = self.candidate.saturating_add(few(more.candidate));
    }
}
