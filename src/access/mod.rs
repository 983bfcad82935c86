//! Who may do what: networks that are let in, tokens that are believed, roles and their scopes.
//!
//! Pure: addresses, bytes, keys and the time are arguments; no socket, no clock, no disk. What is
//! not understood is never let in.
//!
//! Invariants: a secret is kept as its SHA-256 alone and leaves this room in no other form,
//! neither by `Debug` nor as JSON; one that is presented is compared with all of them, in a time
//! that tells nothing about any; a grant whose time is over grants nothing.
//!
//! Deliberately not here: which call needs which role (`admin`), and what is on the wire.

pub mod address;
mod failures;
pub mod jwt;
mod moment;
mod role;
mod scope;
mod secret;
pub mod spec;
mod tokens;

pub use failures::{FailureBounds, Failures, Judged};
pub use moment::{Expiry, ExpiryError};
pub use role::Role;
pub use scope::{Scope, ScopeError};
pub use secret::{Secret, SecretError, mint};
pub use tokens::{Found, Grant, Tokens};
