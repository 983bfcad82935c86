//! Connections to an endpoint that speaks HTTP/2: few, each shared by many requests.
//!
//! A connection is a task of the worker, unlike one of HTTP/1.1, since no single request could move
//! it along for the others. Its streams are as independent as can be: the window of the
//! connection holds the windows of all of its streams, so that a client which reads slowly stalls
//! its own stream alone. Dropping the future of an answer, or the answer, resets its stream.

mod delivery;
mod incoming;
mod pulse;
mod room;
mod sending;
mod shared;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

use super::endpoint::Endpoint;
use super::error::UpstreamError;
use super::pace::Pace;
use super::shortage;
use super::spec::BackendSpec;

pub(super) use delivery::deliver;
pub(super) use incoming::Incoming;
pub(super) use shared::{Shared, Stream};

use delivery::End;
use room::{Room, Waiting};

/// How long no further connection is tried where one could not be made.
const FAILED_FOR: Duration = Duration::from_secs(1);
/// Bounds on the connections to one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Streams at once, a connection.
    streams: u16,
    /// Connections at once.
    connections: u16,
    /// Frames that bring no answer forward.
    control_frames: u32,
}

impl Bounds {
    /// The bounds for a backend that speaks HTTP/2; nothing for others.
    pub(super) fn of(spec: &BackendSpec) -> Option<Self> {
        spec.http2.then_some(Self {
            streams: spec.http2_streams,
            connections: spec.http2_connections,
            control_frames: spec.http2_control_frames,
        })
    }
}

/// The connections to one endpoint.
#[derive(Debug)]
pub(super) struct Multiplexed {
    bounds: Bounds,
    open: RefCell<Vec<Rc<Shared>>>,
    /// Who waits for room on those that are open.
    room: Rc<Room>,
    /// The connection that is being made, by its number.
    opening: Cell<Option<u64>>,
    opened: Notify,
    attempts: Cell<u64>,
    /// Why the latest attempt that failed did, by its number.
    failure: RefCell<Option<Failure>>,
    /// The endpoint refuses streams, again and again: nothing is repeated before it answers.
    refuses: Cell<bool>,
}

/// Why an attempt to connect failed.
#[derive(Debug)]
struct Failure {
    attempt: u64,
    at: Instant,
    why: String,
    is_own: bool,
}

impl Failure {
    /// The same for somebody else who waited for the attempt.
    fn shared(&self) -> io::Error {
        let error = io::Error::new(io::ErrorKind::NotConnected, self.why.clone());
        if self.is_own {
            shortage::own(error)
        } else {
            error
        }
    }
}

/// What is done for a request that wants a stream.
#[derive(Debug)]
enum Choice {
    /// It has one.
    Take(Stream),
    /// It makes the first connection,
    First,
    /// or waits for whoever makes that, in the attempt of this number.
    Join(u64),
    /// A further connection is made while it waits for room.
    Further,
    /// It waits for room.
    Wait,
}

/// Told when an attempt to connect ends, however it does.
struct Opening<'a>(&'a Multiplexed);

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.opening.set(None);
        self.0.opened.notify_waiters();
        if self.0.open.borrow().is_empty() {
            self.0.room.lost();
        } else {
            self.0.room.freed();
        }
    }
}

