//! Room on the connections to an endpoint, and those who wait for it, in the order of coming.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Who waits, and how much room there is on a connection.
#[derive(Debug)]
pub(super) struct Room {
    queue: RefCell<VecDeque<Ticket>>,
    next: Cell<u64>,
    /// Streams that the endpoint takes on a connection, as far as it has said.
    streams: Cell<usize>,
}

/// A place in the queue.
#[derive(Debug)]
struct Ticket {
    number: u64,
    is_told: bool,
    waker: Option<Waker>,
}

/// One who waits, and keeps its place until it leaves.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    room: &'a Room,
    number: u64,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            queue: RefCell::default(),
            next: Cell::default(),
            streams: Cell::new(usize::MAX),
        }
    }
}

impl Room {
    /// How many streams the endpoint takes on a connection, as far as it has said.
    pub(super) fn streams(&self) -> usize {
        self.streams.get()
    }

    /// It takes so many.
    pub(super) fn takes(&self, streams: usize) {
        self.streams.set(streams);
    }

    /// Whether anybody waits, who comes before others.
    pub(super) fn is_waited_for(&self) -> bool {
        !self.queue.borrow().is_empty()
    }

    /// There is room, which is for the first. Once it has it, it tells the next one.
    pub(super) fn freed(&self) {
        if let Some(first) = self.queue.borrow_mut().front_mut() {
            first.tell();
        }
    }

    /// A connection is gone: whoever waits for room may have to make one.
    pub(super) fn lost(&self) {
        self.queue.borrow_mut().iter_mut().for_each(Ticket::tell);
    }

    /// Begins to wait, behind all others.
    pub(super) fn wait(&self) -> Waiting<'_> {
        metrics::counter!("switchback_upstream_streams_waited_total").increment(1);
        let number = self.next.get();
        self.next.set(number + 1);
        self.queue.borrow_mut().push_back(Ticket {
            number,
            is_told: false,
            waker: None,
        });
        Waiting { room: self, number }
    }
}

impl Ticket {
    fn tell(&mut self) {
        self.is_told = true;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Waiting<'_> {
    /// Whether nobody comes before it.
    pub(super) fn is_first(&self) -> bool {
        let queue = self.room.queue.borrow();
        queue
            .front()
            .is_some_and(|first| first.number == self.number)
    }

    /// Waits until it is worth to look again.
    pub(super) async fn told(&self) {
        poll_fn(|cx| {
            let mut queue = self.room.queue.borrow_mut();
            let place = queue.binary_search_by_key(&self.number, |ticket| ticket.number);
            let Some(ticket) = place.ok().and_then(|place| queue.get_mut(place)) else {
                return Poll::Ready(());
            };
            if std::mem::take(&mut ticket.is_told) {
                return Poll::Ready(());
            }
            ticket.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut queue = self.room.queue.borrow_mut();
        if let Ok(place) = queue.binary_search_by_key(&self.number, |ticket| ticket.number) {
            queue.remove(place);
        }
        drop(queue);
        // What it was told, the next one is to know.
        self.room.freed();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::Context;

    use super::*;

    fn is_told(told: Pin<&mut impl Future<Output = ()>>) -> bool {
        told.poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    #[test]
    fn room_is_for_the_first_and_then_for_the_next() {
        let room = Room::default();
        let (first, second, third) = (room.wait(), room.wait(), room.wait());
        let mut waits = pin!(second.told());
        let mut last = pin!(third.told());
        assert!(!is_told(waits.as_mut()) && !is_told(last.as_mut()));

        room.freed();

        assert!(!is_told(waits.as_mut()), "it is not its turn");
        assert!(is_told(pin!(first.told())));
        assert!(!is_told(pin!(first.told())), "once");
        drop(first);
        assert!(is_told(waits.as_mut()) && second.is_first());
        assert!(!is_told(last.as_mut()) && !third.is_first());
    }

    #[test]
    fn who_leaves_makes_way_wherever_it_stands() {
        let room = Room::default();
        let (first, second, third) = (room.wait(), room.wait(), room.wait());

        drop(second);
        assert!(first.is_first() && !third.is_first());
        room.freed();
        drop(first);

        assert!(third.is_first() && is_told(pin!(third.told())));
        drop(third);
        assert!(!room.is_waited_for());
    }

    #[test]
    fn of_a_lost_connection_everybody_hears_and_keeps_its_place() {
        let room = Room::default();
        let (first, second) = (room.wait(), room.wait());

        room.lost();

        assert!(is_told(pin!(second.told())) && is_told(pin!(first.told())));
        assert!(first.is_first() && !second.is_first());
    }
}
