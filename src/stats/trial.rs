//! What the judge needs from the workers while a rollout runs: one trial per stage.
//!
//! A request belongs to the trial of the snapshot that it started with, so its outcome counts
//! at the share that its assignment had, however long it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::model::{Outcome, OutcomeSet, Role};

use super::assigned::Assigned;
use super::counter::Counter;
use super::incident::{CallId, Incident, Wrong};
use super::window::{TrialWindow, WINDOWS, WindowCounts, WindowNumber};

/// How many slowness limits an arm has; the judge says what each means.
pub const LIMITS: usize = 6;
/// Bad calls that wait for the judge, over all workers. More are counted as dropped.
const QUEUE: usize = 4096;
/// The latest incidents of one kind that wait for control; they are for people, so that older ones
/// may go.
const INCIDENTS: usize = 8;
/// The limit whose passing by a call of stable's is an incident: the first of its slowest calls.
const STABLE_INCIDENT: usize = 3;
/// The mark of a call that has passed the guard's limit.
const LATE: u8 = 1 << 7;

/// One bad call, told to the judge one by one because it asks whose it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadCall {
    /// Whose it was.
    pub role: Role,
    /// A hash of the caller's session or key, for counting one caller once; `None` when the
    /// request had no key.
    pub key: Option<u64>,
    /// What happened.
    pub outcome: Outcome,
}

/// One worker's counts of one arm.
#[derive(Debug)]
pub struct TrialArm {
    calls: Counter,
    reached: Counter,
    slow: [Counter; LIMITS],
    late: Counter,
    /// By the place of the window.
    windows: Box<[TrialWindow]>,
}

impl Default for TrialArm {
    fn default() -> Self {
        Self {
            calls: Counter::default(),
            reached: Counter::default(),
            slow: Default::default(),
            late: Counter::default(),
            windows: (0..WINDOWS).map(|_| TrialWindow::default()).collect(),
        }
    }
}

/// One open call as the trial knows it; whoever holds the call keeps it.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    window: WindowNumber,
    /// The limits that the call has passed, a bit each.
    passed: u8,
}

/// The counts of one arm, summed over workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArmCounts {
    /// Finished calls whose caller stayed.
    pub calls: u64,
    /// Those of them that reached the backend.
    pub reached: u64,
    /// Calls that passed each limit, open ones included as soon as they pass it.
    pub slow: [u64; LIMITS],
    /// Calls that passed the guard's limit, open ones included.
    pub late: u64,
}

impl ArmCounts {
    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut slow = self.slow;
        for (now, then) in slow.iter_mut().zip(&earlier.slow) {
            *now = now.saturating_sub(*then);
        }
        Self {
            calls: self.calls.saturating_sub(earlier.calls),
            reached: self.reached.saturating_sub(earlier.reached),
            slow,
            late: self.late.saturating_sub(earlier.late),
        }
    }
}

/// The evidence of one stage of one rollout. Workers write, control reads.
#[derive(Debug)]
pub struct Trial {
    /// By worker, then by [`Role::index`]; each pair is written by its worker alone.
    workers: Vec<[TrialArm; 2]>,
    /// In µs, by [`Role::index`]; written by control, read by workers.
    limits: [[AtomicU64; LIMITS]; 2],
    /// In µs, what a guard lets the candidate's calls take; as `limits`.
    late_us: AtomicU64,
    /// The window that calls begin in now; written by control, read by workers.
    window: AtomicU32,
    bad_outcomes: OutcomeSet,
    bad: ArrayQueue<BadCall>,
    dropped: AtomicU64,
    /// What went wrong of late: bad and slow calls, by [`Role::index`].
    incidents: [[ArrayQueue<Incident>; 2]; 2],
    /// Where each of the latest requests went, if anybody wants to know.
    assigned: Option<Arc<Assigned>>,
    /// The moment that `unseen_us` counts from.
    began: Instant,
    /// When the oldest of what control has been woken for and has not looked at was recorded, in
    /// µs; 0 for nothing. Written by workers, taken by control.
    unseen_us: AtomicU64,
    wake: Arc<Notify>,
}

