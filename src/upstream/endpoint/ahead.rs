//! Connections that are made before a call needs them.
//!
//! Nothing of it is on the way of a call but one comparison, when the call takes an idle connection. Who
//! makes them is a chore of the worker, one at a time for each endpoint. An attempt that fails is no
//! sign of how the endpoint does: calls and checks find that out, and this only waits longer.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::tls::Alpn;
use crate::upstream::error::UpstreamError;
use crate::upstream::health::HealthState;
use crate::upstream::link::Link;
use crate::upstream::multiplexed::{Multiplexed, Shared};
use crate::upstream::socket::Socket;
use crate::upstream::spec::BackendSpec;

use super::{Endpoint, Idle};

/// Wait after the first failure; it doubles with each one that follows ...
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// ... up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// What the other side closes unused within this time it does not want.
const UNWANTED_WITHIN: Duration = Duration::from_secs(1);
/// How much of the time for which an idle connection is good has to be left of it.
const GOOD_FOR: (u32, u32) = (3, 4);

/// What one endpoint keeps ready.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Connections that are to be ready.
    wanted: Cell<usize>,
    /// Whether health checks say when the endpoint is fit.
    is_checked: Cell<bool>,
    is_making: Cell<bool>,
    pauses: Pauses,
}

/// When the next attempt may be.
#[derive(Debug, Default)]
struct Pauses {
    /// Failures in a row.
    failures: Cell<u32>,
    not_before: Cell<Option<Instant>>,
}

impl Pauses {
    fn is_over(&self, now: Instant) -> bool {
        self.not_before.get().is_none_or(|at| now >= at)
    }

    fn failed(&self, now: Instant) {
        let doubled = 1u32.checked_shl(self.failures.get()).unwrap_or(u32::MAX);
        let wait = FIRST_WAIT.saturating_mul(doubled).min(LONGEST_WAIT);
        self.failures.set(self.failures.get().saturating_add(1));
        self.not_before.set(Some(now + wait));
    }

    fn went_well(&self) {
        self.failures.set(0);
    }
}

