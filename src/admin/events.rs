//! What happens, as server-sent events.
//!
//! A reader who does not keep up costs control nothing: events that it has not taken are
//! overwritten, it is told how many, and its stream ends. It may come back with the id of the
//! last event that it saw, and gets what it missed from the history.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::control::{ControlError, ControlHandle, Event, HistoryFilter};

use super::api::Api;
use super::render;

/// How often a silent stream says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Most events that are read from the history for a reader who comes back.
const BACKLOG: usize = 1000;
/// Counts events that readers missed because they were too slow.
pub(super) const LOST: &str = "switchback_admin_events_lost_total";

/// One reader of events.
struct Reader {
    live: Receiver<Arc<Event>>,
    /// What is to be sent before anything live.
    waiting: VecDeque<Bytes>,
    /// Sequence of the latest event that was sent or is waiting.
    seen: u64,
    heartbeat: Interval,
    stopping: watch::Receiver<bool>,
    /// Whether the next frame is the last.
    over: bool,
    _place: OwnedSemaphorePermit,
}

/// Whether a reader may still read: asked before each thing that it would be sent.
pub(super) type Stays = Box<dyn Fn() -> bool + Send>;

/// Opens a stream that begins after the event `last`, or with what happens next, and ends when
/// its reader may not stay.
pub(super) async fn open(
    api: &Api,
    last: Option<u64>,
    place: OwnedSemaphorePermit,
    stays: Stays,
) -> Result<Stream, ControlError> {
    let control = &api.deps.control;
    // Subscribed first: what happens while the history is read comes twice rather than never.
    let live = control.subscribe();
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeat.reset();
    let mut reader = Reader {
        live,
        waiting: VecDeque::from([Bytes::from_static(b"retry: 1000\n: welcome\n\n")]),
        seen: 0,
        heartbeat,
        stopping: api.stopping.clone(),
        over: false,
        _place: place,
    };
    if let Some(last) = last {
        reader.catch_up(control, last).await?;
    }
    Ok(Stream {
        next: Box::pin(reader.next()),
        stays,
    })
}

impl Reader {
    async fn catch_up(&mut self, control: &ControlHandle, last: u64) -> Result<(), ControlError> {
        let filter = HistoryFilter {
            limit: BACKLOG,
            ..HistoryFilter::default()
        };
        let missed = control.history(filter).await?;
        for event in missed.iter().rev().filter(|event| event.sequence > last) {
            self.waiting.push_back(frame(event));
            self.seen = event.sequence;
        }
        Ok(())
    }

    /// The next bytes to send, with the reader for those after them; `None` at the end.
    ///
    /// Nothing is lost when this is dropped half way: then the whole reader is.
    async fn next(mut self) -> Option<(Self, Bytes)> {
        if let Some(bytes) = self.waiting.pop_front() {
            return Some((self, bytes));
        }
        if self.over {
            return None;
        }
        let bytes = self.wait().await?;
        Some((self, bytes))
    }

    /// What happens next that is worth sending; `None` when nothing will.
    async fn wait(&mut self) -> Option<Bytes> {
        loop {
            tokio::select! {
                () = stopped(&mut self.stopping) => return None,
                _ = self.heartbeat.tick() => return Some(Bytes::from_static(b": alive\n\n")),
                event = self.live.recv() => match event {
                    Ok(event) if event.sequence <= self.seen => {}
                    Ok(event) => {
                        self.seen = event.sequence;
                        self.heartbeat.reset();
                        return Some(frame(&event));
                    }
                    Err(RecvError::Lagged(lost)) => return Some(self.give_up(lost)),
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }

    fn give_up(&mut self, lost: u64) -> Bytes {
        metrics::counter!(LOST).increment(lost);
        tracing::warn!(lost, "a reader of events was too slow and is dropped");
        self.over = true;
        format!(": too slow, {lost} events lost; /v1/history has them\n\n").into()
    }
}

/// Waits until the API stops.
pub(super) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error says that whoever could stop the API is gone, which comes to the same.
    drop(stopping.wait_for(|stopping| *stopping).await);
}

fn frame(event: &Event) -> Bytes {
    let body = render::event(event);
    let data = serde_json::to_string(&body).unwrap_or_default();
    let mut text = String::with_capacity(data.len() + 64);
    // Writing to a `String` never fails; JSON on one line has no line break.
    let _ = write!(
        text,
        "id: {}\nevent: {}\ndata: {data}\n\n",
        body.sequence, body.kind
    );
    text.into()
}

type Next = dyn Future<Output = Option<(Reader, Bytes)>> + Send;

/// A reader's stream, as the body of an answer.
pub(super) struct Stream {
    next: Pin<Box<Next>>,
    stays: Stays,
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = ready!(self.next.as_mut().poll(context));
        let Some((reader, bytes)) = next.filter(|_| (self.stays)()) else {
            // Asking again after the end is allowed of nobody, but costs nothing to allow.
            self.next = Box::pin(std::future::ready(None));
            return Poll::Ready(None);
        };
        self.next = Box::pin(reader.next());
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{Semaphore, broadcast};

    use crate::control::{Author, Timestamp, What};
    use crate::model::Generation;

    use super::*;

    fn event(sequence: u64) -> Arc<Event> {
        Arc::new(Event {
            tools: None,
            sequence,
            at: Timestamp::now(),
            generation: Generation(1),
            route: None,
            rollout: None,
            author: Author::new("ann", Some("a\nb")),
            what: What::RolloutPaused,
        })
    }

    async fn reader(live: Receiver<Arc<Event>>) -> (Reader, watch::Sender<bool>) {
        let (stop, stopping) = watch::channel(false);
        let places = Arc::new(Semaphore::new(1));
        let reader = Reader {
            live,
            waiting: VecDeque::new(),
            seen: 0,
            heartbeat: interval(HEARTBEAT),
            stopping,
            over: false,
            _place: places.acquire_owned().await.unwrap(),
        };
        (reader, stop)
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_told_its_loss_and_ends() {
        let (told, live) = broadcast::channel(2);
        let (mut reader, _stop) = reader(live).await;
        reader.heartbeat.reset();
        for sequence in 1..=7 {
            // Telling never waits for the reader.
            told.send(event(sequence)).unwrap();
        }

        let (reader, farewell) = reader.next().await.unwrap();

        assert!(
            farewell.starts_with(b": too slow, 5 events lost"),
            "{farewell:?}"
        );
        assert!(reader.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_says_that_it_is_alive() {
        let (_told, live) = broadcast::channel(2);
        let (mut reader, _stop) = reader(live).await;
        reader.heartbeat.reset();
        let start = tokio::time::Instant::now();

        let (_, alive) = reader.next().await.unwrap();

        assert_eq!(&alive[..], b": alive\n\n");
        assert_eq!(start.elapsed(), HEARTBEAT);
    }

    #[test]
    fn an_event_is_one_block_whatever_its_texts() {
        let frame = frame(&event(9));
        let text = std::str::from_utf8(&frame).unwrap();

        assert!(text.starts_with("id: 9\nevent: rollout_paused\ndata: {"));
        assert_eq!(text.matches('\n').count(), 4, "{text}");
        assert!(text.ends_with("\n\n"));
    }
}
