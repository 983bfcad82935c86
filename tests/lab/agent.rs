//! Real clients: agents on the TypeScript and the Python SDK, and the Inspector.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::process::{LINKED, Process, lab, node};
use crate::support::PATIENCE;

/// Whose client it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sdk {
    TypeScript,
    Python,
}

impl Sdk {
    pub const ALL: [Self; 2] = [Self::TypeScript, Self::Python];
}

/// A client with an open session that calls what it is told to.
pub struct Agent {
    pub sdk: Sdk,
    process: Process,
}

impl Agent {
    /// Opens a session at `/mcp`.
    pub fn open(sdk: Sdk, at: SocketAddr) -> Self {
        Self::open_as(sdk, at, &[])
    }

    /// Opens a session over HTTP+SSE at `/mcp`.
    pub fn open_sse(sdk: Sdk, at: SocketAddr) -> Self {
        let command = match sdk {
            Sdk::TypeScript => node("sse_agent.mjs", LINKED),
            Sdk::Python => python("sse_agent.py"),
        };
        Self::start(sdk, (command, at), &[])
    }

    /// Connects to `/mcp` with these words to the agent: the era, and a token.
    pub fn open_as(sdk: Sdk, at: SocketAddr, words: &[&str]) -> Self {
        let command = match sdk {
            Sdk::TypeScript => node("agent.mjs", LINKED),
            Sdk::Python => python("agent.py"),
        };
        Self::start(sdk, (command, at), words)
    }

    fn start(sdk: Sdk, (mut command, at): (Command, SocketAddr), words: &[&str]) -> Self {
        command.arg(format!("http://{at}/mcp")).args(words);
        let mut process = Process::start(command);
        let first = process.next_json();
        assert!(!first["connected"].is_null(), "{sdk:?}: {first}");
        Self { sdk, process }
    }

    /// One line to the agent and what it says to it.
    pub fn ask(&mut self, line: &str) -> Value {
        self.process.tell(line);
        self.process.next_json()
    }

    /// Calls a tool, which must not fail, and returns its text.
    pub fn call(&mut self, tool: &str) -> String {
        let said = self.ask(tool);
        assert_eq!(said["isError"], false, "{:?}: {tool}: {said}", self.sdk);
        said["text"].as_str().unwrap_or_default().to_owned()
    }

    /// The revision that an agent of the TypeScript SDK has agreed on with its server.
    pub fn version(&mut self) -> String {
        let said = self.ask(":version");
        said["version"].as_str().unwrap_or_default().to_owned()
    }

    /// The tools that the agent sees.
    pub fn tools(&mut self) -> Vec<String> {
        let said = self.ask(":tools");
        let tools = said["tools"].as_array();
        let tools = tools.unwrap_or_else(|| panic!("{:?}: {said}", self.sdk));
        let name = |tool: &Value| tool.as_str().unwrap_or_default().to_owned();
        tools.iter().map(name).collect()
    }

    /// Ends the session and leaves, which must go well.
    pub fn leave(mut self) {
        let status = self.process.finish();
        assert!(status.success(), "{:?} left with {status}", self.sdk);
    }
}

fn python(script: &str) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/py");
    let mut command = Command::new(lab().join("py/bin/python"));
    command.arg(folder.join(script));
    command
}

/// Calls a tool with the Inspector's command line; its exit code and what it printed.
pub fn inspect(at: SocketAddr, tool: &str) -> (i32, String) {
    let script = lab().join("inspector/node_modules/.bin/mcp-inspector");
    let mut command = node(script, &[]);
    command.args(["--cli", &format!("http://{at}/mcp"), "--transport", "http"]);
    command.args(["--method", "tools/call", "--tool-name", tool]);
    let mut process = Process::start(command);
    let status = process.wait(PATIENCE);
    (status.code().unwrap_or(-1), process.rest())
}
