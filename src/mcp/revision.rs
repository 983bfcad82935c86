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

    /// The revisions with sessions, newest first: what a server that knows only those can be
    /// asked for.
    pub fn with_sessions() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().rev().filter(|one| one.has_sessions())
    }

    /// Whether headers tell a request's method and name, so that they are more than hints.
    pub fn has_header_facts(self) -> bool {
        self >= Self::V2026July
    }
}

/// The two ways in which a request can belong to a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// Up to 2025-11-25: `initialize` opens a session, and `Mcp-*` headers tell nothing.
    Sessions,
    /// From 2026-07-28 on: each request stands for itself and says in headers what it is about.
    Requests,
}

impl Era {
    /// The era of a request with this `MCP-Protocol-Version`. Revisions that are not known yet
    /// are taken for the newest that is, as long as their name is a later date.
    pub fn of(version: Option<&[u8]>) -> Self {
        let first = Revision::ALL
            .into_iter()
            .find(|revision| revision.has_header_facts());
        match (version, first) {
            (Some(version), Some(first))
                if is_date(version) && version >= first.as_str().as_bytes() =>
            {
                Self::Requests
            }
            _ => Self::Sessions,
        }
    }
}

/// Whether a text has the form of a date, which sorts as it reads.
fn is_date(text: &[u8]) -> bool {
    text.len() == 10
        && text.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
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
    fn the_era_is_told_by_the_version_header_alone() {
        for (version, era) in [
            (None, Era::Sessions),
            (Some("2025-11-25"), Era::Sessions),
            (Some("2026-07-27"), Era::Sessions),
            (Some("2026-07-28"), Era::Requests),
            (Some("2031-01-01"), Era::Requests),
            (Some("2026-07-28 "), Era::Sessions),
            (Some("2026-07-28, 2026-07-28"), Era::Sessions),
            (Some("2026-7-28"), Era::Sessions),
            (Some("DRAFT-2026"), Era::Sessions),
            (Some("99999999999"), Era::Sessions),
            (Some(""), Era::Sessions),
        ] {
            assert_eq!(Era::of(version.map(str::as_bytes)), era, "{version:?}");
        }
    }

    #[test]
    fn what_has_sessions_is_told_newest_first() {
        let names: Vec<_> = Revision::with_sessions().map(Revision::as_str).collect();

        assert_eq!(
            names,
            ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]
        );
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
