//! Connections to backends.

pub mod spec;
