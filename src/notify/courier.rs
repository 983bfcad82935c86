//! One notifier at work: what waits for it, and the task that brings it there.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::notice::{Message, Notice};
use super::post::{Answer, PostError, Receiver};
use super::spec::{NotifierKind, NotifierSpec};

/// Counts notices by what became of them.
pub(super) const NOTICES: &str = "switchback_notices_total";
/// Counts posts that did not get a notice there, so that it was tried again or given up.
pub(super) const ATTEMPTS_FAILED: &str = "switchback_notice_attempts_failed_total";
/// The wait after the first failed attempt; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// A notifier of the file: its name, what the file says of it, and what waits for it.
#[derive(Debug)]
pub(super) struct Courier {
    pub(super) name: String,
    /// Replaced by a reload, read for each attempt.
    pub(super) spec: ArcSwap<NotifierSpec>,
    folder: PathBuf,
    /// Whose notices these are.
    source: Arc<str>,
    waiting: Mutex<VecDeque<Waiting>>,
    woken: Notify,
    pub(super) log: Mutex<Log>,
}

/// A notice and when it was told.
#[derive(Clone, Debug)]
struct Waiting {
    notice: Arc<Notice>,
    since: Instant,
}

/// What became of notices.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    pub(super) sent: u64,
    pub(super) failed: u64,
    pub(super) dropped: u64,
    /// Why the latest attempt failed; `None` once one went well.
    pub(super) error: Option<String>,
}

/// What came of an attempt.
enum Attempt {
    Done,
    /// It may go better later, though not before this.
    Again(String, Option<Duration>),
    /// It will not go better.
    Never(String),
}

impl Courier {
    pub(super) fn new(
        name: &str,
        spec: NotifierSpec,
        (folder, source): (PathBuf, Arc<str>),
    ) -> Self {
        for result in ["sent", "failed", "dropped"] {
            count(name, result, 0);
        }
        Self {
            name: name.to_owned(),
            spec: ArcSwap::from_pointee(spec),
            folder,
            source,
            waiting: Mutex::default(),
            woken: Notify::new(),
            log: Mutex::default(),
        }
    }

    /// Notes a notice; never waits. The oldest one goes when there are too many.
    pub(super) fn tell(&self, notice: &Arc<Notice>) {
        let most = self.spec.load().queue;
        let mut lost = 0;
        {
            let mut waiting = self.queue();
            while waiting.len() >= most {
                waiting.pop_front();
                lost += 1;
            }
            waiting.push_back(Waiting {
                notice: Arc::clone(notice),
                since: Instant::now(),
            });
        }
        self.lost(lost);
        self.woken.notify_one();
    }

    /// Notes that notices were let go of.
    pub(super) fn lost(&self, count: u64) {
        if count > 0 {
            lock(&self.log).dropped += count;
            self::count(&self.name, "dropped", count);
            tracing::warn!(
                notifier = self.name,
                count,
                "notices were dropped: too many wait"
            );
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue().len()
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        lock(&self.waiting)
    }

    /// Brings notices to their receiver for as long as it is awaited.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            let next = self.queue().pop_front();
            match next {
                Some(waiting) => self.deliver(&waiting).await,
                None => self.woken.notified().await,
            }
        }
    }

    async fn deliver(&self, waiting: &Waiting) {
        let mut wait = FIRST_WAIT;
        loop {
            let patience = self.spec.load().patience;
            match self.attempt(&waiting.notice).await {
                Attempt::Done => return self.sent(),
                Attempt::Never(error) => return self.gave_up(&error),
                Attempt::Again(error, not_before) => {
                    let pause = jittered(wait).max(not_before.unwrap_or_default());
                    // A receiver may ask for a wait of any length.
                    if waiting.since.elapsed().saturating_add(pause) > patience {
                        return self.gave_up(&error);
                    }
                    lock(&self.log).error = Some(error);
                    sleep(pause).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }

    async fn attempt(&self, notice: &Notice) -> Attempt {
        let spec = self.spec.load_full();
        let Some(receiver) = self.receiver(&spec) else {
            log(&self.name, notice);
            return Attempt::Done;
        };
        let message = notice.message(spec.kind, &self.source);
        let attempt = judged(receiver.post(&message).await);
        if !matches!(attempt, Attempt::Done) {
            let labels = [("notifier", self.name.clone())];
            metrics::counter!(ATTEMPTS_FAILED, &labels).increment(1);
        }
        attempt
    }

    /// Where it is told; nothing for the log.
    pub(super) fn receiver(&self, spec: &NotifierSpec) -> Option<Receiver> {
        let target = spec
            .url
            .clone()
            .filter(|_| spec.kind != NotifierKind::Log)?;
        Some(Receiver {
            target,
            secret: spec.secret(),
            ca: spec.ca.clone(),
            timeout: spec.timeout,
            folder: self.folder.clone(),
        })
    }

    /// A notice as it goes to this notifier's receiver.
    pub(super) fn message(&self, notice: &Notice) -> Message {
        notice.message(self.spec.load().kind, &self.source)
    }

    fn sent(&self) {
        let mut log = lock(&self.log);
        log.sent += 1;
        log.error = None;
        count(&self.name, "sent", 1);
    }

    fn gave_up(&self, error: &str) {
        tracing::warn!(notifier = self.name, error, "a notice was given up");
        let mut log = lock(&self.log);
        log.failed += 1;
        log.error = Some(error.to_owned());
        count(&self.name, "failed", 1);
    }
}

/// Puts a notice into the process's log.
pub(super) fn log(notifier: &str, notice: &Notice) {
    let route = notice.route.as_ref().map(tracing::field::display);
    let rollout = notice.rollout.as_ref().map(tracing::field::display);
    let (kind, sequence) = (&*notice.kind, notice.sequence);
    tracing::info!(
        notifier,
        kind,
        sequence,
        route,
        rollout,
        who = notice.who,
        text = notice.text,
        "notice"
    );
}

fn judged(posted: Result<Answer, PostError>) -> Attempt {
    match posted {
        Ok(answer) if answer.status.is_success() => Attempt::Done,
        Ok(answer) => {
            let status = answer.status;
            let error = format!("the receiver answered {status}");
            // Too early, too many, too slow: all of these pass.
            if status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429) {
                Attempt::Again(error, answer.retry_after)
            } else {
                Attempt::Never(error)
            }
        }
        Err(error) => Attempt::Again(in_full(&error), None),
    }
}

/// An error with its causes, on one line.
pub fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

/// Half of a wait to one and a half of it, so that gateways that fail together do not come back
/// together.
pub fn jittered(wait: Duration) -> Duration {
    // Without random bits there is no spread, which is no harm.
    let draw = getrandom::u32().unwrap_or(u32::MAX / 2);
    wait.mul_f64(0.5 + f64::from(draw) / f64::from(u32::MAX))
}

fn count(notifier: &str, result: &'static str, count: u64) {
    let labels = [
        ("notifier", notifier.to_owned()),
        ("result", result.to_owned()),
    ];
    metrics::counter!(NOTICES, &labels).increment(count);
}

/// What is behind a lock; whoever panicked with it left nothing half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
