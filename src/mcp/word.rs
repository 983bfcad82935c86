//! A short text gathered from pieces, in place.

/// Up to `N` bytes; a longer text is known only to be too long.
#[derive(Clone, Debug)]
pub(super) struct Word<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Word<N> {
    pub(super) fn new() -> Self {
        Self {
            bytes: [0; N],
            length: 0,
        }
    }

    /// Starts anew.
    pub(super) fn clear(&mut self) {
        self.length = 0;
    }

    /// One more piece.
    pub(super) fn push(&mut self, piece: &[u8]) {
        let end = self.length.saturating_add(piece.len());
        if let Some(slot) = self.bytes.get_mut(self.length..end) {
            slot.copy_from_slice(piece);
        }
        // Past the end once, past it for good: `get_mut` refuses from then on.
        self.length = end;
    }

    /// The text, or `None` when it is too long.
    pub(super) fn get(&self) -> Option<&[u8]> {
        self.bytes.get(..self.length)
    }
}
