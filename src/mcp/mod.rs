//! What is known of MCP: methods, revisions, sessions, and the outcome inside an answer.
//!
//! Pure: bytes, time and chance are arguments; no sockets. Every look at a body is bounded in depth
//! and in bytes. What cannot be understood is told as such; the caller decides what that means.

mod answer;
pub mod asked;
mod batch;
mod body;
mod catalogue;
pub mod contract;
mod effects;
mod events;
mod facts;
mod forgotten;
mod format;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod heard;
mod home;
mod id_key;
mod json;
mod listened;
mod lists;
mod messages;
mod method;
mod mints;
mod mirrored;
#[cfg(test)]
mod oracle;
mod peek;
mod recent;
mod record;
mod replay;
mod replies;
mod revision;
mod scan;
pub mod sealed;
mod session;
mod spots;
mod stored;
mod streams;
mod target;
mod tie;
mod turns;
mod whole;
mod word;

pub use answer::{Refusal, RequestId, end_of_listening, is_of_requests_era, unsupported_version};
pub use batch::Batch;
pub use body::{BodyError, MAX_BODY_BYTES};
pub use catalogue::{PagePlace, ToolCatalogue, ToolHints, ToolPage};
pub use effects::Effects;
pub use facts::{Kind, RequestFacts};
pub use forgotten::{is_unknown_session, is_unknown_session_of_stream};
pub use format::{Format, accepts_event_stream};
pub use heard::{HeardIds, IdReader};
pub use home::{Home, Origin, Way};
pub use listened::ties_of_listening;
pub use lists::Lists;
pub use method::Method;
pub use mints::MintScanner;
pub use mirrored::{Mirrored, Mismatch};
pub use peek::{Peeked, RequestPeek, Unclear};
pub use recent::{Recent, RecentBounds, Spot};
pub use record::{RecordError, SessionRecord, Wish};
pub use replay::{
    Replay, ReplayAnswer, ReplayError, ReplayReply, ReplayRequest, negotiated_version,
};
pub use replies::{Replies, Reply};
pub use revision::{Era, Revision};
pub use scan::{AnswerScanner, Finding};
pub use sealed::{BackendTag, Belongs, EndpointTag, Opened, SealError, SealKey};
pub use session::{
    Branch, Census, Ending, Endings, Fate, Session, SessionBounds, SessionTable, Stay,
};
pub use spots::SpotRow;
pub use streams::StreamCensus;
pub use target::resolve;
pub use tie::{Tie, TieKind};
pub use turns::Turns;
pub use whole::{FirstEvent, WholeEvents, first_event, without_endpoints};
