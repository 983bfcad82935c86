//! What is known of MCP: methods, revisions, sessions, and the outcome inside an answer.
//!
//! Pure: bytes, time and chance are arguments; no sockets. Bodies are looked at while they
//! pass, never changed, and every look is bounded in depth and in bytes. What cannot be
//! understood is told as such; the caller decides what that means.

mod answer;
mod format;
mod method;
mod revision;
pub mod sealed;

pub use answer::{Refusal, RequestId};
pub use format::{Format, accepts_event_stream};
pub use method::Method;
pub use revision::Revision;
pub use sealed::{BackendTag, EndpointTag, Opened, SealError, SealKey};
