//! The single writer over a real store and a real file, with hand-fed workers.
//!
//! Time is paused and does not go on by itself, so that a slow disk of the test machine is no
//! slow disk to the actor.

mod commands;
mod hooks;
mod opening;
mod pinned;
mod reloads;
mod reverts;
mod rig;
mod rollouts;
mod timed;
mod tools;
mod traffic;
mod wishes;
