//! The sessions over HTTP+SSE whose streams are open in this process, and their calls.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use http::uri::PathAndQuery;
use papaya::HashMap;
use tokio::sync::{Notify, watch};

use crate::mcp::asked::HomeMark;
use crate::mcp::{Home, RequestId};
use crate::proxy::call::Part;
use crate::proxy::spec::LimitsSpec;

use super::open_call::{OpenCall, Tool};
use super::turns::Turns;

const UNFOLLOWED: &str = "switchback_stream_calls_unfollowed_total";

/// The sessions of all workers. Neither looking one up nor noting a call takes a lock.
#[derive(Debug)]
pub struct LiveSessions {
    sessions: HashMap<Arc<str>, Arc<LiveSession>>,
    /// Calls under way, in all sessions.
    calls: Arc<AtomicUsize>,
    most: MostCalls,
    turns: Turns,
}

/// How many calls under way are followed; of more it is not known how they went.
#[derive(Clone, Copy, Debug)]
struct MostCalls {
    a_session: usize,
    in_all: usize,
}

/// One session. Written by the worker that has its stream, but for the calls, which the workers of its
/// messages note.
#[derive(Debug)]
pub(in crate::proxy) struct LiveSession {
    id: Arc<str>,
    calls: HashMap<u64, Arc<OpenCall>>,
    count: AtomicUsize,
    in_all: Arc<AtomicUsize>,
    most: MostCalls,
    /// The request that opens the session, and its key, until it is answered.
    opening: Mutex<Option<(u64, Bytes)>>,
    /// A message has come for it.
    has_spoken: AtomicBool,
    home: ArcSwap<StreamHome>,
    /// Where it lived before, while calls of it are under way there.
    former: ArcSwapOption<StreamHome>,
    /// What the worker of the stream is asked to do, as [`Asked`].
    asked: AtomicU8,
    waker: Mutex<Option<Waker>>,
    moves: watch::Sender<Moves>,
    /// A message waits for its move.
    hurry: Notify,
}

/// Where a session lives.
#[derive(Clone, Debug)]
pub(super) struct StreamHome {
    /// How often it has moved.
    pub(super) number: u64,
    pub(super) at: Home,
    /// Where the backend takes the session's messages.
    pub(super) target: PathAndQuery,
    /// The session's stream from there has broken: whoever listens there now does not know it.
    pub(super) is_gone: bool,
}

impl StreamHome {
    /// What tells what it asks from what others ask; its first home asks without.
    pub(super) fn mark(&self) -> Option<HomeMark> {
        (self.number > 0).then(|| mark_of(&self.at, &self.target))
    }
}

/// Tells a home of a session from its others, in this process and the next: streams from one endpoint
/// differ in where messages go.
pub(super) fn mark_of(at: &Home, target: &PathAndQuery) -> HomeMark {
    let home = Home {
        id: Some(target.as_str().into()),
        ..at.clone()
    };
    home.mark()
}

/// What the worker of a stream is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asked {
    /// Nothing.
    Nothing,
    /// To look whether the session may stay where it is.
    Look,
    /// To take it elsewhere: nobody listens where it is.
    Leave,
}

/// What has become of a session's moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moves {
    /// The number of its home.
    pub(super) number: u64,
    /// How often no new home was found.
    failures: u64,
    /// The stream is over.
    is_over: bool,
}

impl LiveSessions {
    /// No sessions yet.
    pub fn new(limits: &LimitsSpec) -> Self {
        Self {
            sessions: HashMap::new(),
            calls: Arc::default(),
            most: MostCalls {
                a_session: limits.stream_calls,
                in_all: limits.stream_calls_total,
            },
            turns: Turns::new(limits.stream_moves),
        }
    }

