//! The breaker of a backend: a small machine in one atomic word, so that no worker ever waits.
//!
//! Closed, everything passes. Open, nothing does, for a short time. Then some calls pass as
//! probes: when enough of them succeed it closes, when one fails it opens for longer.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::condition::millis;

/// How long it stays open, and what closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// The time it stays open at first, and the longest.
    pub(super) open: (Duration, Duration),
    /// Calls that pass as probes, and how many of them must succeed; at most 100.
    pub(super) probes: u16,
}

/// How a breaker stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerPhase {
    /// Everything passes.
    #[default]
    Closed,
    /// Nothing passes.
    Open,
    /// Probes pass.
    HalfOpen,
}

impl BreakerPhase {
    /// The phase's name in API, log and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// What a call may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Pass,
    /// It passes, and its end is to be told.
    Probe,
    /// It may come again after this time.
    Refuse(Duration),
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probed {
    Well,
    Badly,
    /// Its caller left: another one may take its place.
    NotAtAll,
}

/// The breaker of a backend, of all workers.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    word: AtomicU64,
}

/// What is in the word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    phase: BreakerPhase,
    /// How often in a row it has opened again, up to [`MAX_LEVEL`].
    level: u8,
    /// Probes that may still pass.
    permits: u16,
    /// Probes that went well.
    wins: u16,
    /// Open: until when. Half open: when more probes pass, should those under way hang. In ms.
    until: u64,
}

/// Largest number of doublings; far beyond every bound of a time.
const MAX_LEVEL: u8 = 15;

impl Breaker {
    /// Asks for a call. As long as it is closed that is one load.
    #[inline]
    pub(super) fn ask(
        &self,
        now: impl FnOnce() -> Duration,
        terms: impl FnOnce() -> Terms,
    ) -> Answer {
        if self.word.load(Relaxed) == 0 {
            return Answer::Pass;
        }
        let (now, terms) = (now(), terms());
        self.change(|state| state.ask(now, terms))
    }

    /// Whether a call would pass. As long as it is closed that is one load.
    #[inline]
    pub(super) fn lets_pass(&self, now: impl FnOnce() -> Duration) -> bool {
        let word = self.word.load(Relaxed);
        word == 0 || {
            let state = State::unpack(word);
            state.permits > 0 || millis(now()) >= state.until
        }
    }

    /// Opens it, if it is closed; whether it was.
    pub(super) fn trip(&self, now: Duration, terms: Terms) -> bool {
        self.change(|state| {
            let was_closed = state.phase == BreakerPhase::Closed;
            if was_closed {
                state.open(now, terms);
            }
            was_closed
        })
    }

    /// A probe has ended.
    pub(super) fn probed(&self, how: Probed, now: Duration, terms: Terms) {
        self.change(|state| state.probed(how, now, terms));
    }

    pub(super) fn phase(&self) -> BreakerPhase {
        State::unpack(self.word.load(Relaxed)).phase
    }

    fn change<R>(&self, step: impl Fn(&mut State) -> R) -> R {
        let mut word = self.word.load(Relaxed);
        loop {
            let mut state = State::unpack(word);
            let told = step(&mut state);
            match self
                .word
                .compare_exchange_weak(word, state.pack(), Relaxed, Relaxed)
            {
                Ok(_) => return told,
                Err(other) => word = other,
            }
        }
    }
}

impl State {
    fn ask(&mut self, now: Duration, terms: Terms) -> Answer {
        let waits = self.until.saturating_sub(millis(now));
        let refuse = Answer::Refuse(Duration::from_millis(waits));
        match self.phase {
            BreakerPhase::Closed => return Answer::Pass,
            BreakerPhase::Open if waits > 0 => return refuse,
            BreakerPhase::HalfOpen if self.permits == 0 && waits > 0 => return refuse,
            BreakerPhase::HalfOpen if self.permits > 0 => {}
            BreakerPhase::Open | BreakerPhase::HalfOpen => {
                self.phase = BreakerPhase::HalfOpen;
                self.permits = terms.probes;
                self.wins = 0;
                self.until = millis(now + terms.length(self.level));
            }
        }
        self.permits = self.permits.saturating_sub(1);
        Answer::Probe
    }

    fn probed(&mut self, how: Probed, now: Duration, terms: Terms) {
        if self.phase != BreakerPhase::HalfOpen {
            return;
        }
        match how {
            Probed::NotAtAll => self.permits = (self.permits + 1).min(terms.probes),
            Probed::Well if self.wins + 1 >= terms.probes => *self = Self::default(),
            Probed::Well => self.wins += 1,
            Probed::Badly => {
                self.level = (self.level + 1).min(MAX_LEVEL);
                self.open(now, terms);
            }
        }
    }

    fn open(&mut self, now: Duration, terms: Terms) {
        self.phase = BreakerPhase::Open;
        self.permits = 0;
        self.wins = 0;
        self.until = millis(now + terms.length(self.level));
    }

