//! Connections to backends: one pool a worker and endpoint, without any lock.
//!
//! A connection is polled inside the task of the request that uses it, so a call wakes one
//! task only; an idle one is looked at when it is taken out and once in a while. What may have
//! effects is sent at most once; what may not is repeated when a pooled connection was dead.
//! Which endpoint to use and what an answer means is decided elsewhere.

mod answer;
mod body;
mod endpoint;
mod error;
mod kept;
mod link;
mod open;
mod pace;
pub mod spec;

pub use answer::{AnswerBody, format_of};
pub use body::{Copy, RequestBody, Upload, join};
pub use endpoint::{Endpoint, Pools};
pub use error::{BodyError, UpstreamError};
pub use kept::{Kept, Repeats};
pub use link::{Unanswered, send};
pub use open::{MCP_SESSION_ID, OpenError, Template, open_session};
pub use pace::Pace;
