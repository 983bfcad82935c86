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

/// The same for texts that may be long and are rare: it takes memory when there is something.
#[derive(Clone, Debug, Default)]
pub(super) struct LongWord<const N: usize> {
    bytes: Vec<u8>,
    is_too_long: bool,
}

impl<const N: usize> LongWord<N> {
    /// Room for most texts at once.
    const FIRST_BYTES: usize = 64;

    /// Starts anew.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.is_too_long = false;
    }

    /// One more piece.
    pub(super) fn push(&mut self, piece: &[u8]) {
        if self.bytes.len() + piece.len() > N {
            self.is_too_long = true;
        }
        if self.is_too_long {
            return;
        }
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(piece.len().max(Self::FIRST_BYTES));
        }
        self.bytes.extend_from_slice(piece);
    }

    /// The text, or `None` when it is too long.
    pub(super) fn get(&self) -> Option<&[u8]> {
        (!self.is_too_long).then_some(&*self.bytes)
    }
}
