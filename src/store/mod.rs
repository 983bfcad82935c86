//! What survives a restart.

pub mod spec;
