//! What the whole process knows of one backend: its breaker, and how many endpoints are out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::model::BackendName;

use super::breaker::{Answer, Breaker, BreakerPhase, Probed, Terms};
use super::condition::Condition;
use super::ended::{Ended, Failure};
use super::error::{Shed, UpstreamError};
use super::spec::{BackendSpec, BreakerSpec, EjectionSpec};

/// What the whole process knows of one backend. One for each backend, for as long as the file
/// names it.
#[derive(Debug)]
pub struct BackendCondition {
    name: BackendName,
    /// What times are counted from.
    began: Instant,
    policy: ArcSwap<Policy>,
    /// The policy's bound on calls under way, 0 for none: looked at by every call.
    max_in_flight: AtomicU32,
    /// Calls under way, counted only while there is such a bound.
    in_flight: AtomicU32,
    connecting: AtomicU32,
    ejected: AtomicU32,
    breaker: Breaker,
    opened: AtomicU64,
    shed: [AtomicU64; Shed::COUNT],
}

/// What the file says of a backend, as far as its condition goes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Policy {
    ejection: EjectionSpec,
    breaker: BreakerSpec,
    endpoints: usize,
}

impl Policy {
    fn of(spec: &BackendSpec) -> Self {
        Self {
            ejection: spec.ejection.clone(),
            breaker: spec.breaker.clone(),
            endpoints: spec.endpoints.len(),
        }
    }

    fn terms(&self) -> Terms {
        Terms {
            open: (self.breaker.open_time, self.breaker.max_open_time),
            probes: self.breaker.probes,
        }
    }

    /// Endpoints that may be out at once.
    fn max_ejected(&self) -> u32 {
        (self.ejection.max_percent.fraction() * self.endpoints as f64) as u32
    }

    /// Failures in a row that eject; 0 for none.
    fn limit(&self, failure: Failure) -> u32 {
        u32::from(match failure {
            Failure::Unreachable => self.ejection.connect_failures,
            Failure::Unanswered => self.ejection.unanswered,
            Failure::ServerError => self.ejection.server_errors,
        })
    }
}

/// A call's way through the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    probe: bool,
    counted: bool,
}

impl BackendCondition {
    pub(super) fn new(name: &BackendName, spec: &BackendSpec, began: Instant) -> Self {
        let new = Self {
            name: name.clone(),
            began,
            policy: ArcSwap::from_pointee(Policy::of(spec)),
            max_in_flight: AtomicU32::default(),
            in_flight: AtomicU32::default(),
            connecting: AtomicU32::default(),
            ejected: AtomicU32::default(),
            breaker: Breaker::default(),
            opened: AtomicU64::default(),
            shed: Default::default(),
        };
        new.adopt(spec);
        new
    }

    /// Goes by what the file says from now on.
    pub(super) fn adopt(&self, spec: &BackendSpec) {
        let policy = Policy::of(spec);
        if **self.policy.load() != policy {
            self.policy.store(Arc::new(policy));
        }
        let most = spec.breaker.max_in_flight.unwrap_or(0);
        self.max_in_flight.store(most, Relaxed);
    }

    /// The backend.
    pub fn name(&self) -> &BackendName {
        &self.name
    }

    /// How its breaker stands.
    pub fn breaker(&self) -> BreakerPhase {
        self.breaker.phase()
    }

    /// How often the breaker opened because too many calls failed.
    pub fn opened(&self) -> u64 {
        self.opened.load(Relaxed)
    }

    /// Calls that it was spared, and connections.
    pub fn shed(&self, why: Shed) -> u64 {
        let shed = self.shed.get(why.index());
        shed.map_or(0, |shed| shed.load(Relaxed))
    }

    /// Connections that are being made.
    pub fn connecting(&self) -> u32 {
        self.connecting.load(Relaxed)
    }

    /// The time, as conditions count it.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Whether the breaker would let a call pass.
    #[inline]
    pub(super) fn lets_pass(&self) -> bool {
        self.breaker.lets_pass(|| self.now())
    }

    /// Asks the breaker for a call.
    #[inline]
    pub(super) fn enter(&self) -> Result<Pass, UpstreamError> {
        let terms = || self.policy.load().terms();
        let probe = match self.breaker.ask(|| self.now(), terms) {
            Answer::Pass => false,
            Answer::Probe => true,
            Answer::Refuse(after) => return Err(self.refuse(Shed::Open, after)),
        };
        let most = self.max_in_flight.load(Relaxed);
        if most == 0 {
            return Ok(Pass {
                probe,
                counted: false,
            });
        }
        let mut pass = Pass {
            probe,
            counted: true,
        };
        if self.in_flight.fetch_add(1, Relaxed) >= most {
            self.leave(&mut pass, Ended::Unknown);
            return Err(self.refuse(Shed::InFlight, Duration::ZERO));
        }
        Ok(pass)
    }

