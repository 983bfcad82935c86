//! Room for the state of requests, used again and again.
//!
//! What is known of a request while it is answered is some kilobytes. As a part of its connection they
//! would be there for as long as an event stream lasts; taken from the allocator for each request,
//! they are too many to be found quickly, and to move them somewhere costs as much. So whoever answers
//! stays where it is, and is asked one question after the other.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Most rooms that are kept while nobody needs them, for each listener of a worker: with five
/// kilobytes for a request, 160 KiB.
const MAX_KEPT: usize = 32;

/// Answers what comes through its hatch, for ever.
type Dweller = Pin<Box<dyn Future<Output = Infallible>>>;

/// Where a question goes in, and its answer comes out.
pub(super) struct Hatch<Q, A> {
    question: Cell<Option<Q>>,
    answer: Cell<Option<A>>,
    /// Nothing is under way behind it.
    is_waiting: Cell<bool>,
}

impl<Q, A> Hatch<Q, A> {
    /// The next question. Nobody is woken by it: who asks polls.
    pub(super) async fn question(&self) -> Q {
        poll_fn(|_| {
            let question = self.question.take();
            self.is_waiting.set(question.is_none());
            question.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// What the last question is answered with.
    pub(super) fn answer(&self, answer: A) {
        self.answer.set(Some(answer));
    }
}

struct Room<Q, A> {
    hatch: Rc<Hatch<Q, A>>,
    dweller: Dweller,
}

/// Lets a new dweller in behind a hatch.
type Settle<Q, A> = Box<dyn Fn(Rc<Hatch<Q, A>>) -> Dweller>;

type Kept<Q, A> = Rc<RefCell<Vec<Room<Q, A>>>>;

/// Rooms in which the same is made of each question.
pub(super) struct Rooms<Q, A> {
    kept: Kept<Q, A>,
    settle: Settle<Q, A>,
}

impl<Q: 'static, A: 'static> Rooms<Q, A> {
    /// No rooms yet; `dwell` is what is done in one: it answers each question of a hatch.
    pub(super) fn new<D>(dwell: impl Fn(Rc<Hatch<Q, A>>) -> D + 'static) -> Self
    where
        D: Future<Output = Infallible> + 'static,
    {
        Self {
            kept: Rc::default(),
            settle: Box::new(move |hatch| Box::pin(dwell(hatch))),
        }
    }

    /// A future of the answer. Its room is for the next question once it has come.
    pub(super) fn ask(&self, question: Q) -> Lent<Q, A> {
        let kept = self.kept.borrow_mut().pop();
        let room = kept.unwrap_or_else(|| {
            let hatch = Rc::new(Hatch {
                question: Cell::new(None),
                answer: Cell::new(None),
                is_waiting: Cell::new(false),
            });
            let dweller = (self.settle)(Rc::clone(&hatch));
            Room { hatch, dweller }
        });
        room.hatch.question.set(Some(question));
        Lent {
            room: Some(room),
            kept: Rc::clone(&self.kept),
        }
    }
}

/// An answer that is being worked on in a room.
pub(super) struct Lent<Q, A> {
    /// There until the answer is.
    room: Option<Room<Q, A>>,
    kept: Kept<Q, A>,
}

impl<Q, A> Future for Lent<Q, A> {
    type Output = A;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<A> {
        #[expect(clippy::expect_used, reason = "nobody polls what is ready")]
        let room = self.room.as_mut().expect("a room until the answer came");
        let Poll::Pending = room.dweller.as_mut().poll(cx);
        let Some(answer) = room.hatch.answer.take() else {
            return Poll::Pending;
        };
        // One that is left in the middle of a question, or by a panic, is of no use any more.
        let room = self.room.take().filter(|room| room.hatch.is_waiting.get());
        let mut kept = self.kept.borrow_mut();
        if kept.len() < MAX_KEPT {
            kept.extend(room);
        }
        Poll::Ready(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::task::Waker;

    use super::*;

    fn answering<Q, A, F>(answer: impl Fn(Q) -> F + Copy + 'static) -> Rooms<Q, A>
    where
        Q: 'static,
        A: 'static,
        F: Future<Output = A> + 'static,
    {
        Rooms::new(move |hatch: Rc<Hatch<Q, A>>| async move {
            loop {
                let question = hatch.question().await;
                hatch.answer(answer(question).await);
            }
        })
    }

    fn polled<Q, A>(lent: &mut Lent<Q, A>) -> Poll<A> {
        Pin::new(lent).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_room_is_used_again_and_no_more_are_kept_than_may_be() {
        let rooms = answering(|n: usize| ready(n + 1));
        let place = |lent: &Lent<_, _>| lent.room.as_ref().map(|room| Rc::as_ptr(&room.hatch));

        let mut first = rooms.ask(1);
        let was = place(&first);
        assert_eq!(polled(&mut first), Poll::Ready(2));
        let mut second = rooms.ask(2);
        assert_eq!((place(&second), rooms.kept.borrow().len()), (was, 0));
        assert_eq!(polled(&mut second), Poll::Ready(3));

        let mut many: Vec<_> = (0..100).map(|n| rooms.ask(n)).collect();
        for (n, lent) in many.iter_mut().enumerate() {
            assert_eq!(polled(lent), Poll::Ready(n + 1));
        }
        assert_eq!(rooms.kept.borrow().len(), MAX_KEPT);
    }

    #[test]
    fn an_answer_that_takes_its_time_goes_to_who_asked() {
        let rooms = answering(|(name, waits): (&'static str, u32)| {
            let mut left = waits;
            poll_fn(move |_| match left.checked_sub(1) {
                Some(less) => {
                    left = less;
                    Poll::Pending
                }
                None => Poll::Ready(name),
            })
        });

        let (mut slow, mut quick) = (rooms.ask(("slow", 2)), rooms.ask(("quick", 0)));

        assert_eq!(polled(&mut slow), Poll::Pending);
        assert_eq!(polled(&mut quick), Poll::Ready("quick"));
        let mut other = rooms.ask(("other", 1));
        assert_eq!(polled(&mut other), Poll::Pending);
        assert_eq!(polled(&mut slow), Poll::Pending);
        assert_eq!(polled(&mut slow), Poll::Ready("slow"));
        assert_eq!(polled(&mut other), Poll::Ready("other"));
    }

    #[test]
    fn a_room_in_which_there_was_a_panic_is_not_used_again() {
        let rooms = answering(|panics: bool| async move {
            assert!(!panics, "as it should");
            7
        });
        let mut bad = rooms.ask(true);
        let bad_poll = catch_unwind(AssertUnwindSafe(|| polled(&mut bad)));
        drop(bad);

        assert!(bad_poll.is_err() && rooms.kept.borrow().is_empty());
        assert_eq!(polled(&mut rooms.ask(false)), Poll::Ready(7));
    }

    #[test]
    fn a_room_in_which_something_goes_on_is_not_used_again() {
        let rooms = Rooms::new(|hatch: Rc<Hatch<u32, u32>>| async move {
            let question = hatch.question().await;
            hatch.answer(question);
            pending().await
        });

        assert_eq!(polled(&mut rooms.ask(1)), Poll::Ready(1));

        assert!(rooms.kept.borrow().is_empty());
        assert_eq!(polled(&mut rooms.ask(2)), Poll::Ready(2));
    }

    #[test]
    fn what_is_dropped_before_its_end_holds_nothing_any_more() {
        let held = Rc::new(());
        let rooms = answering(|its: Rc<()>| async move {
            pending::<()>().await;
            drop(its);
        });
        let unpolled = rooms.ask(Rc::clone(&held));
        let mut begun = rooms.ask(Rc::clone(&held));
        assert_eq!(polled(&mut begun), Poll::Pending);

        drop((unpolled, begun));

        assert_eq!((Rc::strong_count(&held), rooms.kept.borrow().len()), (1, 0));
    }
}
