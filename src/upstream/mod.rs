//! Connections to backends: one pool a worker and endpoint, without any lock.
//!
//! A connection is polled inside the task of the request that uses it, so a call wakes one
//! task only; an idle one is looked at when it is taken out and once in a while. What may have
//! effects is sent at most once; what may not is repeated when a pooled connection was dead.
//! Which endpoint to use and what an answer means is decided elsewhere.

mod answer;
mod attempt;
mod authority;
mod backend;
mod body;
mod breaker;
mod chatter;
mod condition;
mod conditions;
mod denied;
mod dial;
mod ended;
mod endpoint;
mod error;
mod framing;
pub mod health;
mod host;
mod http1;
mod inspect;
mod intake;
mod kept;
mod late_body;
mod link;
mod multiplexed;
mod names;
mod open;
mod outgoing;
mod pace;
mod race;
mod shard;
mod shortage;
mod smoke;
mod socket;
pub mod spec;
mod switched;

pub use answer::{AnswerBody, format_of, is_packed};
pub use attempt::Attempt;
pub use backend::BackendCondition;
pub use body::{Copy, RequestBody, Upload, join};
pub use breaker::BreakerPhase;
pub use condition::Condition;
pub use conditions::{Conditioned, Conditions};
pub use ended::{Ended, Failure};
pub use endpoint::{Endpoint, Pools, ReadyAttempt};
pub use error::{BodyError, Broken, Shed, UpstreamError};
pub use framing::lists_upgrade;
pub use host::host_and_port;
pub use http1::WireError;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub use http1::fuzzing;
pub use inspect::{InspectError, Inspection, inspect};
pub use intake::{ClientBody, ClientFault, Inflow, Intake, IntakeBounds, StreamBody};
pub use kept::{Kept, Repeats};
pub use late_body::{LateBody, Reading};
pub use link::{Again, Unanswered, send};
pub use open::{
    LAST_EVENT_ID, MCP_PROTOCOL_VERSION, MCP_SESSION_ID, OpenError, OpenedSession, Template,
    end_session, open_session,
};
pub use outgoing::{Asker, Outgoing, Told, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};
pub use pace::{Pace, Patience};
pub use shard::Tally;
pub use shortage::Descriptors;
pub use smoke::{Fault, Smoke, SmokeError, smoke};
pub use switched::Switched;
