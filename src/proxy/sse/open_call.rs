//! A call whose response has not come, and where it is counted when it has.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::mcp::{self, RequestFacts, RequestId};
use crate::model::{BackendName, Outcome, RouteName};
use crate::proxy::call::{Latency, Part};
use crate::proxy::worker::Worker;
use crate::stats::{BadCall, CallStats, Incident, Marks, Wrong};

/// A call whose response has not come.
#[derive(Debug)]
pub(in crate::proxy) struct OpenCall {
    id: RequestId,
    tool: Option<Tool>,
    since: Instant,
    /// The number of the home that it was sent to.
    home: AtomicU64,
    /// The home has taken it.
    has_arrived: AtomicBool,
    /// Its client has taken it back.
    is_cancelled: AtomicBool,
    /// Its part in a rollout.
    part: Option<Part>,
    /// Nothing of a call whose latency says nothing.
    marks: Option<Mutex<Marks>>,
}

/// The tool that a call names, if its name is known.
#[derive(Clone, Debug)]
pub(super) struct Tool(Option<Box<str>>);

impl Tool {
    /// The tool that a request calls.
    pub(super) fn of(facts: &RequestFacts) -> Option<Self> {
        let calls = facts.method == mcp::Method::ToolsCall;
        calls.then(|| Self(facts.tool.clone()))
    }
}

/// Where calls are counted: a backend of a route.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) route: RouteName,
    pub(super) backend: BackendName,
    /// This worker's.
    pub(super) stats: Arc<CallStats>,
}

impl Account {
    /// The call has ended so, as this worker found out.
    pub(super) fn end(&self, worker: &Worker, call: &OpenCall, outcome: Outcome) {
        let latency = call.since.elapsed();
        // Whoever sees a call among all finds it among its tool's.
        let tool = call.tool.as_ref();
        let tool = tool.and_then(|tool| self.counts_of(worker, tool));
        for stats in tool.iter().chain([&self.stats]) {
            stats.begin();
            stats.end(outcome, latency);
        }
        call.tell(worker.number(), outcome);
    }

    fn counts_of(&self, worker: &Worker, Tool(name): &Tool) -> Option<Arc<CallStats>> {
        let route = worker.view().named(&self.route)?;
        let mut arms = route.route().arms.iter();
        let place = arms.position(|arm| arm.backend == self.backend)?;
        route.tools()?.of(name.as_deref()).at(place)
    }
}

impl OpenCall {
    pub(super) fn new(
        id: &RequestId,
        tool: Option<Tool>,
        (part, home): (Option<Part>, u64),
    ) -> Self {
        let tells = part.as_ref().filter(|part| part.latency == Latency::Tells);
        let marks = tells.map(|part| Mutex::new(part.trial.begin(part.worker, part.role)));
        Self {
            id: id.clone(),
            tool,
            since: Instant::now(),
            home: AtomicU64::new(home),
            has_arrived: AtomicBool::new(false),
            is_cancelled: AtomicBool::new(false),
            part,
            marks,
        }
    }

    /// Counts that it has become slow, if it has.
    pub(super) fn mark(&self, worker: usize) {
        if let (Some(part), Some(marks)) = (&self.part, &self.marks) {
            let mut marks = marks.lock().unwrap_or_else(PoisonError::into_inner);
            let age = self.since.elapsed();
            if part.trial.mark(worker, part.role, age, &mut marks) {
                self.note(part, Wrong::Slow);
            }
        }
    }

    /// It is on its way to the home of this number, or has been taken there.
    pub(super) fn sent(&self, (home, has_arrived): (u64, bool)) {
        self.home.store(home, Ordering::Relaxed);
        self.has_arrived.store(has_arrived, Ordering::Release);
    }

    /// The number of the home that it was sent to.
    pub(super) fn home(&self) -> u64 {
        self.home.load(Ordering::Relaxed)
    }

    /// Whether its home has taken it.
    pub(super) fn has_arrived(&self) -> bool {
        self.has_arrived.load(Ordering::Acquire)
    }

    /// Its client has taken it back.
    pub(super) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Release);
    }

    /// Whether its client has taken it back.
    pub(super) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Acquire)
    }

    /// The id of the request.
    pub(super) fn id(&self) -> &RequestId {
        &self.id
    }

    fn note(&self, part: &Part, wrong: Wrong) {
        part.trial.note(Incident {
            at: Instant::now(),
            about: part.about(),
            wrong,
            status: None,
            latency: self.since.elapsed(),
        });
    }

    /// Tells the judge how it has ended.
    fn tell(&self, worker: usize, outcome: Outcome) {
        if !outcome.tells_nothing() {
            self.mark(worker);
        }
        if let Some(part) = &self.part {
            let Part {
                trial, role, key, ..
            } = part;
            if trial.is_bad(outcome) {
                self.note(part, Wrong::Bad(outcome));
            }
            let call = BadCall {
                role: *role,
                key: *key,
                outcome,
            };
            trial.end(worker, call);
        }
    }
}
