//! Which backend of a route answers a request.
//!
//! A keyed request goes by weighted rendezvous hashing over (rollout, key): the realised share
//! is the weight's share, raising one backend's weight moves keys only towards it, lowering it
//! only away. A request without a key is drawn. Both see the same weights, so both arms of a
//! rollout are pinned alike. No randomness of its own: the draw is an argument.

mod choice;
mod key;
pub mod spec;

pub use choice::{Arm, Split, rendezvous};
pub use key::{Caller, CallerKey, KeySource, Keys};