impl Multiplexed {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            open: RefCell::default(),
            room: Rc::default(),
            opening: Cell::default(),
            opened: Notify::new(),
            attempts: Cell::default(),
            failure: RefCell::default(),
            refuses: Cell::default(),
        }
    }

    pub(super) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Forgets connections that have been idle for too long, or that the endpoint has closed; they
    /// end when their last stream does.
    pub(super) fn sweep(&self, now: Instant, idle_timeout: Duration) {
        self.open.borrow_mut().retain(|shared| {
            let idle = shared.idle_for(now);
            !shared.is_closed() && idle.is_none_or(|idle| idle < idle_timeout)
        });
    }

    /// A request has ended so on a connection; whether it may go to this endpoint once more. Nothing
    /// is `repeated` twice, apart from what the endpoint has not seen.
    fn ended(&self, shared: &Rc<Shared>, end: End, (was_used, repeated): (bool, bool)) -> bool {
        match end {
            // Another connection may have it.
            End::Unsent | End::Left => true,
            End::Refused if repeated => {
                self.refuses.set(true);
                false
            }
            End::Refused => !self.refuses.get(),
            End::Reset => false,
            End::Broken => {
                // Whether it has noticed itself or not.
                let mut open = self.open.borrow_mut();
                open.retain(|known| !Rc::ptr_eq(known, shared));
                let may_be_stale = was_used && !repeated;
                if may_be_stale {
                    metrics::counter!("switchback_stale_connections_total").increment(1);
                }
                may_be_stale
            }
        }
    }

    /// What is to be done for a stream. Where it `may_take` one, that is on the connection which has the fewest.
    fn choose(&self, may_take: bool) -> Choice {
        let mut open = self.open.borrow_mut();
        open.retain(|shared| !shared.is_closed());
        let with_room = open.iter().filter(|shared| shared.has_room());
        match with_room.min_by_key(|shared| shared.streams()) {
            Some(idlest) if may_take => Choice::Take(Stream::on(idlest)),
            Some(_) => Choice::Wait,
            None if !open.is_empty() => {
                let may_open = open.len() < usize::from(self.bounds.connections);
                let may_open = may_open && self.opening.get().is_none() && !self.has_just_failed();
                if may_open {
                    Choice::Further
                } else {
                    Choice::Wait
                }
            }
            None => self.opening.get().map_or(Choice::First, Choice::Join),
        }
    }

    /// A stream on a connection, once there is one and it has room. Those who want the first connection wait for
    /// whoever makes it, and share its failure; a further one is made while those who want it wait for room on any.
    async fn stream(&self, endpoint: &Rc<Endpoint>, pace: &Pace) -> Result<Stream, UpstreamError> {
        let mut waiting: Option<Waiting<'_>> = None;
        loop {
            let may_take = match &waiting {
                Some(waiting) => waiting.is_first(),
                None => !self.room.is_waited_for(),
            };
            match self.choose(may_take) {
                Choice::Take(stream) => return Ok(stream),
                Choice::Join(attempt) => {
                    waiting = None;
                    self.join(endpoint, attempt, pace).await?;
                    continue;
                }
                Choice::First => {
                    drop(waiting);
                    let made = endpoint.connect_multiplexed(pace.connect_within(), self);
                    return Ok(Stream::on(&self.open(made).await?));
                }
                Choice::Further => self.open_further(endpoint),
                Choice::Wait => {}
            }
            let waiting = waiting.get_or_insert_with(|| self.room.wait());
            if pace.bound(waiting.told()).await.is_none() {
                return Err(endpoint.head_timeout());
            }
        }
    }

    /// Makes a connection beside those that are full, for which nobody waits in particular. It ends with the attempt, or
    /// with the worker: no call is to have begun it in vain because it left.
    fn open_further(&self, endpoint: &Rc<Endpoint>) {
        let attempt = self.begin();
        let endpoint = Rc::clone(endpoint);
        spawn_local(async move {
            let Some(connections) = endpoint.multiplexed() else {
                return;
            };
            let made = endpoint.connect_further(connections);
            if let Err(error) = connections.go_on(attempt, made).await {
                metrics::counter!("switchback_upstream_further_connections_failed_total")
                    .increment(1);
                tracing::debug!(%error, "a further HTTP/2 connection was not made");
                sleep(FAILED_FOR).await;
                connections.room.freed();
            }
        });
    }

    /// Whether an attempt has failed just now, and none went well since, so that there is no use in another one.
    fn has_just_failed(&self) -> bool {
        let failure = self.failure.borrow();
        let at = failure.as_ref().map(|failure| failure.at);
        at.is_some_and(|at| at.elapsed() < FAILED_FOR)
    }

    /// Waits for the first connection, which somebody else makes.
    async fn join(
        &self,
        endpoint: &Endpoint,
        attempt: u64,
        pace: &Pace,
    ) -> Result<(), UpstreamError> {
        let told = timeout(pace.connect_within(), self.opened.notified()).await;
        if told.is_err() {
            return Err(endpoint.connect_timeout());
        }
        match &*self.failure.borrow() {
            Some(failure) if failure.attempt == attempt => {
                Err(endpoint.unreachable(failure.shared()))
            }
            _ => Ok(()),
        }
    }

    /// Whether a stream need not wait for a connection, or one is being made.
    pub(super) fn is_ready(&self) -> bool {
        let is_open = |shared: &Rc<Shared>| !shared.is_closed();
        self.opening.get().is_some() || self.open.borrow().iter().any(is_open)
    }

    /// Makes a connection that no call waits for yet.
    pub(super) async fn make_ready(&self, endpoint: &Endpoint) -> Result<(), UpstreamError> {
        let made = endpoint.ready_multiplexed(self);
        self.open(made).await.map(drop)
    }

    async fn open(
        &self,
        made: impl Future<Output = Result<Rc<Shared>, UpstreamError>>,
    ) -> Result<Rc<Shared>, UpstreamError> {
        let attempt = self.begin();
        self.go_on(attempt, made).await
    }

    /// A connection is being made from now on; the number of the attempt.
    fn begin(&self) -> u64 {
        let attempt = self.attempts.get() + 1;
        self.attempts.set(attempt);
        self.opening.set(Some(attempt));
        attempt
    }

    async fn go_on(
        &self,
        attempt: u64,
        made: impl Future<Output = Result<Rc<Shared>, UpstreamError>>,
    ) -> Result<Rc<Shared>, UpstreamError> {
        let _opening = Opening(self);
        match made.await {
            Ok(shared) => {
                self.failure.take();
                self.open.borrow_mut().push(Rc::clone(&shared));
                Ok(shared)
            }
            Err(error) => {
                *self.failure.borrow_mut() = Some(Failure {
                    attempt,
                    at: Instant::now(),
                    why: error.to_string(),
                    is_own: error.is_own(),
                });
                Err(error)
            }
        }
    }
}
