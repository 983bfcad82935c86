//! What is known of MCP: methods, revisions, sessions, and the outcome inside an answer.
//!
//! Pure: bytes, time and chance are arguments; no sockets. Bodies are looked at while they
//! pass, never changed, and every look is bounded in depth and in bytes. What cannot be
//! understood is told as such; the caller decides what that means.

mod answer;
mod events;
mod facts;
mod format;
mod json;
mod messages;
mod method;
mod peek;
mod revision;
mod scan;
pub mod sealed;
mod word;

pub use answer::{Refusal, RequestId};
pub use facts::{Kind, RequestFacts};
pub use format::{Format, accepts_event_stream};
pub use method::Method;
pub use peek::{Peeked, RequestPeek, Unclear};
pub use revision::Revision;
pub use scan::{AnswerScanner, Finding};
pub use sealed::{BackendTag, EndpointTag, Opened, SealError, SealKey};
