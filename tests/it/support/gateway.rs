//! The real binary, serving a config of the test's.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::admin::Admin;
use super::client::{self, Raw};
use super::gate::{Board, pass};
use super::ports::{ReservedPort, reserve};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_switchback");

/// A gateway on ports and in a folder of its own. It is killed when it is dropped; when the test
/// failed, what it printed is shown.
pub struct Gateway {
    /// Where traffic goes in.
    pub address: SocketAddr,
    /// The admin API.
    pub admin: Admin,
    before: Vec<String>,
    folder: tempfile::TempDir,
    workers: usize,
    listener: String,
    process: Child,
    output: Arc<Board<Output>>,
    _ports: (ReservedPort, ReservedPort),
}

/// Lines that the process has printed.
#[derive(Default)]
struct Output {
    lines: Vec<String>,
    open_pipes: usize,
}

impl Gateway {
    /// Starts the gateway with two workers and waits until it is ready. `body` is the config
    /// without its `listeners`, `admin`, `state` and `workers`, which are added here.
    pub fn start(body: &str) -> Self {
        Self::start_with_workers(2, body)
    }

    pub fn start_with_workers(workers: usize, body: &str) -> Self {
        Self::start_as(&[], workers, "", body)
    }

    /// The same through other programs that become the gateway in the end, such as `prlimit`
    /// or `env` with their options.
    pub fn start_by(before: &[&str], workers: usize, body: &str) -> Self {
        Self::start_as(before, workers, "", body)
    }

    /// Starts the gateway with more keys in its listener, such as `tls: {…}`.
    pub fn start_listening(workers: usize, listener: &str, body: &str) -> Self {
        Self::start_as(&[], workers, listener, body)
    }

    fn start_as(before: &[&str], workers: usize, listener: &str, body: &str) -> Self {
        let ports = (reserve(), reserve());
        let folder = tempfile::tempdir().expect("a folder for the gateway");
        let (address, admin) = (ports.0.address, ports.1.address);
        fs::write(
            folder.path().join("switchback.yaml"),
            whole((address, listener), admin, workers, body),
        )
        .unwrap();
        let before: Vec<String> = before.iter().map(ToString::to_string).collect();
        let (process, output) = spawn(folder.path(), &before, &[]);
        let mut gateway = Self {
            before,
            address,
            admin: Admin(admin),
            folder,
            workers,
            listener: listener.to_owned(),
            process,
            output,
            _ports: ports,
        };
        gateway.wait_until_ready();
        gateway
    }

    /// The folder with the config and, in `state`, the state.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("switchback.yaml")
    }

    /// Replaces the config in one step, as careful editors do; the gateway finds out by itself.
    pub fn rewrite(&self, body: &str) {
        let listener = (self.address, &*self.listener);
        let text = whole(listener, self.admin.0, self.workers, body);
        self.rewrite_whole(&text);
    }

    /// The same with a text that need not be a config.
    pub fn rewrite_whole(&self, text: &str) {
        let draft = self.folder.path().join("draft");
        fs::write(&draft, text).unwrap();
        fs::rename(&draft, self.config_file()).unwrap();
    }

    /// Writes one thing for another in the config, and waits until that is in force.
    pub fn rewrite_in(&self, old: &str, new: &str) {
        let text = fs::read_to_string(self.config_file()).unwrap();
        assert!(text.contains(old), "{text}");
        self.rewrite_whole(&text.replacen(old, new, 1));
        self.admin.post("/v1/config/reload", &serde_json::json!({}));
    }

    /// A connection to the listener.
    pub fn connect(&self) -> Raw {
        Raw::connect(self.address)
    }

    /// One GET on a connection of its own.
    pub fn get(&self, target: &str) -> client::Answer {
        client::get(self.address, target)
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal by name, such as `TERM` or `HUP`.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.process.id());
        let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(status.success(), "{kill}");
    }

    /// From now on no write to a file succeeds. Linux alone has this.
    pub fn fill_disk(&self) {
        self.limit_files("0:unlimited");
    }

    /// Writes succeed again.
    pub fn empty_disk(&self) {
        self.limit_files("unlimited:unlimited");
    }

    fn limit_files(&self, limit: &str) {
        let pid = self.process.id().to_string();
        let limit = format!("--fsize={limit}");
        let mut command = Command::new("prlimit");
        let status = command.args(["--pid", &pid, &limit]).status().unwrap();
        assert!(status.success(), "prlimit {limit}");
    }

    /// Ends the process as a power cut does.
    pub fn kill(&mut self) {
        let _unused = self.process.kill();
        let _unused = self.process.wait();
    }

    /// Waits until the process has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the gateway does not end");
            pass(Duration::from_millis(10));
        }
    }

    /// Waits until the listener takes no new connection.
    pub fn wait_until_refused(&self) {
        let until = Instant::now() + PATIENCE;
        while Raw::try_connect(self.address).is_ok() {
            assert!(Instant::now() < until, "the listener goes on listening");
            pass(Duration::from_millis(5));
        }
    }

    /// Starts the gateway again, after it ended, with the same folder and ports.
    pub fn start_again(&mut self) {
        self.start_again_with(&[]);
    }

    /// The same with more words for `serve`.
    pub fn start_again_with(&mut self, words: &[&str]) {
        self.kill();
        let (process, output) = spawn(self.folder.path(), &self.before, words);
        self.process = process;
        self.output = output;
        self.wait_until_ready();
    }

    /// Starts another process that takes over, and waits until this one has ended by itself.
    pub fn is_taken_over(&mut self) {
        let old = self.begins_to_be_taken_over();
        old.end();
        self.wait_until_ready();
    }

    /// The same as far as that the new process takes what comes; the old one still lets end what is
    /// under way.
    pub fn begins_to_be_taken_over(&mut self) -> Predecessor {
        let (process, output) = spawn(self.folder.path(), &self.before, &["--takeover"]);
        let old = Predecessor {
            process: std::mem::replace(&mut self.process, process),
            output: std::mem::replace(&mut self.output, output),
        };
        self.wait_for_line("took over from another process");
        old
    }

    /// Waits for a line of output that holds `text`, and returns it.
    pub fn wait_for_line(&self, text: &str) -> String {
        let found = |output: &Output| output.lines.iter().find(|l| l.contains(text)).cloned();
        self.output
            .wait_until(&format!("a line with {text:?}"), found)
    }

    /// Everything that was printed so far.
    pub fn printed(&self) -> String {
        self.output.read(|output| output.lines.join("\n"))
    }

    fn wait_until_ready(&mut self) {
        let until = Instant::now() + PATIENCE;
        while !is_ready(self.admin.0) {
            if let Some(status) = self.process.try_wait().unwrap() {
                self.output
                    .wait_until("the pipes to close", |o| (o.open_pipes == 0).then_some(()));
                panic!("the gateway ended ({status}):\n{}", self.printed());
            }
            assert!(Instant::now() < until, "the gateway does not become ready");
            pass(Duration::from_millis(10));
        }
    }
}

