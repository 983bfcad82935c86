//! What takes long: soak, thousands of clients, thousands of requests, hundreds of kills.
//!
//! `./test --long` runs all of it in full; `cargo test --features long --test long`, as `./test`
//! does, runs each in a short form that holds the same things with less of everything. How much
//! a test does is said in one place, by [`size::of`]; each has the machine for itself.
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
#![allow(clippy::print_stdout, reason = "figures of a run are read by people")]
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

mod crowd;
mod differential;
mod kills;
mod process;
mod readings;
mod size;
mod slow;
mod soak;
mod streams;
#[path = "../it/support/mod.rs"]
mod support;
mod turns;