    /// Zero stands for closed, and nothing else is closed.
    fn pack(self) -> u64 {
        let phase = match self.phase {
            BreakerPhase::Closed => return 0,
            BreakerPhase::Open => 1,
            BreakerPhase::HalfOpen => 2,
        };
        phase
            | u64::from(self.level & 0xF) << 2
            | u64::from(self.permits & 0x7F) << 6
            | u64::from(self.wins & 0x7F) << 13
            | self.until << 20
    }

    fn unpack(word: u64) -> Self {
        let phase = match word & 3 {
            1 => BreakerPhase::Open,
            2 => BreakerPhase::HalfOpen,
            _ => return Self::default(),
        };
        Self {
            phase,
            level: (word >> 2 & 0xF) as u8,
            permits: (word >> 6 & 0x7F) as u16,
            wins: (word >> 13 & 0x7F) as u16,
            until: word >> 20,
        }
    }
}

impl Terms {
    fn length(self, level: u8) -> Duration {
        let (first, longest) = self.open;
        first.saturating_mul(1 << level.min(MAX_LEVEL)).min(longest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TERMS: Terms = Terms {
        open: (at(100), at(250)),
        probes: 2,
    };

    const MAX_PROBES: u16 = 100;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn ask(breaker: &Breaker, ms: u64) -> Answer {
        breaker.ask(|| at(ms), || TERMS)
    }

    fn tripped() -> Breaker {
        let breaker = Breaker::default();
        assert_eq!(ask(&breaker, 0), Answer::Pass);
        assert!(breaker.trip(at(0), TERMS));
        breaker
    }

    #[test]
    fn open_refuses_until_its_time_is_over_then_lets_so_many_probes_through() {
        let breaker = tripped();

        assert_eq!(ask(&breaker, 99), Answer::Refuse(at(1)));
        assert!(!breaker.lets_pass(|| at(99)) && breaker.lets_pass(|| at(100)));
        assert_eq!(ask(&breaker, 100), Answer::Probe);
        assert!(breaker.lets_pass(|| at(100)));
        assert_eq!(ask(&breaker, 100), Answer::Probe);
        assert!(!breaker.lets_pass(|| at(100)));
        assert_eq!(ask(&breaker, 100), Answer::Refuse(at(100)));
        assert_eq!(breaker.phase(), BreakerPhase::HalfOpen);
    }

    #[test]
    fn it_closes_when_every_probe_went_well() {
        let breaker = tripped();
        ask(&breaker, 100);
        breaker.probed(Probed::Well, at(101), TERMS);
        assert_eq!(breaker.phase(), BreakerPhase::HalfOpen);
        ask(&breaker, 101);
        breaker.probed(Probed::Well, at(102), TERMS);

        assert_eq!(ask(&breaker, 102), Answer::Pass);
        assert_eq!(breaker.phase(), BreakerPhase::Closed);
    }

    #[test]
    fn a_probe_that_fails_opens_it_for_twice_as_long_up_to_a_bound() {
        let breaker = tripped();
        let mut now = 0;
        let mut lengths = Vec::new();
        for _ in 0..4 {
            let Answer::Refuse(left) = ask(&breaker, now) else {
                panic!("open")
            };
            lengths.push(left.as_millis());
            now += left.as_millis() as u64;
            assert_eq!(ask(&breaker, now), Answer::Probe);
            breaker.probed(Probed::Badly, at(now), TERMS);
        }

        assert_eq!(lengths, [100, 200, 250, 250]);
    }

    #[test]
    fn a_probe_whose_caller_left_makes_room_for_another() {
        let breaker = tripped();
        ask(&breaker, 100);
        ask(&breaker, 100);

        breaker.probed(Probed::NotAtAll, at(100), TERMS);

        assert_eq!(ask(&breaker, 100), Answer::Probe);
        assert_eq!(ask(&breaker, 100), Answer::Refuse(at(100)));
    }

    #[test]
    fn probes_that_hang_do_not_keep_it_half_open_for_ever() {
        let breaker = tripped();
        ask(&breaker, 100);
        ask(&breaker, 100);
        assert_eq!(ask(&breaker, 199), Answer::Refuse(at(1)));

        assert_eq!(ask(&breaker, 200), Answer::Probe);
    }

    #[test]
    fn what_ends_after_it_closed_changes_nothing() {
        let breaker = Breaker::default();

        breaker.probed(Probed::Badly, at(5), TERMS);

        assert_eq!(breaker.phase(), BreakerPhase::Closed);
        assert!(breaker.trip(at(5), TERMS) && !breaker.trip(at(6), TERMS));
    }

    proptest! {
        #[test]
        fn the_word_holds_every_state(
            half in any::<bool>(),
            level in 0..=MAX_LEVEL,
            permits in 0..=MAX_PROBES,
            wins in 0..=MAX_PROBES,
            until in 0u64..1 << 43,
        ) {
            let phase = if half { BreakerPhase::HalfOpen } else { BreakerPhase::Open };
            let state = State { phase, level, permits, wins, until };

            prop_assert_eq!(State::unpack(state.pack()), state);
        }
    }
}
