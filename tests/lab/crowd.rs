//! Crowds of real clients: many sessions of one SDK in one process, each of which calls a tool
//! again and again and sees for itself who answers.
//!
//! A crowd is told one line at a time, and says where it stands after each:
//!
//! | line | what it does |
//! |---|---|
//! | `join N` | opens N sessions, each a caller of its own, with one call each |
//! | `go` | from now on each session calls, one call after the other |
//! | `rounds N` | waits until each session has been served N times from now on, or is lost |
//! | `renew N` | ends the N oldest sessions and opens as many |
//! | `hold` | waits until no call is under way, and none will be |
//!
//! In the era with sessions they call `visit`, which counts the calls of a session; in the one
//! without they open a tally each, and call `tally` with its handle.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;

use crate::process::{LINKED, Process, lab, node};
use crate::rmcp_crowd::RmcpCrowd;

/// Longest wait for a crowd: on a busy machine hundreds of sessions take their time.
const LONGEST: Duration = Duration::from_mins(5);

/// The protocol's era that a crowd speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    Sessions,
    NoSessions,
}

/// Whose clients they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    TypeScript1,
    TypeScript2,
    Python,
    Rmcp,
}

/// Every client of the era with sessions.
pub const WITH_SESSIONS: [(Clients, Era); 4] = [
    (Clients::TypeScript1, Era::Sessions),
    (Clients::TypeScript2, Era::Sessions),
    (Clients::Python, Era::Sessions),
    (Clients::Rmcp, Era::Sessions),
];

/// Every client of the era without them; TypeScript 1.x ends before it.
pub const WITHOUT_SESSIONS: [(Clients, Era); 3] = [
    (Clients::TypeScript2, Era::NoSessions),
    (Clients::Python, Era::NoSessions),
    (Clients::Rmcp, Era::NoSessions),
];

/// What the clients of a crowd have seen so far, by their own count.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Seen {
    pub sessions: usize,
    /// Sessions by the server that answered them last.
    pub homes: BTreeMap<String, usize>,
    /// Sessions that nothing but fails.
    pub lost: usize,
    pub calls: usize,
    /// How often another server than before answered a session.
    pub moved: usize,
    pub failed: Vec<Failure>,
    /// Answers that did not count on from the one before.
    pub broken: Vec<serde_json::Value>,
}

/// A call that was not answered as it should be.
#[derive(Clone, Debug, Deserialize)]
pub struct Failure {
    pub session: usize,
    /// Who answered the session before.
    pub home: Option<String>,
    #[expect(dead_code, reason = "read by people, in what a failed test prints")]
    pub what: String,
}

/// Sessions of one SDK and era.
pub struct Crowd {
    pub name: String,
    link: Link,
}

enum Link {
    Process(Process),
    Thread(RmcpCrowd),
}

impl Crowd {
    fn start((clients, era): (Clients, Era), at: SocketAddr) -> Self {
        let url = format!("http://{at}/mcp");
        let link = match clients {
            Clients::TypeScript1 => Link::Process(typescript("1", era, &url)),
            Clients::TypeScript2 => Link::Process(typescript("2", era, &url)),
            Clients::Python => Link::Process(python(era, &url)),
            Clients::Rmcp => Link::Thread(RmcpCrowd::start(era, at)),
        };
        let name = format!("{clients:?} {era:?}");
        Self { name, link }
    }

    fn tell(&mut self, line: &str) {
        match &mut self.link {
            Link::Process(process) => process.tell(line),
            Link::Thread(thread) => thread.tell(line),
        }
    }

    fn listen(&mut self) -> Seen {
        let said = match &mut self.link {
            Link::Process(process) => process.next_json_within(LONGEST),
            Link::Thread(thread) => thread.next_json_within(LONGEST),
        };
        serde_json::from_value(said.clone())
            .unwrap_or_else(|error| panic!("{}: {error}: {said}", self.name))
    }
}

fn typescript(sdk: &str, era: Era, url: &str) -> Process {
    let mut command = node("crowd.mjs", LINKED);
    command.args([url, sdk]).arg(match era {
        Era::Sessions => "legacy",
        Era::NoSessions => "modern",
    });
    Process::start(command)
}

fn python(era: Era, url: &str) -> Process {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/py/crowd.py");
    let mut command = Command::new(lab().join("py/bin/python"));
    command.arg(script).arg(url).arg(match era {
        Era::Sessions => "legacy",
        Era::NoSessions => "2026-07-28",
    });
    Process::start(command)
}

/// Crowds that do the same at the same time. They have the machine to themselves, as far as other
/// crowds go.
pub struct Crowds {
    crowds: Vec<Crowd>,
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

impl Crowds {
    /// Opens this many sessions of each kind; they do not call yet.
    pub fn open(kinds: &[(Clients, Era)], at: SocketAddr, sessions: usize) -> Self {
        // A poisoned lock only says that the test before failed.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let crowds = kinds.iter().map(|kind| Crowd::start(*kind, at)).collect();
        let mut crowds = Self {
            crowds,
            _turn: turn,
        };
        crowds.all(&format!("join {sessions}"));
        crowds
    }

    /// Tells all of them a line, and waits until all have done it; what they say, by name.
    pub fn all(&mut self, line: &str) -> Vec<(String, Seen)> {
        for crowd in &mut self.crowds {
            crowd.tell(line);
        }
        self.crowds
            .iter_mut()
            .map(|crowd| (crowd.name.clone(), crowd.listen()))
            .collect()
    }
}
