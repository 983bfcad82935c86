//! What the whole process knows of one endpoint: whether it is fit to be called.
//!
//! Any worker writes here, all of them read, and none waits: an attempt costs a relaxed load or
//! two. What is counted of calls is in a shard a worker ([`Shard`]), as everywhere.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::ended::{Ended, Failure};
use super::health::{CheckReport, Checks, Conclusion, HealthReport, Question};
use super::shard::{Shard, Shards, Tally};
use super::spec::HealthSpec;

/// Health checks have found the endpoint unfit.
const UNHEALTHY: u8 = 1;
/// The endpoint is ejected: calls to it failed.
const EJECTED: u8 = 2;
/// The endpoint wants no new traffic, or is starting.
const UNREADY: u8 = 4;

/// What the whole process knows of one endpoint. One for each endpoint of a backend, for as long as
/// the file names it.
#[derive(Debug, Default)]
pub struct Condition {
    /// Why it is unfit; zero when it is fit.
    marks: AtomicU8,
    /// Attempts in a row that failed so, by [`Failure`].
    streaks: [AtomicU32; Failure::COUNT],
    ejection: Ejection,
    /// The file does not name it any more.
    gone: AtomicBool,
    /// What its name had last, if it was looked up.
    addresses: ArcSwapOption<Vec<SocketAddr>>,
    lookup_failures: AtomicU64,
    /// Written by the health checks; the request path sees their marks alone.
    checks: Mutex<Checks>,
    shards: Mutex<Shards>,
}

/// The latest ejection; times are in ms since the process's conditions began.
#[derive(Debug, Default)]
struct Ejection {
    until: AtomicU64,
    /// How long it lasts, in ms.
    lasts: AtomicU64,
    /// Ejections that followed each other soon.
    repeats: AtomicU32,
    total: AtomicU64,
}

impl Condition {
    /// Whether calls may go there: its checks do not fail and it is not ejected.
    #[inline]
    pub fn is_usable(&self) -> bool {
        self.marks.load(Relaxed) == 0
    }

    /// Whether it is ejected.
    pub fn is_ejected(&self) -> bool {
        self.marks.load(Relaxed) & EJECTED != 0
    }

    /// Until when it is ejected, counted from the beginning of the process's conditions.
    pub fn ejected_until(&self) -> Option<Duration> {
        self.is_ejected()
            .then(|| Duration::from_millis(self.ejection.until.load(Relaxed)))
    }

    /// How often it was ejected.
    pub fn ejections(&self) -> u64 {
        self.ejection.total.load(Relaxed)
    }

    /// What its health checks have found out.
    pub fn health(&self) -> HealthReport {
        self.checks().report()
    }

    /// Whether its health checks say that it does not live.
    pub fn is_unhealthy(&self) -> bool {
        self.marks.load(Relaxed) & UNHEALTHY != 0
    }

    /// Its health checks go by what the file says from now on.
    pub(super) fn keep_checks(&self, spec: Option<&HealthSpec>, now: Duration) {
        let mut checks = self.checks();
        checks.keep(spec, now);
        self.mark(&checks);
    }

    /// A health check has come to this.
    pub(super) fn checked(&self, question: Question, conclusion: Conclusion, report: CheckReport) {
        let mut checks = self.checks();
        checks.note(question, conclusion, report);
        self.mark(&checks);
    }

    pub(super) fn conclusion(&self, question: Question) -> Conclusion {
        self.checks().conclusion(question)
    }

    /// Tells the request path what the checks have come to.
    fn mark(&self, checks: &Checks) {
        for (mark, is_set) in [
            (UNHEALTHY, checks.is_unhealthy()),
            (UNREADY, checks.is_unready()),
        ] {
            if is_set {
                self.marks.fetch_or(mark, Relaxed);
            } else {
                self.marks.fetch_and(!mark, Relaxed);
            }
        }
    }

    fn checks(&self) -> MutexGuard<'_, Checks> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An attempt has ended so; how many in a row have failed in the same way, if it failed.
    pub(super) fn note(&self, ended: Ended) -> Option<(Failure, u32)> {
        let failure = match ended {
            Ended::Unknown => return None,
            Ended::Answered => None,
            Ended::Failed(failure) => Some(failure),
        };
        for other in Failure::ALL {
            // What came further than that has shown that this does not fail.
            if failure.is_none_or(|failure| other < failure) {
                self.reset(other);
            }
        }
        let streak = self.streaks.get(failure?.index())?;
        Some((failure?, streak.fetch_add(1, Relaxed).saturating_add(1)))
    }

    fn reset(&self, failure: Failure) {
        if let Some(streak) = self.streaks.get(failure.index())
            && streak.load(Relaxed) != 0
        {
            // A load first: as long as nothing fails the line stays in every core's cache.
            streak.store(0, Relaxed);
        }
    }

