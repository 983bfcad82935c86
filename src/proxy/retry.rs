//! Whether, where and when a request that failed is tried again.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::RouteName;
use crate::split::Split;
use crate::upstream::Endpoint;

use super::choice::{self, Place};
use super::pipeline::Decided;
use super::spec::RetriesSpec;
use super::view::RouteView;
use super::worker::Worker;

/// Shortest time that a retry has to connect.
const LEAST_CONNECT: Duration = Duration::from_millis(250);
/// A budget holds at most what its floor gives in this time, and a burst.
const BUDGET_SPAN: f64 = 10.0;
const BUDGET_BURST: f64 = 20.0;

/// The tries of one request so far.
#[derive(Debug)]
pub(super) struct Tries {
    began: Instant,
    /// Tries after the first.
    retries: u8,
    /// Where it was tried: arm and endpoint.
    tried: Vec<Place>,
}

/// Which endpoints come into question.
type Allowed = fn(&Rc<Endpoint>) -> bool;

/// Where a request is tried next.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) place: usize,
    pub(super) endpoint: Rc<Endpoint>,
    /// Wait so long first.
    pub(super) pause: Duration,
    /// Longest wait for a connection.
    pub(super) connect_within: Duration,
}

/// What a failed try did to the backend, as far as the next one is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// Nothing was sent.
    Unsent,
    /// It was sent, changes nothing, and has no answer.
    Unanswered,
    /// The same, with an answer whose status the route tries again.
    Refused,
}

impl Tries {
    /// The first try, which began at `began`, has failed where `decided` says.
    pub(super) fn first(began: Instant, decided: &Decided) -> Self {
        Self {
            began,
            retries: 0,
            tried: vec![(decided.place, Rc::clone(&decided.endpoint))],
        }
    }

    /// Where the request is tried next, if anywhere: another endpoint of the backend, else
    /// another backend, else the same one if it did answer.
    pub(super) fn next(
        &mut self,
        worker: &Worker,
        decided: &Decided,
        failed: Failed,
    ) -> Option<Next> {
        let route = &decided.route;
        let spec = &route.route().retries;
        let elapsed = self.began.elapsed();
        // A session lives where it was opened, and nowhere else.
        let is_pinned = decided.session.is_some() || decided.posted.is_some() || decided.is_tied();
        if is_pinned || self.retries >= spec.attempts || elapsed > spec.within + LEAST_CONNECT {
            return None;
        }
        let elsewhere = self.away(worker, decided);
        let is_same = elsewhere.is_none();
        // A server that answers may answer better in a moment; one that does not is left alone.
        let here = || (failed == Failed::Refused).then(|| decided.at());
        let (place, endpoint) = elsewhere.or_else(here)?;
        if failed != Failed::Unsent && !worker.retry_budgets().of(route).take(route) {
            metrics::counter!("switchback_retries_refused_total").increment(1);
            return None;
        }
        self.retries += 1;
        self.tried.push((place, Rc::clone(&endpoint)));
        Some(Next {
            place,
            endpoint,
            pause: self.pause(worker, spec, is_same),
            connect_within: spec.within.saturating_sub(elapsed).max(LEAST_CONNECT),
        })
    }

    /// Where nothing was tried yet, fit if any is; once each.
    pub(super) fn next_away(&mut self, worker: &Worker, decided: &Decided) -> Option<Place> {
        let to = self.away(worker, decided)?;
        self.tried.push((to.0, Rc::clone(&to.1)));
        Some(to)
    }

    /// Another place than where it was tried, fit if any is.
    pub(super) fn away(&self, worker: &Worker, decided: &Decided) -> Option<Place> {
        self.elsewhere(worker, decided, choice::is_fit)
            .or_else(|| self.elsewhere(worker, decided, |_| true))
    }

    /// Another endpoint among those that are `allowed`.
    fn elsewhere(&self, worker: &Worker, decided: &Decided, allowed: Allowed) -> Option<Place> {
        self.in_arm(worker, decided, allowed)
            .or_else(|| self.in_another_arm(worker, decided, allowed))
    }

    fn in_arm(&self, worker: &Worker, decided: &Decided, allowed: Allowed) -> Option<Place> {
        let fresh = self.untried(&decided.route, decided.place, allowed);
        let endpoint = worker.pick_endpoint(&fresh, decided.key)?;
        Some((decided.place, endpoint))
    }

