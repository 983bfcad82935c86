//! What goes wrong on a connection over HTTP/1.

use std::io;

/// Why a connection over HTTP/1 is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The other side closed it before its answer was complete.
    #[error("the connection was closed before the answer was complete")]
    Closed,
    /// It broke.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// What came is no head of an answer.
    #[error("what came is no head of an answer: {0}")]
    Head(&'static str),
    /// A head says more than one thing, or none, about where its answer ends.
    #[error("the head of the answer can be read in two ways")]
    Unclear,
    /// A head is longer, or has more fields, than is read.
    #[error("the head of the answer is too large")]
    HeadTooLarge,
    /// More interim answers came than are read.
    #[error("too much came before the head of the answer")]
    Flood,
    /// The chunks of a body are malformed.
    #[error("the chunks of the answer are malformed")]
    Chunks,
    /// The request's own body broke off, or is not as long as was said.
    #[error("the body of the request broke off")]
    Upload,
}

impl WireError {
    /// Whether it is what the other side said that is wrong, and not the connection.
    pub fn is_parse(&self) -> bool {
        match self {
            Self::Head(_) | Self::Unclear | Self::HeadTooLarge | Self::Chunks => true,
            Self::Closed | Self::Io(_) | Self::Flood | Self::Upload => false,
        }
    }
}
