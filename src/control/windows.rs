//! The windows of one trial: opened, over, and read when everything about them is known.

use std::collections::VecDeque;
use std::time::Duration;

use crate::judge::Share;
use crate::model::Role;
use crate::stats::{LIMITS, Trial, WindowCounts, WindowNumber};

use super::pinned::{Begun, Shares, is_over, share_of};

/// Slow calls of stable and candidate, by limit.
pub(super) type Slow = [[u64; LIMITS]; 2];

/// The windows of one trial.
#[derive(Debug)]
pub(super) struct Windows {
    shares: Shares,
    open: Window,
    opened: Duration,
    /// Windows that are over, oldest first, while their places are theirs.
    over: VecDeque<Over>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    number: WindowNumber,
    /// What was at its place before it.
    before: [WindowCounts; 2],
}

/// A window in which no call begins any more.
#[derive(Clone, Copy, Debug)]
struct Over {
    window: Window,
    ended: Duration,
    share: f64,
    /// By limit.
    told: [bool; LIMITS],
}

impl Windows {
    /// A trial begins in which new sessions are given out by `weight`; `before` is the
    /// candidate's share until now.
    pub(super) fn new(trial: &Trial, weight: f64, before: f64, now: Duration) -> Self {
        Self {
            shares: Shares::new(weight, before, now),
            open: Window::at(trial, trial.window()),
            opened: now,
            over: VecDeque::new(),
        }
    }

    /// The candidate's latest known share.
    pub(super) fn last(&self) -> f64 {
        self.shares.last()
    }

    /// Bounds of the candidate's share at this moment.
    pub(super) fn share(&self, trial: &Trial, now: Duration) -> Share {
        self.shares.now(now, self.open.begun(trial))
    }

    /// Closes the open window when it holds enough.
    pub(super) fn turn(&mut self, trial: &Trial, now: Duration) {
        let age = now.saturating_sub(self.opened);
        if is_over(age, self.open.begun(trial)) {
            self.close(trial, now);
        }
    }

    /// Closes the open window if it holds anything.
    pub(super) fn close(&mut self, trial: &Trial, now: Duration) {
        self.opened = now;
        if share_of(self.open.begun(trial)).is_none() {
            return;
        }
        // A call that begins between the next two lines counts for neither window.
        let next = Window::at(trial, self.open.number.next());
        trial.open_window();
        let begun = self.open.begun(trial);
        self.shares.note(now, begun);
        if let Some(share) = share_of(begun) {
            let window = self.open;
            self.over.push_back(Over {
                window,
                ended: now,
                share,
                told: [false; LIMITS],
            });
        }
        self.open = next;
    }

    /// Whether windows are over that have not been told.
    pub(super) fn wait(&self) -> bool {
        !self.over.is_empty()
    }

    /// Lets go of the windows that are over.
    pub(super) fn forget(&mut self) {
        self.over.clear();
    }

    /// Tells, for each window that is over, which of its calls were slow, with the share that the
    /// candidate had of them.
    ///
    /// Each limit is told once, as soon as every call of the window has either ended or passed
    /// it: the candidate's limits are longer, so its slow calls come later than stable's.
    pub(super) fn read(
        &mut self,
        trial: &Trial,
        (limits, now): (&[Duration; LIMITS], Duration),
        mut tell: impl FnMut(f64, Slow),
    ) {
        for over in &mut self.over {
            let slow = over.newly_known(trial, limits, now);
            if slow != Slow::default() {
                tell(over.share, slow);
            }
        }
        // The place of a window that the next one will take is not its own any longer.
        let next = self.open.number.next();
        let gone = |over: &Over| over.is_told() || !over.window.number.keeps_its_place(next);
        while self.over.front().is_some_and(gone) {
            self.over.pop_front();
        }
    }
}

impl Over {
    fn newly_known(&mut self, trial: &Trial, limits: &[Duration; LIMITS], now: Duration) -> Slow {
        let counts = self.window.counts(trial);
        let mut slow = Slow::default();
        for (slot, (told, limit)) in self.told.iter_mut().zip(limits).enumerate() {
            if *told || now < self.ended.saturating_add(*limit) {
                continue;
            }
            *told = true;
            for (slow, counts) in slow.iter_mut().zip(&counts) {
                if let (Some(slow), Some(count)) = (slow.get_mut(slot), counts.slow.get(slot)) {
                    *slow = *count;
                }
            }
        }
        slow
    }

    fn is_told(&self) -> bool {
        self.told.iter().all(|told| *told)
    }
}

impl Window {
    fn at(trial: &Trial, number: WindowNumber) -> Self {
        Self {
            number,
            before: Role::BOTH.map(|role| trial.window_counts(number, role)),
        }
    }

