//! What a caller got, which is not the same as a status line.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The result of one call as its caller saw it, by the worst that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A complete answer without any sign of failure.
    Success,
    /// A tool result with `isError: true` inside an answer that looks fine.
    ToolError,
    /// A JSON-RPC error that is the server's fault: -32603 and the server's own codes.
    ProtocolError,
    /// A JSON-RPC error that is the caller's fault: -32700 and -32602 to -32600.
    CallerError,
    /// The JSON-RPC error -32601, method not found: a lost method or a curious caller.
    MethodNotFound,
    /// A 5xx answer, or one that is malformed.
    ServerError,
    /// A 4xx answer.
    ClientError,
    /// No answer, or no progress, within the bound.
    Timeout,
    /// No connection to any endpoint.
    Unreachable,
    /// An answer that was cut before its end.
    Broken,
    /// The caller left before the end.
    Cancelled,
    /// This process had no descriptor, port or memory left for a connection.
    Exhausted,
}

impl Outcome {
    /// Every outcome, in the order of [`Outcome::index`].
    pub const ALL: [Self; 12] = [
        Self::Success,
        Self::ToolError,
        Self::ProtocolError,
        Self::CallerError,
        Self::MethodNotFound,
        Self::ServerError,
        Self::ClientError,
        Self::Timeout,
        Self::Unreachable,
        Self::Broken,
        Self::Cancelled,
        Self::Exhausted,
    ];
    /// How many outcomes there are.
    pub const COUNT: usize = Self::ALL.len();

    /// What a status line alone says.
    pub fn of_status(status: u16) -> Self {
        match status {
            500.. => Self::ServerError,
            400.. => Self::ClientError,
            _ => Self::Success,
        }
    }

    /// A dense number below [`Outcome::COUNT`], for tables of counters.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The outcome's name in metrics, API and config.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ToolError => "tool_error",
            Self::ProtocolError => "protocol_error",
            Self::CallerError => "caller_error",
            Self::MethodNotFound => "method_not_found",
            Self::ServerError => "server_error",
            Self::ClientError => "client_error",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
            Self::Cancelled => "cancelled",
            Self::Exhausted => "exhausted",
        }
    }

    /// Whether it says nothing about the backend, for good or bad.
    pub fn tells_nothing(self) -> bool {
        matches!(self, Self::Cancelled | Self::Exhausted)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of outcomes, such as those that count against a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutcomeSet(u16);

impl OutcomeSet {
    /// What counts against a backend unless a route says otherwise: the server's own faults.
    ///
    /// Not in it: what the caller did wrong (4xx, -32602 and such), what nobody can be
    /// blamed for (-32601), and callers that left.
    pub const BAD: Self = Self::of(&[
        Outcome::ToolError,
        Outcome::ProtocolError,
        Outcome::ServerError,
        Outcome::Timeout,
        Outcome::Unreachable,
        Outcome::Broken,
    ]);

    /// The set of these outcomes.
    pub const fn of(outcomes: &[Outcome]) -> Self {
        let mut bits = 0;
        let mut rest = outcomes;
        while let [first, others @ ..] = rest {
            bits |= 1 << (*first as u16);
            rest = others;
        }
        Self(bits)
    }

    /// Whether `outcome` is in the set.
    pub const fn contains(self, outcome: Outcome) -> bool {
        self.0 & (1 << (outcome as u16)) != 0
    }
}

impl FromIterator<Outcome> for OutcomeSet {
    fn from_iter<I: IntoIterator<Item = Outcome>>(outcomes: I) -> Self {
        outcomes
            .into_iter()
            .fold(Self(0), |set, outcome| Self(set.0 | Self::of(&[outcome]).0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_dense_and_in_order() {
        for (position, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome.index(), position);
        }
    }

    #[test]
    fn the_callers_faults_do_not_count_against_a_backend() {
        let blamed: Vec<_> = Outcome::ALL
            .into_iter()
            .filter(|o| OutcomeSet::BAD.contains(*o))
            .collect();

        assert!(!blamed.contains(&Outcome::ClientError) && !blamed.contains(&Outcome::CallerError));
        assert_eq!(blamed.len(), 6);
    }
}
