//! The file.

pub mod spec;
