//! The binary as a shell runs it against a gateway.

use std::process::{Command, Stdio};

use super::gateway::Gateway;

/// What a command left behind.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Gateway {
    /// Runs `switchback` with these words against this gateway's admin API.
    pub fn cli(&self, words: &[&str]) -> Said {
        let output = Command::new(env!("CARGO_BIN_EXE_switchback"))
            .args(words)
            .env("SWITCHBACK_ADMIN", format!("http://{}", self.admin.0))
            .env_remove("SWITCHBACK_CONFIG")
            .stdin(Stdio::null())
            .output()
            .expect("the binary runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Said {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}