    /// What became of a call's attempt is known.
    pub(super) fn probed(&self, pass: &mut Pass, ended: Ended) {
        if !std::mem::take(&mut pass.probe) {
            return;
        }
        let how = match ended {
            Ended::Answered => Probed::Well,
            Ended::Failed(_) => Probed::Badly,
            Ended::Unknown => Probed::NotAtAll,
        };
        self.breaker
            .probed(how, self.now(), self.policy.load().terms());
    }

    /// A call is over.
    pub(super) fn leave(&self, pass: &mut Pass, ended: Ended) {
        self.probed(pass, ended);
        if std::mem::take(&mut pass.counted) {
            self.in_flight.fetch_sub(1, Relaxed);
        }
    }

    /// Asks for a connection to be made; given back with [`BackendCondition::connected`].
    pub(super) fn connect(&self) -> Result<(), UpstreamError> {
        let most = self.policy.load().breaker.max_connecting;
        if self.connecting.fetch_add(1, Relaxed) >= most {
            self.connected();
            return Err(self.refuse(Shed::Connecting, Duration::ZERO));
        }
        Ok(())
    }

    /// Whether calls leave room for connections that none of them waits for.
    pub(super) fn has_room_to_connect(&self) -> bool {
        let most = self.policy.load().breaker.max_connecting;
        self.connecting() <= most / 2
    }

    pub(super) fn connected(&self) {
        self.connecting.fetch_sub(1, Relaxed);
    }

    fn refuse(&self, why: Shed, after: Duration) -> UpstreamError {
        if let Some(shed) = self.shed.get(why.index()) {
            shed.fetch_add(1, Relaxed);
        }
        UpstreamError::Shed {
            backend: self.name.clone(),
            why,
            after,
        }
    }

    /// Opens the breaker: too many calls have failed.
    pub(super) fn trip(&self) -> bool {
        let tripped = self.breaker.trip(self.now(), self.policy.load().terms());
        if tripped {
            self.opened.fetch_add(1, Relaxed);
        }
        tripped
    }

    /// An attempt at one of its endpoints has ended; whether that endpoint is out now.
    pub(super) fn note(&self, condition: &Condition, ended: Ended) -> bool {
        let Some((failure, streak)) = condition.note(ended) else {
            return false;
        };
        let limit = self.policy.load().limit(failure);
        limit > 0 && streak >= limit && self.eject(condition)
    }

    /// Puts an endpoint out for a while, unless too many are out already; whether it is out now.
    pub(super) fn eject(&self, condition: &Condition) -> bool {
        let policy = self.policy.load();
        let most = policy.max_ejected();
        let one_more = |ejected: u32| (ejected < most).then_some(ejected + 1);
        if condition.is_gone()
            || condition.is_ejected()
            || self
                .ejected
                .fetch_update(Relaxed, Relaxed, one_more)
                .is_err()
        {
            return false;
        }
        if !condition.mark_ejected() {
            // Another worker was first.
            self.ejected.fetch_sub(1, Relaxed);
            return false;
        }
        let times = (policy.ejection.time, policy.ejection.max_time);
        condition.lasts(times, chance(), self.now());
        true
    }

    /// Whether any of its endpoints is out.
    pub(super) fn has_ejected(&self) -> bool {
        self.ejected.load(Relaxed) > 0
    }

    /// Takes an endpoint back whose ejection is over; whether it was.
    pub(super) fn take_back(&self, condition: &Condition) -> bool {
        let back = condition.is_due(self.now()) && condition.take_back();
        if back {
            self.ejected.fetch_sub(1, Relaxed);
        }
        back
    }

    /// An endpoint is gone from the file.
    pub(super) fn forget(&self, condition: &Condition) {
        condition.set_gone();
        if condition.take_back() {
            self.ejected.fetch_sub(1, Relaxed);
        }
    }
}

/// A number from 0 to 1; without randomness there is no spread, which harms nobody.
fn chance() -> f64 {
    getrandom::u32().map_or(0.0, |draw| f64::from(draw) / f64::from(u32::MAX))
}