/// Tells a worker's chore that something is to be made ready.
#[derive(Debug, Default)]
pub(super) struct Wish {
    is_wished: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Wish {
    pub(super) fn make(&self) {
        self.is_wished.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Waits until something is wished for, by one alone.
    pub(super) async fn made(&self) {
        poll_fn(|cx| {
            if self.is_wished.take() {
                return Poll::Ready(());
            }
            self.waker.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

impl Ahead {
    /// Goes by what the file says from now on.
    pub(super) fn adopt(&self, spec: &BackendSpec) {
        self.wanted.set(usize::from(spec.min_idle));
        self.is_checked.set(spec.health.is_some());
    }

    /// Connections that are to be ready.
    #[inline]
    pub(super) fn wanted(&self) -> usize {
        self.wanted.get()
    }

    /// Traffic is short of what connections take: none is made for a while.
    pub(super) fn give_way(&self) {
        self.pauses.failed(Instant::now());
    }

    /// One was of use.
    pub(super) fn was_used(&self) {
        self.pauses.went_well();
    }
}

/// A connection that is being made ready.
#[derive(Debug)]
pub struct Attempt(Rc<Endpoint>);

impl Drop for Attempt {
    fn drop(&mut self) {
        self.0.ahead.is_making.set(false);
    }
}

impl Attempt {
    /// Begins to make a connection ready, if the endpoint wants one and may have it.
    pub fn begin(endpoint: &Rc<Endpoint>, now: Instant) -> Option<Self> {
        let ahead = &endpoint.ahead;
        let may_begin = !ahead.is_making.get() && ahead.pauses.is_over(now);
        if !may_begin || !endpoint.lacks_ready(now) || !endpoint.may_be_readied() {
            return None;
        }
        ahead.is_making.set(true);
        Some(Self(Rc::clone(endpoint)))
    }

    /// Makes it. When that fails, the endpoint has time until the next attempt.
    pub async fn make(self) {
        let endpoint = &self.0;
        let made = match endpoint.multiplexed() {
            Some(connections) => connections.make_ready(endpoint).await,
            None => endpoint.make_ready().await,
        };
        match made {
            Ok(()) => metrics::counter!("switchback_connections_readied_total").increment(1),
            Err(error) => {
                endpoint.ahead.pauses.failed(Instant::now());
                metrics::counter!("switchback_connections_not_readied_total").increment(1);
                tracing::debug!(%error, "no connection could be made ready");
            }
        }
    }
}

impl Endpoint {
    /// Whether it is to have connections before calls need them.
    pub fn keeps_ready(&self) -> bool {
        self.ahead.wanted() > 0
    }

    /// Whether fewer are ready than there are to be.
    fn lacks_ready(&self, now: Instant) -> bool {
        if let Some(connections) = self.multiplexed() {
            return self.keeps_ready() && !connections.is_ready();
        }
        self.drop_closed(now);
        let idle = self.idle.borrow();
        let young = idle.iter().filter(|idle| self.is_young(idle, now));
        young.count() < self.ahead.wanted()
    }

    /// Forgets what the other side has closed. Where it does so at once, it is left alone for longer.
    pub(super) fn drop_closed(&self, now: Instant) {
        self.idle.borrow_mut().retain_mut(|idle| {
            let is_open = idle.link.is_free();
            if !is_open && idle.is_unused {
                if now.duration_since(idle.since) < UNWANTED_WITHIN {
                    self.ahead.pauses.failed(now);
                } else {
                    self.ahead.pauses.went_well();
                }
            }
            is_open
        });
    }

    /// Whether an idle connection stays good for a while, for any request.
    fn is_young(&self, idle: &Idle, now: Instant) -> bool {
        let (left, of) = GOOD_FOR;
        let good_for = match self.trust_idle {
            // None is good for every request, however young.
            Duration::ZERO => self.idle_timeout,
            trusted => trusted.min(self.idle_timeout),
        };
        now.duration_since(idle.since) < good_for * left / of
    }

    /// Whether the endpoint is known to be fit, and calls leave it the time.
    fn may_be_readied(&self) -> bool {
        let is_known = match self.dial.condition().health().state {
            HealthState::Healthy => true,
            // The keeper of checks may not have begun.
            HealthState::Unchecked => !self.ahead.is_checked.get(),
            HealthState::Unknown | HealthState::Unready | HealthState::Unhealthy => false,
        };
        is_known && self.is_usable() && self.backend.has_room_to_connect()
    }

    /// Not as calls connect: what is short is left to them, and nothing is closed for this.
    async fn socket_ahead(&self, alpn: Alpn) -> Result<Socket, UpstreamError> {
        self.shard.connects();
        self.dial.connect(Duration::MAX, alpn).await
    }

    /// A connection over HTTP/2 that no call waits for.
    pub(in crate::upstream) async fn ready_multiplexed(
        &self,
        connections: &Multiplexed,
    ) -> Result<Rc<Shared>, UpstreamError> {
        let socket = self.socket_ahead(Alpn::Http2).await?;
        let made = Shared::new(socket, connections).await;
        made.map_err(|source| self.broken(source))
    }

    async fn make_ready(&self) -> Result<(), UpstreamError> {
        let socket = self.socket_ahead(Alpn::Http1).await?;
        let link = Link::new(socket, self.scratch.clone());
        self.put_ready(link, Instant::now());
        Ok(())
    }

    /// In place of one that was ready for too long, if there is any.
    fn put_ready(&self, link: Link, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        let old = |idle: &Idle| idle.is_unused && !self.is_young(idle, now);
        if let Some(place) = idle.iter().position(old) {
            idle.remove(place);
            self.ahead.pauses.went_well();
        }
        // Calls may have given enough of them back meanwhile.
        if idle.len() < self.max_idle {
            idle.push(Idle {
                link,
                since: now,
                is_unused: true,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_begin_anew_when_it_went_well() {
        let (pauses, now) = (Pauses::default(), Instant::now());
        assert!(pauses.is_over(now));
        let mut waits = Vec::new();
        for _ in 0..40 {
            pauses.failed(now);
            let until = pauses.not_before.get().unwrap();
            assert!(!pauses.is_over(now) && pauses.is_over(until));
            waits.push((until - now).as_millis());
        }
        assert_eq!(waits[..4], [250, 500, 1000, 2000]);
        assert_eq!(waits.last(), Some(&30_000));

        pauses.went_well();
        pauses.failed(now);

        assert_eq!(pauses.not_before.get(), Some(now + FIRST_WAIT));
    }

    #[tokio::test]
    async fn a_wish_is_heard_whether_it_comes_before_or_after_the_wait() {
        let wish = Wish::default();
        wish.make();
        wish.make();
        wish.made().await;

        tokio::join!(wish.made(), async { wish.make() });
    }
}
