//! Child processes that print a line for everything worth knowing.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::PATIENCE;
use crate::support::gate::{Board, pass};

/// A child with its pipes; killed when it is dropped, and heard when the test failed.
pub struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    complaints: Arc<Board<String>>,
}

impl Process {
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("starting {command:?}: {e}"));
        let (sender, lines) = sync_channel(1024);
        each_line(child.stdout.take().unwrap(), move |line| {
            // The test may have stopped listening.
            let _unused = sender.try_send(line);
        });
        let complaints = Arc::new(Board::<String>::default());
        let board = Arc::clone(&complaints);
        each_line(child.stderr.take().unwrap(), move |line| {
            board.change(|text| text.push_str(&format!("{line}\n")));
        });
        Self {
            input: child.stdin.take(),
            child,
            lines,
            complaints,
        }
    }

    /// The next line that the child prints, if it is JSON; other lines are passed over.
    pub fn next_json(&mut self) -> Value {
        self.next_json_within(PATIENCE)
    }

    /// The same with a wait of this length for each line.
    pub fn next_json_within(&mut self, limit: Duration) -> Value {
        loop {
            let line = self.lines.recv_timeout(limit).unwrap_or_else(|e| {
                panic!("no line of the child: {e}; it said {}", self.complaints())
            });
            if let Ok(value) = serde_json::from_str(&line) {
                return value;
            }
        }
    }

    /// Writes one line to the child.
    pub fn tell(&mut self, line: &str) {
        let input = self.input.as_mut().expect("a child that still listens");
        writeln!(input, "{line}").unwrap();
        input.flush().unwrap();
    }

    /// Ends the child's input and waits until the child has left.
    pub fn finish(&mut self) -> ExitStatus {
        self.input = None;
        self.wait(PATIENCE)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the child has not left yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until the child has left.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "a child does not end");
            pass(Duration::from_millis(10));
        }
    }

    /// Everything that the child printed and that was not read yet, once it has left.
    pub fn rest(&mut self) -> String {
        let lines: Vec<String> = self.lines.iter().collect();
        lines.join("\n")
    }

    /// What the child wrote to its standard error.
    pub fn complaints(&self) -> String {
        self.complaints.read(String::clone)
    }

    /// Ends the child as a power cut does.
    pub fn kill(&mut self) {
        let _unused = self.child.kill();
        let _unused = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- a child complained:\n{}---", self.complaints());
        }
    }
}

fn each_line(pipe: impl Read + Send + 'static, mut then: impl FnMut(String) + Send + 'static) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            then(line);
        }
    });
}

/// The folder that `tests/lab/setup.sh` filled; a test without it fails and says so.
pub fn lab() -> &'static Path {
    static LAB: OnceLock<PathBuf> = OnceLock::new();
    LAB.get_or_init(|| {
        let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/lab");
        let folder = std::env::var_os("SWITCHBACK_LAB").map_or_else(own, PathBuf::from);
        assert!(
            folder.join("recipe").exists(),
            "{} holds no lab: run tests/lab/setup.sh first, or ./test, which does it all",
            folder.display()
        );
        folder
    })
}

/// The lab's Node running `script`, a file of its kit or an absolute path.
pub fn node(script: impl AsRef<Path>, options: &[&str]) -> Command {
    let bin = lab().join("node/node_modules/node/bin");
    let mut command = Command::new(bin.join("node"));
    let mut path = OsString::from(&bin);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    command
        .current_dir(lab().join("kit"))
        .env("PATH", path)
        .args(options)
        .arg(script.as_ref());
    command
}

/// Scripts of ours are links in the kit, beside the packages that they import.
pub const LINKED: &[&str] = &["--preserve-symlinks", "--preserve-symlinks-main"];
