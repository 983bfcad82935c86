//! A crowd of clients on the official Rust SDK, in a thread of its own.
//!
//! It is told and says the same as the crowds in other processes (`crowd.rs`).
//!
//! Of the SDK's two HTTP clients it is the one for Unix sockets, whose bytes are carried on to the
//! gateway: the other one would bring a second HTTP library.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use rmcp::model::{CallToolRequestParams, ProtocolVersion};
use rmcp::service::{RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientLifecycleMode, ClientServiceExt, RoleClient};
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpStream, UnixListener};
use tokio::sync::Notify;
use tokio::task::{JoinHandle as Task, LocalSet, spawn_local};

use crate::crowd::Era;

const PAUSE: Duration = Duration::from_millis(500);
/// A session that fails this often in a row is lost.
const LOST: u64 = 3;

/// The thread; it ends when this is dropped.
pub struct RmcpCrowd {
    lines: Option<tokio::sync::mpsc::Sender<String>>,
    said: mpsc::Receiver<Value>,
    thread: Option<JoinHandle<()>>,
}

impl RmcpCrowd {
    pub fn start(era: Era, at: SocketAddr) -> Self {
        let (lines, heard) = tokio::sync::mpsc::channel(16);
        let (say, said) = mpsc::sync_channel(16);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let folder = tempfile::tempdir().expect("a folder for the socket");
            let socket = folder.path().join("gateway.sock");
            let path = socket.to_str().expect("a path in Unicode").to_owned();
            LocalSet::new().block_on(&runtime, async {
                let listener = UnixListener::bind(&socket).expect("a Unix socket");
                spawn_local(carry(listener, at));
                let crowd = Rc::new(Crowd::new(era, at, path));
                obey(crowd, heard, say).await;
            });
        });
        Self {
            lines: Some(lines),
            said,
            thread: Some(thread),
        }
    }

    pub fn tell(&self, line: &str) {
        let lines = self.lines.as_ref().expect("a crowd that listens");
        lines
            .blocking_send(line.to_owned())
            .expect("a crowd that listens");
    }

    pub fn next_json_within(&self, limit: Duration) -> Value {
        self.said.recv_timeout(limit).expect("a word of the crowd")
    }
}

impl Drop for RmcpCrowd {
    fn drop(&mut self) {
        drop(self.lines.take());
        if let Some(thread) = self.thread.take() {
            let _unused = thread.join();
        }
    }
}

/// Carries the bytes of each connection on to the gateway, and back.
async fn carry(listener: UnixListener, to: SocketAddr) {
    while let Ok((mut client, _)) = listener.accept().await {
        spawn_local(async move {
            let Ok(mut gateway) = TcpStream::connect(to).await else {
                return;
            };
            // Either side may leave as it likes.
            let _unused = copy_bidirectional(&mut client, &mut gateway).await;
        });
    }
}

async fn obey(
    crowd: Rc<Crowd>,
    mut lines: tokio::sync::mpsc::Receiver<String>,
    say: mpsc::SyncSender<Value>,
) {
    while let Some(line) = lines.recv().await {
        let (verb, count) = line.split_once(' ').unwrap_or((&line, "0"));
        let count = count.parse().expect("a number");
        match verb {
            "join" => crowd.join(count).await,
            "go" => crowd.go(),
            "hold" => crowd.hold().await,
            "rounds" => crowd.rounds(count).await,
            "renew" => crowd.renew(count).await,
            other => panic!("no such verb: {other}"),
        }
        // The test may have failed elsewhere.
        let _unused = say.send(crowd.report());
    }
}

struct Crowd {
    era: Era,
    url: String,
    socket: String,
    going: Cell<bool>,
    opened: Cell<usize>,
    members: RefCell<Vec<Rc<Member>>>,
    total: Total,
    served: Notify,
}

#[derive(Default)]
struct Total {
    calls: Cell<u64>,
    moved: Cell<u64>,
    failed: RefCell<Vec<Value>>,
    broken: RefCell<Vec<Value>>,
}

struct Member {
    number: usize,
    client: RunningService<RoleClient, ()>,
    state: RefCell<State>,
    leaving: Cell<bool>,
    task: RefCell<Option<Task<()>>>,
}

#[derive(Clone, Default)]
struct State {
    handle: Option<String>,
    home: Option<String>,
    count: u64,
    fine: u64,
    failing: u64,
}

impl Crowd {
    fn new(era: Era, at: SocketAddr, socket: String) -> Self {
        Self {
            era,
            url: format!("http://{at}/mcp"),
            socket,
            going: Cell::new(false),
            opened: Cell::new(0),
            members: RefCell::default(),
            total: Total::default(),
            served: Notify::new(),
        }
    }

    async fn join(self: &Rc<Self>, count: usize) {
        let tasks: Vec<_> = (0..count)
            .map(|_| {
                let number = self.opened.replace(self.opened.get() + 1);
                let crowd = Rc::clone(self);
                spawn_local(async move { crowd.open(number).await })
            })
            .collect();
        for task in tasks {
            let member = task.await.expect("a session that was opened");
            if self.going.get() {
                self.begin(&member);
            }
            self.members.borrow_mut().push(member);
        }
    }

    async fn open(&self, number: usize) -> Rc<Member> {
        let token = format!("rmcp-{:?}-{}-{number}", self.era, std::process::id());
        let config = StreamableHttpClientTransportConfig::with_uri(self.url.as_str())
            .auth_header(token)
            // What it would do about a 404 by itself is what this is not about.
            .reinit_on_expired_session(false);
        let transport =
            StreamableHttpClientTransport::from_unix_socket_with_config(&self.socket, config);
        let lifecycle = match self.era {
            Era::Sessions => ClientLifecycleMode::Initialize,
            Era::NoSessions => ClientLifecycleMode::Discover {
                preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            },
        };
        let client = ().serve_with_lifecycle(transport, lifecycle).await;
        let member = Rc::new(Member {
            number,
            client: client.expect("a client that connects"),
            state: RefCell::default(),
            leaving: Cell::new(false),
            task: RefCell::default(),
        });
        self.step(&member).await.expect("a first call");
        member
    }

