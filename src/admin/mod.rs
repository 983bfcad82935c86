//! The admin API.

pub mod wire;
