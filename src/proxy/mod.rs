//! One request, in order.

pub mod snapshot;
pub mod spec;
