//! What the connections of one worker share: buffers, and lines.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::{fmt, io};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use tokio::io::{AsyncRead, ReadBuf};

use super::bulk::LargePieces;
use super::lines::Lines;

/// Bytes that are read at a time where it is not known that more will come.
pub(super) const READ_BYTES: usize = 16 * 1024;
/// So many bytes the allocator finds at once, and more only after a search.
pub(super) const QUICK_BYTES: usize = 1024;
/// Bytes of a block that short answers come out of.
const BLOCK_BYTES: usize = 8 * 1024;
/// Less than this is copied once more rather than have it hold a block, eight times as much.
pub(super) const LITTLE_OF_BLOCK: usize = BLOCK_BYTES / 8;
/// Largest buffer for heads that is kept, in bytes.
const KEPT_HEAD_BYTES: usize = 16 * 1024;
/// Largest room for fields that is kept, in fields: it goes around, and comes to rest with the answer of
/// some connection that is idle, where it has 1.4 KiB.
const KEPT_FIELDS: usize = 12;

/// Buffers that the connections of one worker share: lent while bytes move, so that what waits
/// holds none. Cheap to clone.
#[derive(Clone, Default)]
pub(in crate::upstream) struct Scratch(Rc<Shared>);

#[derive(Default)]
struct Shared {
    /// As long as [`READ_BYTES`], once it was needed.
    came: RefCell<Box<[u8]>>,
    /// What is left of the last block.
    block: RefCell<Option<BytesMut>>,
    head: Cell<Vec<u8>>,
    fields: Cell<HeaderMap>,
    lines: Lines,
    large: LargePieces,
}

impl Scratch {
    /// Reads at most `most` bytes, and [`READ_BYTES`], and gives them to `take`.
    pub(super) fn poll_read<T>(
        &self,
        socket: Pin<&mut impl AsyncRead>,
        cx: &mut Context<'_>,
        (most, take): (usize, impl FnOnce(&[u8]) -> T),
    ) -> Poll<io::Result<T>> {
        let mut came = self.0.came.borrow_mut();
        if came.is_empty() {
            *came = vec![0; READ_BYTES].into_boxed_slice();
        }
        let most = most.min(READ_BYTES);
        let mut into = ReadBuf::new(came.get_mut(..most).unwrap_or_default());
        ready!(socket.poll_read(cx, &mut into))?;
        Poll::Ready(Ok(take(into.filled())))
    }

    /// A copy of an answer, as far as it came with its head. Of 1 to 4 KiB it is a part of a block that
    /// others share: whoever holds on to a whole one holds up to eight times as much.
    pub(super) fn keep(&self, came: &[u8]) -> Bytes {
        if !(QUICK_BYTES + 1..=BLOCK_BYTES / 2).contains(&came.len()) {
            return Bytes::copy_from_slice(came);
        }
        let mut block = self.0.block.borrow_mut();
        let block = block.get_or_insert_with(|| BytesMut::with_capacity(BLOCK_BYTES));
        // A block of which nothing is held any more is used again, as a whole.
        block.reserve(came.len());
        block.extend_from_slice(came);
        block.split().freeze()
    }

    /// The room for large pieces of bodies.
    pub(super) fn large(&self) -> &LargePieces {
        &self.0.large
    }

    /// The lines of heads that were read last.
    pub(super) fn lines(&self) -> &Lines {
        &self.0.lines
    }

    /// An empty buffer to write a head into.
    pub(super) fn lend_head(&self) -> Vec<u8> {
        self.0.head.take()
    }

    /// A map without fields, with room for some if one was given back.
    pub(super) fn lend_fields(&self) -> HeaderMap {
        self.0.fields.take()
    }

    /// Takes the map of a message that is over, for the fields of another one. Not one in which a field
    /// ever came more than once: nobody is told how much room there is for that.
    pub(in crate::upstream) fn take_fields(&self, mut fields: HeaderMap) {
        if (1..=KEPT_FIELDS).contains(&fields.capacity()) {
            fields.clear();
            self.0.fields.set(fields);
        }
    }

    /// Takes the buffer back.
    pub(super) fn take_back(&self, mut head: Vec<u8>) {
        if head.capacity() <= KEPT_HEAD_BYTES {
            head.clear();
            self.0.head.set(head);
        }
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_came_is_kept_as_it_is_while_more_comes_and_goes() {
        let scratch = Scratch::default();
        let mut held = Vec::new();
        for n in 0..2_000_usize {
            let came = vec![n as u8; n * 7_919 % 5_000];
            held.push((scratch.keep(&came), came));
            if n % 3 == 0 {
                held.swap_remove(n % held.len());
            }
        }

        assert!(held.iter().all(|(kept, came)| *kept == *came));
    }

    #[test]
    fn a_map_that_is_lent_again_is_empty_and_not_large() {
        let scratch = Scratch::default();
        let mut largest = 0;
        for count in (0..200).map(|n: usize| n * 7_919 % 40) {
            let mut fields = scratch.lend_fields();
            assert!(fields.is_empty());
            largest = largest.max(fields.capacity());
            for n in 0..count {
                let name: http::HeaderName = format!("x-{n}").parse().unwrap();
                fields.append(name, http::HeaderValue::from_static("1"));
            }
            scratch.take_fields(fields);
        }

        assert!((1..=KEPT_FIELDS).contains(&largest), "{largest}");
    }

    #[test]
    fn a_block_of_which_nothing_is_held_is_used_again() {
        for bytes in [1_025, 2_048, 3_000, 4_096] {
            let scratch = Scratch::default();
            let answer = vec![7; bytes];
            let places: BTreeSet<_> = (0..50).map(|_| scratch.keep(&answer).as_ptr()).collect();

            assert_eq!(places.len(), BLOCK_BYTES / bytes, "{bytes}");
        }
    }
}
