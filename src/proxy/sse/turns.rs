//! Turns: how many sessions are opened elsewhere at once, so that whoever takes those of a whole backend
//! is not stormed.

use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

const WAITED: &str = "switchback_stream_moves_waited_total";

/// The turns of all workers. First come, first served, but that of all sessions whose clients do not
/// wait only one queues at a time: the others stand in a line of their own, and nobody waits for ever.
#[derive(Debug)]
pub(super) struct Turns {
    places: Arc<Semaphore>,
    /// Where sessions stand whose client does not wait: the first of them queues for a place.
    line: Semaphore,
}

/// A turn; it is over when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _place: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// So many at once.
    pub(super) fn new(most: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(most)),
            line: Semaphore::new(1),
        }
    }

    /// Waits for a turn. `hurry` tells when the client begins to wait, too.
    pub(super) async fn take(&self, hurry: &Notify) -> Turn {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Turn {
                _place: Some(place),
            };
        }
        metrics::counter!(WAITED).increment(1);
        let first = tokio::select! {
            biased;
            () = hurry.notified() => None,
            first = self.line.acquire() => first.ok(),
        };
        // Nobody closes them: there is always a place some day.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        drop(first);
        Turn { _place: place }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll(waiting: Pin<&mut impl Future<Output = Turn>>) -> Option<Turn> {
        match waiting.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    #[test]
    fn so_many_have_their_turn_at_once_and_then_who_came_first() {
        let (turns, calm) = (Turns::new(2), Notify::new());
        let mut all = [(); 4].map(|()| Box::pin(turns.take(&calm)));
        let mut taken: Vec<_> = all.iter_mut().map(|one| poll(one.as_mut())).collect();
        let has: Vec<_> = taken.iter().map(Option::is_some).collect();
        assert_eq!(has, [true, true, false, false]);

        taken[0] = None;
        assert!(poll(all[3].as_mut()).is_none());
        taken[2] = poll(all[2].as_mut());
        assert!(taken[2].is_some());
        // The next in the line queues for a place, which comes free.
        assert!(poll(all[3].as_mut()).is_none());
        taken[1] = None;

        assert!(poll(all[3].as_mut()).is_some());
    }

    #[test]
    fn who_is_waited_for_goes_before_those_who_are_not() {
        let (turns, calm, urgent) = (Turns::new(1), Notify::new(), Notify::new());
        let (mut one, mut two) = (pin!(turns.take(&calm)), pin!(turns.take(&calm)));
        let (mut three, mut four) = (pin!(turns.take(&calm)), pin!(turns.take(&urgent)));
        let under_way = poll(one.as_mut());
        assert!(under_way.is_some());
        assert!(poll(two.as_mut()).is_none());
        assert!(poll(three.as_mut()).is_none());
        assert!(poll(four.as_mut()).is_none());

        urgent.notify_one();
        assert!(poll(four.as_mut()).is_none());
        drop(under_way);

        // The first of those who are not was in the queue before.
        drop(poll(two.as_mut()).expect("its turn"));
        assert!(poll(three.as_mut()).is_none());
        assert!(poll(four.as_mut()).is_some());
    }

    #[test]
    fn who_leaves_keeps_nobody_waiting() {
        let (turns, calm) = (Turns::new(1), Notify::new());
        let mut one = pin!(turns.take(&calm));
        let under_way = poll(one.as_mut());
        let mut left = Box::pin(turns.take(&calm));
        assert!(poll(left.as_mut()).is_none());
        let mut next = pin!(turns.take(&calm));
        assert!(poll(next.as_mut()).is_none());

        drop(left);
        drop(under_way);

        assert!(poll(next.as_mut()).is_some());
    }
}
