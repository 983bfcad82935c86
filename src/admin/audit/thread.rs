//! The thread that has the file, and the way to it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::Line;
use super::file::{AuditFile, Flush};
use crate::telemetry::{describe_counter, describe_gauge};

/// Lines that wait for the disk, at most.
const QUEUE: usize = 1024;
/// Lines that are written at once, at most.
const BATCH: usize = 256;
/// Longest wait of an answer for its line.
const PATIENCE: Duration = Duration::from_secs(2);

/// Counts lines that could not be written.
const LOST: &str = "switchback_audit_lost_total";
/// Counts refused calls that were not written down since there were too many.
const OMITTED: &str = "switchback_audit_refusals_omitted_total";
/// Counts lines on disk.
const WRITTEN: &str = "switchback_audit_lines_total";
/// Whether the last line could be written.
const HEALTHY: &str = "switchback_audit_healthy";

/// Where the lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::admin) struct Keep {
    /// The file.
    pub(in crate::admin) path: PathBuf,
    /// Size at which it is put aside.
    pub(in crate::admin) max_bytes: u64,
    /// How many that were put aside are kept.
    pub(in crate::admin) files: u16,
}

/// What is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::admin) struct Rules {
    /// Most lines about refused calls in a minute.
    pub(in crate::admin) refusals_per_minute: u32,
}

/// The way to the audit log.
#[derive(Debug)]
pub(in crate::admin) struct Audit {
    lines: mpsc::Sender<Job>,
    healthy: Arc<AtomicBool>,
    refusals: Mutex<Refusals>,
    /// Written by whoever sees a new config first.
    kept: ArcSwap<Kept>,
}

/// What the config in force says of the log.
#[derive(Clone, Debug)]
pub(in crate::admin) struct Kept {
    /// Where the lines are.
    pub(in crate::admin) keep: Keep,
    /// What is written down.
    pub(in crate::admin) rules: Rules,
}

#[derive(Debug)]
enum Job {
    Write {
        line: Box<Line>,
        /// Told when the line is on disk.
        done: Option<oneshot::Sender<()>>,
    },
    /// From here on lines go there.
    GoOn(Keep),
    /// Told when every line that was handed over before is written or lost.
    Settled(oneshot::Sender<()>),
}

/// Refused calls of this minute.
#[derive(Debug)]
struct Refusals {
    since: Instant,
    written: u32,
    omitted: u64,
}

impl Audit {
    /// Starts the thread; the file is opened with the first line.
    ///
    /// # Errors
    /// When there are no threads to be had.
    pub(in crate::admin) fn start(kept: Kept) -> std::io::Result<Self> {
        let (lines, jobs) = mpsc::channel(QUEUE);
        let healthy = Arc::new(AtomicBool::new(true));
        let state = Arc::clone(&healthy);
        let file = AuditFile::new(kept.keep.clone());
        // Ends when the last sender is gone and everything is written; nobody waits for a disk
        // that hangs.
        thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || write_all(file, jobs, &state))?;
        Ok(Self {
            lines,
            healthy,
            kept: ArcSwap::from_pointee(kept),
            refusals: Mutex::new(Refusals {
                since: Instant::now(),
                written: 0,
                omitted: 0,
            }),
        })
    }

    /// Goes by what the config says now, and tells whether it does: where too many lines wait,
    /// the next call tries again. Lines that were handed over before stay where they are.
    pub(in crate::admin) fn follow(&self, kept: Kept) -> bool {
        let moves = self.kept.load().keep != kept.keep;
        let told = !moves || self.lines.try_send(Job::GoOn(kept.keep.clone())).is_ok();
        if told {
            self.kept.store(Arc::new(kept));
        }
        told
    }

    /// Where the lines are.
    pub(in crate::admin) fn keep(&self) -> Keep {
        self.kept.load().keep.clone()
    }

    /// Whether the last line could be written.
    pub(in crate::admin) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Writes a line and waits until it is on disk, or for two seconds.
    pub(in crate::admin) async fn write(&self, line: Line) {
        let (done, written) = oneshot::channel();
        self.hand_over(Job::Write {
            line: Box::new(line),
            done: Some(done),
        });
        // Else it is written, or was counted as lost where that was found out.
        if timeout(PATIENCE, written).await.is_err() {
            self.healthy.store(false, Ordering::Relaxed);
            metrics::gauge!(HEALTHY).set(0.0);
            tracing::error!("the audit log takes too long to write; the call is answered");
        }
    }

    /// Hands a line over without waiting for it.
    pub(in crate::admin) fn note(&self, line: Line) {
        self.hand_over(Job::Write {
            line: Box::new(line),
            done: None,
        });
    }

    /// Waits until every line that was handed over before is written or lost, or for two seconds.
    pub(in crate::admin) async fn settled(&self) {
        let (done, settled) = oneshot::channel();
        // A queue that is full has its alarm already; what is on disk can be read all the same.
        if self.lines.try_send(Job::Settled(done)).is_ok() {
            let _ = timeout(PATIENCE, settled).await;
        }
    }

    /// Whether another refused call is to be written down, and how many before it were not.
    pub(in crate::admin) fn may_note_refusal(&self) -> Option<u64> {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now.saturating_duration_since(refusals.since) >= Duration::from_mins(1) {
            refusals.since = now;
            refusals.written = 0;
        }
        if refusals.written >= self.kept.load().rules.refusals_per_minute {
            refusals.omitted += 1;
            metrics::counter!(OMITTED).increment(1);
            return None;
        }
        refusals.written += 1;
        Some(std::mem::take(&mut refusals.omitted))
    }

    fn hand_over(&self, job: Job) {
        if self.lines.try_send(job).is_err() {
            lost(1, "too many lines wait for the disk", &self.healthy);
        }
    }
}