    /// The file does not name it any more.
    pub(super) fn set_gone(&self) {
        self.gone.store(true, Relaxed);
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Relaxed)
    }

    /// Marks it as ejected; `false` when it was already.
    pub(super) fn mark_ejected(&self) -> bool {
        self.marks.fetch_or(EJECTED, Relaxed) & EJECTED == 0
    }

    /// Takes the mark away; `false` when there was none.
    pub(super) fn take_back(&self) -> bool {
        self.marks.fetch_and(!EJECTED, Relaxed) & EJECTED != 0
    }

    /// Sets how long the ejection that was just marked lasts: `time` doubled with each one that
    /// follows within its own length of the one before, at most `max`, and by `chance` (0 to 1) up
    /// to a tenth more.
    pub(super) fn lasts(&self, (time, max): (Duration, Duration), chance: f64, now: Duration) {
        let ejection = &self.ejection;
        let forgotten = ejection.until.load(Relaxed) + ejection.lasts.load(Relaxed);
        let repeats = if millis(now) > forgotten {
            0
        } else {
            ejection.repeats.load(Relaxed)
        };
        let doubled = time.saturating_mul(1u32.checked_shl(repeats).unwrap_or(u32::MAX));
        let length = doubled.min(max).mul_f64(1.0 + chance / 10.0);
        ejection.repeats.store(repeats.saturating_add(1), Relaxed);
        ejection.lasts.store(millis(length), Relaxed);
        ejection.until.store(millis(now + length), Relaxed);
        ejection.total.fetch_add(1, Relaxed);
    }

    /// Whether it is ejected and its time is over.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.is_ejected() && millis(now) >= self.ejection.until.load(Relaxed)
    }

    /// The addresses that its name had last.
    pub(super) fn addresses(&self) -> Option<Arc<Vec<SocketAddr>>> {
        self.addresses.load_full()
    }

    /// Its name was looked up.
    pub(super) fn learn(&self, found: Vec<SocketAddr>) -> Arc<Vec<SocketAddr>> {
        let found = Arc::new(found);
        self.addresses.store(Some(Arc::clone(&found)));
        found
    }

    /// Its name could not be looked up: what it had last is kept.
    pub(super) fn lost(&self) {
        self.lookup_failures.fetch_add(1, Relaxed);
    }

    /// How often its name could not be looked up in the background.
    pub fn lookup_failures(&self) -> u64 {
        self.lookup_failures.load(Relaxed)
    }

    /// A worker's counts of the calls there; given back with [`Condition::leave`].
    pub(super) fn join(&self) -> Arc<Shard> {
        self.shards().join()
    }

    pub(super) fn leave(&self, shard: &Arc<Shard>) {
        self.shards().leave(shard);
    }

    /// What all workers have counted.
    pub fn tally(&self) -> Tally {
        self.shards().sum()
    }

    fn shards(&self) -> MutexGuard<'_, Shards> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn failed(condition: &Condition, failure: Failure) -> u32 {
        condition.note(Ended::Failed(failure)).unwrap().1
    }

    #[test]
    fn failures_count_in_a_row_of_their_kind() {
        let condition = Condition::default();

        assert_eq!(failed(&condition, Failure::Unreachable), 1);
        assert_eq!(failed(&condition, Failure::Unreachable), 2);
        assert_eq!(condition.note(Ended::Unknown), None);
        assert_eq!(failed(&condition, Failure::Unreachable), 3);
        assert_eq!(condition.note(Ended::Answered), None);
        assert_eq!(failed(&condition, Failure::Unreachable), 1);
    }

    #[test]
    fn an_error_answered_shows_that_the_server_can_be_reached_and_answers() {
        let condition = Condition::default();
        failed(&condition, Failure::Unreachable);
        failed(&condition, Failure::ServerError);
        failed(&condition, Failure::Unanswered);
        failed(&condition, Failure::Unreachable);

        assert_eq!(failed(&condition, Failure::ServerError), 2);
        assert_eq!(failed(&condition, Failure::Unanswered), 1);
        assert_eq!(failed(&condition, Failure::Unreachable), 1);
    }

    #[test]
    fn ejections_that_follow_soon_last_twice_as_long_each_up_to_a_bound() {
        let condition = Condition::default();
        let mut now = at(1);
        let mut lengths = Vec::new();
        for _ in 0..4 {
            assert!(condition.mark_ejected() && !condition.mark_ejected());
            condition.lasts((at(100), at(300)), 0.0, now);
            let until = condition.ejected_until().unwrap();
            lengths.push(until.saturating_sub(now).as_millis());
            assert!(!condition.is_due(until.saturating_sub(at(1))) && condition.is_due(until));
            now = until;
            assert!(condition.take_back() && !condition.take_back());
        }

        assert_eq!(lengths, [100, 200, 300, 300]);
        assert_eq!(condition.ejections(), 4);
    }

    #[test]
    fn after_a_quiet_time_the_first_ejection_is_short_again() {
        let condition = Condition::default();
        condition.lasts((at(100), at(900)), 0.0, at(1));
        condition.lasts((at(100), at(900)), 1.0, at(101));
        assert_eq!(condition.ejection.until.load(Relaxed), 101 + 220);

        condition.lasts((at(100), at(900)), 0.0, at(101 + 220 + 220 + 1));

        assert_eq!(condition.ejection.lasts.load(Relaxed), 100);
    }
}
