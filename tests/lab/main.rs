//! The real binary between real MCP servers and real MCP clients.
//!
//! Run by `./test`, or by hand once `tests/lab/setup.sh` has installed what is needed:
//! `cargo test --features lab --test lab`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop there and say where"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests run on plain threads and measure real time with the real clock"
)]
#![allow(
    clippy::format_push_string,
    clippy::needless_pass_by_value,
    reason = "in a test, short calls are worth an allocation"
)]
#![allow(clippy::print_stdout, reason = "what examiners say is read by people")]
#![allow(
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    clippy::large_stack_arrays,
    reason = "a table of cases is read from top to bottom, and a test names what it expects alone"
)]
#![allow(missing_docs, reason = "the names of tests say what they hold")]
#![allow(
    unreachable_pub,
    reason = "the modules of a test are one small program"
)]

mod agent;
mod changes;
mod clients;
mod conformance;
mod contracts;
mod crowd;
mod eras;
mod hostile;
mod machine;
mod migration;
mod mixed;
mod process;
mod restarts;
mod rmcp_crowd;
mod rmcp_server;
mod rollouts;
mod servers;
mod sse;
#[path = "../it/support/mod.rs"]
mod support;