/// Puts what is counted here on the page of metrics.
pub(in crate::admin) fn describe() {
    describe_counter(WRITTEN, "Lines of the audit log that were written");
    describe_counter(LOST, "Lines of the audit log that could not be written");
    describe_counter(
        OMITTED,
        "Refused calls that the audit log leaves out since there were too many",
    );
    describe_gauge(
        HEALTHY,
        "Whether the last line of the audit log was written",
    );
    metrics::gauge!(HEALTHY).set(1.0);
}

fn lost(count: u64, why: &str, healthy: &AtomicBool) {
    metrics::counter!(LOST).increment(count);
    metrics::gauge!(HEALTHY).set(0.0);
    if healthy.swap(false, Ordering::Relaxed) {
        tracing::error!(why, count, "the audit log cannot be written");
    }
}

fn write_all(mut file: AuditFile, mut jobs: mpsc::Receiver<Job>, healthy: &AtomicBool) {
    let mut batch = Vec::new();
    while jobs.blocking_recv_many(&mut batch, BATCH) > 0 {
        let mut lines = Vec::new();
        for job in batch.drain(..) {
            match job {
                Job::Write { line, done } => lines.push((line, done)),
                Job::GoOn(keep) => {
                    write(&mut file, &mut lines, healthy);
                    file.go_on(keep);
                }
                Job::Settled(done) => {
                    write(&mut file, &mut lines, healthy);
                    // Whoever asked may have left.
                    let _ = done.send(());
                }
            }
        }
        write(&mut file, &mut lines, healthy);
    }
}

fn write(
    file: &mut AuditFile,
    lines: &mut Vec<(Box<Line>, Option<oneshot::Sender<()>>)>,
    healthy: &AtomicBool,
) {
    if lines.is_empty() {
        return;
    }
    let awaited = lines.iter().any(|(_, done)| done.is_some());
    let flush = if awaited { Flush::Disk } else { Flush::Later };
    match file.add(lines.iter().map(|(line, _)| &**line), flush) {
        Ok(()) => {
            metrics::counter!(WRITTEN).increment(lines.len() as u64);
            metrics::gauge!(HEALTHY).set(1.0);
            if !healthy.swap(true, Ordering::Relaxed) {
                tracing::info!("the audit log can be written again");
            }
        }
        Err(error) => lost(lines.len() as u64, &error.to_string(), healthy),
    }
    for (_, done) in lines.drain(..) {
        if let Some(done) = done {
            // Whoever asked may have left.
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::audit::line::entry;

    fn audit(path: PathBuf, refusals_per_minute: u32) -> Audit {
        let keep = Keep {
            path,
            max_bytes: 1 << 20,
            files: 1,
        };
        let rules = Rules {
            refusals_per_minute,
        };
        Audit::start(Kept { keep, rules }).unwrap()
    }

    #[tokio::test]
    async fn a_line_is_on_disk_before_its_call_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = audit(path.clone(), 1);

        audit.write(Line::new(entry("a"))).await;

        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert!(audit.is_healthy());
    }

    #[tokio::test]
    async fn what_was_handed_over_can_be_read_once_it_has_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = audit(path.clone(), 1);

        for number in 1..=100 {
            audit.note(Line::new(entry("a")));
            audit.settled().await;

            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(text.lines().count(), number);
        }
    }

    #[tokio::test]
    async fn a_log_that_cannot_be_written_is_an_alarm_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let blocked = folder.path().join("blocked");
        std::fs::write(&blocked, "a file where a folder belongs").unwrap();
        let audit = audit(blocked.join("audit.jsonl"), 1);

        audit.write(Line::new(entry("a"))).await;
        assert!(!audit.is_healthy());
        std::fs::remove_file(&blocked).unwrap();
        audit.write(Line::new(entry("b"))).await;

        assert!(audit.is_healthy());
    }

    #[tokio::test(start_paused = true)]
    async fn refused_calls_have_a_bound_in_a_minute() {
        let folder = tempfile::tempdir().unwrap();
        let audit = audit(folder.path().join("audit.jsonl"), 2);

        let got: Vec<_> = (0..5).map(|_| audit.may_note_refusal()).collect();
        tokio::time::advance(Duration::from_mins(1)).await;

        assert_eq!(got, [Some(0), Some(0), None, None, None]);
        assert_eq!(audit.may_note_refusal(), Some(3));
        assert_eq!(audit.may_note_refusal(), Some(0));
    }
}
