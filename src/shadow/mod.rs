//! Copies of calls to a backend that nobody waits for.

pub mod spec;
