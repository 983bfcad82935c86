//! The era of HTTP+SSE (2024-11-05): a session is a GET stream, whose first event tells where the
//! client is to send its messages, and which carries the responses to all of them.
//!
//! The message URL that a client gets is ours, with a seal that names where the stream came from, so
//! that any worker, replica and restart can send a message on without a table. The two halves of
//! a call, the message and its response, may pass on two workers; what is known of the calls under way
//! is in a table of the process.

mod leaving;
mod live;
mod moving;
mod open;
mod open_call;
mod posts;
mod session_stream;
mod source;
mod stream;
mod turns;

pub(super) use live::LiveSession;
pub use live::LiveSessions;
pub(super) use open::{Opener, check, prepare};
pub(super) use posts::{Posted, find, message_of, send};
pub(super) use stream::SessionStream;
