//! What is counted of a call: for its backend, and for the tool that it names. The requests of a
//! batch are counted one by one.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderMap;

use crate::mcp::{self, Era, Kind, RequestFacts};
use crate::model::Outcome;
use crate::stats::{CallStats, ToolCounts, ToolShards};
use crate::upstream::LateBody;

use super::alone;
use super::pipeline::Subject;
use super::view::RouteView;

/// What a request is counted as, wherever it is sent.
#[derive(Clone, Debug, Default)]
pub(super) enum Counted {
    /// One call, and of no tool.
    #[default]
    Call,
    /// One call of a tool.
    Tool(Rc<ToolShards>),
    /// The requests of a batch, in their order, each of its tool if it calls one.
    Batch(Rc<[Option<Rc<ToolShards>>]>),
    /// What its body says, once that is here.
    Late(Rc<LateCounted>),
}

/// What a request is counted as whose body comes later.
#[derive(Debug)]
pub(super) struct LateCounted {
    body: Rc<LateBody>,
    route: RouteView,
}

impl Counted {
    /// What a request to this route is counted as.
    pub(super) fn of(
        route: &RouteView,
        (era, fields): (Era, &HeaderMap),
        subject: &Subject,
    ) -> Self {
        let Some(counts) = route.tools() else {
            return Self::Call;
        };
        if let Some(coming) = &subject.late {
            let body = Rc::clone(&coming.body);
            let route = route.clone();
            return Self::Late(Rc::new(LateCounted { body, route }));
        }
        let Some(facts) = &subject.facts else {
            return if subject.is_unclear {
                Self::Call
            } else {
                Self::by_head(counts, (era, fields))
            };
        };
        Self::by_body(counts, facts)
    }

    /// What a body says.
    fn by_body(counts: &ToolCounts, facts: &RequestFacts) -> Self {
        if facts.kind == Kind::Batch && facts.requests() > 1 {
            let requests = facts.members.iter().filter(|it| it.kind == Kind::Request);
            return Self::Batch(requests.map(|request| tool_of(counts, request)).collect());
        }
        // A batch may be of one request, with notifications around it.
        let mut requests = std::iter::once(facts).chain(&facts.members);
        let tool = requests.find_map(|request| tool_of(counts, request));
        tool.map_or(Self::Call, Self::Tool)
    }

    /// The same for a request that is another route's after all.
    pub(super) fn moved_to(self, route: &RouteView) -> Self {
        match (self, route.tools()) {
            (Self::Tool(shards), Some(counts)) => Self::Tool(counts.of(shards.tool())),
            // A rule takes no batches, and what it may take is looked at first.
            (Self::Tool(_) | Self::Call | Self::Batch(_) | Self::Late(_), _) => Self::Call,
        }
    }

    /// What the head says where the body was too long to be looked at.
    fn by_head(counts: &ToolCounts, (era, fields): (Era, &HeaderMap)) -> Self {
        let mirrored = match era {
            Era::Requests => alone::mirrored(fields).ok(),
            Era::Sessions => None,
        };
        match mirrored {
            Some(said) if said.method() == Some(mcp::Method::ToolsCall) => {
                let name = said.name();
                let name = name
                    .as_deref()
                    .and_then(|name| std::str::from_utf8(name).ok());
                Self::Tool(counts.of(name))
            }
            Some(_) | None => Self::Call,
        }
    }
}

/// The counts of the tool that a request calls.
fn tool_of(counts: &ToolCounts, facts: &RequestFacts) -> Option<Rc<ToolShards>> {
    let calls = facts.kind == Kind::Request && facts.method == mcp::Method::ToolsCall;
    calls.then(|| counts.of(facts.tool.as_deref()))
}

/// The counts that one call is written to, begun and not ended yet.
#[derive(Debug)]
pub(super) struct Tally {
    stats: Arc<CallStats>,
    /// Of the tool that it calls.
    tool: Option<Arc<CallStats>>,
    /// The requests of a batch; nothing for a call that is one.
    batch: Option<Box<[Request]>>,
    /// What tells both later, and the place of the backend.
    late: Option<(Rc<LateCounted>, usize)>,
}

/// One request of a batch.
#[derive(Debug)]
struct Request {
    tool: Option<Arc<CallStats>>,
    is_open: bool,
}

impl Tally {
    /// A call begins at the backend with these counts, and this place.
    pub(super) fn begin(stats: &Arc<CallStats>, (counted, place): (&Counted, usize)) -> Self {
        let mut tally = Self {
            stats: Arc::clone(stats),
            tool: None,
            batch: None,
            late: None,
        };
        tally.set(counted, place);
        tally.each_open(CallStats::begin);
        tally
    }

    fn set(&mut self, counted: &Counted, place: usize) {
        let at = |shards: &Rc<ToolShards>| shards.at(place);
        match counted {
            Counted::Call => {}
            Counted::Tool(shards) => self.tool = at(shards),
            Counted::Batch(tools) => {
                let requests = tools.iter().map(|tool| Request {
                    tool: tool.as_ref().and_then(at),
                    is_open: true,
                });
                self.batch = Some(requests.collect());
            }
            Counted::Late(late) => self.late = Some((Rc::clone(late), place)),
        }
    }

    /// Whatever is to be told of the call is told of what its body has said by now, if it has.
    fn learn(&mut self) {
        let Some((late, place)) = self.late.take() else {
            return;
        };
        let (Some(facts), Some(counts)) = (late.body.facts(), late.route.tools()) else {
            self.late = (!late.body.is_over()).then_some((late, place));
            return;
        };
        self.set(&Counted::by_body(counts, facts), place);
        // As one call it has begun already.
        self.stats.withdraw();
        self.each_open(CallStats::begin);
    }

    /// A request of a batch was answered.
    pub(super) fn end_one(&mut self, place: usize, outcome: Outcome, latency: Duration) {
        self.learn();
        let mut requests = self.batch.iter_mut().flatten();
        if let Some(request) = requests.nth(place).filter(|request| request.is_open) {
            request.is_open = false;
            if let Some(tool) = &request.tool {
                tool.end(outcome, latency);
            }
            self.stats.end(outcome, latency);
        }
    }

    /// Whatever is still open has ended so.
    pub(super) fn end(&mut self, outcome: Outcome, latency: Duration) {
        self.learn();
        self.each_open(|stats| stats.end(outcome, latency));
    }

    /// The call turns out to be a stream.
    pub(super) fn becomes_stream(&mut self) {
        self.learn();
        self.late = None;
        self.each_open(CallStats::becomes_stream);
    }

    /// The stream has ended.
    pub(super) fn end_stream(&self, counts: Option<(Outcome, Duration)>) {
        self.each_open(|stats| stats.end_stream(counts));
    }

    /// Does the same to all counts that are not ended yet: once for each request. Those of a tool first:
    /// who sees a call among all finds it among its tool's.
    fn each_open(&self, write: impl Fn(&CallStats)) {
        let Some(batch) = &self.batch else {
            if let Some(tool) = &self.tool {
                write(tool);
            }
            write(&self.stats);
            return;
        };
        for request in batch.iter().filter(|request| request.is_open) {
            if let Some(tool) = &request.tool {
                write(tool);
            }
            write(&self.stats);
        }
    }
}
