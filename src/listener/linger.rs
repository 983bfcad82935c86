//! Reading on, for nothing, where a client is still sending what nobody wants.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::deadline::Deadline;
use crate::model::Limit;

/// A client that may go on sending what nobody wants any more, until it has read its answer: cut off while
/// it sends, it would lose what was written to it.
#[derive(Debug)]
pub struct Lingering {
    until: Deadline,
    /// Until it begins.
    time: Option<Duration>,
    left_bytes: usize,
}

impl Lingering {
    /// For `time` once it begins, and for so many bytes.
    pub(super) fn new(until: Deadline, (time, left_bytes): (Duration, usize)) -> Self {
        Self {
            until,
            time: Some(time),
            left_bytes,
        }
    }

    /// The answer is written: its time begins, if it has not begun.
    pub fn begin(&mut self) {
        if let Some(time) = self.time.take() {
            self.until.set(time);
        }
    }

    /// Ready when its time is over.
    pub fn poll_passed(&self, cx: &Context<'_>) -> Poll<()> {
        self.until.poll_passed(cx)
    }

    /// Ready when the client has sent all that it wants to, which `read` tells by `None`, or as much as it may,
    /// or for as long.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut read: impl FnMut(&mut Context<'_>) -> Poll<Option<usize>>,
    ) -> Poll<()> {
        while self.left_bytes > 0 {
            match read(cx) {
                Poll::Ready(Some(bytes)) => {
                    self.left_bytes = self.left_bytes.saturating_sub(bytes.max(1));
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => {
                    ready!(self.until.poll_passed(cx));
                    Limit::Linger.hit();
                    return Poll::Ready(());
                }
            }
        }
        Limit::LingerBytes.hit();
        Poll::Ready(())
    }
}
