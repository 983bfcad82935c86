//! Which route takes a request.

pub mod spec;
