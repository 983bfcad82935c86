//! The sessions over HTTP+SSE whose streams are open in this process, and their calls.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use papaya::HashMap;
use tokio::time::Instant;

use crate::mcp::RequestId;
use crate::model::Outcome;
use crate::proxy::call::{Latency, Part};
use crate::proxy::spec::LimitsSpec;
use crate::stats::{BadCall, CallStats, Marks};

const UNFOLLOWED: &str = "switchback_stream_calls_unfollowed_total";

/// The sessions of all workers. Neither looking one up nor noting a call takes a lock.
#[derive(Debug)]
pub struct LiveSessions {
    sessions: HashMap<Arc<str>, Arc<LiveSession>>,
    /// Calls under way, in all sessions.
    calls: Arc<AtomicUsize>,
    most: MostCalls,
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
}

/// A call whose response has not come.
#[derive(Debug)]
pub(in crate::proxy) struct OpenCall {
    since: Instant,
    /// Its part in a rollout.
    part: Option<Part>,
    /// Nothing of a call whose latency says nothing.
    marks: Option<Mutex<Marks>>,
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
        }
    }

    /// A session's stream has opened; the client knows it by this id.
    pub(super) fn enter(&self, id: Arc<str>) -> Arc<LiveSession> {
        let session = Arc::new(LiveSession {
            id: Arc::clone(&id),
            calls: HashMap::new(),
            count: AtomicUsize::new(0),
            in_all: Arc::clone(&self.calls),
            most: self.most,
            opening: Mutex::default(),
        });
        self.sessions.pin().insert(id, Arc::clone(&session));
        session
    }

    /// The session of this id, if its stream is open here.
    pub(super) fn find(&self, id: &str) -> Option<Arc<LiveSession>> {
        self.sessions.pin().get(id).cloned()
    }

    /// A session's stream is over.
    pub(super) fn leave(&self, session: &Arc<LiveSession>) {
        // A server that gives one URL twice has one session, which is that of the later stream.
        let is_it = |_: &Arc<str>, known: &Arc<LiveSession>| Arc::ptr_eq(known, session);
        let _known = self.sessions.pin().remove_if(&*session.id, is_it);
    }
}

impl LiveSession {
    /// The session as its client knows it.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// A call begins. Nothing is known of its end when there are too many.
    pub(super) fn begin(&self, id: &RequestId, part: Option<Part>) -> Option<u64> {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let in_all = self.in_all.fetch_add(1, Ordering::Relaxed);
        if count >= self.most.a_session || in_all >= self.most.in_all {
            self.count_out();
            metrics::counter!(UNFOLLOWED).increment(1);
            return None;
        }
        let key = id.key();
        let call = Arc::new(OpenCall::new(part));
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

    /// Every call that is under way is over.
    pub(super) fn take_all(&self) -> Vec<Arc<OpenCall>> {
        let calls = self.calls.pin();
        let keys: Vec<u64> = calls.keys().copied().collect();
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

impl OpenCall {
    fn new(part: Option<Part>) -> Self {
        let tells = part.as_ref().filter(|part| part.latency == Latency::Tells);
        let marks = tells.map(|part| Mutex::new(part.trial.begin(part.worker, part.role)));
        Self {
            since: Instant::now(),
            part,
            marks,
        }
    }

    fn mark(&self, worker: usize) {
        if let (Some(part), Some(marks)) = (&self.part, &self.marks) {
            let mut marks = marks.lock().unwrap_or_else(PoisonError::into_inner);
            let age = self.since.elapsed();
            part.trial.mark(worker, part.role, age, &mut marks);
        }
    }

    /// The call has ended so, as this worker found out.
    pub(super) fn end(&self, (worker, stats): (usize, &CallStats), outcome: Outcome) {
        stats.begin();
        stats.end(outcome, self.since.elapsed());
        if !outcome.tells_nothing() {
            self.mark(worker);
        }
        if let Some(Part {
            trial, role, key, ..
        }) = &self.part
        {
            let call = BadCall {
                role: *role,
                key: *key,
                outcome,
            };
            trial.end(worker, call);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(a_session: usize, in_all: usize) -> LiveSessions {
        LiveSessions::new(&LimitsSpec {
            stream_calls: a_session,
            stream_calls_total: in_all,
            ..LimitsSpec::default()
        })
    }

    fn id(number: usize) -> RequestId {
        RequestId::Number(number.to_string().into())
    }

    #[test]
    fn calls_are_followed_up_to_a_bound_for_each_session_and_for_all() {
        let sessions = sessions(2, 3);
        let (one, other) = (sessions.enter("1".into()), sessions.enter("2".into()));

        let begun: Vec<bool> = (0..3).map(|n| one.begin(&id(n), None).is_some()).collect();
        assert_eq!(begun, [true, true, false]);
        let begun: Vec<bool> = (0..2)
            .map(|n| other.begin(&id(n), None).is_some())
            .collect();
        assert_eq!(begun, [true, false]);

        assert!(one.take(id(0).key()).is_some());
        assert!(one.take(id(0).key()).is_none());
        assert!(other.begin(&id(5), None).is_some());
        assert_eq!((one.take_all().len(), other.take_all().len()), (1, 2));
        assert_eq!(sessions.calls.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_id_that_is_used_twice_is_one_call() {
        let sessions = sessions(5, 5);
        let session = sessions.enter("1".into());

        session.begin(&id(1), None);
        session.begin(&id(1), None);

        assert_eq!(session.take_all().len(), 1);
        assert_eq!(sessions.calls.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_session_that_came_later_under_the_same_id_stays() {
        let sessions = sessions(1, 1);
        let (first, second) = (sessions.enter("1".into()), sessions.enter("1".into()));

        sessions.leave(&first);
        let found = sessions.find("1").unwrap();
        assert!(Arc::ptr_eq(&found, &second));
        sessions.leave(&second);

        assert!(sessions.find("1").is_none());
    }

    #[test]
    fn what_opens_a_session_is_told_once_and_to_its_own_answer() {
        let session = sessions(1, 1).enter("1".into());
        session.opens_with(7, Bytes::from_static(b"{}"));

        assert_eq!(session.opened_by(8), None);
        assert_eq!(session.opened_by(7).as_deref(), Some(&b"{}"[..]));
        assert_eq!(session.opened_by(7), None);
    }
}
