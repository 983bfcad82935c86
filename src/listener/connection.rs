//! What the worker knows of one connection from downstream.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::deadline::{Allowance, Deadline, Deadlines, Terms};
use crate::model::Limit;

use super::buffered::Buffered;
use super::calm::{Calm, CalmLimits};
use super::frames::Seen;
use super::linger::Lingering;
use super::screen::HeadBounds;

/// Bounds on the silence of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Before the first byte.
    pub first_byte: Duration,
    /// From a TLS handshake's first byte to its end.
    pub tls_handshake: Duration,
    /// From a head's first byte to its last.
    pub request_head: Duration,
    /// How large a head may be.
    pub head: HeadBounds,
    /// Between requests.
    pub keep_alive: Duration,
    /// While bytes wait for the client to read them.
    pub reading: Terms,
    /// Before a connection that is over is closed under a client that is still there, and how
    /// many bytes that client may send in this time.
    pub linger: (Duration, usize),
    /// What an HTTP/2 client may do besides asking.
    pub calm: CalmLimits,
}

/// One connection from downstream. Written by its own task, read by the worker's drain.
#[derive(Debug)]
pub struct Connection {
    /// The client's end.
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// Due when the connection has been silent for too long; fired to make it drain.
    pub deadline: Deadline,
    deadlines: Deadlines,
    limits: Limits,
    open_requests: Cell<u32>,
    /// No byte of the next head has come yet.
    between_heads: Cell<bool>,
    multiplexed: Cell<bool>,
    /// HTTP/2 has begun.
    settled: Cell<bool>,
    draining: Cell<bool>,
    closing: Cell<bool>,
    /// A block of fields has begun, and nothing else can come before its end.
    in_block: Cell<bool>,
    calm: Calm,
    /// Bytes that may still be read before others have their turn.
    turn_left: Cell<usize>,
    /// The client has been told that it is over, and is to hear it.
    lingers: Cell<bool>,
    /// What came is not passed on, which has been counted.
    refused: Cell<bool>,
    /// The head that was awaited first has begun to come.
    begun: Cell<bool>,
    /// What came last of HTTP/1 is the beginning of a head.
    pub(super) in_head: Cell<bool>,
    /// The sweep since which nothing is under way.
    idle_since: Cell<u64>,
    /// What waits for all clients of the worker.
    buffered: Rc<Buffered>,
    /// What waits for this one.
    unread: Cell<usize>,
    /// Answers that go on when it has been read.
    held: RefCell<Vec<Waker>>,
    /// The end of the answer under way is told by the end of the connection alone.
    unframed: Cell<bool>,
    /// The answer under way breaks off.
    broken_off: Cell<bool>,
}

