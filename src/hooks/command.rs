//! A command run to its end, or to the end of its time.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::runner::Ended;

/// Most of what a command prints that is kept, in bytes: its end says most.
const OUTPUT_BYTES: usize = 16 * 1024;
/// Time that a command has to end by itself when its time is over.
const GRACE: Duration = Duration::from_secs(5);
/// Time for what it printed to arrive when it has ended; others may hold its pipes open.
const LINGER: Duration = Duration::from_secs(1);
/// Variables that every command gets from the gateway's own environment.
const PASSED_ON: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// What to run.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// The program and its words.
    pub(super) words: Vec<String>,
    /// Where.
    pub(super) folder: PathBuf,
    /// Names of variables to pass on.
    pub(super) pass: Vec<String>,
    /// What the rollout is about.
    pub(super) facts: Vec<(&'static str, String)>,
    /// Longest time.
    pub(super) time: Duration,
}

/// What became of it.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) ended: Ended,
    pub(super) exit_code: Option<i32>,
    pub(super) output: String,
}

impl Run {
    /// Runs it. It has a process group of its own, which ends as a whole when its time is over.
    pub(super) async fn to_its_end(&self) -> Ran {
        let (mut child, printed) = match self.spawn() {
            Ok(spawned) => spawned,
            Err(error) => {
                let program = self.words.first().map_or("", String::as_str);
                return Ran {
                    ended: Ended::Failed(format!("starting `{program}`: {error}")),
                    exit_code: None,
                    output: String::new(),
                };
            }
        };
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let tail = Mutex::new(Tail::default());
        let mut reading = std::pin::pin!(read(printed, &tail));
        let mut read_all = false;
        let waited = timeout(self.time, async {
            loop {
                tokio::select! {
                    () = &mut reading, if !read_all => read_all = true,
                    status = child.wait() => return status,
                }
            }
        })
        .await;
        let late = waited.is_err();
        let status = match waited {
            Ok(status) => status,
            Err(_) => end(&mut child, group).await,
        };
        if !read_all {
            let _ = timeout(LINGER, reading).await;
        }
        let exit_code = status
            .as_ref()
            .ok()
            .and_then(std::process::ExitStatus::code);
        let ended = match status {
            _ if late => {
                let time = humantime::format_duration(self.time);
                Ended::Failed(format!("it ran for more than {time} and was ended"))
            }
            Ok(status) if status.success() => Ended::Opened,
            Ok(status) => Ended::Failed(format!("it ended with {status}")),
            Err(error) => Ended::Failed(format!("waiting for its end: {error}")),
        };
        Ran {
            ended,
            exit_code,
            output: lock(&tail).text(),
        }
    }

    /// Starts it; what it prints can be read from the pipe.
    fn spawn(&self) -> io::Result<(Child, Receiver)> {
        let (reader, writer) = io::pipe()?;
        // The command holds its own pipe open: when the gateway ends before it, what it prints is
        // lost, but is no error that it would end by.
        let held_open = reader.try_clone()?;
        fcntl_setfd(&held_open, FdFlags::empty())?;
        let mut words = self.words.iter();
        let program = words.next().map_or("", String::as_str);
        let mut command = Command::new(program);
        command
            .args(words)
            .current_dir(&self.folder)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0);
        for name in PASSED_ON
            .into_iter()
            .chain(self.pass.iter().map(String::as_str))
        {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        for (name, value) in &self.facts {
            command.env(name, value.replace('\0', " "));
        }
        Ok((command.spawn()?, Receiver::from_owned_fd(reader.into())?))
    }
}

/// Asks a group of processes to end, and ends it.
async fn end(child: &mut Child, group: Option<Pid>) -> io::Result<std::process::ExitStatus> {
    let tell = |signal| {
        if let Some(group) = group {
            // A group that is gone needs no signal.
            let _ = kill_process_group(group, signal);
        }
    };
    tell(Signal::TERM);
    let ended = timeout(GRACE, child.wait()).await;
    // Also those that the command has left behind.
    tell(Signal::KILL);
    match ended {
        Ok(status) => status,
        Err(_) => child.wait().await,
    }
}

/// The end of what was printed.
#[derive(Debug, Default)]
struct Tail {
    bytes: VecDeque<u8>,
    lost: bool,
}

impl Tail {
    fn add(&mut self, piece: &[u8]) {
        self.bytes.extend(piece);
        let over = self.bytes.len().saturating_sub(OUTPUT_BYTES);
        self.bytes.drain(..over);
        self.lost |= over > 0;
    }

    fn text(&self) -> String {
        let (one, two) = self.bytes.as_slices();
        let text = String::from_utf8_lossy(&[one, two].concat()).into_owned();
        let text = text.trim_end();
        if self.lost {
            return format!("…{text}");
        }
        text.to_owned()
    }
}

/// What was printed so far; whoever panicked with it left whole bytes.
fn lock(tail: &Mutex<Tail>) -> MutexGuard<'_, Tail> {
    tail.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads a pipe to its end.
async fn read(mut pipe: Receiver, tail: &Mutex<Tail>) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut bytes).await {
        lock(tail).add(bytes.get(..count).unwrap_or_default());
    }
}