/// A process that was taken over from.
pub struct Predecessor {
    process: Child,
    output: Arc<Board<Output>>,
}

impl Predecessor {
    /// Waits until it has ended as it should.
    pub fn end(mut self) {
        let until = Instant::now() + PATIENCE;
        while self.process.try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "the old process does not end");
            pass(Duration::from_millis(10));
        }
        let said = self.output.read(|output| output.lines.join("\n"));
        let status = self.process.wait().unwrap();
        assert!(status.success(), "the old one said:\n{said}");
    }
}

impl Drop for Predecessor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- the gateway printed:\n{}\n---", self.printed());
        }
    }
}

fn whole(
    (address, listener): (SocketAddr, &str),
    admin: SocketAddr,
    workers: usize,
    body: &str,
) -> String {
    format!(
        "listeners: [{{ address: \"{address}\", {listener} }}]\n\
         admin: {{ address: \"{admin}\" }}\n\
         state: {{ file: state }}\n\
         workers: {workers}\n\
         {body}"
    )
}

fn is_ready(admin: SocketAddr) -> bool {
    Raw::try_connect(admin).is_ok_and(|mut raw| {
        raw.send("GET", "/readyz", &[("connection", "close")], b"");
        raw.try_read("GET").is_ok_and(|answer| answer.status == 200)
    })
}

/// Becomes the program it is given, with the signal ignored that a write past the limit of
/// [`Gateway::fill_disk`] raises; the write then fails, as it does on a full disk.
const IGNORING_XFSZ: &str = "trap '' XFSZ; exec \"$0\" \"$@\"";

fn spawn(folder: &Path, before: &[String], words: &[&str]) -> (Child, Arc<Board<Output>>) {
    let mut process = Command::new("sh")
        .args(["-c", IGNORING_XFSZ])
        .args(before)
        .args([BINARY, "serve", "-c", "switchback.yaml"])
        .args(words)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starting the gateway");
    let output = Arc::new(Board::new(Output {
        open_pipes: 2,
        ..Output::default()
    }));
    collect(process.stdout.take().unwrap(), Arc::clone(&output));
    collect(process.stderr.take().unwrap(), Arc::clone(&output));
    (process, output)
}

fn collect(pipe: impl Read + Send + 'static, into: Arc<Board<Output>>) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            into.change(|output| output.lines.push(line));
        }
        into.change(|output| output.open_pipes -= 1);
    });
}

/// Runs the binary to its end with these words.
pub fn run(arguments: &[&str], folder: &Path) -> std::process::Output {
    Command::new(BINARY)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("running the binary")
}
