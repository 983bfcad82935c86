//! The revisions of the protocol, and what each of them has.
//!
//! Nobody else compares version strings: a new revision is a variant here.

use std::fmt;

/// A published revision of the protocol, in order of publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revision {
    /// 2024-11-05, which brought the HTTP+SSE transport.
    V2024November,
    /// 2025-03-26, which brought Streamable HTTP, sessions and batches.
    V2025March,
    /// 2025-06-18, which took batches away and asks for the version in a header.
    V2025June,
    /// 2025-11-25.
    V2025November,
    /// 2026-07-28, which has no sessions and tells method and name in headers.
    V2026July,
}

impl Revision {
    /// Every revision, oldest first.
    pub const ALL: [Self; 5] = [
        Self::V2024November,
        Self::V2025March,
        Self::V2025June,
        Self::V2025November,
        Self::V2026July,
    ];
    /// What a request without a version header is taken for.
    pub const ASSUMED: Self = Self::V2025March;

    /// The revision of this name; `None` for a text that names none that is known.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|revision| revision.as_str() == text)
    }

    /// The revision's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2024November => "2024-11-05",
            Self::V2025March => "2025-03-26",
            Self::V2025June => "2025-06-18",
            Self::V2025November => "2025-11-25",
            Self::V2026July => "2026-07-28",
        }
    }

    /// Whether `initialize` opens a session that `Mcp-Session-Id` may name. The oldest
    /// revision is included, since clients speak it over Streamable HTTP too.
    pub fn has_sessions(self) -> bool {
        self < Self::V2026July
    }

    /// Whether several messages may come in one body.
    pub fn has_batches(self) -> bool {
        self == Self::V2025March
    }

    /// Whether every request after `initialize` names the revision in a header.
    pub fn has_version_header(self) -> bool {
        self >= Self::V2025June
    }

    /// Whether headers tell a request's method and name, so that they are more than hints.
    pub fn has_header_facts(self) -> bool {
        self >= Self::V2026July
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_revision_survives_its_name_and_names_sort_like_revisions() {
        for revision in Revision::ALL {
            assert_eq!(Revision::parse(revision.as_str()), Some(revision));
        }
        assert!(Revision::ALL.is_sorted());
        assert!(Revision::ALL.map(Revision::as_str).is_sorted());
    }

    #[test]
    fn texts_that_are_nearly_a_revision_are_none() {
        for text in [
            "",
            "2025-06-19",
            "2025-6-18",
            " 2025-06-18",
            "2025-06-18 ",
            "latest",
        ] {
            assert_eq!(Revision::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn sessions_end_where_header_facts_begin() {
        for revision in Revision::ALL {
            assert_ne!(revision.has_sessions(), revision.has_header_facts());
        }
        let batches: Vec<_> = Revision::ALL
            .into_iter()
            .filter(|r| r.has_batches())
            .collect();

        assert_eq!(batches, [Revision::V2025March]);
    }
}
