//! Which backend of a route answers a request.

pub mod spec;
