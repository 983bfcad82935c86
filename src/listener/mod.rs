//! Sockets in: one `SO_REUSEPORT` socket a worker and address, and what a connection's bytes
//! tell before hyper sees them.
//!
//! A connection's silence is bounded from its first moment: first byte, TLS handshake, request
//! head and idle time share one slot in the worker's deadline table. What a request means is
//! decided elsewhere.

mod bind;
mod buffered;
mod calm;
mod connection;
mod detect;
mod frames;
mod greet;
mod last_call;
mod linger;
mod screen;
pub mod spec;
mod stream;
mod transport;

pub use bind::{BindError, adopt, bind, is_shared, join};
pub use buffered::{BufferBudget, Buffered};
pub use calm::CalmLimits;
pub use connection::{Connection, Limits};
pub use detect::Version;
pub use greet::greet;
pub use last_call::turn_away;
pub use linger::Lingering;
pub use screen::HeadBounds;
pub use stream::ClientStream;
