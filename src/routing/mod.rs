//! Which route takes a request.
//!
//! The most specific match wins: an exact host before a wildcard before any host; then an
//! exact path before a prefix, a longer prefix before a shorter one. A look-up costs a few
//! hash look-ups, however many routes there are. The bytes that are matched are the bytes
//! that are sent on; nothing is decoded here.

mod rule;
pub mod spec;
mod table;

pub use rule::{Closeness, Rule};
pub use table::RouteTable;
