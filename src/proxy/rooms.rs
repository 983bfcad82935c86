//! Room for the state of requests, used again and again.
//!
//! What is known of a request while it is answered is some kilobytes. As a part of its connection they
//! would be there for as long as an event stream lasts; taken from the allocator for each request,
//! they are too many to be found quickly.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Most rooms that are kept while nobody needs them, for each listener of a worker: with five
/// kilobytes for a request, 160 KiB.
const MAX_KEPT: usize = 32;

type Room<F> = Pin<Box<Option<F>>>;

/// Rooms for futures of one kind.
pub(super) struct Rooms<F>(Rc<RefCell<Vec<Room<F>>>>);

impl<F: Future> Rooms<F> {
    /// No rooms yet.
    pub(super) fn new() -> Self {
        Self(Rc::default())
    }

    /// The same future, in a room that it gives back when it is dropped.
    pub(super) fn lend(&self, future: F) -> Lent<F> {
        let kept = self.0.borrow_mut().pop();
        let mut room = kept.unwrap_or_else(|| Box::pin(None));
        room.set(Some(future));
        Lent {
            room: Some(room),
            rooms: Self(Rc::clone(&self.0)),
        }
    }
}

/// A future in a room.
pub(super) struct Lent<F: Future> {
    /// There until it is dropped.
    room: Option<Room<F>>,
    rooms: Rooms<F>,
}

impl<F: Future> Future for Lent<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let room = self.room.as_mut();
        let future = room.and_then(|room| room.as_mut().as_pin_mut());
        #[expect(clippy::expect_used, reason = "it is there until this is dropped")]
        future.expect("a room with its future").poll(cx)
    }
}

impl<F: Future> Drop for Lent<F> {
    fn drop(&mut self) {
        let Some(mut room) = self.room.take() else {
            return;
        };
        room.set(None);
        let mut kept = self.rooms.0.borrow_mut();
        if kept.len() < MAX_KEPT {
            kept.push(room);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_room_is_used_again_and_no_more_are_kept_than_may_be() {
        let rooms = Rooms::new();
        let mut cx = Context::from_waker(Waker::noop());
        let place = |lent: &Lent<_>| lent.room.as_deref().map(std::ptr::from_ref);

        let mut first = rooms.lend(ready(1));
        let was = place(&first);
        assert_eq!(Pin::new(&mut first).poll(&mut cx), Poll::Ready(1));
        drop(first);
        let mut second = rooms.lend(ready(2));
        assert_eq!((place(&second), rooms.0.borrow().len()), (was, 0));
        assert_eq!(Pin::new(&mut second).poll(&mut cx), Poll::Ready(2));

        drop((0..100).map(|n| rooms.lend(ready(n))).collect::<Vec<_>>());
        assert_eq!(rooms.0.borrow().len(), MAX_KEPT);
    }

    #[test]
    fn a_room_in_which_there_was_a_panic_is_used_again() {
        let rooms = Rooms::new();
        let mut cx = Context::from_waker(Waker::noop());
        let answering = |panics: bool| async move {
            assert!(!panics, "as it should");
            7
        };
        let mut bad = rooms.lend(answering(true));
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut bad).poll(&mut cx)));
        drop(bad);

        let mut good = rooms.lend(answering(false));

        assert!(polled.is_err() && rooms.0.borrow().is_empty());
        assert_eq!(Pin::new(&mut good).poll(&mut cx), Poll::Ready(7));
    }

    #[test]
    fn what_is_dropped_before_its_end_holds_nothing_any_more() {
        let (rooms, held) = (Rooms::new(), Rc::new(()));
        let its = Rc::clone(&held);
        let lent = rooms.lend(async move {
            pending::<()>().await;
            drop(its);
        });

        drop(lent);

        assert_eq!((Rc::strong_count(&held), rooms.0.borrow().len()), (1, 1));
    }
}
