//! Is the candidate worse? Arithmetic over evidence.

pub mod spec;