    /// Another backend that takes traffic of its own accord. A candidate on trial gets no more than its
    /// stage's share, so nothing fails over to it.
    fn in_another_arm(
        &self,
        worker: &Worker,
        decided: &Decided,
        allowed: Allowed,
    ) -> Option<Place> {
        let route = &decided.route;
        let split: &Split = &route.route().split;
        let mut places: Vec<usize> = split
            .places_with_weight()
            .filter(|place| *place != decided.place && !route.is_candidate(*place))
            .collect();
        // Whom the route trusts comes first.
        places.sort_by_key(|place| *place != route.route().trusted);
        places.into_iter().find_map(|place| {
            let fresh = self.untried(route, place, allowed);
            Some((place, worker.pick_endpoint(&fresh, decided.key)?))
        })
    }

    fn untried(&self, route: &RouteView, place: usize, allowed: Allowed) -> Vec<Rc<Endpoint>> {
        let is_tried = |endpoint: &Rc<Endpoint>| {
            let mut tried = self.tried.iter();
            tried.any(|(at, known)| *at == place && Rc::ptr_eq(known, endpoint))
        };
        let fresh = choice::takers(route, place)
            .iter()
            .filter(|endpoint| !is_tried(endpoint) && allowed(endpoint));
        fresh.map(Rc::clone).collect()
    }

    /// None before the first try elsewhere; then doubled each time, less up to a half by draw.
    fn pause(&self, worker: &Worker, spec: &RetriesSpec, is_same: bool) -> Duration {
        let doublings = match (is_same, self.retries) {
            (false, 0 | 1) => return Duration::ZERO,
            (true, retries) => retries.saturating_sub(1),
            (false, retries) => retries - 2,
        };
        let full = spec.backoff.saturating_mul(1 << doublings.min(5));
        let part = worker.draw() as f64 / u64::MAX as f64;
        full.mul_f64(1.0 - part / 2.0)
    }
}

/// The retry budgets of one worker's routes; they outlive snapshots.
#[derive(Debug, Default)]
pub(super) struct RetryBudgets(std::cell::RefCell<HashMap<RouteName, Rc<RetryBudget>>>);

impl RetryBudgets {
    fn of(&self, route: &RouteView) -> Rc<RetryBudget> {
        let mut budgets = self.0.borrow_mut();
        Rc::clone(budgets.entry(route.route().name.clone()).or_default())
    }
}

/// How many requests of one route may be sent a second time: a share of its calls, and a floor
/// for routes with few. Retries that cost no server a second look are not counted.
#[derive(Debug, Default)]
struct RetryBudget {
    left: Cell<f64>,
    /// Calls and time at the last look.
    seen: Cell<Option<(u64, Instant)>>,
}

impl RetryBudget {
    /// Takes one, if there is one.
    fn take(&self, route: &RouteView) -> bool {
        let spec = &route.route().retries;
        self.take_at(spec, route.calls(), Instant::now())
    }

    fn take_at(&self, spec: &RetriesSpec, calls: u64, now: Instant) -> bool {
        let floor = f64::from(spec.budget_floor);
        let most = floor * BUDGET_SPAN + BUDGET_BURST;
        let earned = match self.seen.replace(Some((calls, now))) {
            None => most,
            Some((calls_before, before)) => {
                let share = f64::from(spec.budget_percent) / 100.0;
                calls.saturating_sub(calls_before) as f64 * share
                    + now.duration_since(before).as_secs_f64() * floor
            }
        };
        let left = (self.left.get() + earned).min(most);
        let takes = left >= 1.0 && (spec.budget_percent > 0 || spec.budget_floor > 0);
        self.left.set(if takes { left - 1.0 } else { left });
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &RetryBudget, spec: &RetriesSpec, calls: u64, now: Instant) -> usize {
        (0..10_000)
            .take_while(|_| budget.take_at(spec, calls, now))
            .count()
    }

    #[test]
    fn retries_are_a_share_of_the_calls_and_a_floor() {
        let (budget, now) = (RetryBudget::default(), Instant::now());
        let spec = RetriesSpec::default();

        assert_eq!(taken(&budget, &spec, 0, now), 120, "a burst at first");
        assert_eq!(taken(&budget, &spec, 100, now), 20, "20 % of 100 calls");
        let later = now + Duration::from_secs(2);
        assert_eq!(taken(&budget, &spec, 100, later), 20, "10 a second");
    }

    #[test]
    fn a_budget_of_nothing_allows_nothing() {
        let spec = RetriesSpec {
            budget_percent: 0,
            budget_floor: 0,
            ..RetriesSpec::default()
        };

        assert!(!RetryBudget::default().take_at(&spec, 1000, Instant::now()));
    }
}