/// Bytes of one HTTP/2 connection that are read in one go.
const TURN_BYTES: usize = 32 * 1024;
/// Sweeps for which a connection must have been idle before it is closed for another: a second.
const IDLE_TICKS: u64 = 10;
/// How long a client has to hear that it is over.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Connection {
    /// A connection that has just been accepted; its first byte is awaited.
    pub fn new(
        (peer, local): (SocketAddr, SocketAddr),
        (deadlines, buffered): (&Deadlines, &Rc<Buffered>),
        limits: Limits,
    ) -> Self {
        let deadline = deadlines.deadline();
        deadline.set(limits.first_byte);
        Self {
            peer,
            local,
            deadline,
            deadlines: deadlines.clone(),
            limits,
            open_requests: Cell::new(0),
            between_heads: Cell::new(false),
            multiplexed: Cell::new(false),
            settled: Cell::new(false),
            draining: Cell::new(false),
            closing: Cell::new(false),
            in_block: Cell::new(false),
            calm: Calm::new(limits.calm, deadlines.ticks()),
            turn_left: Cell::new(TURN_BYTES),
            lingers: Cell::new(false),
            refused: Cell::new(false),
            begun: Cell::new(false),
            in_head: Cell::new(false),
            idle_since: Cell::new(deadlines.ticks()),
            buffered: Rc::clone(buffered),
            unread: Cell::new(0),
            held: RefCell::default(),
            unframed: Cell::new(false),
            broken_off: Cell::new(false),
        }
    }

    /// The first byte has come, and begins a TLS handshake.
    pub fn shake_hands(&self) {
        self.wait(self.limits.tls_handshake);
    }

    /// The handshake is over, and has told no version: the first bytes will.
    pub fn await_first_byte(&self) {
        self.wait(self.limits.first_byte);
    }

    /// The first bytes have come and told the version; the first head is awaited.
    pub fn begin(&self, multiplexed: bool) {
        self.multiplexed.set(multiplexed);
        self.begun.set(true);
        self.wait(self.limits.request_head);
    }

    /// Both sides of HTTP/2 have said how they begin: from now on the client can be told to leave.
    pub fn settle(&self) {
        self.settled.set(true);
        if self.draining.get() {
            self.close();
        }
    }

    /// A request's head is complete.
    pub fn request_begins(&self) {
        self.open_requests.set(self.open_requests.get() + 1);
        if !self.multiplexed.get() {
            // Its head may have come with the last one. What comes from now on is its body, or is not read
            // before its answer has been written: no head whose time has begun.
            self.between_heads.set(false);
        }
        if !self.closing.get() && !self.in_block.get() {
            self.deadline.clear();
        }
    }

    /// The end of the answer under way is told by the end of the connection alone: the client
    /// speaks HTTP/1.0, and nobody knows how long the answer is.
    pub fn answers_to_its_end(&self) {
        self.unframed.set(true);
    }

    /// The answer under way breaks off.
    pub fn breaks_off(&self) {
        self.broken_off.set(true);
    }

    /// Whether an ordinary close would make an answer look whole that is not.
    pub fn must_reset(&self) -> bool {
        self.unframed.get() && self.broken_off.get()
    }

    /// A request's answer has been handed over, or given up.
    pub fn request_ends(&self) {
        let open = self.open_requests.get().saturating_sub(1);
        self.open_requests.set(open);
        if open == 0 {
            self.idle_since.set(self.deadlines.ticks());
        }
        if open == 0 && !self.in_block.get() {
            // A head that began to come meanwhile has its time from now on.
            let begun = self.in_head.get();
            self.between_heads.set(!begun);
            self.wait(if begun {
                self.limits.request_head
            } else {
                self.limits.keep_alive
            });
        }
    }

    /// Since which sweep nothing has been under way, unless that is only a moment ago.
    pub fn idle_since(&self, now: u64) -> Option<u64> {
        let awaits = self.between_heads.get() || !self.begun.get();
        let idle = awaits && self.open_requests.get() == 0 && !self.closing.get();
        let since = self.idle_since.get();
        (idle && !self.in_block.get() && now.saturating_sub(since) >= IDLE_TICKS).then_some(since)
    }

    /// A piece of an answer is handed over to be written.
    pub fn given(&self, bytes: usize) {
        self.unread.set(self.unread.get() + bytes);
        self.buffered.add(bytes as u64);
    }

    /// Whether another piece may be handed over. Not while the client has not taken the last
    /// one, and clients leave as much unread as they may; the task is woken when it has.
    pub fn poll_may_give(&self, cx: &Context<'_>) -> Poll<()> {
        if self.unread.get() == 0 || !self.buffered.is_full() {
            return Poll::Ready(());
        }
        let mut held = self.held.borrow_mut();
        if !held.iter().any(|waker| waker.will_wake(cx.waker())) {
            Limit::BufferedBytes.hit();
            held.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Whether clients leave as much unread as they may, so that each piece is to be small.
    pub fn is_crowded(&self) -> bool {
        self.buffered.is_full()
    }

    /// Whether the client has not taken everything that was handed over.
    pub fn has_unread(&self) -> bool {
        self.unread.get() > 0
    }

    fn read(&self, bytes: usize) {
        let unread = self.unread.get();
        if unread == 0 {
            return;
        }
        let read = bytes.min(unread);
        self.unread.set(unread - read);
        self.buffered.subtract(read as u64);
        if read == unread {
            let held = std::mem::take(&mut *self.held.borrow_mut());
            held.into_iter().for_each(Waker::wake);
        }
    }

    /// An answer over HTTP/2 has been given whole.
    pub fn answered(&self) {
        self.calm.answered();
    }

    /// Whether the client takes streams back.
    pub fn takes_back(&self) -> bool {
        self.calm.takes_back()
    }

    /// Whether the client did more besides asking than it may.
    pub fn has_offended(&self) -> bool {
        self.calm.is_offended()
    }

    /// The connection's task begins to work: it may read for a while before others have a turn.
    pub fn begin_turn(&self) {
        self.turn_left.set(TURN_BYTES);
    }

    /// The client is told that it is over, and has a moment to hear it.
    pub fn last_words(&self) {
        self.lingers.set(true);
        self.deadline.set(LAST_WORDS);
    }

    /// The silence was too long, and the connection is closed: counts the bound that it ran into.
    /// That a connection has no more requests is no fault.
    pub fn expired(&self) {
        if self.in_block.get() || !self.between_heads.get() {
            Limit::RequestHead.hit();
        }
    }

    /// Asks the client to leave, without closing anything under its hands. HTTP/2 has a frame
    /// for that, which is sent once it has begun; in HTTP/1.1 the next answer says that it is the last
    /// ([`Connection::answers_last`]), since a request may be on its way already.
    pub fn drain(&self) {
        self.draining.set(true);
        if self.settled.get() {
            self.close();
        }
    }

    /// Makes the connection end: now when it is idle, else after what is under way.
    pub fn close(&self) {
        self.draining.set(true);
        self.closing.set(true);
        self.deadline.fire();
    }

    /// Whether the client was asked to leave.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Whether the connection was told to end.
    pub fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// Whether an answer that begins now has to say that it is the connection's last.
    pub fn answers_last(&self) -> bool {
        self.draining.get() && !self.multiplexed.get()
    }

    /// Requests whose answers are not over.
    pub fn open_requests(&self) -> u32 {
        self.open_requests.get()
    }

    /// How long the client may leave what is sent to it unread.
    pub(super) fn reading(&self) -> Allowance {
        Allowance::new(&self.deadlines, self.limits.reading)
    }

    /// How long and how much may be read of what nobody wants; its time has not begun.
    pub fn lingering(&self) -> Lingering {
        Lingering::new(self.deadlines.deadline(), self.limits.linger)
    }

    pub(super) fn head_bounds(&self) -> HeadBounds {
        self.limits.head
    }

    /// What came is not passed on, which has been counted.
    pub(super) fn was_refused(&self) {
        self.refused.set(true);
    }

    /// Whether it has been counted already that what came is not passed on.
    pub fn is_refused(&self) -> bool {
        self.refused.get()
    }

    pub(super) fn lingers(&self) -> bool {
        self.lingers.get()
    }

    /// Whether the connection has read enough for now. One that offended reads nothing more.
    pub(super) fn has_had_its_turn(&self) -> bool {
        self.turn_left.get() == 0 || self.calm.is_offended()
    }

    /// The client has taken these bytes.
    pub(super) fn taken(&self, bytes: usize) {
        self.read(bytes);
        if self.multiplexed.get() {
            self.calm.taken(bytes);
        }
    }

    /// Everything that was handed over has been written, or is not wanted any more.
    pub(super) fn caught_up(&self) {
        self.read(usize::MAX);
    }

    /// Bytes of HTTP/1 have come.
    pub(super) fn bytes_came(&self) {
        if self.between_heads.replace(false) {
            self.wait(self.limits.request_head);
        }
    }

    /// Frames of HTTP/2 have come. They show that somebody is there, but keep nothing open: that
    /// a block of fields ends is waited for, and else that there is something to do.
    pub(super) fn frames_came(&self, bytes: usize, seen: Seen) {
        self.turn_left
            .set(self.turn_left.get().saturating_sub(bytes));
        self.calm.pay(seen, self.deadlines.ticks());
        let idle = self.open_requests.get() == 0;
        match seen.in_block {
            Some(true) if !self.in_block.replace(true) => self.wait(self.limits.request_head),
            Some(false) => {
                self.in_block.set(false);
                if idle {
                    self.wait(self.limits.keep_alive);
                } else if !self.closing.get() {
                    self.deadline.clear();
                }
            }
            Some(true) | None => {}
        }
        if seen.spoke && !self.between_heads.replace(true) && idle && !self.in_block.get() {
            self.wait(self.limits.keep_alive);
        }
    }

    /// Bounds the silence from now on; a close that was asked for must not be forgotten by it.
    fn wait(&self, at_most: Duration) {
        if !self.closing.get() {
            self.deadline.set(at_most);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.buffered.subtract(self.unread.get() as u64);
    }
}

#[cfg(test)]
mod tests {
    use crate::listener::BufferBudget;

    use super::*;

    fn connection(deadlines: &Deadlines) -> Connection {
        let limits = Limits {
            first_byte: Duration::from_secs(10),
            tls_handshake: Duration::from_secs(10),
            request_head: Duration::from_secs(10),
            head: HeadBounds {
                bytes: 65_536,
                fields: 100,
            },
            keep_alive: Duration::from_secs(10),
            reading: Terms {
                pause: Duration::from_secs(10),
                grace: Duration::from_secs(10),
                rate: 0,
            },
            linger: (Duration::ZERO, 0),
            calm: CalmLimits {
                control_frames: 100,
                resets: 10,
            },
        };
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let buffered = BufferBudget::new(u64::MAX, 1).of_worker(0);
        Connection::new((address, address), (deadlines, &buffered), limits)
    }

    fn is_due(connection: &Connection, deadlines: &Deadlines) -> bool {
        deadlines.sweep();
        let cx = Context::from_waker(Waker::noop());
        connection.deadline.poll_passed(&cx).is_ready()
    }

    #[test]
    fn a_close_is_not_forgotten_when_the_first_bytes_come_after_it() {
        let deadlines = Deadlines::default();
        let connection = connection(&deadlines);
        connection.close();

        connection.begin(false);

        assert!(is_due(&connection, &deadlines));
    }

    #[test]
    fn a_drain_tells_http2_once_it_has_begun_and_http1_with_its_next_answer() {
        for multiplexed in [false, true] {
            let deadlines = Deadlines::default();
            let connection = connection(&deadlines);
            connection.drain();

            connection.begin(multiplexed);
            assert!(!is_due(&connection, &deadlines));
            if multiplexed {
                connection.settle();
            }

            assert_eq!(is_due(&connection, &deadlines), multiplexed);
            assert_eq!(connection.answers_last(), !multiplexed);
        }
    }

    #[test]
    fn requests_under_way_hold_a_drain_up_but_not_a_close() {
        let deadlines = Deadlines::default();
        let connection = connection(&deadlines);
        connection.begin(false);
        connection.request_begins();
        connection.drain();
        assert_eq!(
            (connection.open_requests(), is_due(&connection, &deadlines)),
            (1, false)
        );

        connection.close();

        assert!(is_due(&connection, &deadlines));
    }
}
