//! Hooks: who is asked, and what is run, along a rollout.
//!
//! A hook is a URL that is posted to, or a command that is run. At a gate it says whether the
//! rollout may go on; elsewhere a URL is told what happened. [`Runner`] does either on a thread of
//! its own and sends back a [`Report`]: nobody waits here, neither control nor a request.
//!
//! Invariants: every job ends, by its answer, its patience or its time-out; a command runs without
//! a shell, in a process group that ends with it when it takes too long, and what it prints is kept
//! to its last 16 KiB; a question to a URL ends as soon as nobody waits for its answer, a command
//! never does, since half a migration is worse than a whole one.
//!
//! Deliberately not here: when a hook's turn comes, and what its answer does (`control`).

mod ask;
mod command;
mod runner;
pub mod spec;
#[cfg(test)]
mod tests;

pub use runner::{Ended, Errand, Job, Report, Runner};
