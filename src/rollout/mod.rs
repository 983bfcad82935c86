//! The machine of a rollout.

pub mod spec;
