//! The names of a message's members that matter.

use super::TieKind;

/// The known names of a message, each a bit of what was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Method,
    Id,
    Params,
    Result,
    Error,
    Tool,
    Uri,
    Version,
    Task,
    State,
    Cursor,
    Meta,
    Claim,
    Cancels,
    Other,
}

/// The names that matter directly inside a message.
const OUTER: [(&str, Name); 5] = [
    ("method", Name::Method),
    ("id", Name::Id),
    ("params", Name::Params),
    ("result", Name::Result),
    ("error", Name::Error),
];
/// The names that matter directly inside `params`.
const INNER: [(&str, Name); 8] = [
    ("name", Name::Tool),
    ("uri", Name::Uri),
    ("protocolVersion", Name::Version),
    ("taskId", Name::Task),
    ("requestState", Name::State),
    ("cursor", Name::Cursor),
    ("requestId", Name::Cancels),
    ("_meta", Name::Meta),
];
/// The names that matter directly inside the `_meta` of `params`.
const META: [(&str, Name); 1] = [("io.modelcontextprotocol/protocolVersion", Name::Claim)];

impl Name {
    /// The name that `word` is, in whatever case, and how it is spelled: that of a member of a
    /// message (`level` 1), of its params (2) or of their `_meta` (3).
    pub(super) fn near(level: u8, word: &[u8]) -> Option<(&'static str, Self)> {
        match level {
            1 => near(&OUTER, word),
            2 => near(&INNER, word),
            _ => near(&META, word),
        }
    }

    /// What the value of this name ties its message by.
    pub(super) fn tie(self) -> Option<TieKind> {
        match self {
            Self::Task => Some(TieKind::Task),
            Self::State => Some(TieKind::State),
            Self::Cursor => Some(TieKind::Cursor),
            Self::Method
            | Self::Id
            | Self::Params
            | Self::Result
            | Self::Error
            | Self::Tool
            | Self::Uri
            | Self::Version
            | Self::Meta
            | Self::Claim
            | Self::Cancels
            | Self::Other => None,
        }
    }
}

/// Inlined once for each list, whose names are then compared without a loop.
#[inline]
fn near<const N: usize>(
    names: &'static [(&str, Name); N],
    word: &[u8],
) -> Option<(&'static str, Name)> {
    let is = |(name, _): &&(&str, _)| name.as_bytes() == word;
    let is_near = |(name, _): &&(&str, _)| name.as_bytes().eq_ignore_ascii_case(word);
    let found = names.iter().find(is);
    found.or_else(|| names.iter().find(is_near)).copied()
}
