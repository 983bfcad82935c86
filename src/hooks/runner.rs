//! The thread that asks and runs.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::model::{HookName, RouteName};
use crate::notify::{Message, Receiver};

use super::ask;
use super::command::Run;
use super::spec::{HookSpec, Point};

/// Most jobs that wait to be begun; more are refused, and their hooks count as failed.
const JOBS: usize = 256;
/// Most that is being told at once, tried again or for the first time; more is dropped and counts
/// as failed.
const TELLINGS: usize = 256;
/// Counts jobs by hook and by how they ended.
const HOOKS: &str = "switchback_hooks_total";

/// Something for a hook to do.
#[derive(Debug)]
pub struct Job {
    /// The hook's name.
    pub hook: HookName,
    /// What the file says of it.
    pub spec: HookSpec,
    /// The config file's folder.
    pub folder: PathBuf,
    /// The route whose rollout it is about.
    pub route: RouteName,
    /// Tells this job from any other.
    pub number: u64,
    /// What to do.
    pub errand: Errand,
    /// What it is about, for a command's environment.
    pub facts: Vec<(&'static str, String)>,
    /// What it is about, as JSON.
    pub body: serde_json::Value,
    /// The same for each attempt of it, and for nothing else.
    pub key: String,
    /// Dropped by whoever does not want an answer any more; a command runs on.
    pub wanted: oneshot::Receiver<()>,
}

/// What a hook has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Errand {
    /// Say whether a rollout may go on, or run `up`.
    Up(Point),
    /// Run `down`.
    Down,
    /// Hear what happened.
    Tell(Point),
}

impl Errand {
    /// The place along the rollout, or `down`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up(point) | Self::Tell(point) => point.as_str(),
            Self::Down => "down",
        }
    }
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Yes; done; heard.
    Opened,
    /// No, and why.
    Refused(String),
    /// Neither, and why.
    Failed(String),
    /// Nobody wanted to know any more.
    Unwanted,
}

impl Ended {
    /// The end's name in the history and in metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Opened => "ok",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
            Self::Unwanted => "unwanted",
        }
    }
}

/// What came of a job.
#[derive(Clone, Debug)]
pub struct Report {
    /// The job's route.
    pub route: RouteName,
    /// The job's number.
    pub number: u64,
    /// The hook.
    pub hook: HookName,
    /// What it had to do.
    pub errand: Errand,
    /// How it ended.
    pub ended: Ended,
    /// What a command ended with.
    pub exit_code: Option<i32>,
    /// The end of what a command printed, at most 16 KiB.
    pub output: Option<String>,
    /// How long it took.
    pub took: Duration,
}

/// Does jobs, each as soon as it is given. Dropped, it stops at once: questions are dropped, and
/// commands that run are left to end by themselves.
#[derive(Debug)]
pub struct Runner {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Runner {
    /// Starts the thread; reports go to `reports`.
    ///
    /// # Errors
    /// When the system has no thread or no runtime to give.
    pub fn start(reports: mpsc::Sender<Report>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (jobs, mut given) = mpsc::channel::<Job>(JOBS);
        let thread = std::thread::Builder::new()
            .name("hooks".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let places = Arc::new(Semaphore::new(TELLINGS));
                    while let Some(job) = given.recv().await {
                        let place = is_telling(&job).then(|| Arc::clone(&places));
                        tokio::spawn(report(job, place, reports.clone()));
                    }
                });
                // What runs is left to itself.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Gives it a job; never waits. Gives the job back when too many wait.
    ///
    /// # Errors
    /// The job, when it cannot be begun.
    pub fn give(&self, job: Job) -> Result<(), Box<Job>> {
        let Some(jobs) = &self.jobs else {
            return Err(Box::new(job));
        };
        jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(job) | mpsc::error::TrySendError::Closed(job) => {
                Box::new(job)
            }
        })
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // What it panicked with is in the log.
            let _ = thread.join();
        }
    }
}

fn is_telling(job: &Job) -> bool {
    matches!(job.errand, Errand::Tell(_))
}

async fn report(job: Job, places: Option<Arc<Semaphore>>, reports: mpsc::Sender<Report>) {
    let begun = Instant::now();
    let (route, number) = (job.route.clone(), job.number);
    let (hook, errand) = (job.hook.clone(), job.errand);
    let place = places.map(Semaphore::try_acquire_owned);
    let (ended, exit_code, output) = match place {
        Some(Err(_)) => (
            Ended::Failed("too many are being told".to_owned()),
            None,
            None,
        ),
        Some(Ok(_)) | None => done(job).await,
    };
    let labels = [
        ("hook", hook.to_string()),
        ("result", ended.as_str().to_owned()),
    ];
    metrics::counter!(HOOKS, &labels).increment(1);
    let report = Report {
        route,
        number,
        hook,
        errand,
        ended,
        exit_code,
        output,
        took: begun.elapsed(),
    };
    // Control that has stopped wants no report.
    let _ = reports.send(report).await;
}

async fn done(job: Job) -> (Ended, Option<i32>, Option<String>) {
    let words = match job.errand {
        Errand::Up(_) => &job.spec.up,
        Errand::Down => &job.spec.down,
        Errand::Tell(_) => &Vec::new(),
    };
    if !words.is_empty() {
        let run = Run {
            words: words.clone(),
            folder: match &job.spec.folder {
                Some(folder) => job.folder.join(folder),
                None => job.folder.clone(),
            },
            pass: job.spec.env.clone(),
            facts: job.facts.clone(),
            time: job.spec.time(),
        };
        let ran = run.to_its_end().await;
        return (ran.ended, ran.exit_code, Some(ran.output));
    }
    let Some(target) = job.spec.url.clone() else {
        return (Ended::Failed("it has nothing to do".to_owned()), None, None);
    };
    let receiver = Receiver {
        target,
        secret: job.spec.secret(),
        ca: job.spec.ca.clone(),
        timeout: job.spec.time(),
        folder: job.folder.clone(),
    };
    let message = Message {
        kind: job.errand.as_str().to_owned(),
        key: job.key.clone(),
        content_type: "application/json",
        body: job.body.to_string().into(),
    };
    let patience = job.spec.patience;
    let ended = match job.errand {
        Errand::Tell(_) => ask::tell(&receiver, &message, patience).await,
        Errand::Up(_) | Errand::Down => tokio::select! {
            ended = ask::ask(&receiver, &message, patience) => ended,
            _ = job.wanted => Ended::Unwanted,
        },
    };
    (ended, None, None)
}