impl Trial {
    /// A trial over this many workers; `wake` is told when something of the candidate's is
    /// worth a look. No call is slow until limits are set.
    pub fn new(workers: usize, bad_outcomes: OutcomeSet, wake: Arc<Notify>) -> Self {
        Self {
            workers: (0..workers).map(|_| Default::default()).collect(),
            limits: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(u64::MAX))),
            late_us: AtomicU64::new(u64::MAX),
            window: AtomicU32::new(0),
            bad_outcomes,
            bad: ArrayQueue::new(QUEUE),
            dropped: AtomicU64::new(0),
            incidents: std::array::from_fn(|_| std::array::from_fn(|_| ArrayQueue::new(INCIDENTS))),
            assigned: None,
            began: Instant::now(),
            unseen_us: AtomicU64::new(0),
            wake,
        }
    }

    /// The same, with a place to note where requests went.
    #[must_use]
    pub fn noting(self, assigned: Option<Arc<Assigned>>) -> Self {
        Self { assigned, ..self }
    }

    /// Worker: a request with this id goes to `role`.
    pub fn assign(&self, worker: usize, id: &CallId, role: Role) {
        if let Some(assigned) = &self.assigned {
            assigned.note(worker, id, role);
        }
    }

    /// Control: from now on a call of `role` passes limit `index` when it takes longer than this.
    pub fn set_limit(&self, role: Role, index: usize, limit: Duration) {
        if let Some(slot) = self.limits.get(role.index()).and_then(|arm| arm.get(index)) {
            slot.store(
                u64::try_from(limit.as_micros()).unwrap_or(u64::MAX),
                Ordering::Relaxed,
            );
        }
    }

    /// Control: from now on a candidate's call is late for the guard when it takes longer.
    pub fn set_late(&self, limit: Duration) {
        let us = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        self.late_us.store(us, Ordering::Relaxed);
    }

    /// Control: calls that begin from now on belong to the window after the latest one. Returns
    /// its number.
    ///
    /// What its place holds at this moment belongs to older windows; read it before.
    pub fn open_window(&self) -> WindowNumber {
        let next = self.window().next();
        self.window.store(next.get(), Ordering::Relaxed);
        next
    }

    /// The window that calls begin in now.
    pub fn window(&self) -> WindowNumber {
        WindowNumber::new(self.window.load(Ordering::Relaxed))
    }

    /// Control: what was counted for `role` in the place that `window` has, the windows that
    /// had it before included.
    pub fn window_counts(&self, window: WindowNumber, role: Role) -> WindowCounts {
        let arms = self
            .workers
            .iter()
            .filter_map(|arms| arms.get(role.index()));
        let mut sum = WindowCounts::default();
        for counted in arms.filter_map(|arm| arm.windows.get(window.place())) {
            counted.add_to(&mut sum);
        }
        sum
    }

    /// Worker: a call begins whose latency tells something.
    pub fn begin(&self, worker: usize, role: Role) -> Marks {
        let window = self.window();
        let arm = self.arm(worker, role);
        if let Some(counted) = arm.and_then(|arm| arm.windows.get(window.place())) {
            counted.begin();
        }
        Marks { window, passed: 0 }
    }

    /// Worker: a call of `role` has taken `age` so far. Counts each limit that it has passed
    /// since the last time, in total and for the window that the call began in. Tells whether that
    /// is worth [`Trial::note`].
    pub fn mark(&self, worker: usize, role: Role, age: Duration, marks: &mut Marks) -> bool {
        let us = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        let (Some(limits), Some(arm)) = (self.limits.get(role.index()), self.arm(worker, role))
        else {
            return false;
        };
        let before = marks.passed;
        let window = (arm.windows.get(marks.window.place()))
            .filter(|_| marks.window.keeps_its_place(self.window()));
        for (index, (limit, slow)) in limits.iter().zip(&arm.slow).enumerate() {
            if before & (1 << index) == 0 && us > limit.load(Ordering::Relaxed) {
                marks.passed |= 1 << index;
                slow.add(1);
                if let Some(window) = window {
                    window.mark(index);
                }
            }
        }
        let is_late = role == Role::Candidate && us > self.late_us.load(Ordering::Relaxed);
        if is_late && before & LATE == 0 {
            marks.passed |= LATE;
            arm.late.add(1);
        }
        let news = marks.passed & !before;
        if role == Role::Candidate && news != 0 {
            self.wake_control();
        }
        match role {
            Role::Candidate => news != 0,
            Role::Stable => news >> STABLE_INCIDENT != 0,
        }
    }

    /// Worker: a call went wrong. To be told before [`Trial::end`], whose verdict may want it.
    pub fn note(&self, incident: Incident) {
        let [bad, slow] = &self.incidents;
        let kind = match incident.wrong {
            Wrong::Bad(_) => bad,
            Wrong::Slow => slow,
        };
        if let Some(latest) = kind.get(incident.about.role.index()) {
            // The oldest one makes room.
            latest.force_push(incident);
        }
    }

    /// Control: an incident that nobody has taken yet; of one kind and arm the oldest first.
    pub fn next_incident(&self) -> Option<Incident> {
        self.incidents.iter().flatten().find_map(ArrayQueue::pop)
    }

    /// Worker: a call has ended. Its slowness is marked before, with [`Trial::mark`].
    pub fn end(&self, worker: usize, call: BadCall) {
        if call.outcome.tells_nothing() {
            return;
        }
        if let Some(arm) = self.arm(worker, call.role) {
            arm.calls.add(1);
            arm.reached
                .add(u64::from(call.outcome != Outcome::Unreachable));
        }
        if !self.is_bad(call.outcome) {
            return;
        }
        if self.bad.push(call).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if call.role == Role::Candidate {
            self.wake_control();
        }
    }

    fn wake_control(&self) {
        if self.unseen_us.load(Ordering::Relaxed) == 0 {
            let us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
            // Several may come at once: the first of them is the oldest, to a few µs.
            self.unseen_us.store(us.max(1), Ordering::Relaxed);
        }
        self.wake.notify_one();
    }

    /// Control: when the oldest of what came since the last such call was recorded. To be asked
    /// before anything else is read.
    pub fn take_unseen(&self) -> Option<Instant> {
        let us = self.unseen_us.swap(0, Ordering::Relaxed);
        (us > 0).then(|| self.began + Duration::from_micros(us))
    }

    /// Whether an outcome counts against a backend.
    pub fn is_bad(&self, outcome: Outcome) -> bool {
        self.bad_outcomes.contains(outcome)
    }

    /// Control: the next bad call, oldest first.
    pub fn next_bad(&self) -> Option<BadCall> {
        self.bad.pop()
    }

    /// Control: the sum of all workers for `role`.
    pub fn counts(&self, role: Role) -> ArmCounts {
        let mut sum = ArmCounts::default();
        for arm in self
            .workers
            .iter()
            .filter_map(|arms| arms.get(role.index()))
        {
            sum.calls += arm.calls.read();
            sum.reached += arm.reached.read();
            sum.late += arm.late.read();
            for (total, slow) in sum.slow.iter_mut().zip(&arm.slow) {
                *total += slow.read();
            }
        }
        sum
    }

    /// Bad calls that were not told one by one because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn arm(&self, worker: usize, role: Role) -> Option<&TrialArm> {
        self.workers.get(worker)?.get(role.index())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial() -> Trial {
        Trial::new(2, OutcomeSet::BAD, Arc::new(Notify::new()))
    }

    fn call(role: Role, outcome: Outcome) -> BadCall {
        BadCall {
            role,
            key: None,
            outcome,
        }
    }

    #[test]
    fn a_call_is_slow_once_however_often_it_is_looked_at() {
        let trial = trial();
        trial.set_limit(Role::Candidate, 0, Duration::from_millis(10));
        let mut marks = trial.begin(0, Role::Candidate);

        for ms in [5, 11, 20, 30] {
            trial.mark(0, Role::Candidate, Duration::from_millis(ms), &mut marks);
        }

        assert_eq!(trial.counts(Role::Candidate).slow, [1, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_call_is_slow_in_the_window_that_it_began_in() {
        let trial = trial();
        trial.set_limit(Role::Stable, 2, Duration::from_millis(10));
        let first = trial.window();
        let mut marks = trial.begin(0, Role::Stable);
        let second = trial.open_window();
        trial.begin(1, Role::Stable);
        trial.begin(1, Role::Stable);

        trial.mark(0, Role::Stable, Duration::from_millis(11), &mut marks);

        let [first, second] = [first, second].map(|w| trial.window_counts(w, Role::Stable));
        assert_eq!((first.begun, first.slow), (1, [0, 0, 1, 0, 0, 0]));
        assert_eq!((second.begun, second.slow), (2, [0; LIMITS]));
    }

    #[test]
    fn a_call_that_outlived_its_window_is_slow_in_no_other() {
        let trial = trial();
        trial.set_limit(Role::Stable, 0, Duration::from_millis(10));
        let mut marks = trial.begin(0, Role::Stable);
        (0..WINDOWS).for_each(|_| {
            trial.open_window();
        });

        trial.mark(0, Role::Stable, Duration::from_secs(99), &mut marks);

        let in_its_place = trial.window_counts(trial.window(), Role::Stable);
        assert_eq!(in_its_place.slow, [0; LIMITS]);
        assert_eq!(trial.counts(Role::Stable).slow, [1, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn only_bad_outcomes_are_told_one_by_one() {
        let trial = trial();
        trial.end(0, call(Role::Stable, Outcome::Success));
        trial.end(1, call(Role::Candidate, Outcome::ToolError));
        trial.end(1, call(Role::Candidate, Outcome::ClientError));
        trial.end(1, call(Role::Candidate, Outcome::Cancelled));

        assert_eq!(
            trial.next_bad(),
            Some(call(Role::Candidate, Outcome::ToolError))
        );
        assert_eq!(trial.next_bad(), None);
        assert_eq!(
            (
                trial.counts(Role::Stable).calls,
                trial.counts(Role::Candidate).calls
            ),
            (1, 2)
        );
    }

    #[test]
    fn a_flood_of_bad_calls_is_bounded_and_counted() {
        let trial = trial();
        for _ in 0..QUEUE + 7 {
            trial.end(0, call(Role::Candidate, Outcome::ServerError));
        }

        assert_eq!(trial.dropped(), 7);
        assert_eq!(trial.counts(Role::Candidate).calls, QUEUE as u64 + 7);
    }
}
