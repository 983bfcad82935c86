//! Copies of calls to a backend that nobody waits for.
//!
//! The shadow touches nobody: a copy has its own connections, its own time-out and its own
//! bounds in count and bytes, and is given up first. What it answers is read, counted apart
//! from the real calls, compared with the real answer by status and outcome, and thrown away.
//!
//! Deliberately not here: which calls are free of side effects (`proxy`, with `mcp`).

mod budget;
mod copy;
mod mirror;
mod pair;
mod session;
pub mod spec;

pub use budget::{Budget, Shadows};
pub use copy::Original;
pub use mirror::{Mirror, MirrorOptions, Tried};
pub use pair::Twin;
pub use session::RealSession;
