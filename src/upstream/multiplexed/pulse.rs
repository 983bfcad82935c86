//! Whether an endpoint is still there, while anything is expected of it.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep};

/// Time without a sign of life from the endpoint after which it is asked for one.
const PING_AFTER: Duration = Duration::from_secs(10);
/// Time after which an endpoint that was asked is given up.
const PING_WITHIN: Duration = Duration::from_secs(10);

/// The pulse of one connection.
#[derive(Debug)]
pub(super) struct Pulse {
    pings: Option<PingPong>,
    /// When something came last.
    heard: Rc<Cell<Instant>>,
    /// When it was asked, if that is not answered.
    asked: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Pulse {
    /// The pulse of a connection that has just been made, over which something comes when `heard` says so.
    pub(super) fn new(pings: Option<PingPong>, heard: Rc<Cell<Instant>>) -> Self {
        Self {
            pings,
            heard,
            asked: None,
            timer: Box::pin(sleep(PING_AFTER)),
        }
    }

    /// Ready when the endpoint is given up. It is not asked while nothing `is_awaited` of it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, is_awaited: bool) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let (now, heard) = (Instant::now(), self.heard.get());
            if self.asked.take().is_some_and(|asked| heard <= asked) {
                return Poll::Ready(());
            }
            let due = heard + PING_AFTER;
            let next = if due > now {
                due
            } else if is_awaited {
                self.ask(cx);
                self.asked = Some(now);
                now + PING_WITHIN
            } else {
                now + PING_AFTER
            };
            self.timer.as_mut().reset(next);
        }
    }

    fn ask(&mut self, cx: &mut Context<'_>) {
        if let Some(pings) = &mut self.pings {
            // The answer to the last one makes room for the next.
            let _ = pings.poll_pong(cx);
            let _ = pings.send_ping(Ping::opaque());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::timeout;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How long it takes until an endpoint is given up that is heard for the last time after `heard_for`.
    async fn given_up_after(heard_for: Duration, is_awaited: bool) -> Option<Duration> {
        let (begun, heard) = (Instant::now(), Rc::new(Cell::new(Instant::now())));
        let mut pulse = Pulse::new(None, Rc::clone(&heard));
        let talks = async {
            while begun.elapsed() < heard_for {
                heard.set(Instant::now());
                sleep(SECOND).await;
            }
            std::future::pending::<()>().await;
        };
        let given_up = poll_fn(|cx| pulse.poll(cx, is_awaited));
        let ended = timeout(3600 * SECOND, async {
            tokio::select! {
                () = given_up => {}
                () = talks => {}
            }
        });
        ended.await.is_ok().then(|| begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_is_asked_and_given_up() {
        let silent = given_up_after(Duration::ZERO, true).await.unwrap();
        assert_eq!(silent.as_secs(), 20);

        let later = given_up_after(60 * SECOND, true).await.unwrap();
        assert!((75..=80).contains(&later.as_secs()), "{later:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_talks_or_owes_nothing_is_left_alone() {
        assert_eq!(given_up_after(7200 * SECOND, true).await, None);
        assert_eq!(given_up_after(Duration::ZERO, false).await, None);
    }
}
