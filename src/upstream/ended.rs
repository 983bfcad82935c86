//! What the end of an attempt says about its endpoint.

use crate::model::Outcome;

/// What the end of an attempt says about its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It answered, with a status below 500.
    Answered,
    /// It failed.
    Failed(Failure),
    /// Nothing: the caller left, or its own body was at fault, or this process was.
    Unknown,
}

/// How an attempt failed. In the order of how far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// No connection could be made.
    Unreachable,
    /// The head of the answer did not come in time, or the connection broke before it.
    Unanswered,
    /// The answer's status was 500 or above, or its head was malformed.
    ServerError,
}

impl Failure {
    /// All of them, in the order of [`Failure::index`].
    pub const ALL: [Self; 3] = [Self::Unreachable, Self::Unanswered, Self::ServerError];
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// A dense number below [`Failure::COUNT`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The failure's name in metrics and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Unanswered => "unanswered",
            Self::ServerError => "server_error",
        }
    }
}

impl Ended {
    /// What the status of an answer says.
    pub fn of_status(status: u16) -> Self {
        Self::of_outcome(Outcome::of_status(status))
    }

    /// What the outcome of an attempt says that has no answer.
    pub fn of_outcome(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Unreachable => Self::Failed(Failure::Unreachable),
            Outcome::Timeout | Outcome::Broken => Self::Failed(Failure::Unanswered),
            Outcome::ServerError => Self::Failed(Failure::ServerError),
            Outcome::Success
            | Outcome::ToolError
            | Outcome::ProtocolError
            | Outcome::CallerError
            | Outcome::MethodNotFound
            | Outcome::ClientError => Self::Answered,
            Outcome::Cancelled | Outcome::Exhausted => Self::Unknown,
        }
    }
}
