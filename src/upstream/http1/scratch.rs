//! What the connections of one worker share: buffers, and names.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::{fmt, io};

use tokio::io::{AsyncRead, ReadBuf};

use super::names::Names;

/// Bytes that are read at a time where it is not known that more will come.
pub(super) const READ_BYTES: usize = 16 * 1024;
/// Largest buffer for heads that is kept, in bytes.
const KEPT_HEAD_BYTES: usize = 16 * 1024;

/// Buffers that the connections of one worker share: lent while bytes move, so that what waits
/// holds none. Cheap to clone.
#[derive(Clone, Default)]
pub(in crate::upstream) struct Scratch(Rc<Shared>);

#[derive(Default)]
struct Shared {
    /// As long as [`READ_BYTES`], once it was needed.
    came: RefCell<Box<[u8]>>,
    head: Cell<Vec<u8>>,
    names: Names,
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

    /// The names of fields that were read last.
    pub(super) fn names(&self) -> &Names {
        &self.0.names
    }

    /// An empty buffer to write a head into.
    pub(super) fn lend_head(&self) -> Vec<u8> {
        self.0.head.take()
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