    fn go(self: &Rc<Self>) {
        self.going.set(true);
        for member in &*self.members.borrow() {
            self.begin(member);
        }
    }

    fn begin(self: &Rc<Self>, member: &Rc<Member>) {
        let (crowd, caller) = (Rc::clone(self), Rc::clone(member));
        let task = spawn_local(async move {
            while crowd.going.get() && !caller.leaving.get() {
                if let Err(what) = crowd.step(&caller).await {
                    crowd.fail(&caller, &what);
                }
                crowd.served.notify_waiters();
                tokio::time::sleep(PAUSE).await;
            }
        });
        *member.task.borrow_mut() = Some(task);
    }

    fn fail(&self, member: &Member, what: &str) {
        let mut state = member.state.borrow_mut();
        state.failing += 1;
        let failure = json!({ "session": member.number, "home": state.home, "what": what });
        self.total.failed.borrow_mut().push(failure);
    }

    async fn hold(&self) {
        self.going.set(false);
        let members = self.members.borrow().clone();
        for member in members {
            member.rest().await;
        }
    }

    async fn rounds(&self, count: usize) {
        let fine = |member: &Rc<Member>| member.state.borrow().fine + count as u64;
        let members = self.members.borrow().clone();
        let wanted: Vec<_> = members.iter().map(|m| (Rc::clone(m), fine(m))).collect();
        loop {
            let served = self.served.notified();
            let due = wanted.iter().any(|(member, fine)| {
                let state = member.state.borrow();
                state.fine < *fine && state.failing < LOST
            });
            if !due {
                return;
            }
            served.await;
        }
    }

    async fn renew(self: &Rc<Self>, count: usize) {
        let leaving: Vec<_> = self.members.borrow_mut().drain(..count).collect();
        for member in &leaving {
            member.leaving.set(true);
        }
        for member in leaving {
            member.rest().await;
            // The last one who knows it ends the session.
            drop(member);
        }
        self.join(count).await;
    }

    fn report(&self) -> Value {
        let members = self.members.borrow();
        let mut homes = serde_json::Map::new();
        for member in &*members {
            let home = member.state.borrow().home.clone().unwrap_or_default();
            let before = homes.get(&home).and_then(Value::as_u64).unwrap_or(0);
            homes.insert(home, json!(before + 1));
        }
        let is_lost = |member: &&Rc<Member>| member.state.borrow().failing >= LOST;
        json!({
            "sessions": members.len(),
            "homes": homes,
            "lost": members.iter().filter(is_lost).count(),
            "calls": self.total.calls.get(),
            "moved": self.total.moved.get(),
            "failed": *self.total.failed.borrow(),
            "broken": *self.total.broken.borrow(),
        })
    }

    /// One call, and whether it was answered where the calls before were.
    async fn step(&self, member: &Member) -> Result<(), String> {
        let (text, is_error) = match self.era {
            Era::Sessions => member.call("visit", json!({})).await?,
            Era::NoSessions => member.tally().await?,
        };
        if is_error {
            return Err(format!("isError: {text}"));
        }
        self.look(member, &text);
        Ok(())
    }

    fn look(&self, member: &Member, text: &str) {
        let said: Value = serde_json::from_str(text).expect("what the tool says");
        let label = said["label"].as_str().expect("a label").to_owned();
        let count = said["count"].as_u64().expect("a count");
        let mut state = member.state.borrow_mut();
        let moved = state.home.as_ref().is_some_and(|home| *home != label);
        let is_right = if moved || state.home.is_none() {
            count == 1
        } else {
            // A call that failed may have been counted or not.
            count > state.count && count <= state.count + 1 + state.failing
        };
        if !is_right {
            let was = json!({ "home": state.home, "count": state.count });
            let broken = json!({ "session": member.number, "was": was, "said": said });
            self.total.broken.borrow_mut().push(broken);
        }
        let total = &self.total;
        total.moved.set(total.moved.get() + u64::from(moved));
        total.calls.set(total.calls.get() + 1);
        state.home = Some(label);
        state.count = count;
        state.fine += 1;
        state.failing = 0;
    }
}

impl Member {
    async fn rest(&self) {
        let task = self.task.borrow_mut().take();
        if let Some(task) = task {
            task.await.expect("a loop that ends");
        }
    }

    async fn call(&self, tool: &str, arguments: Value) -> Result<(String, bool), String> {
        let arguments = arguments.as_object().cloned().unwrap_or_default();
        let wanted = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let result = self.client.call_tool(wanted).await;
        let result = result.map_err(|error: ServiceError| format!("{error:?}"))?;
        let text = result.content.first().and_then(|part| part.as_text());
        let text = text.map(|part| part.text.clone()).unwrap_or_default();
        Ok((text, result.is_error == Some(true)))
    }

    /// Counts on under the handle, or anew where nobody knows it.
    async fn tally(&self) -> Result<(String, bool), String> {
        let handle = self.state.borrow().handle.clone();
        if let Some(handle) = handle {
            let (text, is_error) = self.call("tally", json!({ "handle": handle })).await?;
            if !is_error {
                return Ok((text, false));
            }
        }
        let (handle, _) = self.call("open_tally", json!({})).await?;
        self.state.borrow_mut().handle = Some(handle.clone());
        self.call("tally", json!({ "handle": handle })).await
    }
}
