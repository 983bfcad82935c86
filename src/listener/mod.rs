//! Sockets in.

pub mod spec;
