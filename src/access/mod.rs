//! Who may do what: networks that are let in, tokens that are believed.
//!
//! Pure: addresses, bytes, keys and the time are arguments; no socket, no clock, no disk. What is
//! not understood is never let in.

pub mod address;
pub mod spec;
