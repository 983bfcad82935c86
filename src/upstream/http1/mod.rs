//! The client's side of HTTP/1: one request and its answer at a time over one connection.
//!
//! What is written is made here from a request whose parts were looked at one by one, and what
//! comes is distrusted: a head, a length or a chunk that could be read in two ways ends the
//! connection. Nothing here waits, holds a lock or starts a task: whoever asks moves the connection along. Bodies pass
//! as the pieces they come in. An idle connection, and one whose event stream is silent, holds no
//! buffer: they are lent by the worker while bytes move.
//!
//! Not done here: choosing connections, deciding what may be sent again, deadlines.

mod answer_head;
mod bulk;
mod chunks;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod lines;
mod names;
mod request_head;
mod scratch;
mod upload;
mod wire;

pub use error::WireError;

pub(super) use answer_head::MAX_BYTES as MAX_HEAD_BYTES;
pub(super) use scratch::Scratch;
pub(super) use wire::Wire;

#[cfg(test)]
mod tests;
