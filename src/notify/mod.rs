//! Who is told of what happens: notifiers, and the one way in which anything is posted to them.
//!
//! A notifier is a receiver with a queue of its own. What it is told was done before: a change is
//! in force when its notice is made, and nobody waits for a notice to arrive.
//!
//! Invariants:
//! - Telling never waits. A queue that is full lets go of its oldest notice, and counts it.
//! - A notice is posted one at a time and in order to each notifier; a receiver that hangs holds
//!   up nobody but itself, and itself for a bounded time.
//! - Redirects are not followed, answers are not read beyond a bound, and neither secrets nor the
//!   paths of URLs, which often are secrets, come into logs, errors, metrics or a shown config.
//!
//! Deliberately not here: what happens and how it is put into words (whoever makes a [`Notice`]),
//! and questions that a receiver answers (`hooks`).

mod alarms;
mod alert_spec;
mod courier;
mod notice;
mod notifiers;
mod post;
mod signature;
pub mod spec;
mod target;
#[cfg(test)]
mod tests;

pub use alarms::{Alarms, Reading, Turn};
pub use courier::{in_full, jittered};
pub use notice::{Message, Notice};
pub use notifiers::{NotifierStatus, Notifiers, TestError};
pub use post::{Answer, PostError, Receiver};
pub use signature::{SIGNATURE, sign};
