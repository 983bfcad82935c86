//! Real MCP servers on loopback ports of their own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use crate::process::{LINKED, Process, lab, node};

/// A server in a process of its own.
pub struct Server {
    pub address: SocketAddr,
    process: Process,
}

impl Server {
    fn start(command: Command) -> Self {
        let mut process = Process::start(command);
        let port = process.next_json()["port"].as_u64().expect("a port");
        let port = u16::try_from(port).unwrap();
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            process,
        }
    }

    /// The fixture on the TypeScript SDK, saying `label` when it is asked who it is.
    pub fn fixture(label: &str) -> Self {
        let mut command = node("fixture.mjs", LINKED);
        command.env("LABEL", label);
        Self::start(command)
    }

    /// The same, but its tool `work` answers `isError` inside a 200.
    pub fn faulty_fixture(label: &str) -> Self {
        let mut command = node("fixture.mjs", LINKED);
        command.env("LABEL", label).env("FAULTY", "1");
        Self::start(command)
    }

    /// The same, but it only knows the era with sessions.
    pub fn elder_fixture(label: &str) -> Self {
        let mut command = node("fixture.mjs", LINKED);
        command.env("LABEL", label).env("ELDER", "1");
        Self::start(command)
    }

    /// The same with few tools, so that crowds cost it little.
    pub fn brief_fixture(label: &str) -> Self {
        let mut command = node("fixture.mjs", LINKED);
        command.env("LABEL", label).env("BRIEF", "1");
        Self::start(command)
    }

    /// A server on the Python SDK with the tools that crowds call.
    pub fn python(label: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/py/server.py");
        let mut command = Command::new(lab().join("py/bin/python"));
        command.arg(script).env("LABEL", label);
        Self::start(command)
    }

    /// A server on the TypeScript SDK 1.x over HTTP+SSE, saying `label` when it is asked who it is.
    pub fn sse_fixture(label: &str) -> Self {
        let mut command = node("sse_fixture.mjs", LINKED);
        command.env("LABEL", label);
        Self::start(command)
    }

    /// The protocol's own server-everything.
    pub fn everything() -> Self {
        let script = "node_modules/@modelcontextprotocol/server-everything/dist/index.js";
        let loopback = lab().join("kit/loopback.cjs");
        let mut command = node(script, &["--require", loopback.to_str().unwrap()]);
        command.arg("streamableHttp");
        Self::start(command)
    }

    /// `http://address`, as configs want it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends the server as a power cut does.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}