    /// A session's stream has opened; the client knows it by this id.
    pub(super) fn enter(
        &self,
        id: Arc<str>,
        (at, target): (Home, PathAndQuery),
    ) -> Arc<LiveSession> {
        let session = Arc::new(LiveSession {
            id: Arc::clone(&id),
            calls: HashMap::new(),
            count: AtomicUsize::new(0),
            in_all: Arc::clone(&self.calls),
            most: self.most,
            opening: Mutex::default(),
            has_spoken: AtomicBool::new(false),
            home: ArcSwap::from_pointee(StreamHome {
                number: 0,
                at,
                target,
                is_gone: false,
            }),
            former: ArcSwapOption::empty(),
            asked: AtomicU8::new(Asked::Nothing as u8),
            waker: Mutex::default(),
            moves: watch::Sender::default(),
            hurry: Notify::new(),
        });
        self.sessions.pin().insert(id, Arc::clone(&session));
        session
    }

    /// The session of this id, if its stream is open here.
    pub(super) fn find(&self, id: &str) -> Option<Arc<LiveSession>> {
        self.sessions.pin().get(id).cloned()
    }

    /// Whose turn it is to move.
    pub(super) fn turns(&self) -> &Turns {
        &self.turns
    }

    /// A session's stream is over.
    pub(super) fn leave(&self, session: &Arc<LiveSession>) {
        // A server that gives one URL twice has one session, which is that of the later stream.
        let is_it = |_: &Arc<str>, known: &Arc<LiveSession>| Arc::ptr_eq(known, session);
        let _known = self.sessions.pin().remove_if(&*session.id, is_it);
        session.moves.send_modify(|moves| moves.is_over = true);
    }
}

impl LiveSession {
    /// The session as its client knows it.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// A call begins. Nothing is known of its end when there are too many.
    pub(super) fn begin(
        &self,
        (id, tool): (&RequestId, Option<Tool>),
        part: Option<Part>,
    ) -> Option<u64> {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let in_all = self.in_all.fetch_add(1, Ordering::Relaxed);
        if count >= self.most.a_session || in_all >= self.most.in_all {
            self.count_out();
            metrics::counter!(UNFOLLOWED).increment(1);
            return None;
        }
        let key = id.key();
        let call = Arc::new(OpenCall::new(id, tool, (part, self.home.load().number)));
        if self.calls.pin().insert(key, call).is_some() {
            // The client has used an id twice: of the two one response is told.
            self.count_out();
            metrics::counter!(UNFOLLOWED).increment(1);
        }
        Some(key)
    }

    /// The call of this key is over, if it was not before.
    pub(super) fn take(&self, key: u64) -> Option<Arc<OpenCall>> {
        let call = self.calls.pin().remove(&key).cloned()?;
        self.count_out();
        Some(call)
    }

    /// The call of this key is on its way to the home of this number, or has been taken there.
    pub(super) fn sent(&self, key: u64, at: (u64, bool)) {
        if let Some(call) = self.calls.pin().get(&key) {
            call.sent(at);
        }
    }

    /// Whether a call is under way at the home of this number.
    pub(super) fn is_busy(&self, home: u64) -> bool {
        let is_there = |call: &Arc<OpenCall>| call.home() == home;
        self.calls.pin().values().any(is_there)
    }

    /// The calls that were taken by homes that are none of these are over.
    pub(super) fn take_orphans(&self, homes: [Option<u64>; 2]) -> Vec<Arc<OpenCall>> {
        self.take_those(|call| call.has_arrived() && !homes.contains(&Some(call.home())))
    }

    /// The client has taken the calls of these keys back, and their server knows.
    pub(super) fn cancelled(&self, keys: &[u64]) {
        let calls = self.calls.pin();
        let known = keys.iter().filter_map(|key| calls.get(key));
        if known.map(|call| call.cancel()).count() > 0 {
            self.look();
        }
    }

    /// The calls that their client has taken back are over.
    pub(super) fn take_cancelled(&self) -> Vec<Arc<OpenCall>> {
        self.take_those(OpenCall::is_cancelled)
    }

    /// Every call that is under way is over.
    pub(super) fn take_all(&self) -> Vec<Arc<OpenCall>> {
        self.take_those(|_| true)
    }