    fn counts(&self, trial: &Trial) -> [WindowCounts; 2] {
        let mut counts = Role::BOTH.map(|role| trial.window_counts(self.number, role));
        for (counts, before) in counts.iter_mut().zip(&self.before) {
            *counts = counts.since(before);
        }
        counts
    }

    fn begun(&self, trial: &Trial) -> Begun {
        self.counts(trial).map(|counts| counts.begun)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Notify;

    use crate::model::OutcomeSet;
    use crate::stats::WINDOWS;

    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn trial() -> Trial {
        let trial = Trial::new(1, OutcomeSet::BAD, Arc::new(Notify::new()));
        for role in Role::BOTH {
            trial.set_limit(role, 0, Duration::from_millis(10));
        }
        trial
    }

    /// Calls begin, of which every second one will be slow.
    fn calls(trial: &Trial, role: Role, count: u64, slow_after: impl Fn()) {
        let mut open: Vec<_> = (0..count).map(|_| trial.begin(0, role)).collect();
        slow_after();
        for marks in open.iter_mut().step_by(2) {
            trial.mark(0, role, Duration::from_millis(11), marks);
        }
    }

    const LIMIT: Duration = Duration::from_millis(100);

    fn told(windows: &mut Windows, trial: &Trial, seconds: u64) -> Vec<(f64, u64, u64)> {
        let mut told = Vec::new();
        let since = (&[LIMIT; LIMITS], at(seconds) + LIMIT);
        windows.read(trial, since, |share, [stable, candidate]| {
            told.push((share, stable[0], candidate[0]));
        });
        told
    }

    #[test]
    fn slow_calls_wait_for_the_share_of_their_window() {
        let trial = trial();
        let mut windows = Windows::new(&trial, 0.5, 0.0, at(0));
        calls(&trial, Role::Candidate, 60, || {});
        windows.turn(&trial, at(1));
        assert_eq!(told(&mut windows, &trial, 1), []);

        calls(&trial, Role::Stable, 180, || {});
        windows.turn(&trial, at(2));

        assert_eq!(told(&mut windows, &trial, 2), [(0.25, 90, 30)]);
        assert_eq!(told(&mut windows, &trial, 3), []);
    }

    #[test]
    fn a_limit_is_told_when_every_call_has_had_the_time_to_pass_it() {
        let trial = trial();
        let mut windows = Windows::new(&trial, 0.5, 0.0, at(0));
        calls(&trial, Role::Stable, 300, || {});
        windows.close(&trial, at(1));
        let mut limits = [at(1); LIMITS];
        limits[0] = at(3);
        let mut told_at = |seconds| {
            let mut told = 0;
            windows.read(&trial, (&limits, at(seconds)), |_, [stable, _]| {
                told += stable[0];
            });
            (told, windows.over.len())
        };

        let told = [1, 2, 3, 4, 5].map(&mut told_at);

        assert_eq!(told, [(0, 1), (0, 1), (0, 1), (150, 0), (0, 0)]);
    }

    #[test]
    fn a_call_that_is_slow_later_counts_at_the_share_it_began_with() {
        let trial = trial();
        let windows = std::cell::RefCell::new(Windows::new(&trial, 0.5, 0.0, at(0)));
        calls(&trial, Role::Stable, 100, || {});

        calls(&trial, Role::Candidate, 100, || {
            windows.borrow_mut().turn(&trial, at(1));
            calls(&trial, Role::Stable, 300, || {});
        });
        let mut windows = windows.into_inner();
        windows.turn(&trial, at(2));

        let expected = [(0.5, 50, 50), (0.0, 150, 0)];
        assert_eq!(told(&mut windows, &trial, 2), expected);
    }

    #[test]
    fn however_many_windows_there_were_each_call_is_told_once() {
        let trial = trial();
        let mut windows = Windows::new(&trial, 0.5, 0.0, at(0));
        let mut slow = 0;
        for second in 1..=5 * WINDOWS as u64 {
            calls(&trial, Role::Candidate, 100, || {});
            calls(&trial, Role::Stable, 100, || {});
            windows.turn(&trial, at(second));
            for (share, stable, candidate) in told(&mut windows, &trial, second) {
                assert_eq!((share, stable, candidate), (0.5, 50, 50), "{second}");
                slow += stable + candidate;
            }
        }

        assert_eq!(slow, 5 * WINDOWS as u64 * 100);
        assert!(windows.over.is_empty());
    }

    #[test]
    fn windows_that_cannot_be_told_in_time_are_let_go() {
        let trial = trial();
        let mut windows = Windows::new(&trial, 0.5, 0.0, at(0));
        for second in 1..=3 * WINDOWS as u64 {
            calls(&trial, Role::Stable, 300, || {});
            windows.close(&trial, at(second));
            windows.read(&trial, (&[Duration::MAX; LIMITS], at(second)), |_, _| {
                panic!("not known yet");
            });
        }

        assert!((WINDOWS / 2..WINDOWS).contains(&windows.over.len()));
    }
}
