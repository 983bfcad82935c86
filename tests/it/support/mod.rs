//! What tests over real sockets are made of: scripted backends, raw clients and the real binary.
//!
//! Everything here blocks and runs on plain threads, so a test reads from top to bottom. Every
//! wait has a bound ([`PATIENCE`]) and is for a fact: a request that arrived, a line that was
//! printed, a connection that closed.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test target uses its own part of this folder"
)]

pub mod admin;
pub mod backend;
pub mod certs;
pub mod client;
pub mod differential;
pub mod exchange;
pub mod fake_mcp;
pub mod fake_sse;
pub mod frames;
pub mod gate;
pub mod gateway;
pub mod h2_backend;
pub mod h2_script;
pub mod hostile;
pub mod house;
pub mod issuer;
pub mod load;
pub mod mcp_client;
pub mod mirror;
pub mod modern;
pub mod ports;
pub mod readings;
pub mod routes;
pub mod shell;
pub mod slow;
pub mod strict;
pub mod texts;
pub mod wire;

use std::time::Duration;

/// Longest wait for anything in a test; generous, since a test machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(20);