    fn take_those(&self, wanted: impl Fn(&OpenCall) -> bool) -> Vec<Arc<OpenCall>> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let calls = self.calls.pin();
        let those = calls.iter().filter(|(_, call)| wanted(call));
        let keys: Vec<u64> = those.map(|(key, _)| *key).collect();
        keys.into_iter().filter_map(|key| self.take(key)).collect()
    }

    fn count_out(&self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.in_all.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts every open call that has become slow since the last time.
    pub(in crate::proxy) fn sweep(&self, worker: usize) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        for call in self.calls.pin().values() {
            call.mark(worker);
        }
    }

    /// A message has come.
    pub(super) fn speaks(&self) {
        self.has_spoken.store(true, Ordering::Relaxed);
    }

    /// Whether a message has come.
    pub(super) fn has_spoken(&self) -> bool {
        self.has_spoken.load(Ordering::Relaxed)
    }

    /// Where the session lives.
    pub(super) fn home(&self) -> Arc<StreamHome> {
        self.home.load_full()
    }

    /// The session lives here from now on.
    pub(super) fn move_to(&self, at: Home, target: PathAndQuery) -> u64 {
        let number = self.home.load().number + 1;
        self.home.store(Arc::new(StreamHome {
            number,
            at,
            target,
            is_gone: false,
        }));
        self.moves.send_modify(|moves| moves.number = number);
        number
    }

    /// The session's stream has broken where it lives.
    pub(super) fn home_is_gone(&self) {
        let home = StreamHome::clone(&self.home.load());
        self.home.store(Arc::new(StreamHome {
            is_gone: true,
            ..home
        }));
    }

    /// Where the session lived before, while calls of it are under way there.
    pub(super) fn former(&self) -> Option<Arc<StreamHome>> {
        self.former.load_full()
    }

    /// Calls of the session are under way there, where it lived before, or nowhere any more.
    pub(super) fn set_former(&self, former: Option<Arc<StreamHome>>) {
        self.former.store(former);
    }

    /// A message waits for its move.
    pub(super) fn hurries(&self) {
        self.hurry.notify_one();
    }

    /// Told when a message waits for its move.
    pub(super) fn hurry(&self) -> &Notify {
        &self.hurry
    }

    /// No new home was found.
    pub(super) fn move_failed(&self) {
        self.moves.send_modify(|moves| moves.failures += 1);
    }

    /// Whether the stream is over.
    pub(super) fn is_over(&self) -> bool {
        self.moves.borrow().is_over
    }

    /// What becomes of the session's moves, from now on.
    pub(super) fn moves(&self) -> watch::Receiver<Moves> {
        self.moves.subscribe()
    }

    /// Asks the worker of the stream, which is woken.
    pub(in crate::proxy) fn look(&self) {
        self.ask(Asked::Look);
    }

    pub(super) fn ask(&self, what: Asked) {
        self.asked.fetch_max(what as u8, Ordering::AcqRel);
        let waker = self.waker().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// What is asked of the worker of the stream, whose task is woken when there is more.
    pub(super) fn asked(&self, waker: &Waker) -> Asked {
        {
            let mut known = self.waker();
            if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
                *known = Some(waker.clone());
            }
        }
        // Most of the time there is nothing: no store, no shared cache line.
        if self.asked.load(Ordering::Acquire) == Asked::Nothing as u8 {
            return Asked::Nothing;
        }
        match self.asked.swap(Asked::Nothing as u8, Ordering::AcqRel) {
            0 => Asked::Nothing,
            1 => Asked::Look,
            _ => Asked::Leave,
        }
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        // One value, whole whatever interrupted its holder.
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This request opens the session.
    pub(super) fn opens_with(&self, key: u64, request: Bytes) {
        *self.opening() = Some((key, request));
    }

    /// The request that opens the session, if it is the one of this key; told once.
    pub(super) fn opened_by(&self, key: u64) -> Option<Bytes> {
        let mut opening = self.opening();
        let is_it = opening.as_ref().is_some_and(|(known, _)| *known == key);
        is_it
            .then(|| opening.take())
            .flatten()
            .map(|(_, request)| request)
    }

    fn opening(&self) -> MutexGuard<'_, Option<(u64, Bytes)>> {
        // One value, whole whatever interrupted its holder.
        self.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Moves {
    /// Whether a session that was looked at then has moved, or could not.
    pub(super) fn are_decided(self, then: Self) -> bool {
        self.number != then.number || self.failures != then.failures || self.is_over
    }
}

#[cfg(test)]
mod tests;
