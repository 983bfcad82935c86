//! Values that one server made and that only it understands: what ties a later call to it.
//!
//! Nothing is kept of a value but a hash of it: it may be long, and it may be a secret.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// A value that ties a call to the server that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tie {
    kind: TieKind,
    print: u64,
}

/// What such a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TieKind {
    /// A `taskId`.
    Task,
    /// The `requestState` of a call that is to be repeated with more input.
    State,
    /// The cursor of a list's next page.
    Cursor,
}

impl Tie {
    /// The tie of a value.
    pub fn new(kind: TieKind, value: &[u8]) -> Self {
        Self {
            kind,
            print: xxh3_64(value),
        }
    }

    /// What kind of value it is.
    pub fn kind(self) -> TieKind {
        self.kind
    }

    /// A number for the tie within `scope`: equal values of two kinds, or in two scopes, have
    /// nothing to do with each other.
    pub fn key(self, scope: u64) -> u64 {
        let kind = match self.kind {
            TieKind::Task => 1u64,
            TieKind::State => 2,
            TieKind::Cursor => 3,
        };
        let parts = [self.print, scope, kind].map(u64::to_le_bytes);
        xxh3_64(parts.as_flattened())
    }
}

/// The hash of a text that comes in pieces.
#[derive(Clone, Default)]
pub(super) struct Print {
    /// Made when the first piece comes, since hardly any message has such a text.
    hash: Option<Box<Xxh3>>,
}

impl Print {
    /// Starts anew.
    pub(super) fn clear(&mut self) {
        self.hash = None;
    }

    /// One more piece.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.hash.get_or_insert_default().update(piece);
    }

    /// The tie of the text, after which a new one begins. An empty text ties to nothing.
    pub(super) fn take(&mut self, kind: TieKind) -> Option<Tie> {
        let hash = self.hash.take()?;
        Some(Tie {
            kind,
            print: hash.digest(),
        })
    }
}

impl std::fmt::Debug for Print {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Print")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_has_one_tie_however_it_is_cut(pieces in prop::collection::vec("[a-z]{0,400}", 1..9)) {
            let whole = pieces.concat();
            prop_assume!(!whole.is_empty());
            let mut print = Print::default();
            for piece in &pieces {
                print.push(piece.as_bytes());
            }

            prop_assert_eq!(
                print.take(TieKind::State),
                Some(Tie::new(TieKind::State, whole.as_bytes()))
            );
            prop_assert_eq!(print.take(TieKind::State), None);
        }
    }

    #[test]
    fn kinds_and_scopes_keep_equal_values_apart() {
        let kinds = [TieKind::Task, TieKind::State, TieKind::Cursor];
        let mut keys: Vec<u64> = kinds
            .into_iter()
            .flat_map(|kind| [1, 2].map(|scope| Tie::new(kind, b"7").key(scope)))
            .collect();
        keys.sort_unstable();
        keys.dedup();

        assert_eq!(keys.len(), 6);
    }
}
