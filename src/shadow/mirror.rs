//! A route's mirror on one worker: decides whether a call is copied, and looks after the copies.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::spawn_local;
use tokio::time::Instant;

use crate::deadline::Deadlines;
use crate::mcp::SessionTable;
use crate::model::{Outcome, Percent};
use crate::stats::{CallStats, MirrorDrop, MirrorStats, MirrorTrial};
use crate::upstream::{Copy, Endpoint};

use super::budget::{Budget, Permit};
use super::copy::{self, Original};
use super::pair::{Pair, Twin};
use super::spec::ShadowSpec;

/// What a mirror is made of.
#[derive(Debug)]
pub struct MirrorOptions {
    /// What the route says.
    pub spec: ShadowSpec,
    /// The shadow's endpoints, with connections of their own.
    pub endpoints: Vec<Rc<Endpoint>>,
    /// Where this worker counts copies.
    pub calls: Arc<CallStats>,
    /// Where all workers count what became of copies.
    pub stats: Arc<MirrorStats>,
    /// Where that is counted for a rollout, too.
    pub tried: Option<Tried>,
    /// What the copies of all workers hold.
    pub budget: Arc<Budget>,
    /// The callers' sessions at shadows, of all workers.
    pub sessions: Arc<SessionTable>,
    /// The worker's deadlines.
    pub deadlines: Deadlines,
    /// When the worker began.
    pub began: Instant,
}

/// The rollout that copies are for: its counts, and whose they are written by.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The counts.
    pub trial: Arc<MirrorTrial>,
    /// The number of this worker.
    pub worker: usize,
}

/// A route's mirror on one worker.
#[derive(Debug)]
pub struct Mirror {
    pub(super) parts: MirrorOptions,
}

impl Mirror {
    /// A mirror of these parts.
    pub fn new(parts: MirrorOptions) -> Self {
        Self { parts }
    }

    /// Whether a call with this draw, uniform over all of `u64`, is in the mirrored share.
    pub fn wants(&self, draw: u64) -> bool {
        self.parts.spec.percent == Percent::HUNDRED
            || ((draw >> 11) as f64) < self.parts.spec.percent.fraction() * (1u64 << 53) as f64
    }

    /// A copy was not sent, or not to its end.
    fn drop_one(&self, why: MirrorDrop) {
        self.parts.stats.drop_one(why);
        if let Some(tried) = &self.parts.tried {
            tried.trial.drop_one(why);
        }
    }

    /// Begins a copy of a call whose body has `length` bytes, if that is known. The body is
    /// collected through the [`Copy`]; the [`Twin`] is told how the real call goes.
    pub fn begin(
        self: &Rc<Self>,
        original: Original,
        length: Option<u64>,
        draw: u64,
    ) -> Option<(Copy, Twin)> {
        let Some(endpoint) = self.pick(draw) else {
            self.drop_one(MirrorDrop::Unfit);
            return None;
        };
        let held = length.map_or(self.parts.spec.max_body_bytes, |length| {
            usize::try_from(length).unwrap_or(usize::MAX)
        });
        if held > self.parts.spec.max_body_bytes {
            self.drop_one(MirrorDrop::TooLong);
            return None;
        }
        let bounds = (self.parts.spec.max_in_flight, self.parts.spec.max_bytes);
        let permit = self
            .parts
            .budget
            .take(held, bounds)
            .map_err(|why| self.drop_one(why))
            .ok()?;
        let pair = Pair::new(&self.parts.stats, self.parts.tried.as_ref());
        let twin = pair.twin();
        let mirror = Rc::clone(self);
        let cap_bytes = self.parts.spec.max_body_bytes;
        let copy = Copy::new(cap_bytes, move |pieces| match pieces {
            Some(pieces) => {
                spawn_local(
                    async move { mirror.run((endpoint, original), pieces, pair, permit).await },
                );
            }
            None if length.is_none() => mirror.drop_one(MirrorDrop::TooLong),
            None => mirror.drop_one(MirrorDrop::Broken),
        });
        Some((copy, twin))
    }

    /// One of the endpoints that are fit. Copies are never how it is found out whether others are.
    fn pick(&self, draw: u64) -> Option<Rc<Endpoint>> {
        let fit = || self.parts.endpoints.iter().filter(|one| one.is_usable());
        let count = fit().count().max(1) as u64;
        fit().nth((draw % count) as usize).cloned()
    }

    async fn run(
        &self,
        (endpoint, original): (Rc<Endpoint>, Original),
        pieces: Vec<Bytes>,
        pair: Rc<Pair>,
        _permit: Permit,
    ) {
        let began = Instant::now();
        let deadline = self.parts.deadlines.deadline();
        deadline.set(self.parts.spec.timeout);
        self.parts.calls.begin();
        let sent = pin!(copy::send(self, &endpoint, original, pieces));
        let ended = deadline.guard(sent).await;
        let (status, outcome) = match ended {
            Ok(Ok(ended)) => ended,
            Ok(Err(why)) => {
                self.drop_one(why);
                (0, Outcome::Unreachable)
            }
            Err(_) => (0, Outcome::Timeout),
        };
        let took = began.elapsed();
        self.parts.calls.end(outcome, took);
        pair.copy_ended(status, outcome, took);
    }

    /// Seconds since the worker began.
    pub(super) fn tick(&self) -> u64 {
        self.parts.began.elapsed().as_secs()
    }
}
